package fleet

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"testing"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/bus"
	"github.com/mintmark/mintmark/internal/fleet/fleettest"
	"github.com/mintmark/mintmark/internal/ledger"
)

// mute is a bus that nobody hears.
type mute struct{ bus.Conn }

func (mute) Publish(context.Context, string, []byte) error { return nil }

// counting counts how often all receipts are read.
type counting struct {
	*fleettest.Ledger
	scans int
}

func (c *counting) Documents(ctx context.Context, kind, after string, limit int) ([]ledger.Document, error) {
	if kind == ledger.DocReceipt && after == "" {
		c.scans++
	}
	return c.Ledger.Documents(ctx, kind, after, limit)
}

// still is a fleet whose clock a test moves and whose gateways a test plays.
type still struct {
	*Fleet
	store *counting
	clock time.Duration
	wall  time.Time
}

func newStill(t *testing.T, l *fleettest.Ledger) *still {
	t.Helper()
	return newStillAt(t, l, time.Hour, time.Unix(1_800_000_000, 0))
}

func newStillAt(t interface{ Fatal(args ...any) }, l *fleettest.Ledger, clock time.Duration, wall time.Time) *still {
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)) // every process has the same
	s := &still{store: &counting{Ledger: l}, clock: clock, wall: wall}
	s.Fleet = New(Config{
		Ledger: l, Store: s.store, Bus: mute{}, Key: key, KeyID: "state-1", Random: rand.Reader,
		Clock: func() time.Duration { return s.clock }, Now: func() time.Time { return s.wall },
	})
	if err := s.Open(context.Background()); err != nil {
		t.Fatal(err)
	}
	return s
}

// pass lets time pass.
func (s *still) pass(d time.Duration) { s.clock, s.wall = s.clock+d, s.wall.Add(d) }

func (s *still) admit(t *testing.T, id mintmark.GatewayID) {
	t.Helper()
	if err := s.Admit(t.Context(), id, "", ledger.Batch{}); err != nil {
		t.Fatal(err)
	}
}

// hear renews a gateway's lease at the head.
func (s *still) hear(id mintmark.GatewayID) {
	cur := s.Current()
	s.renew(id, &bus.LeaseRequest{Gateway: id, Term: cur.Term, Epoch: cur.Epoch, Seq: cur.Seq}, "")
}

func (s *still) commit(t *testing.T) mintmark.ReceiptID {
	t.Helper()
	r, err := s.Commit(t.Context(), Change{
		Kind: "revoke", Receipt: &ReceiptRequest{},
		Revocations: []mintmark.Revocation{{Selector: mintmark.Selector{Subject: "alice"}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return r.Receipt
}

func (s *still) outcome(t *testing.T, id mintmark.ReceiptID) mintmark.Receipt {
	t.Helper()
	r, err := s.Receipt(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestPendingReceiptsAreFoundWithoutReadingAll(t *testing.T) {
	l := fleettest.New()
	s := newStill(t, l)
	s.admit(t, "east")
	s.hear("east")
	left := s.commit(t)
	// Another process takes over what this one left, and reads all once for that.
	s = newStill(t, l)
	mine := s.commit(t)
	for range 3 {
		s.resume(t.Context())
	}
	for _, id := range []mintmark.ReceiptID{left, mine} {
		if got := s.outcome(t, id); got.Outcome != mintmark.OutcomePending {
			t.Fatalf("%s before the lease is over", got.Outcome)
		}
	}
	s.pass(time.Minute)
	// Written, but not known to be: it is pending all the same.
	l.Fail(func() (error, error) { return nil, ledger.ErrUnavailable })
	_, err := s.Commit(t.Context(), Change{Kind: "revoke", Receipt: &ReceiptRequest{ID: "rcp_x"}, Revocations: []mintmark.Revocation{{Selector: mintmark.Selector{Subject: "bob"}}}})
	if !errors.Is(err, ErrUnknown) {
		t.Fatal(err)
	}
	// Not written at all.
	l.Fail(func() (error, error) { return ledger.ErrUnavailable, nil })
	s.unsure = false
	_, _ = s.Commit(t.Context(), Change{Kind: "revoke", Receipt: &ReceiptRequest{ID: "rcp_y"}, Revocations: []mintmark.Revocation{{Selector: mintmark.Selector{Subject: "bob"}}}})
	l.Fail(nil)
	if len(s.pending) != 4 {
		t.Errorf("%d outstanding", len(s.pending))
	}
	if err := s.reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.resume(t.Context())
	for _, id := range []mintmark.ReceiptID{left, mine, "rcp_x"} {
		if got := s.outcome(t, id); got.Outcome != mintmark.OutcomeByLease || got.Signature == "" {
			t.Errorf("%s: %s", id, got.Outcome)
		}
	}
	s.resume(t.Context())
	if len(s.pending) != 0 {
		t.Errorf("still outstanding: %v", s.pending)
	}
	if s.store.scans != 1 {
		t.Errorf("all receipts were read %d times", s.store.scans)
	}
}

func TestARemovedGatewayIsNamedUntilItsBudgetsAreOver(t *testing.T) {
	l := fleettest.New()
	s := newStill(t, l)
	s.admit(t, "east")
	s.admit(t, "west")
	s.hear("east")
	s.hear("west")
	names := func(r mintmark.Receipt) (out []mintmark.GatewayID) {
		for _, g := range r.Gateways {
			out = append(out, g.Gateway)
		}
		return out
	}
	wait := func(id mintmark.ReceiptID) mintmark.Receipt {
		t.Helper()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		r, err := s.Wait(ctx, id)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	before := s.commit(t)
	if err := s.Remove(t.Context(), "west", "user:test"); err != nil {
		t.Fatal(err)
	}
	meanwhile := s.commit(t)
	s.noteMembers(t.Context())
	if got := s.Gateways(); len(got) != 2 || got[1].State != "removed" {
		t.Fatalf("%+v", got)
	}
	if got := wait(meanwhile); got.Outcome != mintmark.OutcomePending || len(got.Gateways) != 2 {
		t.Errorf("%s names %v while west may decide", got.Outcome, names(got))
	}
	s.pass(10 * time.Second)
	s.hear("east")
	s.noteMembers(t.Context())
	after := s.commit(t)
	s.hear("east")
	for range 2 {
		if got := s.Gateways(); len(got) != 1 || got[0].Gateway != "east" {
			t.Errorf("still listed: %+v", got)
		}
		if got := wait(after); got.Outcome != mintmark.OutcomeEffective || len(got.Gateways) != 1 {
			t.Errorf("a later receipt is %s and names %v", got.Outcome, names(got))
		}
		for _, id := range []mintmark.ReceiptID{before, meanwhile} {
			if got := wait(id); got.Outcome != mintmark.OutcomeByLease || len(got.Gateways) != 2 {
				t.Errorf("an earlier receipt is %s and names %v", got.Outcome, names(got))
			}
		}
		s = newStill(t, l) // and again by the next process, at once
	}
	// The name is free again.
	s.admit(t, "west")
	if got := s.Gateways(); len(got) != 2 || got[1].State != "silent" {
		t.Errorf("%+v", got)
	}
}
