package policy

import (
	"encoding/json"

	"github.com/mintmark/mintmark"
)

// APIVersion is the version of the document form that this program reads.
const APIVersion = "mintmark/v1"

// Kinds of resource.
const (
	KindService = "Service"
	KindRelease = "Release"
	KindPolicy  = "Policy"
	KindIssuer  = "Issuer"
	KindClient  = "Client"
	KindUser    = "User"
	KindGuard   = "Guard"
	KindFreeze  = "Freeze"
	KindRollout = "Rollout" // started, not applied
)

// Kinds lists the kinds in the order in which they are printed.
func Kinds() []string {
	return []string{KindIssuer, KindPolicy, KindRelease, KindService, KindClient, KindUser, KindGuard, KindFreeze, KindRollout}
}

// blank returns a pointer to an empty resource of a kind, or nil.
func blank(kind string) any {
	switch kind {
	case KindService:
		return &Service{}
	case KindRelease:
		return &Release{}
	case KindPolicy:
		return &Policy{}
	case KindIssuer:
		return &Issuer{}
	case KindClient:
		return &Client{}
	case KindUser:
		return &User{}
	case KindGuard:
		return &Guard{}
	case KindFreeze:
		return &Freeze{}
	case KindRollout:
		return &Rollout{}
	}
	return nil
}

// The tags of the types below are read by the decoder and the schema: check says
// what a field must be (see check.go), doc is the field's description.

// Header is what every document begins with.
type Header struct {
	APIVersion string `json:"apiVersion" check:"required,enum=mintmark/v1" doc:"Version of the document form: mintmark/v1."`
	Kind       string `json:"kind" check:"required" doc:"What the document declares."`
	Name       string `json:"name" check:"required" doc:"Name of the resource, unique within its kind."`
}

// Service is a service behind the gateways: where it is reached and by what route.
type Service struct {
	Header
	Description string   `json:"description,omitempty" doc:"For people."`
	Hosts       []string `json:"hosts,omitempty" check:"host" doc:"Host names it is served under, exact or *.example; none means any."`
	Audience    []string `json:"audience" check:"required,nonempty" doc:"Values of aud that the service answers to; a token must have one of them."`
	Issuers     []string `json:"issuers,omitempty" doc:"Names of Issuer resources whose tokens are accepted."`
	RefuseOwn   bool     `json:"refuse_own,omitempty" doc:"Refuse the tokens of Mintmark's own authority."`
	Release     string   `json:"release,omitempty" doc:"The release that is stable when the service is first applied; later changes are rollouts. May be left out when there is one release only."`
	Routes      []Route  `json:"routes" check:"required,nonempty" doc:"The routing table. More specific routes win, whatever their order."`
}

// Route is one row of the routing table.
type Route struct {
	Name      string             `json:"name" check:"required,name" doc:"Name of the route, unique within the service."`
	Path      string             `json:"path" check:"required,path" doc:"An exact path, or a prefix that ends in /*; {name} stands for one segment."`
	Methods   []string           `json:"methods,omitempty" check:"method" doc:"Methods in upper case; none means any."`
	Headers   map[string]string  `json:"headers,omitempty" doc:"Headers that must be present with exactly this value."`
	Public    bool               `json:"public,omitempty" doc:"Needs no token; a presented token is stripped all the same."`
	Scopes    []string           `json:"scopes,omitempty" doc:"Scopes that are required, all of them."`
	ACR       []string           `json:"acr,omitempty" doc:"Authentication contexts of which one is required (RFC 9470)."`
	MaxAge    Duration           `json:"max_age,omitempty" doc:"Greatest age of the user's authentication (RFC 9470)."`
	Bound     string             `json:"bound,omitempty" check:"enum=any|dpop|mtls" doc:"Demand a sender-constrained token."`
	Kinds     []string           `json:"kinds,omitempty" check:"enum=jwt|opaque|apikey|foreign" doc:"Kinds of token that are accepted; none means all of them."`
	Staleness mintmark.Staleness `json:"staleness,omitempty" default:"30s" doc:"How long a gateway goes on deciding without hearing from control: strict, static, or a duration from 1s to 24h. 30s when left out."`
	Audit     string             `json:"audit,omitempty" check:"enum=every_use" doc:"every_use records each request durably before it goes upstream."`
	RateLimit *RateLimit         `json:"rate_limit,omitempty" doc:"Limit on requests."`
	Transform *Transform         `json:"transform,omitempty" doc:"Changes to request and response."`
	Timeout   Duration           `json:"timeout,omitempty" doc:"Longest time without bytes from upstream; 30s when left out."`
	Retries   int                `json:"retries,omitempty" check:"min=0,max=5" doc:"Tries on another upstream after a failure to connect, for idempotent requests without body."`
	MaxBody   int64              `json:"max_body,omitempty" check:"min=0" doc:"Largest request body in bytes; 0 is unlimited."`
}

// RateLimit is a token bucket for each key.
type RateLimit struct {
	PerMinute int    `json:"per_minute" check:"required,min=1,max=60000000" doc:"Requests that come back each minute."`
	Burst     int    `json:"burst" check:"required,min=1,max=1000000" doc:"Requests at once."`
	By        string `json:"by" check:"required,enum=token|subject|client|address" doc:"What is counted apart."`
}

// Transform changes a request on its way up and a response on its way down.
type Transform struct {
	StripPrefix string            `json:"strip_prefix,omitempty" doc:"Taken off the path's front."`
	AddPrefix   string            `json:"add_prefix,omitempty" doc:"Put at the path's front."`
	Host        string            `json:"host,omitempty" doc:"Host sent upstream; the client's when left out."`
	Request     *HeaderChange     `json:"request,omitempty" doc:"Request headers."`
	Response    *HeaderChange     `json:"response,omitempty" doc:"Response headers."`
	Claims      map[string]string `json:"claims,omitempty" doc:"Claim to the request header that carries its value."`
	PassToken   bool              `json:"pass_token,omitempty" doc:"Forward the presented Authorization header."`
}

// HeaderChange removes headers, then sets some.
type HeaderChange struct {
	Remove []string          `json:"remove,omitempty" doc:"Names of headers."`
	Set    map[string]string `json:"set,omitempty" doc:"Header to value."`
}

// Release is one version of a service.
type Release struct {
	Header
	Description string     `json:"description,omitempty" doc:"For people."`
	Policy      string     `json:"policy" check:"required" doc:"Name of the Policy under which its tokens are minted."`
	Upstreams   []Upstream `json:"upstreams" check:"required,nonempty" doc:"Servers of the release."`
	Health      *Health    `json:"health,omitempty" doc:"Active check of each upstream."`
	Accept      []string   `json:"accept,omitempty" doc:"Releases of the same service whose tokens it understands, besides its own and those of its policy; * for all."`
	Maps        []Map      `json:"maps,omitempty" doc:"How tokens of other releases become readable."`
}

// Upstream is one server of a release.
type Upstream struct {
	URL    string `json:"url" check:"required,upstream" doc:"http, https or h2c."`
	Weight int    `json:"weight,omitempty" check:"min=0,max=10000" doc:"Share among the upstreams; 1 when left out."`
}

// Health is an active check of each upstream.
type Health struct {
	Path      string   `json:"path" check:"required,path" doc:"Path that answers 2xx while healthy."`
	Interval  Duration `json:"interval,omitempty" doc:"Time between checks; 2s when left out."`
	Unhealthy int      `json:"unhealthy,omitempty" check:"min=0,max=100" doc:"Failures in a row that take it out; 2 when left out."`
	Healthy   int      `json:"healthy,omitempty" check:"min=0,max=100" doc:"Successes in a row that bring it back; 1 when left out."`
}

// Map says how tokens of another release become readable.
type Map struct {
	From    string                     `json:"from" check:"required,name" doc:"Name of the release."`
	Rename  map[string]string          `json:"rename,omitempty" doc:"Old claim to new claim."`
	Default map[string]json.RawMessage `json:"default,omitempty" doc:"Values for claims that are absent."`
	Drop    []string                   `json:"drop,omitempty" doc:"Claims to leave out."`
	Lossy   bool                       `json:"lossy,omitempty" doc:"The mapping loses something: tokens are replaced soon."`
}

// Policy says how tokens are minted and which are understood. A policy may extend
// another: what it leaves out is inherited, lists are replaced, claims are merged.
type Policy struct {
	Header
	Description   string                     `json:"description,omitempty" doc:"For people."`
	Extends       string                     `json:"extends,omitempty" doc:"Name of the Policy to inherit from."`
	Format        string                     `json:"format,omitempty" check:"enum=jwt|opaque" doc:"Form of access tokens; jwt when left out."`
	Alg           string                     `json:"alg,omitempty" check:"enum=ES256|ES384|RS256|PS256|EdDSA" doc:"Signing algorithm; ES256 when left out."`
	Audience      []string                   `json:"audience,omitempty" doc:"Values of aud that are minted."`
	Scopes        []string                   `json:"scopes,omitempty" doc:"Scopes that may be granted."`
	DefaultScopes []string                   `json:"default_scopes,omitempty" doc:"Scopes granted when none is asked for."`
	ForcedScopes  []string                   `json:"forced_scopes,omitempty" doc:"Scopes added whatever was asked for."`
	Access        Duration                   `json:"access,omitempty" doc:"Lifetime of access tokens; 10m when left out."`
	Refresh       Duration                   `json:"refresh,omitempty" doc:"Lifetime of refresh tokens; 30d when left out."`
	Grace         Duration                   `json:"grace,omitempty" doc:"How long the predecessor of a refresh token is answered with the same successor; 30s when left out."`
	Claims        map[string]json.RawMessage `json:"claims,omitempty" doc:"Further claims: a literal, or ${user.NAME}, ${client.NAME}."`
	Accept        []string                   `json:"accept,omitempty" doc:"Releases of the same service whose tokens are understood; * for all."`
	StatusList    bool                       `json:"status_list,omitempty" doc:"Give each JWT a place in a published status list (Token Status List), for those who verify tokens without a gateway."`
}

// Issuer is another issuer whose tokens services may accept.
type Issuer struct {
	Header
	Issuer     string            `json:"issuer" check:"required,url" doc:"The exact value of iss."`
	Discovery  bool              `json:"discovery,omitempty" doc:"Find the keys by the issuer's metadata."`
	JWKSURI    string            `json:"jwks_uri,omitempty" check:"url" doc:"Where its keys are."`
	JWKS       json.RawMessage   `json:"jwks,omitempty" doc:"Its keys themselves, as a JWK set of public keys."`
	Algs       []string          `json:"algs,omitempty" check:"enum=ES256|ES384|ES512|RS256|RS384|RS512|PS256|PS384|PS512|EdDSA" doc:"Algorithms that are believed; those its keys name when left out."`
	MaxAge     Duration          `json:"max_age,omitempty" doc:"How long fetched keys are believed without being confirmed; 24h when left out."`
	Introspect *Introspect       `json:"introspect,omitempty" doc:"Ask the issuer about tokens that are not JWTs (RFC 7662)."`
	Types      []string          `json:"types,omitempty" doc:"Accepted values of typ; at+jwt and jwt when left out."`
	Skew       Duration          `json:"skew,omitempty" doc:"Allowed difference of clocks, up to 5m."`
	Claims     map[string]string `json:"claims,omitempty" doc:"Where facts are found: subject, client, scopes or id to a claim's name."`
	Marks      []Mark            `json:"marks,omitempty" doc:"Rules that give its tokens a release; the first that fits wins."`
	StatusList bool              `json:"status_list,omitempty" doc:"Obey the status lists that its tokens refer to (Token Status List): a token whose status can't be learnt is answered 503, one without a reference is accepted."`
}

// Introspect is how an issuer is asked about a token.
type Introspect struct {
	URL        string `json:"url" check:"required,url" doc:"The introspection endpoint."`
	ClientID   string `json:"client_id" check:"required" doc:"As whom to ask."`
	SecretFile string `json:"secret_file,omitempty" doc:"File that holds the client's secret, in the directory secrets.files of control's configuration."`
	Prefix     string `json:"prefix,omitempty" doc:"Only tokens whose value begins with this."`
}

// Mark gives a foreign token its release; conditions left out do not restrict.
type Mark struct {
	Release    string `json:"release" check:"required" doc:"service/name of the release."`
	KeyID      string `json:"kid,omitempty" doc:"The key that signed."`
	Claim      string `json:"claim,omitempty" doc:"A top-level claim …"`
	Value      string `json:"value,omitempty" doc:"… and its exact text."`
	IssuedFrom int64  `json:"issued_from,omitempty" check:"min=0" doc:"First issue time, in Unix seconds."`
	IssuedTo   int64  `json:"issued_to,omitempty" check:"min=0" doc:"Last issue time, in Unix seconds."`
}

// Client is an OAuth client; its name is the client_id. Secrets are never
// declared: they are made when the client is, and shown once.
type Client struct {
	Header
	Title            string                     `json:"title,omitempty" doc:"What people are shown."`
	Auth             string                     `json:"auth,omitempty" check:"enum=none|client_secret_basic|client_secret_post|private_key_jwt|tls_client_auth|self_signed_tls_client_auth" doc:"How it proves itself; none when left out."`
	JWKS             json.RawMessage            `json:"jwks,omitempty" doc:"Its public keys, for private_key_jwt."`
	TLSSubject       string                     `json:"tls_subject,omitempty" doc:"Subject or DNS name of its certificate, for tls_client_auth."`
	TLSThumbprints   []string                   `json:"tls_thumbprints,omitempty" doc:"Base64url SHA-256 of its certificates, for self_signed_tls_client_auth."`
	RedirectURIs     []string                   `json:"redirect_uris,omitempty" check:"redirect" doc:"Where codes may be sent, compared exactly."`
	Grants           []string                   `json:"grants,omitempty" check:"enum=authorization_code|client_credentials|refresh_token|device_code|token_exchange|jwt_bearer" doc:"Grants it may use; authorization_code and refresh_token when left out."`
	Scopes           []string                   `json:"scopes,omitempty" doc:"Scopes it may be granted."`
	Audiences        []string                   `json:"audiences,omitempty" doc:"Audiences it may ask for; any when left out."`
	FirstParty       bool                       `json:"first_party,omitempty" doc:"Needs no consent page."`
	Introspect       bool                       `json:"introspect,omitempty" doc:"May ask about tokens of other clients."`
	RequirePAR       bool                       `json:"require_par,omitempty" doc:"Must push its authorization requests (RFC 9126)."`
	Bound            string                     `json:"bound,omitempty" check:"enum=dpop|mtls" doc:"Its tokens must be sender-constrained."`
	AssertionIssuers []string                   `json:"assertion_issuers,omitempty" doc:"Names of Issuer resources whose assertions it may trade in (RFC 7523)."`
	Hook             *Hook                      `json:"renewal_hook,omitempty" doc:"Callout at each refresh that says whether the user still is one."`
	Claims           map[string]json.RawMessage `json:"claims,omitempty" doc:"For ${client.NAME} in policies."`
	Disabled         bool                       `json:"disabled,omitempty" doc:"Refused at every endpoint."`
}

// Hook is a callout at refresh.
type Hook struct {
	URL       string   `json:"url" check:"required,url" doc:"Where to ask."`
	Timeout   Duration `json:"timeout,omitempty" doc:"2s when left out, at most 10s."`
	Outage    string   `json:"outage,omitempty" check:"enum=deny|allow|allow-until" doc:"What to do without an answer; deny when left out."`
	OutageFor Duration `json:"outage_for,omitempty" doc:"For allow-until: how old the last answer may be."`
}

// User is a local account; passwords are set by the admin API, never declared.
type User struct {
	Header
	Subject  string                     `json:"sub,omitempty" doc:"The sub of its tokens; the name when left out. It must never change."`
	Claims   map[string]json.RawMessage `json:"claims,omitempty" doc:"For ID tokens, userinfo, and ${user.NAME} in policies."`
	Disabled bool                       `json:"disabled,omitempty" doc:"May not sign in."`
}
