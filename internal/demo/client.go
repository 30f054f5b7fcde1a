package demo

import (
	"context"
	"net/http"
	"slices"
	"time"
)

// Client obtains tokens from an authority as a stranger's program would. Make it
// with NewClient. Safe for concurrent use.
type Client struct{ flows *flows }

// Tokens are what a token endpoint handed out.
type Tokens struct {
	Access  string
	Refresh string // "" when there is none
	Scopes  []string
	Release string // that minted it, as the mark says; "" when opaque
	Expires time.Time
}

// NewClient reads the authority's metadata. audience is the resource to ask for;
// the HTTP client must not follow redirects.
func NewClient(ctx context.Context, h *http.Client, issuer, audience string) (*Client, error) {
	c := &Client{flows: &flows{client: h, issuer: issuer, audience: audience}}
	return c, c.flows.discover(ctx)
}

// Machine obtains a token by client credentials.
func (c *Client) Machine(ctx context.Context, m Machine, scope string) (Tokens, error) {
	return tokensOf(c.flows.machine(ctx, m.ID, m.Secret, scope))
}

// Person signs a user in through the pages of the authority and obtains tokens by
// authorization code with PKCE.
func (c *Client) Person(ctx context.Context, client, redirect, scope string, p Person) (Tokens, error) {
	return tokensOf(c.flows.person(ctx, client, redirect, scope, p.Name, p.Password))
}

// Refresh renews by a refresh token of a public client. An error answer of the
// authority is a *Refused.
func (c *Client) Refresh(ctx context.Context, client, refresh string) (Tokens, error) {
	return tokensOf(c.flows.refresh(ctx, client, &held{refresh: refresh}))
}

// Refused is an error answer of the token endpoint (RFC 6749 §5.2).
type Refused = tokenError

func tokensOf(h *held, err error) (Tokens, error) {
	if err != nil {
		return Tokens{}, err
	}
	return Tokens{Access: h.access, Refresh: h.refresh, Scopes: slices.Clone(h.scopes), Release: h.minted, Expires: h.expires}, nil
}
