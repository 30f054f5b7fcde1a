package ledger

import (
	"context"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/mintmark/mintmark"
)

// Head is where the ledger stands after a commit: one row, replaced in every
// transaction.
type Head struct {
	Seq uint64 // last event
	At  int64  // its time, Unix milliseconds
	// Issued is the highest issuance sequence number that a committed event or row
	// can carry.
	Issued  uint64
	RowSeq  uint64   // last state-log row; 0 before the first
	RowHash [32]byte // its hash
	Term    uint64   // its term
	// Edge are the roots of the audit tree's complete subtrees, largest first; the
	// tree has a leaf for each event.
	Edge   []tlog.Hash
	Signed []byte // checkpoint in C2SP form, nil before the first event
}

// Rows is what folding an event may look at: the read models as they are at that
// point of the transaction. A missing row is ErrNotFound.
type Rows interface {
	TokenByID(ctx context.Context, id mintmark.TokenID) (TokenRow, error)
	Family(ctx context.Context, id mintmark.FamilyID) (FamilyRow, error)
	Grant(ctx context.Context, id mintmark.GrantID) (GrantRow, error)
}

// Fold turns one event into changes of the read models. It is a pure function of
// the event and the rows: folding all events again from nothing gives the same
// read models, which is what Verify checks. ErrUsed refuses an event that was
// folded before (a usage batch delivered twice); any other error refuses the
// append.
type Fold func(ctx context.Context, e *mintmark.Event, rows Rows) (Changes, error)

// Changes is what one event does to the read models. Later members are applied
// after earlier ones.
type Changes struct {
	NewTokens []TokenRow
	// Seen are foreign tokens: added when missing, else left alone.
	Seen     []TokenRow
	Tokens   []TokenRow // replaced
	Families []FamilyRow
	Grants   []GrantRow
	// RevokeFamilies and RevokeGrants end every token below that is not yet in a
	// final state, and for grants the families too.
	RevokeFamilies []Ended
	RevokeGrants   []Ended
	Documents      []Document // Body nil removes
	Row            *StateRow
	Usage          *Usage
	// Sealed is kept beside the read models, outside the event, until its grace is
	// over: it must not outlive it.
	Sealed *SealedAnswer
	// Data, when not nil, is stored as the event's data in place of what was
	// given: the same without what must not outlive its purpose.
	Data []byte
	// Purge drops what is over.
	Purge *Purge
}

// Ended names a family or grant that ended, and why.
type Ended struct {
	ID     string
	Reason string
	At     int64 // Unix milliseconds
}

// SealedAnswer is the answer that was given for a superseded refresh token.
type SealedAnswer struct {
	Family mintmark.FamilyID
	Body   []byte
	Until  int64 // Unix milliseconds
}

// StateRow is one stored row of the state log.
type StateRow struct {
	Seq       uint64
	Hash      [32]byte
	Prev      [32]byte
	Term      uint64
	Epoch     uint64 // committed by this row; 0 when none
	Issued    uint64
	Event     uint64 // ledger sequence number
	Body      []byte
	Signature []byte
	// Revocations and Restores are what the body says, for the table of
	// revocations in force; empty when read back.
	Revocations []ActiveRevocation
	Restores    []mintmark.RevocationID
}

// ActiveRevocation is a revocation that was neither restored nor forgotten.
type ActiveRevocation struct {
	ID     mintmark.RevocationID
	RowSeq uint64 // of the row that made it
	Forget int64  // Unix seconds; 0 never
	Body   []byte // mintmark.Revocation as it stands in the row
}

// Usage is one gateway's batch of counts, coalesced.
type Usage struct {
	Gateway mintmark.GatewayID
	Boot    mintmark.BootID
	Seq     uint64
	Tokens  []TokenUsage
	Routes  []RouteUsage
	Hours   []HourUsage
}

// TokenUsage is what one token did.
type TokenUsage struct {
	Token   mintmark.TokenID   `json:"token"`
	Uses    uint64             `json:"uses"`
	Refused uint64             `json:"refused"`
	First   int64              `json:"first_seen"` // Unix milliseconds
	Last    int64              `json:"last_seen"`
	Gateway mintmark.GatewayID `json:"gateway,omitempty"`
	Route   string             `json:"route,omitempty"`
}

// RouteUsage is what one token did on one route with one outcome.
type RouteUsage struct {
	Token  mintmark.TokenID   `json:"token"`
	Route  string             `json:"route"`
	Served mintmark.ReleaseID `json:"served,omitempty"`
	Code   mintmark.Code      `json:"code,omitempty"`
	N      uint64             `json:"n"`
	First  int64              `json:"first_seen"`
	Last   int64              `json:"last_seen"`
}

// HourUsage totals an hour.
type HourUsage struct {
	Hour    int64              `json:"hour"`              // Unix seconds, start
	Release mintmark.ReleaseID `json:"release,omitempty"` // that minted
	Served  mintmark.ReleaseID `json:"served,omitempty"`
	Route   string             `json:"route"`
	Code    mintmark.Code      `json:"code,omitempty"`
	N       uint64             `json:"n"`
}

// Purge drops what was over before a moment: documents and sealed answers past
// their expiry, forgotten revocations, expired single-use marks.
type Purge struct {
	Before int64 `json:"before"` // Unix milliseconds
	Limit  int   `json:"limit"`  // rows of each sort
}

// EventPurged is appended by Ledger.Purge, so that folding the events again drops
// the same rows.
const EventPurged mintmark.EventType = "ledger.purged"

// StoredEvent is an event with the salt of its commitment.
type StoredEvent struct {
	mintmark.Event
	Salt [32]byte
}

// Tx is the one write transaction. Its methods are called by one goroutine. After
// any error but those of Nest's function the transaction is rolled back.
type Tx interface {
	Rows
	// Nest runs fn inside a savepoint: when fn fails, what it wrote is undone and
	// its error returned as it is; broken says that the transaction itself failed.
	Nest(fn func() error) (err error, broken bool)
	// Version returns the version of a stream, 0 when there is none.
	Version(ctx context.Context, stream string) (uint64, error)
	// Once sets a single-use mark or returns ErrUsed.
	Once(ctx context.Context, o Once, now time.Time) error
	// Gone reports whether the stream is a document's and the document was removed
	// or purged, so that it may be made anew.
	Gone(ctx context.Context, stream string) (bool, error)
	// Write adds an event.
	Write(ctx context.Context, e *StoredEvent) error
	// Apply makes an event's changes. What breaks uniqueness is ErrConflict.
	Apply(ctx context.Context, c *Changes) error
	// Commit adds the stored hashes from index at on, replaces the head, and makes
	// all durable. When it fails the outcome is unknown.
	Commit(ctx context.Context, at int64, hashes []tlog.Hash, head Head) error
	Rollback() error
}

// Engine is what the ledger needs of a store. One Ledger owns an engine's writes.
type Engine interface {
	// Begin starts the write transaction.
	Begin(ctx context.Context) (Tx, error)
	// Head reads where the store stands; the zero Head when it is empty.
	Head(ctx context.Context) (Head, error)
	// Reopen closes and opens the writing connection again and forces to disk what
	// is there, so that Head afterwards tells what truly survived.
	Reopen(ctx context.Context) error
}
