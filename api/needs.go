package api

import (
	"context"
	"time"

	"github.com/mintmark/mintmark"
)

// KeyWish is that a key is to be retired once no token needs it.
type KeyWish struct {
	Since  time.Time `json:"since"`
	Actor  string    `json:"actor"`
	Reason string    `json:"reason,omitempty"`
}

// Needs is what still needs a signing key or an issuer.
type Needs struct {
	Kind string `json:"kind"` // key or issuer
	Name string `json:"name"`
	// Tokens is how many live tokens there are. Suspended ones are not counted, but
	// have their part in Last, as they may be restored.
	Tokens int64 `json:"tokens_live"`
	// Last is when the last of them is over; zero when there is none, or with Never.
	Last time.Time `json:"last_expires,omitzero"`
	// Never says that one of them never expires.
	Never bool        `json:"never,omitempty"`
	By    []NeedCount `json:"by,omitempty"`
	// Services accept the issuer. Keys are named by nobody.
	Services []string `json:"services,omitempty"`
	// WhenSafe is as in Key.
	WhenSafe *KeyWish `json:"retire_when_safe,omitempty"`
}

// NeedCount is the part of one release and client. Both are empty for tokens of
// other issuers that were not seen with one.
type NeedCount struct {
	Release mintmark.ReleaseID `json:"release,omitempty"`
	Client  mintmark.ClientID  `json:"client_id,omitempty"`
	Tokens  int64              `json:"tokens_live"`
	Last    time.Time          `json:"last_expires,omitzero"`
	Never   bool               `json:"never,omitempty"`
}

// KeepKey takes back that a key is to be retired when it is safe.
func (c *Client) KeepKey(ctx context.Context, kid string, r KeyRequest) (*KeyAnswer, error) {
	return call[KeyAnswer](ctx, c, "POST", path("keys", kid)+":keep", r)
}

// KeyNeeds says what still needs a signing key.
func (c *Client) KeyNeeds(ctx context.Context, kid string) (*Needs, error) {
	return call[Needs](ctx, c, "GET", path("keys", kid)+"/needs", nil)
}

// IssuerNeeds says what still needs another issuer, by the name of its resource or
// by its identifier's URL percent-encoded.
func (c *Client) IssuerNeeds(ctx context.Context, name string) (*Needs, error) {
	return call[Needs](ctx, c, "GET", path("issuers", name)+"/needs", nil)
}
