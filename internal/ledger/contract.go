package ledger

import (
	"errors"
	"time"

	"github.com/mintmark/mintmark"
)

// Errors that callers decide by.
var (
	// ErrConflict: a stream is not at the expected version. Reload and decide
	// again; nothing was written.
	ErrConflict = errors.New("ledger: stream changed meanwhile")
	// ErrStale: the state log has moved past Batch.AsOf. Reload the snapshot and
	// decide again; nothing was written.
	ErrStale = errors.New("ledger: decided against an old state")
	// ErrUsed: a single-use mark was already used (RFC 7523 §3 jti, DPoP jti…). A
	// *UsedError says which.
	ErrUsed = errors.New("ledger: already used")
	// ErrNotFound: the read model has no such row.
	ErrNotFound = errors.New("ledger: not found")
	// ErrUnavailable: the store failed or is read-only; nothing is known to be
	// written. Answer 503, never success.
	ErrUnavailable = errors.New("ledger: unavailable")
	// ErrNewer: the data was written by a newer version than this program reads.
	ErrNewer = errors.New("ledger: newer data format")
)

// UsedError is ErrUsed with the mark's space, for who sets marks of several.
type UsedError struct{ Space string }

// Error implements error.
func (e *UsedError) Error() string { return ErrUsed.Error() + ": " + e.Space }

// Is makes it ErrUsed.
func (e *UsedError) Is(target error) bool { return target == ErrUsed }

// Any as an expected version means that the stream is not checked.
const Any = ^uint64(0)

// Expect pins a stream to the version that a decision was made against; 0 means
// that the stream must not exist, or be a document's that was removed.
type Expect struct {
	Stream  string
	Version uint64
}

// Once is a mark that may be set a single time until it expires.
type Once struct {
	Space   string // dpop, assertion, request_uri …
	Key     string // bounded to 512 bytes; hashed when longer
	Expires time.Time
}

// Batch is what one append writes: all of it or nothing. Events of one batch get
// consecutive numbers.
type Batch struct {
	Events []mintmark.Event
	Expect []Expect
	Once   []Once
	// AsOf is the state-log sequence number that the decision was made against;
	// when the log has moved on the append fails with ErrStale. 0 is unchecked.
	AsOf uint64
	// Row builds the state-log row to write in this transaction, if any. It is
	// called inside the transaction, once per attempt, with the number it gets,
	// the hash of the row before, and the issuance sequence number at that
	// moment; it returns the signed body and signature.
	Row func(seq uint64, prev [32]byte, issued uint64) (body, signature []byte, err error)
}

// Committed says what an append made durable.
type Committed struct {
	First, Last uint64 // ledger sequence numbers; 0 when no events
	At          time.Time
	RowSeq      uint64 // state-log sequence number; 0 when no row
	RowHash     [32]byte
}

// TokenRow is the read model of a token.
type TokenRow struct {
	mintmark.Token
	State       mintmark.TokenState `json:"state"`
	Handle      []byte              `json:"-"`
	Parent      mintmark.TokenID    `json:"parent,omitempty"`
	Name        string              `json:"name,omitempty"`
	Owner       string              `json:"owner,omitempty"`
	Reason      string              `json:"reason,omitempty"`     // of revocation or suspension
	By          mintmark.TokenID    `json:"by,omitempty"`         // successor
	Version     uint64              `json:"version"`              // of stream token/<id>
	FirstSeen   int64               `json:"first_seen,omitempty"` // Unix milliseconds
	LastSeen    int64               `json:"last_seen,omitempty"`
	LastGateway mintmark.GatewayID  `json:"last_gateway,omitempty"`
	LastRoute   string              `json:"last_route,omitempty"`
	Uses        uint64              `json:"uses"`    // admitted
	Refused     uint64              `json:"refused"` // refused
}

// FamilyRow is the read model of a family.
type FamilyRow struct {
	ID         mintmark.FamilyID `json:"id"`
	Grant      mintmark.GrantID  `json:"grant"`
	Current    mintmark.TokenID  `json:"current"`
	Previous   mintmark.TokenID  `json:"previous,omitempty"`
	Sealed     []byte            `json:"-"` // answer to Previous, while in grace
	GraceUntil int64             `json:"grace_until,omitempty"`
	Revoked    bool              `json:"revoked"`
	Reason     string            `json:"reason,omitempty"`
	Version    uint64            `json:"version"` // of stream family/<id>
}

// GrantRow is the read model of a grant.
type GrantRow struct {
	mintmark.GrantMade
	Revoked bool   `json:"revoked"`
	Reason  string `json:"reason,omitempty"`
	Version uint64 `json:"version"`
}

// Document is the read model of everything that is written rarely and read by
// name: clients, users, keys, resources, rollouts, receipts, codes. Its stream is
// "<kind>/<id>"; each event on that stream carries the whole new document as its
// data, or null to remove it, and the stream's version is the document's.
type Document struct {
	Kind    string
	ID      string
	Version uint64
	Body    []byte
	// Ref is a second name to find it by, unique within the kind while it exists;
	// taken from the body's top-level member "ref" when that is a string.
	Ref string
	// Expires is when it may be forgotten, from the body's top-level member
	// "expires_at" (Unix seconds); zero is never.
	Expires time.Time
	Updated time.Time
}

// Kinds of documents. A stream whose kind is not here is not a document.
const (
	DocClient   = "client"
	DocUser     = "user"
	DocKey      = "key"
	DocResource = "resource" // id "<Kind>/<name>"
	DocRollout  = "rollout"
	DocReceipt  = "receipt"
	DocGateway  = "member"
	DocJoin     = "join"
	DocCode     = "code"
	DocDevice   = "device"
	DocPAR      = "par"
	DocLogin    = "login"
	DocConsent  = "consent"
	DocPart     = "part" // id is the hex hash; body {"name":…,"body":…}
	DocSetting  = "setting"
	DocReply    = "reply"  // answers kept by idempotency key
	DocHealth   = "health" // what a rollout is judged by; id is the rollout's, or that with a dot for a snapshot's chunk
	// DocPending is a revocation that waits, or waited, for a second person.
	DocPending = "pending"
)

// Reached counts the tokens of one release and client that a selector covers.
type Reached struct {
	Release mintmark.ReleaseID
	Client  mintmark.ClientID
	// Tokens are live by their own state: issued or active, and not over.
	Tokens int64
	// Last is the Unix second at which the last of them is over, suspended ones
	// included; 0 when one never is.
	Last int64
}

// TokenFilter selects rows of the token read model; zero members do not restrict.
type TokenFilter struct {
	Selector mintmark.Selector
	Cutoff   mintmark.Cutoff
	Kinds    []mintmark.TokenKind
	// States compares the stored state with expiry at Now applied; revocations by
	// rule are applied by the caller.
	States []mintmark.TokenState
	Now    time.Time
	// After is the last id of the page before; Limit is 1 to 1,000, 0 means 100.
	After mintmark.TokenID
	Limit int
}
