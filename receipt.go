package mintmark

import "time"

// Reach says how a receipt's fact reached one gateway.
type Reach string

// Reaches.
const (
	ReachApplied Reach = "applied" // acknowledged the sequence number
	ReachFenced  Reach = "fenced"  // silent; all its affected finite budgets are provably over
	ReachStatic  Reach = "static"  // silent, and has static routes: excepted from the guarantee
	ReachPending Reach = "pending" // silent and not yet fenced
)

// Outcome is the receipt's answer as a whole.
type Outcome string

// Outcomes, with the exit code that the command line maps them to.
const (
	OutcomeEffective Outcome = "effective"          // every live gateway acknowledged: exit 0
	OutcomeByLease   Outcome = "effective-by-lease" // some fenced: exit 13
	OutcomeStatic    Outcome = "static-excepted"    // some static not covered: exit 14
	OutcomePending   Outcome = "pending"            // deadline hit; durable, goes on by itself: exit 15
)

// GatewayReach is one gateway's line in a receipt.
type GatewayReach struct {
	Gateway GatewayID `json:"gateway"`
	Reach   Reach     `json:"reach"`
	// Applied is how long after the commit the acknowledgement (or the fencing)
	// was known at control, in nanoseconds of control's monotonic clock.
	Applied time.Duration `json:"applied_ns"`
	// StreamsCut counts open streams ended before the acknowledgement.
	StreamsCut int      `json:"streams_cut,omitempty"`
	Static     []string `json:"static_routes,omitempty"`
}

// Receipt is the signed account of a revocation or a rollback. It holds no token
// values and no personal data beyond what the selector names.
type Receipt struct {
	ID      ReceiptID `json:"id"`
	Kind    string    `json:"kind"` // revoke, suspend, restore, rollback, promote, apply
	Term    uint64    `json:"term"`
	Seq     uint64    `json:"seq"`   // state-log sequence number
	Epoch   uint64    `json:"epoch"` // epoch in force at Seq
	Rollout RolloutID `json:"rollout,omitempty"`
	Release ReleaseID `json:"release,omitempty"` // the release taken back
	Actor   string    `json:"actor"`
	Reason  string    `json:"reason,omitempty"`
	// Approver is the second person, where one was wanted; Actor asked for it.
	Approver string `json:"approver,omitempty"`
	// BreakGlass says that the second person was done without, in an emergency.
	BreakGlass bool    `json:"break_glass,omitempty"`
	Outcome    Outcome `json:"outcome"`
	// Committed and Returned are control's wall clock, for people; Elapsed is
	// monotonic.
	Committed    time.Time          `json:"committed"`
	Returned     time.Time          `json:"returned"`
	Elapsed      time.Duration      `json:"elapsed_ns"`
	Gateways     []GatewayReach     `json:"gateways"`
	Revocations  []Revocation       `json:"revocations,omitempty"`
	Dispositions []DispositionCount `json:"dispositions,omitempty"`
	// Tokens is how many live tokens of ours the selector covered at commit.
	Tokens int64 `json:"tokens"`
	// Evidence is why Mintmark took the release back by itself; nil when a person
	// did.
	Evidence *Evidence `json:"evidence,omitempty"`
	// RowHash is the hex SHA-256 of the state-log row that made it happen.
	RowHash string `json:"row_hash"`
	// Signature is base64url Ed25519 over ReceiptDomain and the receipt's canonical
	// JSON (members sorted by name, no white space) with an empty signature member;
	// KeyID names control's state key.
	KeyID     string `json:"kid"`
	Signature string `json:"signature"`
}

// ReceiptDomain begins what a receipt's signature covers, so that it can't be taken
// for one of anything else that the state key signs.
const ReceiptDomain = "mintmark-receipt-v1\n"

// DispositionCount says what became of one class of a release's live tokens.
type DispositionCount struct {
	Release     ReleaseID   `json:"release"`
	Class       string      `json:"class"` // native, over_scoped, wrong_audience, unmapped…
	Disposition Disposition `json:"disposition"`
	Tokens      int64       `json:"tokens"`
}
