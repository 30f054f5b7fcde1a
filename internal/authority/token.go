package authority

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/epoch"
	"github.com/mintmark/mintmark/internal/ledger"
)

// tokenRequest is one request at the token endpoint, its client authenticated and
// its proofs checked.
type tokenRequest struct {
	form    form
	client  *Client
	binding mintmark.Binding // of the DPoP key or certificate presented
	once    []ledger.Once    // marks to set with whatever is appended
	scopes  []string
	targets []string
	about   about

	host   string              // asked for
	header func(string) string // by lower-case name
}

// tokenAnswer is a successful answer (RFC 6749 §5.1, RFC 8693 §2.2.1). It is also
// what is sealed for a retry, with Expires in place of the seconds left.
type tokenAnswer struct {
	Access     string `json:"access_token"`
	Type       string `json:"token_type"`
	ExpiresIn  int64  `json:"expires_in"`
	Refresh    string `json:"refresh_token,omitempty"`
	ID         string `json:"id_token,omitempty"`
	Scope      string `json:"scope,omitempty"`
	IssuedType string `json:"issued_token_type,omitempty"`
}

// oneOf reads a header that is there once: which of several values counts would be
// anybody's guess.
func oneOf(h http.Header) func(string) string {
	return func(name string) string {
		if v := h.Values(name); len(v) == 1 {
			return v[0]
		}
		return ""
	}
}

func (a *Authority) serveToken(w http.ResponseWriter, r *http.Request) {
	ans, err := a.token(w, r)
	if err != nil {
		a.answerError(w, r, err)
		return
	}
	writeJSON(w, http.StatusOK, ans)
}

func (a *Authority) token(w http.ResponseWriter, r *http.Request) (*tokenAnswer, error) {
	f, err := readForm(w, r)
	if err != nil {
		return nil, err
	}
	c, err := a.authenticate(r, f)
	if err != nil {
		return nil, err
	}
	req := &tokenRequest{form: f, client: c.client, once: c.once, host: r.Host, header: oneOf(r.Header)}
	if req.binding, err = a.proofs(w, r, req.client, &req.once); err != nil {
		return nil, err
	}
	if req.scopes, err = f.scopes(); err != nil {
		return nil, err
	}
	if req.targets, err = f.targets(); err != nil {
		return nil, err
	}
	grants := map[string]func(context.Context, *tokenRequest) (*tokenAnswer, error){
		GrantCode: a.grantCode, GrantClient: a.grantClient, GrantRefresh: a.grantRefresh,
		GrantDevice: a.grantDevice, GrantExchange: a.grantExchange, GrantJWT: a.grantAssertion,
	}
	typ := f.get("grant_type")
	grant, known := grants[typ]
	switch {
	case typ == "":
		return nil, refuse("invalid_request", "grant_type is missing")
	case !known:
		return nil, refuse("unsupported_grant_type", "grant_type is not known here")
	case !req.client.May(typ):
		return nil, refuse("unauthorized_client", "the client may not use this grant type")
	}
	ans, err := grant(r.Context(), req)
	a.measure(r.Context(), req, typ, err)
	return ans, err
}

// grantClient answers client_credentials (RFC 6749 §4.4).
func (a *Authority) grantClient(ctx context.Context, req *tokenRequest) (*tokenAnswer, error) {
	if req.client.Public() {
		return nil, refuse("unauthorized_client", "a public client has no credentials")
	}
	var ans *tokenAnswer
	err := a.decide(ctx, func(v view) (ledger.Batch, error) {
		t, err := a.target(v.asked(req), req.client, req.targets, string(req.client.ID), false)
		if err != nil {
			return ledger.Batch{}, err
		}
		req.concerns(v, t.service, "")
		m, err := a.mintAccess(t, wish{client: req.client, scopes: req.scopes, binding: req.binding})
		if err != nil {
			return ledger.Batch{}, err
		}
		if err := mintable(v, &m.token); err != nil {
			return ledger.Batch{}, err
		}
		ans = a.answer(m)
		return ledger.Batch{Events: []mintmark.Event{m.event}, Once: req.once}, nil
	})
	return ans, err
}

// answer is the answer that carries an access token.
func (a *Authority) answer(m minted) *tokenAnswer {
	typ := "Bearer"
	if m.token.Binding.JKT != "" {
		typ = "DPoP"
	}
	return &tokenAnswer{
		Access: m.value, Type: typ, ExpiresIn: m.token.Expires - a.d.Now().Unix(),
		Scope: strings.Join(m.token.Scopes, " "),
	}
}

// mintable reports whether a token may be minted: a subject, client or key that is
// revoked without an upper bound gets nothing new.
func mintable(v view, t *mintmark.Token) error {
	if v.revoked(t) != mintmark.CodeNone {
		return refuse("invalid_grant", "what was asked for is revoked")
	}
	return nil
}

// issue is what the grants that speak for a user share: the access token, the
// refresh token that opens a family, and the ID token.
type issue struct {
	req      *tokenRequest
	grant    mintmark.GrantMade
	openedBy ledger.Batch // what the decision itself writes
}

// openFamily mints the first tokens of a grant.
func (a *Authority) openFamily(ctx context.Context, v view, is issue) (*tokenAnswer, ledger.Batch, error) {
	g, req := is.grant, is.req
	fail := func(err error) (*tokenAnswer, ledger.Batch, error) { return nil, ledger.Batch{}, err }
	u, err := a.userBySubject(ctx, g.Subject)
	if err != nil {
		return fail(err)
	}
	if u == nil {
		return fail(refuse("invalid_grant", "the user is gone"))
	}
	if err := mintable(v, a.allowedAt(&g)); err != nil {
		return fail(err)
	}
	targets := req.targets
	if len(targets) == 0 {
		targets = g.Audience
	} else if err := within(targets, g.Audience); err != nil {
		return fail(err)
	}
	if len(targets) > 1 {
		targets = targets[:1] // one token, one service; refreshes may name another
	}
	t, err := a.target(v.asked(req), req.client, targets, g.Subject, hasScope(g.Scopes, "openid"))
	if err != nil {
		return fail(err)
	}
	req.concerns(v, t.service, g.Subject)
	w := wish{
		client: req.client, subject: g.Subject, user: u.claims(), grant: g.Grant, within: allowed(g.Scopes, t.mint),
		scopes: req.scopes, binding: req.binding, authTime: g.AuthTime, acr: g.ACR,
	}
	var refresh *minted
	if req.client.May(GrantRefresh) && t.mint.RefreshSeconds > 0 {
		fam, err := a.newID(mintmark.PrefixFamily)
		if err != nil {
			return fail(err)
		}
		w.family = mintmark.FamilyID(fam)
		m, err := a.mintRefresh(t, w, refreshState{Audience: targets, Validated: a.d.Now().Unix()})
		if err != nil {
			return fail(err)
		}
		refresh = &m
	}
	access, err := a.mintAccess(t, w)
	if err != nil {
		return fail(err)
	}
	if err := mintable(v, &access.token); err != nil {
		return fail(err)
	}
	ans := a.answer(access)
	ans.Scope = strings.Join(mintmark.SortedSet(append(oidcOf(g.Scopes), access.token.Scopes...)), " ")
	b := ledger.Batch{Once: req.once, Events: []mintmark.Event{access.event}}
	if refresh != nil {
		ans.Refresh = refresh.value
		stream := "family/" + string(w.family)
		opened := event(stream, mintmark.EventFamilyOpened, &refresh.token,
			mintmark.FamilyOpened{Family: w.family, Grant: g.Grant, Current: refresh.token.ID})
		b.Events = append([]mintmark.Event{opened, refresh.event}, b.Events...)
		b.Expect = append(b.Expect, ledger.Expect{Stream: stream, Version: 0})
	}
	if hasScope(g.Scopes, "openid") {
		id, err := a.mintID(t, w, g, u, access.value)
		if err != nil {
			return fail(err)
		}
		ans.ID = id.value
		b.Events = append(b.Events, id.event)
	}
	return ans, join(is.openedBy, b), nil
}

// allowed is what bounds the scopes of a grant's tokens: what its user was shown,
// or the policy's default where the request named none. Never what the token
// request names.
func allowed(granted []string, m *epoch.Mint) []string {
	if len(granted) > 0 {
		return granted
	}
	return nonNil(m.DefaultScopes)
}

// allowedAt is a grant as a token that was minted when it was made: what takes that
// token back also ends what was allowed and not minted yet.
func (a *Authority) allowedAt(g *mintmark.GrantMade) *mintmark.Token {
	return &mintmark.Token{
		Kind: mintmark.KindRefresh, Issuer: a.cfg.Issuer, Subject: g.Subject, Client: g.Client, Grant: g.Grant,
		Scopes: mintmark.SortedSet(g.Scopes), Audience: mintmark.SortedSet(g.Audience),
		IssuedAt: g.AuthTime, Mark: mintmark.Mark{Seq: g.Seq},
	}
}

// within refuses targets that were not granted (RFC 8707 §2.2). A grant without
// an audience allows what the client may ask for.
func within(targets, granted []string) error {
	if len(granted) == 0 {
		return nil
	}
	for _, t := range targets {
		if !hasScope(granted, t) {
			return refuse("invalid_target", "the resource was not granted")
		}
	}
	return nil
}

func hasScope(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}

func oidcOf(scopes []string) []string {
	var out []string
	for _, s := range scopes {
		if hasScope(openIDScopes, s) {
			out = append(out, s)
		}
	}
	return out
}

// claims returns what policies and ID tokens may say about the user.
func (u *User) claims() map[string]json.RawMessage {
	out := make(map[string]json.RawMessage, len(u.Claims)+1)
	for k, v := range u.Claims {
		out[k] = v
	}
	if _, ok := out["preferred_username"]; !ok {
		if b, err := json.Marshal(u.Name); err == nil {
			out["preferred_username"] = b
		}
	}
	return out
}
