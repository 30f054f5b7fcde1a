package authority

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/bus"
	"github.com/mintmark/mintmark/internal/ledger"
)

// Lookup answers a gateway's question about an opaque token, an API key or a
// foreign token. A store or issuer that gives no answer is an Error, which the
// gateway takes for unknown, never for revoked.
func (a *Authority) Lookup(ctx context.Context, q bus.PullRequest) bus.PullReply {
	v, err := a.view()
	if err != nil {
		return bus.PullReply{V: 1, Error: "not ready"}
	}
	reply := bus.PullReply{V: 1, AsOf: v.cur.Seq}
	if q.Status != nil {
		return a.lookupStatus(ctx, q, reply)
	}
	if q.Kind == mintmark.KindForeign {
		return a.lookupForeign(ctx, v, q, reply)
	}
	if len(q.Digest) != sha256.Size {
		reply.Code = mintmark.CodeMalformed
		return reply
	}
	row, err := a.d.Tokens.TokenByHandle(ctx, a.d.Keyring.Handle(q.Digest))
	switch {
	case errors.Is(err, ledger.ErrNotFound):
		reply.Code = mintmark.CodeRevoked
		return reply
	case err != nil:
		a.d.Log.WarnContext(ctx, "look up token", "error", err)
		reply.Error = "state unknown"
		return reply
	case row.Kind != mintmark.KindOpaque && row.Kind != mintmark.KindAPIKey:
		reply.Code = mintmark.CodeMalformed // a refresh token is for us alone
		return reply
	}
	t := row.Token
	reply.Token = &t
	reply.Code = v.standingRow(&t, row.State, a.d.Now())
	return reply
}

func (a *Authority) lookupForeign(ctx context.Context, v view, q bus.PullRequest, reply bus.PullReply) bus.PullReply {
	if a.d.Foreign == nil {
		reply.Code = mintmark.CodeIssuerUnknown
		return reply
	}
	t, code, err := a.d.Foreign.Introspect(ctx, q.Issuer, q.Value)
	if err != nil {
		a.d.Log.WarnContext(ctx, "ask issuer", "issuer", q.Issuer, "error", err)
		reply.Error = "the issuer gave no answer"
		return reply
	}
	reply.Token, reply.Code = t, code
	if t != nil && code == mintmark.CodeNone {
		reply.Code = v.standing(t, a.d.Now())
	}
	return reply
}

// Once sets a single-use mark for a gateway: exactly one caller is told unused.
func (a *Authority) Once(ctx context.Context, q bus.OnceRequest) bus.OnceReply {
	now := a.d.Now()
	exp := time.Unix(q.Expires, 0)
	if q.Space == "" || q.Key == "" || len(q.Space) > 32 || exp.After(now.Add(24*time.Hour)) {
		return bus.OnceReply{V: 1, Error: "malformed"}
	}
	err := a.spend(ctx, []ledger.Once{{Space: q.Space, Key: q.Key, Expires: exp}})
	switch {
	case errors.Is(err, ledger.ErrUsed):
		return bus.OnceReply{V: 1, Used: true}
	case err != nil:
		return bus.OnceReply{V: 1, Error: "state unknown"}
	}
	return bus.OnceReply{V: 1}
}

// internalLifetime bounds a token that stands in behind a gateway.
const internalLifetime = 10 * time.Minute

// Reissue mints the internal token that a gateway forwards in place of a presented
// one whose shape the serving release does not read. It never outlives the
// presented one, has no scope that it lacks, and stands in its family and grant,
// so that what takes the one back takes the other.
func (a *Authority) Reissue(ctx context.Context, q bus.ReissueRequest) bus.ReissueReply {
	reply := bus.ReissueReply{V: 1}
	err := a.decide(ctx, func(v view) (ledger.Batch, error) {
		reply.AsOf = v.cur.Seq
		t := q.Token
		if t.Kind != mintmark.KindForeign {
			row, err := a.d.Tokens.TokenByID(ctx, t.ID)
			if err != nil {
				return ledger.Batch{}, fmt.Errorf("read token: %w", err)
			}
			if v.standingRow(&row.Token, row.State, a.d.Now()) != mintmark.CodeNone {
				return ledger.Batch{}, errGrant
			}
			t = row.Token
		} else if v.standing(&t, a.d.Now()) != mintmark.CodeNone {
			return ledger.Batch{}, errGrant
		}
		rel := v.cur.Table.Release(q.Release)
		if rel == nil || q.Release.Service() != q.Service {
			return ledger.Batch{}, refuse("invalid_target", "no such release")
		}
		// The policy's bounds apply, the client's do not: nothing is added to what
		// the presented token had.
		client := &Client{ID: t.Client, Scopes: t.Scopes}
		scopes := slices.DeleteFunc(slices.Clone(t.Scopes), func(s string) bool { return !slices.Contains(rel.Mint.Scopes, s) })
		mint := rel.Mint
		mint.ForcedScopes, mint.Format, mint.DefaultScopes = nil, "jwt", nil
		w := wish{
			client: client, subject: t.Subject, grant: t.Grant, family: t.Family, authTime: t.AuthTime, acr: t.ACR,
			parent: t.ID, of: &t, actor: t.Actor, scopes: scopes, internal: true,
			notAfter: bounded(a.d.Now().Add(internalLifetime).Unix(), t.Expires),
		}
		if u, err := a.userBySubject(ctx, t.Subject); err == nil && u != nil {
			w.user = u.claims()
		}
		m, err := a.mintAccess(target{q.Service, q.Release, &mint, v.cur.Epoch, mint.Audience, nil}, w)
		if err != nil {
			return ledger.Batch{}, err
		}
		if err := mintable(v, &m.token); err != nil {
			return ledger.Batch{}, err
		}
		reply.Value, reply.Token = m.value, &m.token
		return ledger.Batch{Events: []mintmark.Event{m.event}}, nil
	})
	if err != nil {
		var ref *refusal
		if !errors.As(err, &ref) {
			a.d.Log.WarnContext(ctx, "reissue", "token", q.Token.ID, "error", err)
		}
		return bus.ReissueReply{V: 1, AsOf: reply.AsOf, Error: asRefusal(err).Code}
	}
	return reply
}
