package spool_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/bus"
	"github.com/mintmark/mintmark/internal/jetstream"
	"github.com/mintmark/mintmark/internal/ledger"
	"github.com/mintmark/mintmark/internal/recorder"
	"github.com/mintmark/mintmark/internal/spool"
	"github.com/mintmark/mintmark/internal/sqlite"
)

// counter hands out what was put into it.
type counter struct {
	mu   sync.Mutex
	next bus.RecordBatch
	full chan struct{}
}

func (c *counter) Flush(b *bus.RecordBatch) {
	c.mu.Lock()
	defer c.mu.Unlock()
	b.Usage = append(b.Usage, c.next.Usage...)
	b.Refusals = append(b.Refusals, c.next.Refusals...)
	c.next = bus.RecordBatch{}
}

func (c *counter) Full() <-chan struct{} { return c.full }

func (c *counter) count(token mintmark.TokenID, n uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.next.Usage = append(c.next.Usage, bus.UsageDelta{Token: token, Route: "orders/all", N: n, First: 1, Last: 2})
	c.next.Refusals = append(c.next.Refusals, bus.Refusal{Route: "orders/all", Code: mintmark.CodeExpired})
}

// book is a ledger that folds batches: sums by token, exactly once.
type book struct {
	mu       sync.Mutex
	away     bool
	seen     map[string]bool
	upto     map[mintmark.BootID]uint64
	sums     map[mintmark.TokenID]uint64
	uses     int
	batches  []bus.RecordBatch
	repeated int
	refused  int // while away
}

func newBook() *book {
	return &book{seen: map[string]bool{}, upto: map[mintmark.BootID]uint64{}, sums: map[mintmark.TokenID]uint64{}}
}

func (l *book) Append(_ context.Context, in ledger.Batch) (ledger.Committed, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.away {
		l.refused++
		return ledger.Committed{}, ledger.ErrUnavailable
	}
	var b bus.RecordBatch
	if err := bus.Decode(in.Events[0].Data, &b); err != nil {
		return ledger.Committed{}, err
	}
	key := fmt.Sprint(b.Boot, b.Seq)
	if l.seen[key] {
		l.repeated++
		return ledger.Committed{}, ledger.ErrUsed
	}
	l.seen[key] = true
	l.upto[b.Boot] = max(l.upto[b.Boot], b.Seq)
	for _, u := range b.Usage {
		l.sums[u.Token] += u.N
	}
	l.uses += len(b.Uses)
	l.batches = append(l.batches, b)
	return ledger.Committed{}, nil
}

func (l *book) Recorded(_ context.Context, _ mintmark.GatewayID, boot mintmark.BootID) (uint64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.upto[boot], nil
}

func (l *book) Document(context.Context, string, string) (ledger.Document, error) {
	return ledger.Document{}, ledger.ErrNotFound
}

func (l *book) sum(t mintmark.TokenID) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sums[t]
}

func (l *book) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.batches)
}

type rig struct {
	*spool.Spool
	counter *counter
	store   *sqlite.GatewayStore
	conn    *jetstream.Conn
	book    *book
	server  *jetstream.Server
	stop    func()
}

func run(fn func(context.Context) error) func() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = fn(ctx) }()
	return sync.OnceFunc(func() { cancel(); <-done })
}

func newRig(t *testing.T, bound int64) *rig {
	t.Helper()
	s, err := jetstream.Open(jetstream.Options{Dir: t.TempDir(), Random: rand.Reader})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	r := &rig{counter: &counter{full: make(chan struct{})}, book: newBook(), server: s}
	ctl, err := s.Control(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(ctl.Close)
	if r.conn, err = s.Gateway(t.Context(), "east"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.conn.Close)
	if r.store, err = sqlite.OpenGateway(t.Context(), t.TempDir()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.store.Close() })
	t.Cleanup(run(recorder.New(recorder.Config{Ledger: r.book, Store: r.book, Records: ctl, Bus: ctl}).Run))
	r.boot("boot_1", bound)
	t.Cleanup(func() { r.stop() })
	return r
}

func (r *rig) boot(id mintmark.BootID, bound int64) {
	r.Spool = spool.New(spool.Config{
		Gateway: "east", Boot: id, Store: r.store, Counter: r.counter, Records: r.conn, Bus: r.conn, Now: time.Now,
		Every: 10 * time.Millisecond, Resend: 300 * time.Millisecond, MaxBytes: bound,
	})
	r.stop = run(r.Run)
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

func (r *rig) stored(t *testing.T) int {
	p, err := r.store.Pending(t.Context(), 0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	return len(p)
}

func TestCountsArriveOnceAndAreForgotten(t *testing.T) {
	r := newRig(t, 0)
	for range 20 {
		r.counter.count("tok_a", 3)
		time.Sleep(time.Millisecond) // spread over several flushes
	}
	until(t, "all counted", func() bool { return r.book.sum("tok_a") == 60 })
	until(t, "spool empty", func() bool { return r.stored(t) == 0 })
	r.book.mu.Lock()
	defer r.book.mu.Unlock()
	if b := r.book.batches[0]; !b.Booted || b.Lost || b.Seq != 1 {
		t.Errorf("first batch %+v", b)
	}
}

func TestACutOffGatewayDeliversLater(t *testing.T) {
	r := newRig(t, 0)
	until(t, "boot record", func() bool { return r.stored(t) == 0 && r.book.count() == 1 })
	r.conn.Cut()
	r.counter.count("tok_a", 5)
	if err := r.Record(t.Context(), bus.Use{Token: "tok_a", Route: "orders/all"}); err != nil {
		t.Fatal(err)
	}
	until(t, "kept on disk", func() bool { return r.stored(t) >= 2 })
	r.stop()
	r.boot("boot_2", 0)
	r.counter.count("tok_a", 7)
	until(t, "second boot's on disk", func() bool { return r.stored(t) >= 4 })
	r.conn.Heal()
	until(t, "all delivered", func() bool { return r.book.sum("tok_a") == 12 && r.stored(t) == 0 })
	r.book.mu.Lock()
	defer r.book.mu.Unlock()
	if r.book.uses != 1 {
		t.Errorf("%d uses", r.book.uses)
	}
	for _, b := range r.book.batches {
		if b.Lost {
			t.Errorf("a clean end was taken for a death: %+v", b)
		}
	}
}

func TestALedgerThatIsAwayLosesNothing(t *testing.T) {
	r := newRig(t, 0)
	r.book.mu.Lock()
	r.book.away = true
	r.book.mu.Unlock()
	r.counter.count("tok_a", 5)
	until(t, "on disk", func() bool { return r.stored(t) >= 1 })
	until(t, "refused several times", func() bool {
		r.book.mu.Lock()
		defer r.book.mu.Unlock()
		return r.book.refused > 3
	})
	r.book.mu.Lock()
	r.book.away = false
	r.book.mu.Unlock()
	until(t, "delivered", func() bool { return r.book.sum("tok_a") == 5 && r.stored(t) == 0 })
}

func TestUsesAtOnceAreAllDurable(t *testing.T) {
	r := newRig(t, 0)
	r.conn.Cut()
	var wait sync.WaitGroup
	for range 200 {
		wait.Go(func() {
			if err := r.Record(t.Context(), bus.Use{Token: "tok_a", Route: "orders/all", Path: "/x"}); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	p, err := r.store.Pending(t.Context(), 0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	uses := 0
	for i, s := range p {
		var b bus.RecordBatch
		if err := bus.Decode(s.Body, &b); err != nil {
			t.Fatal(err)
		}
		if b.Seq != uint64(i+1) && p[0].Seq == 1 {
			t.Errorf("number %d at place %d", b.Seq, i+1)
		}
		uses += len(b.Uses)
	}
	if uses != 200 {
		t.Errorf("%d of 200 uses on disk when Record had returned", uses)
	}
	r.stop()
	if err := r.Record(t.Context(), bus.Use{}); !errors.Is(err, spool.ErrStopped) {
		t.Errorf("after the end: %v", err)
	}
}

func TestAFullSpoolRefusesUsesAndCountsWithoutTokens(t *testing.T) {
	r := newRig(t, 2000)
	until(t, "boot record", func() bool { return r.book.count() == 1 && r.stored(t) == 0 })
	r.conn.Cut()
	until(t, "full", func() bool {
		r.counter.count("tok_a", 1)
		return errors.Is(r.Record(t.Context(), bus.Use{Token: "tok_a", Route: "orders/all"}), spool.ErrFull)
	})
	until(t, "flushed or held", func() bool { r.counter.mu.Lock(); defer r.counter.mu.Unlock(); return len(r.counter.next.Usage) == 0 })
	before := r.stored(t)
	r.counter.count("tok_b", 1000)
	until(t, "taken from memory", func() bool { r.counter.mu.Lock(); defer r.counter.mu.Unlock(); return len(r.counter.next.Usage) == 0 })
	if n := r.stored(t); n != before {
		t.Errorf("the full spool grew from %d to %d batches", before, n)
	}
	r.conn.Heal()
	until(t, "counted without its token", func() bool { return r.book.sum("") >= 1000 && r.stored(t) == 0 })
	r.book.mu.Lock()
	defer r.book.mu.Unlock()
	var coalesced, refusals uint64
	for _, b := range r.book.batches {
		coalesced += b.Coalesced
		refusals += b.RefusalsLost
	}
	if coalesced != r.book.sums[""] || coalesced < 1000 || refusals == 0 || r.book.sums["tok_b"] != 0 {
		t.Errorf("coalesced %d of %d, refusals left out %d, tok_b %d", coalesced, r.book.sums[""], refusals, r.book.sums["tok_b"])
	}
	if err := r.Record(t.Context(), bus.Use{Token: "tok_a"}); err != nil {
		t.Errorf("not taken up again: %v", err)
	}
}

func TestAKilledGatewaySaysThatItLost(t *testing.T) {
	r := newRig(t, 0)
	until(t, "boot record", func() bool { return r.book.count() == 1 })
	// A boot that began and never ended.
	r.stop()
	if _, err := r.store.Begin(t.Context(), "boot_dead"); err != nil {
		t.Fatal(err)
	}
	r.boot("boot_3", 0)
	until(t, "boot record says lost", func() bool {
		r.book.mu.Lock()
		defer r.book.mu.Unlock()
		last := r.book.batches[len(r.book.batches)-1]
		return last.Boot == "boot_3" && last.Booted && last.Lost
	})
}
