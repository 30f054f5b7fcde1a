package mintmark

import (
	"encoding/json"
	"fmt"
	"time"
)

// TokenKind says what a token is.
type TokenKind uint8

// Kinds of token. The numbers are on disk: never reuse one.
const (
	KindUnknown   TokenKind = 0
	KindAccessJWT TokenKind = 1 // RFC 9068, ours
	KindOpaque    TokenKind = 2 // opaque access token, ours
	KindRefresh   TokenKind = 3
	KindAPIKey    TokenKind = 4
	KindForeign   TokenKind = 5 // of another issuer
	KindInternal  TokenKind = 6 // minted behind the gateway by a reissue; never leaves it
	KindID        TokenKind = 7 // OIDC id_token; recorded, never admitted
)

var kindNames = [...]string{"unknown", "jwt", "opaque", "refresh", "apikey", "foreign", "internal", "id"}

// String returns the kind's name.
func (k TokenKind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return kindNames[0]
}

// MarshalText implements encoding.TextMarshaler.
func (k TokenKind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (k *TokenKind) UnmarshalText(b []byte) error {
	for i, n := range kindNames {
		if n == string(b) {
			*k = TokenKind(i)
			return nil
		}
	}
	return fmt.Errorf("unknown token kind %.40q", b)
}

// TokenState is where a token is in its life. Expiry is a matter of time, not of
// an event, so StateExpired is computed by the lifecycle fold.
type TokenState uint8

// States of a token. The numbers are on disk: never reuse one.
const (
	StateUnknown    TokenState = 0
	StateIssued     TokenState = 1 // minted, never seen at a gateway
	StateActive     TokenState = 2 // seen at least once
	StateSuspended  TokenState = 3 // refused until restored
	StateExpired    TokenState = 4
	StateRevoked    TokenState = 5
	StateSuperseded TokenState = 6 // a refresh token whose successor was issued
)

var stateNames = [...]string{"unknown", "issued", "active", "suspended", "expired", "revoked", "superseded"}

// String returns the state's name.
func (s TokenState) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return stateNames[0]
}

// Live reports whether a token in this state may be accepted.
func (s TokenState) Live() bool { return s == StateIssued || s == StateActive }

// MarshalText implements encoding.TextMarshaler.
func (s TokenState) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *TokenState) UnmarshalText(b []byte) error {
	for i, n := range stateNames {
		if n == string(b) {
			*s = TokenState(i)
			return nil
		}
	}
	return fmt.Errorf("unknown token state %.40q", b)
}

// Binding ties a token to a key of its holder. The zero value is a bearer token.
type Binding struct {
	// JKT is the base64url SHA-256 thumbprint of the DPoP key (RFC 9449 §6.1).
	JKT string `json:"jkt,omitempty"`
	// X5T is the base64url SHA-256 thumbprint of the client certificate (RFC
	// 8705 §3.1).
	X5T string `json:"x5t#S256,omitempty"`
}

// Bound reports whether a proof must accompany the token.
func (b Binding) Bound() bool { return b.JKT != "" || b.X5T != "" }

// Token is a verified token: who it speaks for and under what it was minted.
// It never holds the token's value. A Token is immutable once built: gateways
// share one between requests.
type Token struct {
	ID       TokenID   `json:"id"`
	Kind     TokenKind `json:"kind"`
	Issuer   string    `json:"iss,omitempty"`
	Subject  string    `json:"sub,omitempty"`
	Client   ClientID  `json:"client_id,omitempty"`
	Grant    GrantID   `json:"grant,omitempty"`
	Family   FamilyID  `json:"family,omitempty"`
	Scopes   []string  `json:"scopes,omitempty"`   // sorted, no duplicates
	Audience []string  `json:"audience,omitempty"` // sorted, no duplicates
	Mark     Mark      `json:"mark"`
	Binding  Binding   `json:"cnf,omitzero"`
	// Times are Unix seconds; 0 means absent. Expires 0 is allowed only for API
	// keys without expiry.
	IssuedAt  int64  `json:"iat,omitempty"`
	NotBefore int64  `json:"nbf,omitempty"`
	Expires   int64  `json:"exp,omitempty"`
	AuthTime  int64  `json:"auth_time,omitempty"`
	ACR       string `json:"acr,omitempty"`
	// Actor is the subject of the act claim (RFC 8693 §4.1), if any.
	Actor string `json:"act,omitempty"`
	// Via are the tokens that it was exchanged from, directly or not, nearest first:
	// what takes back one of them takes this one, too. At most MaxVia.
	Via []TokenID `json:"via,omitempty"`
	// Origins are what is known of those, in the same order. Tokens that were minted
	// before it was kept have fewer, or none.
	Origins []Origin `json:"origins,omitempty"`
	// Claims are the further claims of the payload, as one JSON object; nil when
	// there are none. Bounded by the verifier's size caps.
	Claims json.RawMessage `json:"claims,omitempty"`
}

// MaxVia bounds Token.Via: a look-up of revocations asks about each.
const MaxVia = 8

// ExpiredAt reports whether the token is past its exp at now, given the allowed
// clock skew (RFC 7519 §4.1.4).
func (t *Token) ExpiredAt(now time.Time, skew time.Duration) bool {
	return t.Expires != 0 && !now.Add(-skew).Before(time.Unix(t.Expires, 0))
}

// HasScope reports whether the token was granted scope. Scopes are few: a scan
// beats a set.
func (t *Token) HasScope(scope string) bool {
	for _, s := range t.Scopes {
		if s == scope {
			return true
		}
	}
	return false
}

// HasAudience reports whether the token is meant for aud.
func (t *Token) HasAudience(aud string) bool {
	for _, a := range t.Audience {
		if a == aud {
			return true
		}
	}
	return false
}

// Own reports whether our authority minted the token.
func (t *Token) Own() bool { return t.Kind != KindForeign && t.Kind != KindUnknown }
