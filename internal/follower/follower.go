// Package follower is the gateway's side of the state log. It answers: by what
// state may this gateway decide right now, and how old may that state be?
//
// Rows are applied in order, each one verified, persisted and only then put in
// force and acknowledged: an acknowledged row survives the death of the process,
// and the gateway never goes back below what it persisted. Gaps are pulled. What
// is unsigned, altered, partial or empty changes nothing: absence of information
// neither revokes nor restores.
//
// Current, Freshness, CatchUp and the questions to control may be called by any
// number of goroutines. Run owns everything else: one goroutine applies.
package follower

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/bus"
	"github.com/mintmark/mintmark/internal/epoch"
	"github.com/mintmark/mintmark/internal/revocation"
)

// Errors that callers decide by.
var (
	// ErrBehind: the state log could not be applied as far as was asked in time.
	// Answer 503, never a refusal.
	ErrBehind = errors.New("follower: state not known yet")
	// ErrForged: a row, part or snapshot does not verify. It changed nothing.
	ErrForged = errors.New("follower: state refused")
)

// Store keeps what was applied, on the gateway's own disk. Its methods are called
// by one goroutine at a time.
type Store interface {
	// Load returns what was applied last and the revocations in force then; the
	// zero Applied when the gateway is new.
	Load(ctx context.Context) (bus.Applied, []mintmark.Revocation, error)
	// Apply replaces what was applied, adds and drops revocations, in one
	// transaction that is durable (fsynced) on return. With reset the revocations
	// kept so far are dropped first.
	Apply(ctx context.Context, a bus.Applied, add []mintmark.Revocation, drop []mintmark.RevocationID, reset bool) error
	// Bodies returns those of the parts and manifests named that it has.
	Bodies(ctx context.Context, hashes []epoch.Hash) (map[epoch.Hash][]byte, error)
	// PutBodies adds bodies, durably, and may drop all that are neither added nor
	// in keep; a nil keep drops none.
	PutBodies(ctx context.Context, bodies map[epoch.Hash][]byte, keep []epoch.Hash) error
}

// Config is what a follower is made of. All members are required but those that
// say what zero means.
type Config struct {
	Gateway mintmark.GatewayID
	Boot    mintmark.BootID
	Bus     bus.Conn
	Store   Store
	// StateKey returns the public key of a kid that may sign the state, or nil.
	StateKey func(kid string) ed25519.PublicKey
	// Clock is monotonic and counts suspend (boottime.Now).
	Clock  func() time.Duration
	Random io.Reader
	// Cut ends open streams whose tokens a snapshot refuses and says how many; it
	// is called after the snapshot is in force and before it is acknowledged. Nil
	// cuts none.
	Cut func(*epoch.Snapshot) int
	// Lease is the lease to expect before the first answer; 0 is 3 s.
	Lease time.Duration
	// Wait bounds questions to control; 0 is 2 s.
	Wait time.Duration
	// Credential is replaced when control says that it is time; nil is a gateway in
	// control's own process, which has none. CredentialPause is the least time
	// between two attempts; 0 is 5 s.
	Credential      Credential
	CredentialPause time.Duration
	// Up receives whenever the bus is reached again: what was missed is then asked
	// for at once. Nil never does.
	Up      <-chan struct{}
	Version string
	Log     *slog.Logger // nil discards
}

// Follower follows the state log.
type Follower struct {
	cfg     Config
	current atomic.Pointer[epoch.Snapshot]
	lease   leaseState
	shown   atomic.Pointer[bus.Evidence] // of what is applied; nil when there is none
	rows    chan epoch.SignedRow         // from the bus to Run
	kick    chan struct{}                // a walk to the head is wanted
	hurry   chan struct{}                // a renewal of the lease is wanted
	// expiring receives when the credential is to be replaced.
	expiring chan struct{}

	mu      sync.Mutex
	waiting []chan error // guarded by mu; answered by the next walk that starts

	// Guarded by work: held while state is prepared or applied.
	work     chan struct{}
	applied  bus.Applied
	set      *revocation.Set
	prepared map[epoch.Hash]*ready
	keep     []epoch.Hash // manifests to hold ready
}

// ready is an epoch that was compiled.
type ready struct {
	manifest epoch.Manifest
	table    *epoch.Table
}

// New returns a follower that does nothing yet. Call Open, then Run.
func New(cfg Config) *Follower {
	if cfg.Lease == 0 {
		cfg.Lease = 3 * time.Second
	}
	if cfg.Wait == 0 {
		cfg.Wait = 2 * time.Second
	}
	if cfg.CredentialPause == 0 {
		cfg.CredentialPause = defaultCredentialPause
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Follower{
		cfg: cfg, rows: make(chan epoch.SignedRow, 1024), kick: make(chan struct{}, 1), work: make(chan struct{}, 1),
		hurry: make(chan struct{}, 1), expiring: make(chan struct{}, 1),
		prepared: map[epoch.Hash]*ready{},
	}
}

// Open puts in force what was persisted. Every finite budget counts as spent
// until the first renewal.
func (f *Follower) Open(ctx context.Context) error {
	f.work <- struct{}{}
	defer func() { <-f.work }()
	a, facts, err := f.cfg.Store.Load(ctx)
	if err != nil {
		return fmt.Errorf("load the gateway's state: %w", err)
	}
	e, err := f.stored(ctx, a.Manifest)
	if err != nil {
		return fmt.Errorf("load the gateway's state: %w; remove its folder and join again", err)
	}
	set := revocation.NewSet()
	set.Apply(facts...)
	f.install(a, e, set)
	f.lease.init(f.cfg.Clock, f.cfg.Lease)
	return nil
}

// install puts a state in force. Call with work held.
func (f *Follower) install(a bus.Applied, e *ready, set *revocation.Set) {
	f.applied, f.set = a, set
	f.shown.Store(a.Evidence)
	f.current.Store(&epoch.Snapshot{
		Term: a.Term, Epoch: a.Epoch, Seq: a.Seq, RowHash: a.RowHash, Manifest: e.manifest, Table: e.table, Revoked: set,
	})
}

// Current is the state to decide by. Pin it once a request. It is nil before Open.
func (f *Follower) Current() *epoch.Snapshot { return f.current.Load() }

// Run follows the log until ctx ends, then says goodbye to control.
func (f *Follower) Run(ctx context.Context) error {
	stopState, err := f.cfg.Bus.Subscribe(bus.SubjectState, f.hear)
	if err != nil {
		return fmt.Errorf("follow the state log: %w", err)
	}
	defer stopState()
	stopPrepare, err := f.cfg.Bus.Subscribe(fmt.Sprintf(bus.SubjectPrepare, f.cfg.Gateway), f.prepare)
	if err != nil {
		return fmt.Errorf("follow the state log: %w", err)
	}
	defer stopPrepare()
	var parts sync.WaitGroup
	parts.Go(func() { f.renewals(ctx) })
	if f.cfg.Credential != nil {
		parts.Go(func() { f.credentials(ctx) })
	}
	f.follow(ctx)
	parts.Wait()
	f.goodbye(context.WithoutCancel(ctx))
	f.release(ctx.Err())
	return nil
}

// hear takes a row off the bus. When too many wait the row is dropped: the walk
// that the next one starts finds it.
func (f *Follower) hear(_ context.Context, _ string, data []byte) []byte {
	var m bus.StateMessage
	if bus.Decode(data, &m) != nil {
		return nil
	}
	select {
	case f.rows <- m.Row:
	default:
		f.want()
	}
	return nil
}

// want asks for a walk to the head.
func (f *Follower) want() { signal(f.kick) }

// signal notes that something is wanted; one note serves for all until it is taken.
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// follow applies rows as they come, and walks to the head when told to, at the
// start, and again while it can't get there.
func (f *Follower) follow(ctx context.Context) {
	f.want()
	retry := time.NewTimer(time.Hour)
	defer retry.Stop()
	pause := minPause
	for {
		var err error
		select {
		case <-ctx.Done():
			return
		case row := <-f.rows:
			err = f.take(ctx, row)
		case <-f.kick:
			err = f.walk(ctx)
		case <-f.cfg.Up:
			pause = minPause
			signal(f.hurry)
			err = f.walk(ctx)
		case <-retry.C:
			err = f.walk(ctx)
		}
		if err == nil {
			pause = minPause
			continue
		}
		if ctx.Err() == nil {
			f.cfg.Log.Warn("state log not followed", "error", err)
		}
		// Half is left to chance: gateways that lost control together do not come
		// back together.
		retry.Reset(pause/2 + rand.N(pause/2))
		pause = min(2*pause, maxPause)
	}
}

// Pauses between attempts to follow the log: the first come at once, so that a
// healed partition is over soon.
const (
	minPause = 20 * time.Millisecond
	maxPause = 2 * time.Second
)

// CatchUp returns once the state is applied up to seq, or, when seq is 0, up to
// the head as it is after the call. ErrBehind when that does not come about
// within Config.Wait. Calls at the same time share one question to control.
func (f *Follower) CatchUp(ctx context.Context, seq uint64) error {
	if s := f.Current(); seq != 0 && s != nil && s.Seq >= seq {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, f.cfg.Wait)
	defer cancel()
	done := make(chan error, 1)
	f.mu.Lock()
	f.waiting = append(f.waiting, done)
	f.mu.Unlock()
	f.want()
	select {
	case err := <-done:
		if err == nil && f.Current().Seq < seq {
			err = fmt.Errorf("%w: at row %d, asked for %d", ErrBehind, f.Current().Seq, seq)
		}
		return err
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", ErrBehind, ctx.Err())
	}
}

// take the waiters that a walk which starts now will answer.
func (f *Follower) waiters() []chan error {
	f.mu.Lock()
	defer f.mu.Unlock()
	w := f.waiting
	f.waiting = nil
	return w
}

// release answers everybody who still waits.
func (f *Follower) release(err error) {
	for _, w := range f.waiters() {
		w <- fmt.Errorf("%w: %w", ErrBehind, err)
	}
}
