// Package epoch holds what gateways decide by: the parts of an epoch, the rows of
// the state log that put them in force, and the compiled table that answers a
// request from memory.
//
// Everything here is pure. Bodies are canonical JSON, named by hash; rows are
// signed and chained; a Table is immutable.
package epoch

import (
	"encoding/json"

	"github.com/mintmark/mintmark"
)

// A Part is one content-hashed piece of an epoch. Its body is canonical JSON (see
// Encode); its hash is SHA-256 over the body. Parts evolve by optional members:
// a gateway ignores members it does not know, unless the part's Requires names a
// feature it lacks, which makes it refuse to prepare. No floats.
//
// Names of parts: "service/<name>", "keys", "issuers".
type PartName string

// Names of the parts that are not a service's.
const (
	PartKeys    PartName = "keys"
	PartIssuers PartName = "issuers"
)

// ServicePartName returns the name of a service's part.
func ServicePartName(service string) PartName { return PartName("service/" + service) }

// Keys is the part of our authority's verification keys.
type Keys struct {
	Requires []string `json:"requires,omitempty"`
	// Issuer is our authority's issuer identifier (RFC 8414 §2).
	Issuer string `json:"issuer"`
	Keys   []Key  `json:"keys"`
}

// Key is one verification key, its algorithm pinned (RFC 8725 §3.1).
type Key struct {
	ID  string          `json:"kid"`
	Alg string          `json:"alg"` // RS256 … EdDSA
	JWK json.RawMessage `json:"jwk"` // public members only
	// State is pending, active, verifying; a retired key is absent.
	State string `json:"state"`
	// Uses says what the key may sign: access, internal, id. Empty means access.
	Uses []string `json:"uses,omitempty"`
}

// Issuers is the part of other issuers whose tokens are accepted.
type Issuers struct {
	Requires []string `json:"requires,omitempty"`
	Issuers  []Issuer `json:"issuers"`
}

// Issuer is one foreign issuer.
type Issuer struct {
	Name   string `json:"name"`
	Issuer string `json:"issuer"` // exact iss
	Keys   []Key  `json:"keys,omitempty"`
	// Introspect says that tokens which are not JWTs may be asked about at control
	// (RFC 7662): those whose value starts with Prefix.
	Introspect bool   `json:"introspect,omitempty"`
	Prefix     string `json:"prefix,omitempty"`
	// Fetched is the Unix second at which the keys were last confirmed; MaxAge
	// the seconds after which they may no longer be believed (0: static keys).
	Fetched int64 `json:"fetched,omitempty"`
	MaxAge  int64 `json:"max_age,omitempty"`
	// Types are accepted values of typ, lower case without "application/"; empty
	// means at+jwt and jwt.
	Types []string `json:"types,omitempty"`
	// SkewSeconds is the allowed clock skew for exp, nbf and iat, 0 to 300.
	SkewSeconds int `json:"skew,omitempty"`
	// Claims renames where facts are found: keys are subject, client, scopes, id.
	Claims map[string]string `json:"claims,omitempty"`
	Marks  []MarkRule        `json:"marks,omitempty"`
	// StatusList says that the status of its tokens which have a place in a status
	// list is asked for at control.
	StatusList bool `json:"status_list,omitempty"`
}

// MarkRule gives a foreign token its release: the first rule whose conditions all
// hold wins. Empty conditions do not restrict.
type MarkRule struct {
	Release    mintmark.ReleaseID `json:"release"`
	KeyID      string             `json:"kid,omitempty"`
	Claim      string             `json:"claim,omitempty"` // top-level claim name
	Value      string             `json:"value,omitempty"` // its exact string value
	IssuedFrom int64              `json:"issued_from,omitempty"`
	IssuedTo   int64              `json:"issued_to,omitempty"` // inclusive; 0 unbounded
}

// Service is the part of one service: its routes, its releases, how traffic is
// split between them and what becomes of the tokens of releases taken back.
type Service struct {
	Requires []string `json:"requires,omitempty"`
	Name     string   `json:"name"`
	// Hosts the routes are served under, exact or "*.example"; empty means any.
	Hosts []string `json:"hosts,omitempty"`
	// Audience are the values of aud that this service answers to; a token must
	// have one. Empty is refused at compile.
	Audience []string `json:"audience"`
	// Issuers are the names of foreign issuers accepted here; our own authority's
	// tokens are always accepted unless OwnIssuer is false.
	Issuers   []string  `json:"issuers,omitempty"`
	OwnIssuer bool      `json:"own_issuer"`
	Routes    []Route   `json:"routes"`
	Releases  []Release `json:"releases"`
	Split     Split     `json:"split"`
	// Retired are rules for tokens marked with releases that were taken back.
	Retired []Retired `json:"retired,omitempty"`
}

// Route is one row of the routing table. Routes are tried by specificity: host
// exact before wildcard (the longer first) before any; then by path, where at the
// first segment in which two patterns differ a literal comes before {name} and
// {name} before /*, so that the longer of two prefixes wins; then with methods
// before without, then more headers before fewer. Two routes that tie and could
// both meet one request are refused at compile.
type Route struct {
	Name string `json:"name"`
	// Path is an exact path, or a prefix ending in "/*" ("/*" matches all, "/a/*"
	// what starts with "/a/"), with {name} for one segment that is not empty. It is
	// compared byte for byte with the path as sent (see PathOK); it has no escapes.
	Path    string            `json:"path"`
	Methods []string          `json:"methods,omitempty"` // upper case; empty any
	Headers map[string]string `json:"headers,omitempty"` // exact value; lower-case name
	// Public routes need no token; a presented token is still stripped.
	Public bool     `json:"public,omitempty"`
	Scopes []string `json:"scopes,omitempty"` // all are required
	// ACR and MaxAge demand step-up (RFC 9470); MaxAge in seconds since auth_time.
	ACR    []string `json:"acr,omitempty"`
	MaxAge int64    `json:"max_age,omitempty"`
	// Bound demands a sender-constrained token: "", any, dpop or mtls.
	Bound string `json:"bound,omitempty"`
	// Kinds of token accepted; empty means jwt, opaque, apikey and foreign.
	Kinds     []mintmark.TokenKind `json:"kinds,omitempty"`
	Staleness mintmark.Staleness   `json:"staleness"`
	// Audit is "" (counted) or every_use (recorded durably before the first byte
	// goes upstream).
	Audit     string     `json:"audit,omitempty"`
	RateLimit *RateLimit `json:"rate_limit,omitempty"`
	Transform *Transform `json:"transform,omitempty"`
	// TimeoutMS bounds an upstream exchange without bytes; 0 is 30,000. Retries is
	// how often an idempotent request without body may be tried on another
	// upstream after a connection failure, 0 to 5.
	TimeoutMS int64 `json:"timeout_ms,omitempty"`
	Retries   int   `json:"retries,omitempty"`
	// MaxBody in bytes; 0 is unlimited.
	MaxBody int64 `json:"max_body,omitempty"`
}

// RateLimit is a token bucket per key.
type RateLimit struct {
	// PerMinute tokens come back each minute, up to Burst.
	PerMinute int `json:"per_minute"`
	Burst     int `json:"burst"`
	// By is token, subject, client or address.
	By string `json:"by"`
}

// Transform changes a request on its way up and a response on its way down.
// Identity headers cannot be named here.
type Transform struct {
	StripPrefix string       `json:"strip_prefix,omitempty"`
	AddPrefix   string       `json:"add_prefix,omitempty"`
	Host        string       `json:"host,omitempty"` // Host sent upstream; empty keeps the client's
	Request     HeaderChange `json:"request,omitzero"`
	Response    HeaderChange `json:"response,omitzero"`
	// Claims maps a claim's name to the request header that carries its value.
	Claims map[string]string `json:"claims,omitempty"`
	// PassToken forwards the presented Authorization header; otherwise stripped.
	PassToken bool `json:"pass_token,omitempty"`
}

// HeaderChange sets and removes headers; removal comes first.
type HeaderChange struct {
	Remove []string          `json:"remove,omitempty"`
	Set    map[string]string `json:"set,omitempty"`
}

// Release is one version of the service as gateways and the authority see it.
type Release struct {
	Name      string     `json:"name"`
	Upstreams []Upstream `json:"upstreams"`
	Health    *Health    `json:"health,omitempty"`
	// Mint is how the authority mints tokens of this service under this release.
	Mint Mint `json:"mint"`
	// Accept are the shapes that this release understands: names of releases of
	// the same service, or "*" for all. Its own is always accepted.
	Accept []string `json:"accept,omitempty"`
	// Maps turn shapes it does not accept natively into its own.
	Maps []ShapeMap `json:"maps,omitempty"`
}

// Upstream is one server of a release.
type Upstream struct {
	URL    string `json:"url"`              // http, https, h2c
	Weight int    `json:"weight,omitempty"` // 0 is 1
}

// Health is an active check of each upstream.
type Health struct {
	Path       string `json:"path"`
	IntervalMS int64  `json:"interval_ms,omitempty"` // 0 is 2,000
	Unhealthy  int    `json:"unhealthy,omitempty"`   // failures in a row; 0 is 2
	Healthy    int    `json:"healthy,omitempty"`     // successes in a row; 0 is 1
}

// Mint is a release's policy of issuance, compiled.
type Mint struct {
	// Policy is the policy document's name and Version its version, for the mark.
	Policy  string `json:"policy"`
	Version uint64 `json:"version"`
	// Format is jwt or opaque; Alg the signing algorithm for jwt.
	Format string `json:"format"`
	Alg    string `json:"alg,omitempty"`
	// Audience minted; must intersect the service's for tokens to be usable.
	Audience []string `json:"audience"`
	// Scopes that may be granted, and those granted when none is asked for.
	Scopes        []string `json:"scopes"`
	DefaultScopes []string `json:"default_scopes,omitempty"`
	// ForcedScopes are added whatever was asked: how a bad release over-scopes.
	ForcedScopes []string `json:"forced_scopes,omitempty"`
	// Lifetimes in seconds; Grace is the refresh retry window.
	AccessSeconds  int64 `json:"access_seconds"`
	RefreshSeconds int64 `json:"refresh_seconds,omitempty"`
	GraceSeconds   int64 `json:"grace_seconds,omitempty"`
	// Claims are further members: a literal, or "${user.NAME}", "${client.NAME}".
	Claims map[string]json.RawMessage `json:"claims,omitempty"`
	// StatusList gives each JWT a place in a status list (package statuslist).
	StatusList bool `json:"status_list,omitempty"`
}

// ShapeMap says how tokens of other releases become readable for this one.
type ShapeMap struct {
	From string `json:"from"` // release name
	// Rename maps old claim name to new; Default fills absent claims.
	Rename  map[string]string          `json:"rename,omitempty"`
	Default map[string]json.RawMessage `json:"default,omitempty"`
	Drop    []string                   `json:"drop,omitempty"`
	Lossy   bool                       `json:"lossy,omitempty"`
}

// Split says which release a request or a minting goes to. A subject (without
// one, the client) is in the candidate's cohort when HMAC-SHA-256(Salt, subject),
// first 8 bytes big-endian modulo 10,000, is below Weight: cohorts are sticky and
// nested as the weight grows.
type Split struct {
	Stable    string `json:"stable"`
	Candidate string `json:"candidate,omitempty"`
	// Weight of the candidate in basis points, 0 to 10,000.
	Weight int    `json:"weight,omitempty"`
	Salt   string `json:"salt,omitempty"`
	// Rollout in progress; while there is one all routes are strict (probation).
	Rollout mintmark.RolloutID `json:"rollout,omitempty"`
	// Watch is what gateways look for besides what they always do; nil is nothing.
	Watch *Watch `json:"watch,omitempty"`
	// Preview says which requests meet the candidate whatever its weight, and Mirror
	// which are copied to it; nil is none. The part then Requires FeaturePreview or
	// FeatureMirror.
	Preview *Preview `json:"preview,omitempty"`
	Mirror  *Mirror  `json:"mirror,omitempty"`
}

// Preview says by what a request is a preview of the candidate: any of what is
// given. It opens nothing: the token is judged as on any request.
type Preview struct {
	// Header is a request header's name in lower case, Cookie a cookie's; at most one
	// of the two, and Value is its exact value.
	Header string `json:"header,omitempty"`
	Cookie string `json:"cookie,omitempty"`
	Value  string `json:"value,omitempty"`
	Host   string `json:"host,omitempty"` // lower case, without port
	// Clients are those whose tokens are minted under the candidate and meet it.
	Clients []string `json:"clients,omitempty"`
	// Share of the cohorts that previews, in basis points.
	Share int `json:"share,omitempty"`
}

// Mirror says which requests are copied to the candidate: a share of the cohorts,
// in basis points, of the methods listed (GET, HEAD and OPTIONS when empty), with
// bodies of at most MaxBody bytes.
type Mirror struct {
	Share   int      `json:"share"`
	Methods []string `json:"methods,omitempty"`
	MaxBody int64    `json:"max_body,omitempty"`
}

// Watch is what a rollout's health is judged by at gateways, frozen when it began.
type Watch struct {
	// LatencyUS are durations in microseconds, ascending: quantiles of the stable
	// release's answers before the rollout (see health.LatencyLevels). A subject's
	// first answer that takes longer counts. Empty: latency takes no part.
	LatencyUS []int64 `json:"latency_us,omitempty"`
	// User are metrics of one's own, in the order of their places.
	User []Expression `json:"user,omitempty"`
}

// Expression is a CEL expression of type bool over one request: true is bad.
type Expression struct {
	Name string `json:"name"`
	When string `json:"when"`
}

// Retired says what becomes of the tokens of a release that was taken back.
type Retired struct {
	Release string             `json:"release"`
	Rollout mintmark.RolloutID `json:"rollout"`
	// CutoffSeq: tokens with a higher issuance sequence (minted when the release
	// came back) are not concerned.
	CutoffSeq uint64 `json:"cutoff_seq"`
	// Rules are tried in order; the first whose conditions hold decides.
	Rules []DispositionRule `json:"rules"`
	// Reissue turns are spread: a token's turn is Start + hash(id) mod Window
	// (Unix seconds, seconds).
	Start  int64 `json:"start,omitempty"`
	Window int64 `json:"window,omitempty"`
}

// DispositionRule is one rule: a class of tokens and what becomes of it.
type DispositionRule struct {
	// Class names the condition for people and counts.
	Class string `json:"class"`
	// ScopesBeyond: the token has a scope outside this list. AudienceBeyond
	// likewise for aud. Scope: the token has this scope. All given ones must hold;
	// none given always holds.
	ScopesBeyond   []string `json:"scopes_beyond,omitempty"`
	AudienceBeyond []string `json:"audience_beyond,omitempty"`
	Scope          string   `json:"scope,omitempty"`
	// GraceUntil delays a revoke (Unix seconds); 0 is at once.
	GraceUntil  int64                `json:"grace_until,omitempty"`
	Disposition mintmark.Disposition `json:"disposition"`
}
