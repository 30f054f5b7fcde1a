package authority

import (
	"context"
	"errors"
	"net/http"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/jose"
	"github.com/mintmark/mintmark/internal/ledger"
	"github.com/mintmark/mintmark/internal/oauth"
)

// Token types (RFC 8693 §3).
const (
	typeAccessToken = "urn:ietf:params:oauth:token-type:access_token"
	typeJWT         = "urn:ietf:params:oauth:token-type:jwt"
)

// grantExchange answers token exchange (RFC 8693) for access tokens of ours. The
// new token speaks for the same subject, names the client as its actor, has no
// scope that the presented one lacks, does not outlive it, stands in its family and
// grant, and remembers it and those that it was exchanged from: what takes back one
// of them, by whatever selector, takes it, too.
func (a *Authority) grantExchange(ctx context.Context, req *tokenRequest) (*tokenAnswer, error) {
	f := req.form
	switch {
	case req.client.Public():
		return nil, refuse("unauthorized_client", "a public client can't exchange tokens")
	case f.get("subject_token") == "" || f.get("subject_token_type") == "":
		return nil, refuse("invalid_request", "subject_token or subject_token_type is missing")
	case f.get("subject_token_type") != typeAccessToken && f.get("subject_token_type") != typeJWT:
		return nil, refuse("invalid_request", "subject_token_type is not supported")
	case f.get("actor_token") != "":
		return nil, refuse("invalid_request", "actor_token is not supported: the client is the actor")
	case f.get("requested_token_type") != "" && f.get("requested_token_type") != typeAccessToken:
		return nil, refuse("invalid_request", "requested_token_type is not supported")
	}
	// Which part of it is wrong is not told.
	invalid := refuse("invalid_request", "the subject token is not accepted")
	var ans *tokenAnswer
	err := a.decide(ctx, func(v view) (ledger.Batch, error) {
		row, err := a.find(ctx, f.get("subject_token"))
		if err != nil {
			return ledger.Batch{}, err
		}
		if row == nil || row.Kind != mintmark.KindAccessJWT && row.Kind != mintmark.KindOpaque ||
			v.standingRow(&row.Token, row.State, a.d.Now()) != mintmark.CodeNone {
			return ledger.Batch{}, invalid
		}
		// A bound token is exchanged by its holder only (RFC 9449 §1: a stolen one is
		// worth nothing).
		if row.Binding.JKT != "" && row.Binding.JKT != req.binding.JKT || row.Binding.X5T != "" && row.Binding.X5T != req.binding.X5T {
			return ledger.Batch{}, invalid
		}
		if len(row.Via) >= mintmark.MaxVia {
			return ledger.Batch{}, refuse("invalid_request", "the subject token was exchanged too often; start from an earlier one")
		}
		t, err := a.target(v.asked(req), req.client, req.targets, row.Subject, false)
		if err != nil {
			return ledger.Batch{}, err
		}
		req.concerns(v, t.service, row.Subject)
		w := wish{
			client: req.client, subject: row.Subject, grant: row.Grant, family: row.Family,
			scopes: req.scopes, within: nonNil(row.Scopes), binding: req.binding, authTime: row.AuthTime, acr: row.ACR,
			parent: row.ID, of: &row.Token, actor: string(req.client.ID), notAfter: row.Expires,
		}
		u, err := a.userBySubject(ctx, row.Subject)
		if err != nil {
			return ledger.Batch{}, err
		}
		if u != nil {
			w.user = u.claims()
		}
		m, err := a.mintAccess(t, w)
		if err != nil {
			return ledger.Batch{}, err
		}
		if err := mintable(v, &m.token); err != nil {
			return ledger.Batch{}, err
		}
		ans = a.answer(m)
		ans.IssuedType = typeAccessToken
		return ledger.Batch{Events: []mintmark.Event{m.event}, Once: req.once}, nil
	})
	return ans, err
}

// nonNil keeps an empty bound a bound.
func nonNil(s []string) []string {
	if s == nil {
		return []string{}
	}
	return s
}

// grantAssertion answers jwt-bearer (RFC 7523 §2.1): an assertion of a foreign
// issuer that the client is registered for becomes an access token for its
// subject, once.
func (a *Authority) grantAssertion(ctx context.Context, req *tokenRequest) (*tokenAnswer, error) {
	invalid := refuse("invalid_grant", "the assertion is not accepted")
	as, err := oauth.ParseAssertion(req.form.get("assertion"))
	if err != nil {
		return nil, invalid
	}
	var ans *tokenAnswer
	err = a.decide(ctx, func(v view) (ledger.Batch, error) {
		iss := v.cur.Table.Issuer(as.Claims.Issuer)
		if iss == nil || !hasScope(req.client.AssertionIssuers, iss.Name) {
			return ledger.Batch{}, invalid
		}
		if !iss.Believed(a.d.Now().Unix()) {
			return ledger.Batch{}, refuseWith(http.StatusServiceUnavailable, "temporarily_unavailable", "the issuer's keys could not be confirmed")
		}
		var keys []*jose.Key
		for _, k := range iss.Keys {
			if parsed, err := jose.ParseKey(k.JWK, k.Alg); err == nil {
				keys = append(keys, parsed)
			}
		}
		if as.Check(a.assertionCheck(keys, false)) != nil {
			return ledger.Batch{}, invalid
		}
		subject := iss.Name + ":" + as.Claims.Subject
		t, err := a.target(v.asked(req), req.client, req.targets, subject, false)
		if err != nil {
			return ledger.Batch{}, err
		}
		req.concerns(v, t.service, subject)
		m, err := a.mintAccess(t, wish{client: req.client, subject: subject, scopes: req.scopes, binding: req.binding})
		if err != nil {
			return ledger.Batch{}, err
		}
		if err := mintable(v, &m.token); err != nil {
			return ledger.Batch{}, err
		}
		ans = a.answer(m)
		return ledger.Batch{Events: []mintmark.Event{m.event}, Once: append(req.once, assertionOnce(&as))}, nil
	})
	if errors.Is(err, ledger.ErrUsed) {
		return nil, invalid
	}
	return ans, err
}
