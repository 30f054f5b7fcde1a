package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/epoch"
	"github.com/mintmark/mintmark/internal/ledger"
)

// Errors that callers decide by, besides those of ledger, policy and rollout.
var (
	// ErrInvalid: the request makes no sense; the text says why.
	ErrInvalid = errors.New("invalid request")
	// ErrNotFound: there is no such thing.
	ErrNotFound = errors.New("not found")
	// ErrConflict: somebody else changed it meanwhile. Nothing was done.
	ErrConflict = errors.New("changed meanwhile")
	// ErrNotSafe: the plan is not rollback-safe.
	ErrNotSafe = errors.New("not rollback-safe")
)

// ConfirmError asks for a confirmation: the request must repeat Text.
type ConfirmError struct {
	Text   string
	Tokens int64
}

// Error implements error.
func (e *ConfirmError) Error() string {
	return fmt.Sprintf("covers %d live tokens, maybe of many subjects: confirm it", e.Tokens)
}

// Change is what one row of the state log does; see fleet.Change.
type Change struct {
	Kind        string // apply, rollout, promote, rollback, issuers, revoke, restore
	Rollout     mintmark.RolloutID
	Parts       map[epoch.PartName][]byte // nil body removes
	Revocations []mintmark.Revocation
	Restores    []mintmark.RevocationID
	Also        ledger.Batch // Events, Expect and Once only
	Actor       string
	Reason      string
	Receipt     mintmark.ReceiptID // empty: made
	// What the receipt says besides.
	Release      mintmark.ReleaseID
	Tokens       int64
	Dispositions []mintmark.DispositionCount
	Approver     string
	BreakGlass   bool
	Evidence     *mintmark.Evidence
}

// Committed is what a change made durable.
type Committed struct {
	Seq, Epoch uint64
	Issued     uint64 // issuance number at that moment
	Receipt    mintmark.ReceiptID
}

// StateLog is the fleet's writing side.
type StateLog interface {
	// Commit makes a change durable and sends it out; a receipt is kept with it.
	// Errors that say nothing was written: ledger.ErrConflict, ledger.ErrStale and
	// the fleet's refusals. Any other is an unknown outcome.
	Commit(ctx context.Context, c Change) (Committed, error)
	// Stage keeps parts prepared at every live gateway under a name.
	Stage(ctx context.Context, name string, parts map[epoch.PartName][]byte) error
	Unstage(name string)
	// Wait returns the receipt when it is complete or ctx ends, then as pending.
	Wait(ctx context.Context, id mintmark.ReceiptID) (mintmark.Receipt, error)
}

// State is what is in force.
type State interface {
	Current() *epoch.Snapshot
	Settled() *epoch.Snapshot
	Gateways() []api.Gateway
}

// Tokens reads the token core.
type Tokens interface {
	TokenByID(ctx context.Context, id mintmark.TokenID) (ledger.TokenRow, error)
	Tokens(ctx context.Context, f ledger.TokenFilter) ([]ledger.TokenRow, error)
	CountLive(ctx context.Context, sel mintmark.Selector, cut mintmark.Cutoff, now time.Time) (int64, error)
	LiveBy(ctx context.Context, dimension string, now time.Time) (map[string]int64, error)
	// SeqWindow gives the first and last issuance number of own tokens issued in a
	// window; 0 where there is none.
	SeqWindow(ctx context.Context, from, to time.Time) (first, last uint64, err error)
}

// Reach divides what a selector covers; see sqlite.Store.Reach.
type Reach interface {
	Reach(ctx context.Context, sel mintmark.Selector, cut mintmark.Cutoff, now time.Time) ([]ledger.Reached, error)
}

// Store reads documents and events.
type Store interface {
	Document(ctx context.Context, kind, id string) (ledger.Document, error)
	Documents(ctx context.Context, kind, after string, limit int) ([]ledger.Document, error)
	// StreamVersion is what Expect compares: it goes on counting when a document
	// is removed.
	StreamVersion(ctx context.Context, stream string) (uint64, error)
	EventsOf(ctx context.Context, dimension, value string, after uint64, limit int) ([]mintmark.Event, error)
	UsageOf(ctx context.Context, id mintmark.TokenID) (ledger.TokenUsage, []ledger.RouteUsage, error)
}

// Ledger writes what needs no row.
type Ledger interface {
	Append(ctx context.Context, b ledger.Batch) (ledger.Committed, error)
}

// Secrets makes client secrets.
type Secrets interface {
	// NewClientSecret returns a new secret, and how it is stored: one member of the
	// client document's "secrets".
	NewClientSecret() (value string, stored json.RawMessage, err error)
}

// Config is what control is made of.
type Config struct {
	StateLog StateLog
	State    State
	Tokens   Tokens
	Reach    Reach
	Store    Store
	Rows     Rows
	Ledger   Ledger
	Secrets  Secrets
	Now      func() time.Time // wall clock
	Random   io.Reader
	// Timeout is how long Wait waits when the caller names no time; 0 is 60s.
	Timeout time.Duration
	// Spread is how long the turns of a reissue are spread, Grace how long tokens
	// that nothing can read go on; 0 are 60s and 0.
	Spread, Grace time.Duration
	// StateKeys are the public keys that verify receipts, base64url by key id.
	StateKeys map[string]string
	// Analyst judges candidates; nil: nothing is judged, and rollouts move by time and
	// people only.
	Analyst Analyst
	// Tick is how often Run looks at open rollouts; 0 is 250ms.
	Tick time.Duration
	// Recorded keeps redacted records of requests; nil keeps none.
	Recorded Recorded
	// Log takes what an operator should see; nil discards.
	Log *slog.Logger
}

// Control carries out what operators ask for.
type Control struct {
	cfg     Config
	applied func(context.Context) // after each apply; may be nil

	mu     sync.Mutex
	calls  map[string]*call // guarded by mu; by idempotency key, while in use
	frozen []freeze         // guarded by mu; the Freeze resources in force
}

// New returns a Control. It does no I/O. Call Resume once before serving.
func New(cfg Config) *Control {
	if cfg.Timeout == 0 {
		cfg.Timeout = time.Minute
	}
	if cfg.Spread == 0 {
		cfg.Spread = time.Minute
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Control{cfg: cfg, calls: map[string]*call{}}
}

func (c *Control) newID(prefix string) (string, error) {
	var random [10]byte
	if _, err := io.ReadFull(c.cfg.Random, random[:]); err != nil {
		return "", fmt.Errorf("make an identifier: %w", err)
	}
	return mintmark.NewID(prefix, c.cfg.Now(), random), nil
}

// put is the event that replaces a document; body nil removes it.
func put(kind, id, actor string, body any) (mintmark.Event, error) {
	e := mintmark.Event{Stream: kind + "/" + id, Type: mintmark.EventType(kind + ".written"), Actor: actor, Data: json.RawMessage("null")}
	if body == nil {
		e.Type = mintmark.EventType(kind + ".removed")
		return e, nil
	}
	var err error
	if e.Data, err = json.Marshal(body); err != nil {
		return e, fmt.Errorf("encode %s %s: %w", kind, id, err)
	}
	return e, nil
}

// document reads one into v; version 0 and false when there is none.
func (c *Control) document(ctx context.Context, kind, id string, v any) (version uint64, ok bool, err error) {
	if version, err = c.cfg.Store.StreamVersion(ctx, kind+"/"+id); err != nil {
		return 0, false, fmt.Errorf("read %s %s: %w", kind, id, err)
	}
	d, err := c.cfg.Store.Document(ctx, kind, id)
	if errors.Is(err, ledger.ErrNotFound) {
		return version, false, nil
	}
	if err == nil {
		err = json.Unmarshal(d.Body, v)
	}
	if err != nil {
		return 0, false, fmt.Errorf("read %s %s: %w", kind, id, err)
	}
	return d.Version, true, nil
}

// documents reads all of a kind.
func documents[T any](ctx context.Context, s Store, kind string, visit func(d ledger.Document, v T) error) error {
	for after := ""; ; {
		page, err := s.Documents(ctx, kind, after, 500)
		if err != nil {
			return fmt.Errorf("read %ss: %w", kind, err)
		}
		for _, d := range page {
			after = d.ID
			var v T
			if err := json.Unmarshal(d.Body, &v); err != nil {
				return fmt.Errorf("read %s %s: %w", kind, d.ID, err)
			}
			if err := visit(d, v); err != nil {
				return err
			}
		}
		if len(page) < 500 {
			return nil
		}
	}
}

// receipt waits for a receipt when asked to, and reads it as it stands otherwise.
// A receipt that can't be read is not an error of the deed: it has happened.
func (c *Control) receipt(ctx context.Context, id mintmark.ReceiptID, wait bool, timeout string) (*mintmark.Receipt, error) {
	d := c.cfg.Timeout
	if timeout != "" {
		var err error
		if d, err = time.ParseDuration(timeout); err != nil || d < 0 || d > 24*time.Hour {
			return nil, fmt.Errorf("%w: timeout %.40q: want a duration up to 24h, such as 30s", ErrInvalid, timeout)
		}
	}
	if id == "" {
		return nil, nil
	}
	if !wait {
		d = 0
	}
	// The caller may have gone; the receipt is for whoever asks again.
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	r, err := c.cfg.StateLog.Wait(ctx, id)
	if err != nil {
		if wait {
			c.cfg.Log.Warn("receipt not complete", "receipt", id, "error", err)
		}
		// What is known of it, but not as a success: it could not be stored as one.
		reading, done := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer done()
		if kept, err := c.Receipt(reading, id); err == nil {
			r = *kept
		}
		r.ID, r.Outcome, r.Signature = id, mintmark.OutcomePending, ""
	}
	return &r, nil
}

// checkTimeout refuses a malformed timeout before anything is done.
func (c *Control) checkTimeout(timeout string) error {
	_, err := c.receipt(context.Background(), "", false, timeout)
	return err
}

// conflict maps the ledger's optimistic errors to ours.
func conflict(err error) error {
	if errors.Is(err, ledger.ErrConflict) || errors.Is(err, ledger.ErrStale) {
		return fmt.Errorf("%w: %w", ErrConflict, err)
	}
	return err
}

// serialDoc is the stream that everything which changes parts of the epoch writes,
// so that of two who decide at once the second decides again.
const (
	serialID     = "parts"
	serialStream = ledger.DocSetting + "/" + serialID
)

// serial is its document.
type serial struct {
	// Policies are the versions given to policies, removed ones included.
	Policies map[string]uint64 `json:"policies"`
	By       string            `json:"by"`
}

func (c *Control) serial(ctx context.Context) (serial, uint64, error) {
	var s serial
	version, _, err := c.document(ctx, ledger.DocSetting, serialID, &s)
	return s, version, err
}

// with adds to a batch that it was decided at a version of the serial document.
func (s serial) with(b *ledger.Batch, version uint64, actor string) error {
	s.By = actor
	e, err := put(ledger.DocSetting, serialID, actor, s)
	b.Events = append(b.Events, e)
	b.Expect = append(b.Expect, ledger.Expect{Stream: serialStream, Version: version})
	return err
}
