// Package spool keeps a gateway's records on its own disk until the recorder has
// them. It answers: is anything that this gateway counted or promised to record
// lost, if it, the bus or control dies now?
//
// Each interval the counts are taken from memory, numbered and stored, then sent;
// they are deleted when the recorder says that the ledger has them. Uses on routes
// with audit: every_use are stored before Record returns. A process killed
// outright loses at most the counts of its last interval, and the next boot's
// first record says so (Lost).
//
// The disk it takes is bounded. Past the bound nothing is dropped silently:
// Record fails, so that those routes answer 503, and counts go on exactly but
// without their tokens; how many says RecordBatch.Coalesced, and RefusalsLost and
// ForeignLost count what was left out.
package spool

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/bus"
)

// Errors of Record.
var (
	// ErrFull: the spool has no room. Answer 503.
	ErrFull = errors.New("spool: full")
	// ErrStopped: Run has ended, or has not begun.
	ErrStopped = errors.New("spool: not running")
)

// Store keeps batches on disk. Its methods may be called by two goroutines at a
// time.
type Store interface {
	// Begin notes that a boot begins, durably, and says whether the one before
	// ended without End.
	Begin(ctx context.Context, boot mintmark.BootID) (lost bool, err error)
	// End notes that a boot ended with everything stored.
	End(ctx context.Context, boot mintmark.BootID) error
	// Put stores a batch, durably on return, and returns the bytes now stored.
	Put(ctx context.Context, boot mintmark.BootID, seq uint64, body []byte) (size int64, err error)
	// Pending returns batches after an id, oldest first, up to limit.
	Pending(ctx context.Context, after int64, limit int) ([]bus.Spooled, error)
	// Delete drops a boot's batches up to upto and those of also, and returns the
	// bytes still stored.
	Delete(ctx context.Context, boot mintmark.BootID, upto uint64, also []uint64) (size int64, err error)
}

// Counter is where counts come from (usage.Counter).
type Counter interface {
	// Flush moves everything counted since the last flush into b.
	Flush(b *bus.RecordBatch)
	// Full receives when a flush should not wait for its turn.
	Full() <-chan struct{}
}

// Config is what a spool is made of. All members are required but those that say
// what zero means.
type Config struct {
	Gateway mintmark.GatewayID
	Boot    mintmark.BootID
	Store   Store
	Counter Counter
	Records bus.Records
	Bus     bus.Conn
	Now     func() time.Time
	// Every is the interval of flushes; 0 is a second.
	Every time.Duration
	// MaxBytes bounds the disk taken; 0 is 256 MiB.
	MaxBytes int64
	// Resend is after how long without an answer everything is sent again; 0 is 10 s.
	Resend time.Duration
	Log    *slog.Logger // nil discards
}

// Spool carries a gateway's records to the recorder. Record may be called by any
// number of goroutines while Run runs.
type Spool struct {
	cfg  Config
	uses chan use
	done chan struct{} // closed when Run takes no more uses
	wake chan struct{} // something new to send

	mu   sync.Mutex
	size int64     // guarded by mu; bytes on disk
	told time.Time // guarded by mu; when the recorder last answered

	// Owned by Run's loop.
	seq  uint64
	from time.Time
	held *bus.RecordBatch // could not be stored yet, coalesced
}

type use struct {
	use  bus.Use
	done chan error
}

// New returns a spool that does nothing yet. Call Run.
func New(cfg Config) *Spool {
	if cfg.Every == 0 {
		cfg.Every = time.Second
	}
	if cfg.MaxBytes == 0 {
		cfg.MaxBytes = 256 << 20
	}
	if cfg.Resend == 0 {
		cfg.Resend = 10 * time.Second
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Spool{cfg: cfg, uses: make(chan use), done: make(chan struct{}), wake: make(chan struct{}, 1)}
}

// Record stores one use durably. Uses at the same time share one write.
func (s *Spool) Record(ctx context.Context, u bus.Use) error {
	if s.full() {
		return ErrFull
	}
	w := use{u, make(chan error, 1)}
	select {
	case s.uses <- w:
	case <-s.done:
		return ErrStopped
	case <-ctx.Done():
		return fmt.Errorf("record use: %w", ctx.Err())
	}
	select {
	case err := <-w.done:
		return err
	case <-ctx.Done():
		// It may yet be stored: recorded and not served is the harmless way round.
		return fmt.Errorf("record use: %w", ctx.Err())
	}
}

func (s *Spool) full() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.size >= s.cfg.MaxBytes
}

// Size returns the bytes on disk and their bound.
func (s *Spool) Size() (size, bound int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.size, s.cfg.MaxBytes
}

// Run stores and sends until ctx ends, then stores the last counts.
func (s *Spool) Run(ctx context.Context) error {
	defer close(s.done)
	// What is stored last must be stored although ctx has ended.
	durable := context.WithoutCancel(ctx)
	lost, err := s.cfg.Store.Begin(durable, s.cfg.Boot)
	if err != nil {
		return fmt.Errorf("open the record spool: %w", err)
	}
	s.from = s.cfg.Now()
	s.store(durable, &bus.RecordBatch{Booted: true, Lost: lost})
	stop, err := s.cfg.Bus.Subscribe(fmt.Sprintf(bus.SubjectRecorded, s.cfg.Gateway), s.recorded)
	if err != nil {
		return fmt.Errorf("hear the recorder: %w", err)
	}
	defer stop()
	var parts sync.WaitGroup
	parts.Go(func() { s.send(ctx) })
	s.loop(ctx, durable)
	parts.Wait()
	s.flush(durable)
	if s.held != nil {
		return fmt.Errorf("the last counts could not be stored: %d uses are lost", uses(s.held))
	}
	if err := s.cfg.Store.End(durable, s.cfg.Boot); err != nil {
		return fmt.Errorf("close the record spool: %w", err)
	}
	return nil
}

// loop flushes counts and stores uses until ctx ends.
func (s *Spool) loop(ctx, durable context.Context) {
	t := time.NewTicker(s.cfg.Every)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			s.flush(durable)
		case <-s.cfg.Counter.Full():
			s.flush(durable)
		case u := <-s.uses:
			s.record(durable, u)
		}
	}
}

const maxUses = 512

// record stores one use together with those that wait already.
func (s *Spool) record(ctx context.Context, first use) {
	waiting := []use{first}
	b := &bus.RecordBatch{Uses: []bus.Use{first.use}}
	for more := true; more && len(waiting) < maxUses; {
		select {
		case u := <-s.uses:
			waiting = append(waiting, u)
			b.Uses = append(b.Uses, u.use)
		default:
			more = false
		}
	}
	err := s.put(ctx, b)
	for _, w := range waiting {
		w.done <- err
	}
}

// flush takes the counts and stores them.
func (s *Spool) flush(ctx context.Context) {
	b := &bus.RecordBatch{}
	s.cfg.Counter.Flush(b)
	if s.held != nil {
		merge(s.held, b)
		b, s.held = s.held, nil
	}
	if empty(b) {
		s.from = s.cfg.Now()
		return
	}
	s.store(ctx, b)
}

// store stores a batch of counts, or holds it back in a form that does not grow.
func (s *Spool) store(ctx context.Context, b *bus.RecordBatch) {
	err := error(ErrFull)
	if !s.full() {
		err = s.put(ctx, b)
	}
	if err != nil {
		s.cfg.Log.Error("records not stored; counting on without tokens", "error", err)
		s.held = coalesce(b)
	}
}

// put stores a batch, cut up as needed. Only a stored number is used up; on an
// error b holds what was not stored.
func (s *Spool) put(ctx context.Context, b *bus.RecordBatch) error {
	now := s.cfg.Now()
	parts := split(b)
	for i, part := range parts {
		if err := s.putOne(ctx, part, now); err != nil {
			for _, rest := range parts[max(i, 1):] {
				merge(b, rest) // back to the caller: nothing is lost between two parts
			}
			return fmt.Errorf("store records: %w", err)
		}
		*part = bus.RecordBatch{} // stored: a failure of the next must not count it again
	}
	s.from = now
	select {
	case s.wake <- struct{}{}:
	default:
	}
	return nil
}

// putOne numbers and stores one sendable batch.
func (s *Spool) putOne(ctx context.Context, b *bus.RecordBatch, now time.Time) error {
	b.V, b.Gateway, b.Boot, b.Seq = bus.Version, s.cfg.Gateway, s.cfg.Boot, s.seq+1
	b.From, b.To = s.from.UnixMilli(), now.UnixMilli()
	body, err := bus.Encode(b)
	if err != nil {
		return err
	}
	size, err := s.cfg.Store.Put(ctx, s.cfg.Boot, b.Seq, body)
	if err != nil {
		return err
	}
	s.seq++
	s.mu.Lock()
	defer s.mu.Unlock()
	s.size = size
	return nil
}
