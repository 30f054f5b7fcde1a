// Package ledger answers: what happened, in which order, and did it happen for
// good?
//
// Append is the only write. Appends that wait are committed together in one
// transaction, each in its own savepoint; the read models and the audit tree
// change in the same transaction, so state and evidence cannot part. One Ledger
// owns a store's writes; any number of readers go past it to the engine.
//
// Result, order and durability: when Append returns nil, the batch is on disk
// (fsynced) and will be in every later read. When it returns ErrConflict,
// ErrStale or ErrUsed, nothing was written. When it returns ErrUnavailable,
// nothing is known to be written: the batch may or may not be found after the
// store has been read again.
package ledger

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/mintmark/mintmark"
)

// Config is what a ledger is made of.
type Config struct {
	Engine Engine
	// Fold is projection.Fold.
	Fold Fold
	// Sign signs a checkpoint of the audit tree (auditlog.Signer.Checkpoint).
	Sign func(size uint64, root tlog.Hash) ([]byte, error)
	Now  func() time.Time
	// Random gives salts.
	Random io.Reader
	// Queue is how many appends may wait (0: 4,096); one more is refused with
	// ErrUnavailable rather than kept without bound.
	Queue int
	// Group is how many appends one transaction takes (0: 256).
	Group int
	// Fail is called before each step of a commit, with the step's name; an error
	// makes the step fail. For tests; nil in production.
	Fail func(step string) error
}

// Ledger is the one writer of a store. Append, Reserve, Head and Purge may be
// called by any number of goroutines.
type Ledger struct {
	cfg    Config
	queue  chan *pending
	issued atomic.Uint64
	head   atomic.Pointer[Head]
	opened atomic.Bool

	mu     sync.RWMutex
	closed bool // guarded by mu; no append may be queued once set

	// Owned by Run.
	broken bool // the last commit's outcome is unknown: read the store again
}

// pending is one append that waits for its group.
type pending struct {
	batch *Batch
	// taken goes from 0 to 1 (owned by Run) or to 2 (abandoned by its caller).
	taken atomic.Int32
	done  chan struct{} // closed by Run
	out   Committed
	err   error
}

// New returns a ledger that does nothing yet. Call Open, then Run.
func New(cfg Config) *Ledger {
	if cfg.Queue <= 0 {
		cfg.Queue = 4096
	}
	if cfg.Group <= 0 {
		cfg.Group = 256
	}
	l := &Ledger{cfg: cfg, queue: make(chan *pending, cfg.Queue)}
	l.head.Store(&Head{})
	return l
}

// Open reads where the store stands and restarts the issuance sequence above
// everything ever committed. Call it once, before Run and before Reserve.
func (l *Ledger) Open(ctx context.Context) error {
	h, err := l.cfg.Engine.Head(ctx)
	if err != nil {
		return fmt.Errorf("read the ledger's head: %w", err)
	}
	l.head.Store(&h)
	l.issued.Store(h.Issued)
	l.opened.Store(true)
	return nil
}

// Head returns where the ledger stood after the last commit that was reported.
// The caller must not change it.
func (l *Ledger) Head() Head { return *l.head.Load() }

// Reserve returns the next issuance sequence number, for the mark of a token that
// is about to be minted. Numbers grow strictly, also over restarts; one that is
// not used leaves a gap and does no harm.
func (l *Ledger) Reserve() uint64 {
	if !l.opened.Load() {
		panic("ledger: Reserve before Open")
	}
	return l.issued.Add(1)
}

// Issued returns the issuance sequence number reserved last.
func (l *Ledger) Issued() uint64 { return l.issued.Load() }

// Append writes a batch: all of it or nothing. It returns once the batch is
// durable or refused; see the package comment. When ctx ends before the batch is
// taken up, nothing is written and ctx's error is returned; afterwards the
// outcome is waited for, so that it is never in doubt because of a caller's haste.
func (l *Ledger) Append(ctx context.Context, b Batch) (Committed, error) {
	if err := check(&b); err != nil {
		return Committed{}, err
	}
	p := &pending{batch: &b, done: make(chan struct{})}
	l.mu.RLock()
	if l.closed {
		l.mu.RUnlock()
		return Committed{}, fmt.Errorf("%w: shutting down", ErrUnavailable)
	}
	select {
	case l.queue <- p:
		l.mu.RUnlock()
	default:
		l.mu.RUnlock()
		return Committed{}, fmt.Errorf("%w: %d appends are waiting already", ErrUnavailable, l.cfg.Queue)
	}
	select {
	case <-p.done:
	case <-ctx.Done():
		if p.taken.CompareAndSwap(0, 2) {
			return Committed{}, ctx.Err()
		}
		<-p.done
	}
	return p.out, p.err
}

// Purge drops what was over before now: documents and sealed answers past their
// expiry, forgotten revocations, expired single-use marks; at most limit of each.
// It is an event like any other, so that folding all events again drops the same.
func (l *Ledger) Purge(ctx context.Context, now time.Time, limit int) error {
	data := fmt.Appendf(nil, `{"before":%d,"limit":%d}`, now.UnixMilli(), limit)
	_, err := l.Append(ctx, Batch{Events: []mintmark.Event{{
		Stream: "ledger", Type: EventPurged, Actor: "system:ledger", Data: data,
	}}})
	return err
}

// Limits of one append.
const (
	maxEvents = 1000
	maxStream = 600
	maxData   = 8 << 20
)

// check refuses what could never be written.
func check(b *Batch) error {
	if len(b.Events) == 0 && b.Row == nil && len(b.Once) == 0 {
		return errors.New("ledger: empty batch")
	}
	if len(b.Events) > maxEvents {
		return fmt.Errorf("ledger: %d events in one batch: at most %d", len(b.Events), maxEvents)
	}
	for i := range b.Events {
		e := &b.Events[i]
		switch {
		case e.Stream == "" || len(e.Stream) > maxStream || e.Type == "":
			return fmt.Errorf("ledger: event %d: bad stream %.60q or type %.60q", i, e.Stream, e.Type)
		case len(e.Data) > maxData:
			return fmt.Errorf("ledger: event %d: data of %d bytes: at most %d", i, len(e.Data), maxData)
		case e.Type == mintmark.EventStateCommitted:
			return fmt.Errorf("ledger: event %d: state.committed is written by Batch.Row alone", i)
		}
		if id, ok := tokenStream(e.Stream); ok && e.Token != id {
			if e.Token != "" {
				return fmt.Errorf("ledger: event %d: token %.60q on stream %.60q", i, e.Token, e.Stream)
			}
			e.Token = id
		}
	}
	return nil
}

// tokenStream returns the token whose stream it is.
func tokenStream(stream string) (mintmark.TokenID, bool) {
	const p = "token/"
	if len(stream) > len(p) && stream[:len(p)] == p {
		return mintmark.TokenID(stream[len(p):]), true
	}
	return "", false
}
