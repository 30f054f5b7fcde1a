// Package admission answers: may this request pass, and if not, exactly why?
//
// Decide is pure and does not allocate. It takes plain facts, never an HTTP
// request, so that any engine and any foreign gateway's dialect can ask it.
package admission

import (
	"net/netip"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/epoch"
)

// Scheme is how a token was presented.
type Scheme uint8

// Schemes.
const (
	SchemeNone    Scheme = iota
	SchemeBearer         // Authorization: Bearer (RFC 6750)
	SchemeDPoP           // Authorization: DPoP (RFC 9449)
	SchemeAPIKey         // X-API-Key
	SchemeSeveral        // more than one: refused (RFC 6750 §2)
)

// Freshness is what a gateway knows of how old its state may be.
type Freshness struct {
	// Leased says that a lease is in effect now.
	Leased bool
	// Age is the time since the sending of the last renewal that took effect, on
	// the gateway's monotonic clock; negative when there was none since the start.
	Age time.Duration
	// AtHead says that, for this request, the head of the state log was asked for
	// and everything up to it is in the snapshot.
	AtHead bool
}

// Fenced reports whether a route of the given staleness budget may no longer
// decide by what it has.
func (f Freshness) Fenced(b mintmark.Staleness) bool {
	switch {
	case f.Leased || b.IsStatic():
		return false
	case b.IsStrict() || f.Age < 0:
		return true
	}
	return f.Age > b.Budget
}

// Request is the facts of one request. All fields are borrowed for the call.
type Request struct {
	// Snapshot is pinned for the whole request.
	Snapshot *epoch.Snapshot
	// Method, Host, Path and Header are what Table.Match takes. Route is its
	// answer when the caller has matched already; nil and Decide matches.
	Method, Host, Path string
	Header             func(name string) string
	Route              *epoch.RouteEntry
	Peer               netip.Addr
	Scheme             Scheme
	// Token is the verified token, nil when there is none; then Code says why not
	// (CodeNone only with SchemeNone or on public routes).
	Token *mintmark.Token
	Code  mintmark.Code
	// AsOf is the state-log number at which control answered about the token; 0
	// when it was not asked.
	AsOf uint64
	// X5T is the base64url SHA-256 thumbprint of the client certificate on this
	// connection; JKT that of the key of a valid DPoP proof for this request.
	X5T, JKT string
	// ProofCode is why a presented proof was refused.
	ProofCode mintmark.Code
	Fresh     Freshness
	Now       time.Time
	// Skew is how far clocks may differ (RFC 7519 §4.1.4); foreign issuers' own
	// replaces it. Our authority's tokens are judged by it as well.
	Skew time.Duration
	// Memo is the token's, or nil.
	Memo *Memo
}

// Verdict is the answer. A denial is a verdict, not an error.
type Verdict struct {
	Allow bool
	Code  mintmark.Code // why not; CodeNone when allowed
	// Scope and ACR say what would have been enough, for the challenge.
	Scopes []string
	ACR    []string
	MaxAge int64
	// Route and Release (to serve) are set as far as they were found.
	Route   *epoch.RouteEntry
	Release *epoch.ReleaseEntry
	// Fate is the token's disposition at that release.
	Fate epoch.Fate
	// Revocation is the fact that refused, if one did.
	Revocation *mintmark.Revocation
	// Fenced says that the route's staleness budget is over.
	Fenced bool
	// NeedCatchUp says that the answer may be out of date: apply the state log up
	// to NeedSeq (0: its head, which must have NeedEpoch), pin again, verify and
	// decide again with Fresh.AtHead. Code is state_unknown until then.
	NeedCatchUp bool
	NeedSeq     uint64
	NeedEpoch   uint64
	// RenewAfter is in how many seconds the client should renew; negative is no
	// hint. MustRenew says that the token lives on borrowed time.
	RenewAfter int64
	MustRenew  bool
}
