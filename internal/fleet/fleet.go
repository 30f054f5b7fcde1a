package fleet

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/bus"
	"github.com/mintmark/mintmark/internal/epoch"
	"github.com/mintmark/mintmark/internal/ledger"
)

// Errors that callers decide by; a Commit also returns those of the ledger.
var (
	// ErrRefused: a gateway refused to prepare the epoch. Nothing was committed.
	ErrRefused = errors.New("fleet: a gateway refused to prepare")
	// ErrBehind: a gateway has seen more of the state log than this ledger holds,
	// so the ledger was restored from an old backup. Nothing is committed and no
	// lease granted until a newer ledger is in place.
	ErrBehind = errors.New("fleet: the ledger is older than what gateways have applied")
	// ErrUnknown: whether the last commit happened is not known, because the
	// ledger failed and can't be read. The next use tries again to find out.
	ErrUnknown = errors.New("fleet: outcome of the last commit unknown")
	// ErrPart: a part or manifest does not compile. Nothing was committed.
	ErrPart = errors.New("fleet: epoch does not compile")
	// ErrJoin: the join token is unknown, used or expired, or the name is taken.
	ErrJoin = errors.New("fleet: join refused")
	// ErrMember: there is no such gateway.
	ErrMember = errors.New("fleet: no such gateway")
)

// Ledger is where the state log is written. See ledger.Ledger.
type Ledger interface {
	Append(ctx context.Context, b ledger.Batch) (ledger.Committed, error)
	Head() ledger.Head
}

// Store reads what was written, in the state after the last append.
type Store interface {
	// StateRows returns up to limit rows of the state log from a number on.
	StateRows(ctx context.Context, from uint64, limit int) ([]ledger.StateRow, error)
	// ActiveRevocations pages through the revocations in force, after the given
	// one; the zero one starts.
	ActiveRevocations(ctx context.Context, after ledger.ActiveRevocation, limit int) ([]ledger.ActiveRevocation, error)
	Document(ctx context.Context, kind, id string) (ledger.Document, error)
	// Documents pages through a kind by id, after the given one.
	Documents(ctx context.Context, kind, after string, limit int) ([]ledger.Document, error)
}

// Answerer answers what gateways ask about single tokens: the authority.
type Answerer interface {
	Lookup(ctx context.Context, r bus.PullRequest) bus.PullReply
	Reissue(ctx context.Context, r bus.ReissueRequest) bus.ReissueReply
}

// Config is what a fleet is made of. All members are required but those that say
// what zero means.
type Config struct {
	Ledger Ledger
	Store  Store
	Bus    bus.Conn
	// Key is the state key, Ed25519; KeyID its name in rows and receipts.
	Key   crypto.Signer
	KeyID string
	// OldKeys verify rows signed before the state key was changed.
	OldKeys map[string]ed25519.PublicKey
	// Clock is monotonic and counts suspend (boottime.Now). Now is the wall
	// clock, for people.
	Clock  func() time.Duration
	Now    func() time.Time
	Random io.Reader
	// Lease is how long a lease lasts; 0 is DefaultLease.
	Lease time.Duration
	// Credential is how long a gateway's credential is good; 0 is
	// DefaultCredential. A gateway replaces it when half of that is over.
	// CredentialGrace is how much longer one is accepted all the same, of a gateway
	// that was away: it then replaces it at once. 0 is none: it has to join again.
	Credential, CredentialGrace time.Duration
	// Expel cuts the connections that a gateway made with an NKEY, which Member no
	// longer knows. Nil cuts none: they last until they break.
	Expel func(id mintmark.GatewayID, nkey string)
	// PrepareWait bounds how long a silent gateway can delay a commit; 0 is 2 s.
	PrepareWait time.Duration
	// Log takes what an operator should see; nil discards.
	Log *slog.Logger
}

// Fleet is the state log's writer and the book of its followers.
type Fleet struct {
	cfg    Config
	writer chan struct{} // holds a value while a change is being made: one writer

	current atomic.Pointer[epoch.Snapshot]

	mu       sync.Mutex
	changed  chan struct{}                                      // guarded by mu; closed and replaced at each change
	members  map[mintmark.GatewayID]*member                     // guarded by mu
	byKey    map[string]mintmark.GatewayID                      // guarded by mu; by NKEY
	epochs   map[uint64]*past                                   // guarded by mu; epochs that a member may still be on
	rows     []epoch.SignedRow                                  // guarded by mu; the newest, without gaps, up to current
	when     map[uint64]time.Duration                           // guarded by mu; when rows were committed
	staged   map[string]map[epoch.PartName][]byte               // guarded by mu
	behind   error                                              // guarded by mu; set for good
	answerer Answerer                                           // guarded by mu
	keys     func(context.Context, bus.KeyRequest) bus.KeyReply // guarded by mu
	pages    *pages                                             // guarded by mu; the last snapshot served
	refused  uint64                                             // guarded by mu; claims not believed
	pending  map[mintmark.ReceiptID]bool                        // guarded by mu; receipts not completed, as far as read
	sought   bool                                               // guarded by mu; pending has those of earlier processes too

	due     int64         // guarded by mu; for the next row's Forget; 0 none
	planned time.Duration // guarded by mu; when due was last looked for

	// Owned by whoever holds writer.
	bodies  map[epoch.Hash][]byte // of the current epoch and the staged ones
	unsure  bool                  // the last append's outcome is unknown
	term    uint64
	started time.Duration
	anchor  time.Time // wall clock at started, or what the ledger last knew of it when that is less
}

// past is an epoch that was in force.
type past struct {
	snapshot *epoch.Snapshot
	budgets  map[string]budget // by service
}

// New returns a fleet that does nothing yet. Call Open, then Run.
func New(cfg Config) *Fleet {
	if cfg.Lease == 0 {
		cfg.Lease = DefaultLease
	}
	if cfg.Credential == 0 {
		cfg.Credential = DefaultCredential
	}
	if cfg.PrepareWait == 0 {
		cfg.PrepareWait = 2 * time.Second
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Fleet{
		cfg: cfg, writer: make(chan struct{}, 1), changed: make(chan struct{}),
		members: map[mintmark.GatewayID]*member{}, byKey: map[string]mintmark.GatewayID{},
		epochs: map[uint64]*past{}, when: map[uint64]time.Duration{},
		staged: map[string]map[epoch.PartName][]byte{}, bodies: map[epoch.Hash][]byte{},
		pending: map[mintmark.ReceiptID]bool{},
	}
}

// Answers sets who answers questions about tokens and foreign keys; until then
// they are answered "state unknown". Call it before Run.
func (f *Fleet) Answers(a Answerer, keys func(context.Context, bus.KeyRequest) bus.KeyReply) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answerer, f.keys = a, keys
}

// Current is the snapshot at the log's head. It is nil before Open.
func (f *Fleet) Current() *epoch.Snapshot { return f.current.Load() }

// Settled is the newest epoch that every gateway which may hold a lease has
// acknowledged: what may be minted is decided by it, so that no gateway meets a
// shape it does not know. It is Current when there are no gateways.
func (f *Fleet) Settled() *epoch.Snapshot {
	f.mu.Lock()
	defer f.mu.Unlock()
	cur := f.current.Load()
	if cur == nil {
		return nil
	}
	now := f.cfg.Clock()
	lowest := cur.Epoch
	for _, m := range f.members {
		if m.maybeLeased(now, f.cfg.Lease) && m.applied.Epoch < lowest {
			lowest = m.applied.Epoch
		}
	}
	// Below the oldest one kept there is nothing to mint by; the oldest is the
	// nearest to what such a gateway has, and it is catching up.
	best := cur
	for n, p := range f.epochs {
		if n >= lowest && n < best.Epoch {
			best = p.snapshot
		}
	}
	return best
}

// Changed returns a channel that is closed at the next commit, acknowledgement or
// lease: for those who wait for Settled or a receipt.
func (f *Fleet) Changed() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.changed
}

// broadcast wakes all who wait. Call with mu held.
func (f *Fleet) broadcast() {
	close(f.changed)
	f.changed = make(chan struct{})
}

// StateKey returns the public key that verifies rows, or nil for an unknown id.
func (f *Fleet) StateKey(kid string) ed25519.PublicKey {
	if kid == f.cfg.KeyID {
		pub, _ := f.cfg.Key.Public().(ed25519.PublicKey)
		return pub
	}
	return f.cfg.OldKeys[kid]
}

// lock takes the writer's place, or gives up when ctx ends.
func (f *Fleet) lock(ctx context.Context) error {
	select {
	case f.writer <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for the state log's writer: %w", ctx.Err())
	}
}

func (f *Fleet) unlock() { <-f.writer }
