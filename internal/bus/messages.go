// Package bus holds the messages between the planes: their subjects, JSON forms
// and limits. The transport is an engine's matter (jetstream).
//
// Every message carries "v":1. Members are added, never renamed; readers ignore
// what they do not know. Control's messages to gateways that change what is
// admitted (rows, snapshots, parts) are signed or named by hash inside a signed
// row; the bus is not trusted for them.
package bus

import (
	"encoding/json"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/epoch"
	"github.com/mintmark/mintmark/internal/statuslist"
)

// MaxMessage is the largest message, in bytes. Larger bodies are paged.
const MaxMessage = 4 << 20

// Subjects. A gateway may publish only below its own id and to the control
// subjects that end in its id; see jetstream's permissions.
const (
	SubjectState    = "mm.v1.state"          // control → all: StateMessage
	SubjectRecords  = "mm.v1.rec."           // + gateway: RecordBatch, JetStream
	SubjectPrepare  = "mm.v1.gw.%s.prepare"  // control → gateway, request: Prepare → Prepared
	SubjectRecorded = "mm.v1.gw.%s.recorded" // recorder → gateway: Recorded
	SubjectAck      = "mm.v1.ctl.ack."       // + gateway: Ack
	SubjectLease    = "mm.v1.ctl.lease."     // + gateway, request: LeaseRequest → Lease
	SubjectTail     = "mm.v1.ctl.tail."      // + gateway, request: TailRequest → Tail
	SubjectSnapshot = "mm.v1.ctl.snapshot."  // + gateway, request: SnapshotRequest → SnapshotPage
	SubjectParts    = "mm.v1.ctl.parts."     // + gateway, request: PartsRequest → Parts
	SubjectPull     = "mm.v1.ctl.pull."      // + gateway, request: PullRequest → PullReply
	SubjectReissue  = "mm.v1.ctl.reissue."   // + gateway, request: ReissueRequest → ReissueReply
	SubjectKeys     = "mm.v1.ctl.keys."      // + gateway, request: KeyRequest → KeyReply
	SubjectOnce     = "mm.v1.ctl.once."      // + gateway, request: OnceRequest → OnceReply
	// SubjectCredential is where a gateway replaces its own credential.
	SubjectCredential = "mm.v1.ctl.credential." // + gateway, request: CredentialRequest → CredentialReply
)

// StateMessage carries one row of the state log to everybody.
type StateMessage struct {
	V   int             `json:"v"`
	Row epoch.SignedRow `json:"row"`
}

// Prepare asks a gateway to make an epoch ready: fetch the parts it lacks,
// compile, self-test, persist.
type Prepare struct {
	V        int            `json:"v"`
	Manifest epoch.Manifest `json:"manifest"`
	// Parts holds the bodies the sender thinks are missing, by hex hash.
	Parts map[string]json.RawMessage `json:"parts,omitempty"`
	// Keep names every manifest that must stay prepared (open inverses); others
	// but the current may be dropped.
	Keep []epoch.Hash `json:"keep,omitempty"`
}

// Prepared answers Prepare.
type Prepared struct {
	V        int        `json:"v"`
	Manifest epoch.Hash `json:"manifest"`
	OK       bool       `json:"ok"`
	Reason   string     `json:"reason,omitempty"`
	// Missing lists parts to send, when OK is false for want of them.
	Missing []epoch.Hash `json:"missing,omitempty"`
}

// Ack says what a gateway has applied, durably, and that streams were cut.
type Ack struct {
	V          int                `json:"v"`
	Gateway    mintmark.GatewayID `json:"gateway"`
	Boot       mintmark.BootID    `json:"boot"`
	Term       uint64             `json:"term"`
	Epoch      uint64             `json:"epoch"`
	Seq        uint64             `json:"seq"`
	StreamsCut int                `json:"streams_cut,omitempty"`
}

// LeaseRequest renews a lease. Seq is what the gateway has applied.
type LeaseRequest struct {
	V       int                `json:"v"`
	Gateway mintmark.GatewayID `json:"gateway"`
	Boot    mintmark.BootID    `json:"boot"`
	Nonce   string             `json:"nonce"`
	Term    uint64             `json:"term"`
	Epoch   uint64             `json:"epoch"`
	Seq     uint64             `json:"seq"`
	Version string             `json:"version,omitempty"`
	// Routes lists the finite budgets it enforces, so that control can tell when
	// it is fenced: service/route → milliseconds (0 strict, -1 static).
	MaxBudgetMS int64    `json:"max_budget_ms"`
	Static      []string `json:"static,omitempty"` // static routes, at most 100
	// RowHash is of row Seq: control notices a gateway that followed another log.
	RowHash epoch.Hash `json:"row_hash,omitzero"`
	// Leaving says that the gateway has stopped deciding and will not renew.
	Leaving bool `json:"leaving,omitempty"`
	// Evidence shows that what is claimed was signed by control. It is sent when a
	// Lease asks for it (Prove).
	Evidence *Evidence `json:"evidence,omitempty"`
}

// Lease answers LeaseRequest. It takes effect once Head is applied.
type Lease struct {
	V      int    `json:"v"`
	Nonce  string `json:"nonce"`
	Term   uint64 `json:"term"`
	Head   uint64 `json:"head"`
	MS     int64  `json:"ms"`
	Reason string `json:"reason,omitempty"` // why none was granted (MS 0)
	// Wall is control's wall clock in Unix milliseconds, for display of skew only.
	Wall int64 `json:"wall,omitempty"`
	// Prove asks for Evidence: the request claims a row that control does not hold.
	Prove bool `json:"prove,omitempty"`
	// Renew says that the gateway should replace its credential now.
	Renew bool `json:"renew,omitempty"`
}

// TailRequest asks for rows after From.
type TailRequest struct {
	V     int    `json:"v"`
	From  uint64 `json:"from"`
	Limit int    `json:"limit,omitempty"`
}

// Tail answers TailRequest, in order. Truncated says that rows up to Head remain
// to be asked for; Reset that From is too old (or beyond Head) and a snapshot is
// needed.
type Tail struct {
	V         int               `json:"v"`
	Rows      []epoch.SignedRow `json:"rows"`
	Head      uint64            `json:"head"`
	Truncated bool              `json:"truncated,omitempty"`
	Reset     bool              `json:"reset,omitempty"`
	Error     string            `json:"error,omitempty"`
}

// SnapshotRequest asks for a page of the state at one head; Cursor is empty for
// the first page and echoes the last page's Next.
type SnapshotRequest struct {
	V      int    `json:"v"`
	Cursor string `json:"cursor,omitempty"`
}

// SnapshotPage is a page of the state. All pages of one walk name the same Head;
// the last has no Next. Digest is SHA-256 over the concatenated revocations as
// sent, and Signature control's Ed25519 over "mintmark-snapshot-v1\n" + the JSON
// of SnapshotHead: an incomplete or altered snapshot is refused whole.
type SnapshotPage struct {
	V           int               `json:"v"`
	Head        SnapshotHead      `json:"head"`
	KeyID       string            `json:"kid"`
	Signature   []byte            `json:"sig"`
	Revocations []json.RawMessage `json:"revocations"`
	Next        string            `json:"next,omitempty"`
	Error       string            `json:"error,omitempty"`
}

// SnapshotHead is what a snapshot's signature covers.
type SnapshotHead struct {
	Term        uint64         `json:"term"`
	Seq         uint64         `json:"seq"`
	RowHash     epoch.Hash     `json:"row_hash"` // of row Seq: the chain goes on from it
	Epoch       uint64         `json:"epoch"`
	Manifest    epoch.Manifest `json:"manifest"`
	Revocations int            `json:"revocations"` // how many
	Digest      epoch.Hash     `json:"digest"`
}

// PartsRequest asks for bodies by hash.
type PartsRequest struct {
	V      int          `json:"v"`
	Hashes []epoch.Hash `json:"hashes"`
}

// Parts answers PartsRequest, by hex hash; absent ones are unknown.
type Parts struct {
	V     int                        `json:"v"`
	Parts map[string]json.RawMessage `json:"parts"`
	Error string                     `json:"error,omitempty"`
}

// PullRequest asks about a token by the SHA-256 of its value: opaque tokens, API
// keys, and foreign tokens that need introspection (which alone carry Value).
type PullRequest struct {
	V      int                `json:"v"`
	Digest []byte             `json:"digest"`
	Kind   mintmark.TokenKind `json:"kind"`
	Issuer string             `json:"issuer,omitempty"` // foreign: name of the issuer
	Value  string             `json:"value,omitempty"`
	// Status asks for the status of a foreign token that the gateway verified, by
	// its place in its issuer's status list; Digest and Value are empty.
	Status *statuslist.Reference `json:"status,omitempty"`
}

// PullReply answers PullRequest. Token is nil when there is none. AsOf is the
// state-log number it was answered at: the gateway holds its own decision until
// it has applied that.
type PullReply struct {
	V     int             `json:"v"`
	Token *mintmark.Token `json:"token,omitempty"`
	Code  mintmark.Code   `json:"code,omitempty"` // why not, when Token is nil or not live
	AsOf  uint64          `json:"as_of"`
	Error string          `json:"error,omitempty"` // state unknown
	// TTL is how many seconds an answer to PullRequest.Status may be remembered.
	TTL int64 `json:"ttl,omitempty"`
}

// ReissueRequest asks for an internal token of the stable shape behind a
// presented one (RFC 8693 in spirit; the presented value never travels).
type ReissueRequest struct {
	V       int                `json:"v"`
	Token   mintmark.Token     `json:"token"`
	Service string             `json:"service"`
	Release mintmark.ReleaseID `json:"release"` // shape wanted
}

// ReissueReply answers ReissueRequest.
type ReissueReply struct {
	V     int             `json:"v"`
	Value string          `json:"value,omitempty"` // internal JWT, for the upstream alone
	Token *mintmark.Token `json:"token,omitempty"`
	AsOf  uint64          `json:"as_of"`
	Error string          `json:"error,omitempty"`
}

// KeyRequest reports an unknown kid of a foreign issuer: control refreshes its
// keys (collapsed, rate-limited) and, if they changed, commits them.
type KeyRequest struct {
	V      int    `json:"v"`
	Issuer string `json:"issuer"`
	KeyID  string `json:"kid"`
}

// KeyReply answers KeyRequest once the refresh is over: a gateway that has
// applied AsOf and still lacks the key may refuse the token.
type KeyReply struct {
	V     int    `json:"v"`
	AsOf  uint64 `json:"as_of"`
	Error string `json:"error,omitempty"`
}

// OnceRequest sets a single-use mark (a DPoP proof's jti) across gateways.
type OnceRequest struct {
	V       int    `json:"v"`
	Space   string `json:"space"`   // SpaceDPoP; the others are the authority's own
	Key     string `json:"key"`     // 1 to MaxOnceKey bytes
	Expires int64  `json:"expires"` // Unix seconds, at most MaxOnceLife from now
}

// Bounds of the marks that a gateway may set.
const (
	SpaceDPoP   = "dpop"
	MaxOnceKey  = 512              // bytes
	MaxOnceLife = 15 * time.Minute // a proof is good for a few minutes at most
)

// OnceReply answers OnceRequest.
type OnceReply struct {
	V     int    `json:"v"`
	Used  bool   `json:"used"`
	Error string `json:"error,omitempty"`
}

// RecordBatch is one flush of a gateway: exactly once by (Gateway, Boot, Seq).
type RecordBatch struct {
	V       int                `json:"v"`
	Gateway mintmark.GatewayID `json:"gateway"`
	Boot    mintmark.BootID    `json:"boot"`
	Seq     uint64             `json:"seq"`  // from 1, without gaps
	From    int64              `json:"from"` // Unix milliseconds
	To      int64              `json:"to"`
	Usage   []UsageDelta       `json:"usage,omitempty"`
	// Refusals recorded singly, and how many more were only counted.
	Refusals []Refusal `json:"refusals,omitempty"`
	Sampled  uint64    `json:"sampled_out,omitempty"`
	// Uses are requests on audit: every_use routes.
	Uses []Use `json:"uses,omitempty"`
	// Foreign are tokens of other issuers seen for the first time in this boot.
	Foreign []mintmark.Token `json:"foreign,omitempty"`
	// Boot record: set on the first batch of a boot. Lost says that the boot
	// before did not end cleanly, so that up to one interval of counts is missing.
	Booted bool `json:"booted,omitempty"`
	Lost   bool `json:"lost,omitempty"`
	// Coalesced is how many uses in this batch are counted without their token,
	// and RefusalsLost and ForeignLost how many of those were left out, because the
	// gateway's queue on disk was full.
	Coalesced    uint64 `json:"coalesced,omitempty"`
	RefusalsLost uint64 `json:"refusals_lost,omitempty"`
	ForeignLost  uint64 `json:"foreign_lost,omitempty"`
	// Health are packed deltas of what rollouts are judged by (health.Delta), and
	// HealthLost how many were left out because the queue on disk was full.
	Health     [][]byte `json:"health,omitempty"`
	HealthLost uint64   `json:"health_lost,omitempty"`
	// Shapes are redacted samples of requests (whatif.Shape), for asking what another
	// policy would do. They are not kept in the ledger, and left out while the queue
	// on disk is full: a sample is replaced by the next.
	Shapes []json.RawMessage `json:"shapes,omitempty"`
}

// UsageDelta counts one token on one route and outcome since the last flush.
type UsageDelta struct {
	Token   mintmark.TokenID   `json:"t,omitempty"`
	Release mintmark.ReleaseID `json:"m,omitempty"` // that minted
	Served  mintmark.ReleaseID `json:"s,omitempty"` // that served
	Client  mintmark.ClientID  `json:"c,omitempty"`
	Route   string             `json:"r"`           // service/route
	Code    mintmark.Code      `json:"o,omitempty"` // empty: admitted
	N       uint64             `json:"n"`
	First   int64              `json:"f"` // Unix milliseconds
	Last    int64              `json:"l"`
	// Issuer is for the gateway's own metrics; it does not travel: the ledger knows
	// who issued a token.
	Issuer string `json:"-"`
}

// Refusal is one refused request.
type Refusal struct {
	At      int64            `json:"at"`
	Route   string           `json:"route"`
	Code    mintmark.Code    `json:"code"`
	Token   mintmark.TokenID `json:"token,omitempty"`
	Issuer  string           `json:"iss,omitempty"`
	Address string           `json:"addr,omitempty"` // truncated to /24 or /48
	Trace   string           `json:"trace,omitempty"`
}

// Use is one admitted request on a route with audit: every_use.
type Use struct {
	At      int64             `json:"at"`
	Token   mintmark.TokenID  `json:"token"`
	Subject string            `json:"sub,omitempty"`
	Client  mintmark.ClientID `json:"client,omitempty"`
	Route   string            `json:"route"`
	Method  string            `json:"method"`
	Path    string            `json:"path"`
	Epoch   uint64            `json:"epoch"`
	Trace   string            `json:"trace,omitempty"`
}

// Recorded says that all batches of a boot up to Seq are durable in the ledger,
// and those of Also above it.
type Recorded struct {
	V    int             `json:"v"`
	Boot mintmark.BootID `json:"boot"`
	Seq  uint64          `json:"seq"`
	Also []uint64        `json:"also,omitempty"`
}
