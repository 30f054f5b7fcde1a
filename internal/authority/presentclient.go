package authority

import (
	"net/http"
	"slices"
	"strings"

	"github.com/mintmark/mintmark"
)

// PresentClient tells which client a request comes from by the client's own secret
// (HTTP Basic, RFC 6749 §2.3.1), as if it had asked for a token for the admin API
// with all its admin scopes and come with that: for senders of webhooks, who know
// nothing but a URL. The token is not made and not kept.
//
// Only a client of the method client_secret_basic that may use client_credentials and
// the audience of the admin API is let in; failures count as at the token endpoint.
// It may be called concurrently.
func (a *Authority) PresentClient(r *http.Request) (*mintmark.Token, error) {
	refused := refuseWith(http.StatusUnauthorized, "invalid_client", "the client is not accepted")
	if _, _, ok := r.BasicAuth(); !ok {
		return nil, refused
	}
	who, err := a.authenticate(r, form{})
	if err != nil {
		return nil, err
	}
	c := who.client
	if c.Method() != AuthBasic || !slices.Contains(c.GrantTypes, "client_credentials") || !slices.Contains(c.Audiences, a.AdminAudience()) {
		return nil, refused
	}
	v, err := a.view()
	if err != nil {
		return nil, err
	}
	now := a.d.Now()
	t := &mintmark.Token{
		Kind: mintmark.KindAccessJWT, Client: c.ID, Subject: string(c.ID), Audience: []string{a.AdminAudience()},
		Mark: mintmark.Mark{Release: adminRelease}, IssuedAt: now.Unix(), Expires: now.Unix() + 1,
		Scopes: slices.DeleteFunc(slices.Clone(c.Scopes), func(s string) bool { return !strings.HasPrefix(s, "admin:") }),
	}
	if err := mintable(v, t); err != nil {
		return nil, refused
	}
	return t, nil
}
