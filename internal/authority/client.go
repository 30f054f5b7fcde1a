package authority

import (
	"encoding/json"
	"slices"

	"github.com/mintmark/mintmark"
)

// Client authentication methods (RFC 7591 §2, RFC 8705 §2).
const (
	AuthNone          = "none"
	AuthBasic         = "client_secret_basic"
	AuthPost          = "client_secret_post"
	AuthPrivateKeyJWT = "private_key_jwt"
	AuthTLS           = "tls_client_auth"
	AuthSelfSigned    = "self_signed_tls_client_auth"
)

// Grant types.
const (
	GrantCode     = "authorization_code"
	GrantClient   = "client_credentials"
	GrantRefresh  = "refresh_token"
	GrantDevice   = "urn:ietf:params:oauth:grant-type:device_code"
	GrantExchange = "urn:ietf:params:oauth:grant-type:token-exchange"
	GrantJWT      = "urn:ietf:params:oauth:grant-type:jwt-bearer"
)

// Client is an OAuth client: the body of the ledger document client/<id>.
// Members are added, never renamed; a reader ignores those it does not know.
type Client struct {
	ID   mintmark.ClientID `json:"id"`
	Name string            `json:"name,omitempty"` // shown to people; empty is the id
	// AuthMethod is how the client proves itself; empty is client_secret_basic
	// when it has a secret, else none (a public client).
	AuthMethod string `json:"auth_method,omitempty"`
	// Secrets are the accepted secrets; two during a rotation.
	Secrets []ClientSecret `json:"secrets,omitempty"`
	// JWKS are the public keys for private_key_jwt and, by x5c or the keys'
	// thumbprints, for self_signed_tls_client_auth (RFC 7517 §5).
	JWKS json.RawMessage `json:"jwks,omitempty"`
	// TLSSubject is the certificate's subject DN (RFC 2253 form) or a DNS name of
	// it, for tls_client_auth; TLSThumbprints are base64url SHA-256 of
	// certificates for self_signed_tls_client_auth.
	TLSSubject     string   `json:"tls_subject,omitempty"`
	TLSThumbprints []string `json:"tls_thumbprints,omitempty"`
	// RedirectURIs are compared exactly; only the port of a loopback address may
	// differ (RFC 8252 §7.3).
	RedirectURIs []string `json:"redirect_uris,omitempty"`
	// GrantTypes the client may use; empty is authorization_code and refresh_token.
	GrantTypes []string `json:"grant_types,omitempty"`
	// Scopes the client may be granted, OpenID ones included.
	Scopes []string `json:"scopes,omitempty"`
	// Audiences the client may ask for with resource= (RFC 8707) or audience=; the
	// first is used when it asks for none. Empty allows every service.
	Audiences []string `json:"audiences,omitempty"`
	// FirstParty clients need no consent page.
	FirstParty bool `json:"first_party,omitempty"`
	// Introspect lets a resource server ask about tokens of other clients.
	Introspect bool `json:"introspect,omitempty"`
	// RequirePAR refuses authorization requests that were not pushed (RFC 9126 §6).
	RequirePAR bool `json:"require_par,omitempty"`
	// Bound demands sender-constrained tokens: "", dpop or mtls.
	Bound string `json:"bound,omitempty"`
	// AssertionIssuers are the foreign issuers whose assertions this client may
	// trade in (RFC 7523 §2.1), by name.
	AssertionIssuers []string `json:"assertion_issuers,omitempty"`
	// Hook re-validates the user at each refresh.
	Hook *Hook `json:"renewal_hook,omitempty"`
	// Claims are for ${client.NAME} in mint policies.
	Claims   map[string]json.RawMessage `json:"claims,omitempty"`
	Disabled bool                       `json:"disabled,omitempty"`

	version uint64 // of stream client/<id>
}

// ClientSecret is one accepted secret, as a keyed hash.
type ClientSecret struct {
	// Hash is HMAC-SHA-256 under the pepper of the secret's SHA-256, like a
	// token's handle: secrets are made by us with 256 bits, so that no slow hash
	// is needed.
	Hash []byte `json:"hash"`
	// Expires is a Unix second; 0 is never.
	Expires int64 `json:"expires,omitempty"`
	Created int64 `json:"created,omitempty"`
}

// Hook is a callout at refresh that says whether the user is still one.
type Hook struct {
	URL       string `json:"url"`
	TimeoutMS int64  `json:"timeout_ms,omitempty"` // 0 is 2,000; at most 10,000
	// Outage says what to do when the callout gives no answer: deny (the default),
	// allow, or allow-until: allow while the last answer is at most OutageSeconds
	// old.
	Outage        string `json:"outage,omitempty"`
	OutageSeconds int64  `json:"outage_seconds,omitempty"`
}

// User is a local account: the body of the ledger document user/<name>.
type User struct {
	Name string `json:"name"` // what is typed at sign-in; the document's id
	// Subject is the sub of the user's tokens; empty is Name. It never changes.
	Subject string `json:"sub,omitempty"`
	// Password is an argon2id hash in PHC form; empty allows no password.
	Password string `json:"password,omitempty"`
	Disabled bool   `json:"disabled,omitempty"`
	// Claims are for ID tokens, userinfo and ${user.NAME} in mint policies.
	Claims map[string]json.RawMessage `json:"claims,omitempty"`
	// Ref is "sub:" and the subject: users are found by either.
	Ref string `json:"ref,omitempty"`
}

// Sub returns the user's subject.
func (u *User) Sub() string {
	if u.Subject != "" {
		return u.Subject
	}
	return u.Name
}

// Public reports whether the client cannot prove itself (RFC 6749 §2.1).
func (c *Client) Public() bool { return c.Method() == AuthNone }

// Method returns the client's authentication method.
func (c *Client) Method() string {
	switch {
	case c.AuthMethod != "":
		return c.AuthMethod
	case len(c.Secrets) > 0:
		return AuthBasic
	}
	return AuthNone
}

// May reports whether the client may use a grant type.
func (c *Client) May(grant string) bool {
	if len(c.GrantTypes) == 0 {
		return grant == GrantCode || grant == GrantRefresh
	}
	return slices.Contains(c.GrantTypes, grant)
}

// Title returns what people are shown.
func (c *Client) Title() string {
	if c.Name != "" {
		return c.Name
	}
	return string(c.ID)
}

// mayAsk reports whether the client may ask for an audience.
func (c *Client) mayAsk(audience string) bool {
	return len(c.Audiences) == 0 || slices.Contains(c.Audiences, audience)
}
