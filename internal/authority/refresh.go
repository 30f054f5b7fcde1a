package authority

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/handle"
	"github.com/mintmark/mintmark/internal/ledger"
)

// refreshState is what a refresh token carries in its claims from one generation
// to the next. New members are optional.
type refreshState struct {
	// Audience the family's access tokens are for.
	Audience []string `json:"aud,omitempty"`
	// Validated is the Unix second at which the renewal hook last agreed.
	Validated int64 `json:"validated,omitempty"`
	// User are claims that the hook refreshed.
	User map[string]json.RawMessage `json:"user,omitempty"`
}

// sealedAnswer is the answer given for a predecessor, kept sealed for the grace
// window.
type sealedAnswer struct {
	Answer  tokenAnswer `json:"answer"`
	Expires int64       `json:"exp"` // of the access token
}

// defaultGrace is the retry window where a policy names none.
const defaultGrace = 30 * time.Second

// errGrant is what every refresh token that doesn't stand is answered with.
var errGrant = refuse("invalid_grant", "the refresh token is not valid")

// grantRefresh answers refresh_token (RFC 6749 §6, RFC 9700 §4.14).
//
// The family's stream version pins the rotation: of any number of concurrent
// uses one append wins, the others reload and find themselves predecessors within
// grace, for whom the same successor is unsealed. If the process dies before the
// append the presented token is still current; if after, the retry is answered
// from the seal. Identical requests in flight share one decision.
func (a *Authority) grantRefresh(ctx context.Context, req *tokenRequest) (*tokenAnswer, error) {
	value := req.form.get("refresh_token")
	if value == "" {
		return nil, refuse("invalid_request", "refresh_token is missing")
	}
	if kind, err := handle.Parse(value); err != nil || kind != mintmark.KindRefresh {
		return nil, errGrant
	}
	if len(req.once) > 0 {
		// Proofs are spent first: an answer from the seal appends nothing, and must
		// not be had twice for one proof.
		if err := a.spend(ctx, req.once); err != nil {
			return nil, err
		}
		req.once = nil
	}
	key := strings.Join([]string{
		value, string(req.client.ID), req.binding.JKT, req.binding.X5T,
		strings.Join(req.scopes, " "), strings.Join(req.targets, " "),
	}, "\x00")
	flight := a.refresh.DoChan(key, func() (any, error) {
		// Not cancelled with the first of the requests that share it.
		c, cancel := context.WithTimeout(context.WithoutCancel(ctx), requestTime)
		defer cancel()
		return a.rotate(c, req, value)
	})
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case r := <-flight:
		if r.Err != nil {
			return nil, r.Err
		}
		ans := *r.Val.(*tokenAnswer)
		return &ans, nil
	}
}

// reuse reports a superseded refresh token presented outside grace.
type reuse struct{ row ledger.TokenRow }

func (*reuse) Error() string { return "refresh token used again" }

func (a *Authority) rotate(ctx context.Context, req *tokenRequest, value string) (*tokenAnswer, error) {
	hooked := &hookAnswer{}
	var ans *tokenAnswer
	err := a.decide(ctx, func(v view) (ledger.Batch, error) {
		row, err := a.d.Tokens.TokenByHandle(ctx, a.handleOf(value))
		if errors.Is(err, ledger.ErrNotFound) {
			return ledger.Batch{}, errGrant
		}
		if err != nil {
			return ledger.Batch{}, err
		}
		if err := a.holder(req, &row); err != nil {
			return ledger.Batch{}, err
		}
		req.concerns(v, row.Mark.Release.Service(), row.Subject)
		fam, err := a.d.Tokens.Family(ctx, row.Family)
		if err != nil {
			return ledger.Batch{}, fmt.Errorf("read family: %w", err)
		}
		if fam.Revoked || v.covered(&row.Token, a.d.Now()) != mintmark.CodeNone {
			return ledger.Batch{}, errGrant
		}
		if fam.Current != row.ID {
			again, err := a.again(ctx, &row, &fam, value)
			if err != nil {
				return ledger.Batch{}, err
			}
			ans = again
			return ledger.Batch{}, errAnswered
		}
		if row.State != mintmark.StateIssued && row.State != mintmark.StateActive || row.ExpiredAt(a.d.Now(), 0) {
			return ledger.Batch{}, errGrant
		}
		b, got, err := a.successor(ctx, v, req, &row, &fam, value, hooked)
		ans = got
		return b, err
	})
	var used *reuse
	switch {
	case errors.Is(err, errAnswered):
		return ans, nil
	case errors.As(err, &used):
		req.about.reused = true
		return nil, a.killFamily(ctx, &used.row, "refresh token used again after it was replaced")
	case errors.Is(err, errHookRevokes):
		row, ferr := a.d.Tokens.TokenByHandle(ctx, a.handleOf(value))
		if ferr != nil {
			return nil, ferr
		}
		return nil, a.killFamily(ctx, &row, "the renewal hook said revoke")
	}
	return ans, err
}

// errAnswered ends a decision that needs no append.
var errAnswered = errors.New("answered from the seal")

// holder checks that the token was issued to this client, and to this key.
func (a *Authority) holder(req *tokenRequest, row *ledger.TokenRow) error {
	if row.Client != req.client.ID || row.Kind != mintmark.KindRefresh {
		return errGrant
	}
	if row.Binding.JKT != "" && row.Binding.JKT != req.binding.JKT || row.Binding.X5T != "" && row.Binding.X5T != req.binding.X5T {
		return refuse("invalid_grant", "the refresh token is bound to another key")
	}
	return nil
}

// again answers a predecessor: with the successor's own answer inside grace, else
// with *reuse.
func (a *Authority) again(ctx context.Context, row *ledger.TokenRow, fam *ledger.FamilyRow, value string) (*tokenAnswer, error) {
	now := a.d.Now()
	if fam.Previous == row.ID && now.UnixMilli() < fam.GraceUntil && len(fam.Sealed) > 0 {
		plain, err := a.d.Keyring.OpenAnswer(mintmark.NewSecret(value), fam.ID, fam.Sealed)
		if err != nil {
			return nil, fmt.Errorf("open sealed answer: %w", err)
		}
		var s sealedAnswer
		if err := json.Unmarshal(plain, &s); err != nil {
			return nil, fmt.Errorf("decode sealed answer: %w", err)
		}
		s.Answer.ExpiresIn = max(0, s.Expires-now.Unix())
		return &s.Answer, nil
	}
	if row.By != "" {
		// A late retry of a token whose successor was itself replaced within the
		// first one's grace: not answered, but no theft either.
		next, err := a.d.Tokens.TokenByID(ctx, row.By)
		if err == nil && now.Before(time.Unix(next.IssuedAt, 0).Add(a.grace(next.Mark.Release))) {
			return nil, errGrant
		}
	}
	return nil, &reuse{*row}
}

// grace is the retry window of the policy that a token was minted under.
func (a *Authority) grace(release mintmark.ReleaseID) time.Duration {
	if v, err := a.view(); err == nil {
		if m := v.mintOf(release); m != nil && m.GraceSeconds > 0 {
			return time.Duration(m.GraceSeconds) * time.Second
		}
	}
	return defaultGrace
}

// successor mints the next generation.
func (a *Authority) successor(ctx context.Context, v view, req *tokenRequest, row *ledger.TokenRow, fam *ledger.FamilyRow, value string, hooked *hookAnswer) (ledger.Batch, *tokenAnswer, error) {
	fail := func(err error) (ledger.Batch, *tokenAnswer, error) { return ledger.Batch{}, nil, err }
	grant, err := a.d.Tokens.Grant(ctx, row.Grant)
	if err != nil {
		return fail(fmt.Errorf("read grant: %w", err))
	}
	u, err := a.userBySubject(ctx, row.Subject)
	if err != nil {
		return fail(err)
	}
	if grant.Revoked || u == nil {
		return fail(errGrant)
	}
	var state refreshState
	if len(row.Claims) > 0 {
		if err := json.Unmarshal(row.Claims, &state); err != nil {
			return fail(fmt.Errorf("decode refresh state: %w", err))
		}
	}
	if err := a.renew(ctx, req.client, &row.Token, &state, hooked); err != nil {
		return fail(err)
	}
	targets := state.Audience
	if len(req.targets) > 0 {
		if err := within(req.targets, grant.Audience); err != nil {
			return fail(err)
		}
		targets = req.targets[:1]
	}
	t, err := a.target(v.asked(req), req.client, targets, row.Subject, hasScope(grant.Scopes, "openid"))
	if err != nil {
		return fail(err)
	}
	claims := u.claims()
	for k, c := range state.User {
		if k != claimRoles { // a hook makes nobody an administrator
			claims[k] = c
		}
	}
	w := wish{
		client: req.client, subject: row.Subject, user: claims, grant: row.Grant, family: row.Family,
		scopes: req.scopes, within: allowed(grant.Scopes, t.mint), binding: req.binding, authTime: row.AuthTime, acr: row.ACR, parent: row.ID,
	}
	if row.Binding.Bound() {
		w.binding = row.Binding
	}
	next, err := a.mintRefresh(t, w, state)
	if err != nil {
		return fail(err)
	}
	access, err := a.mintAccess(t, w)
	if err != nil {
		return fail(err)
	}
	if err := mintable(v, &access.token); err != nil {
		return fail(errGrant)
	}
	ans := a.answer(access)
	ans.Refresh = next.value
	ans.Scope = strings.Join(mintmark.SortedSet(append(oidcOf(grant.Scopes), access.token.Scopes...)), " ")
	b := ledger.Batch{Events: []mintmark.Event{next.event, access.event}}
	if slices.Contains(grant.Scopes, "openid") {
		id, err := a.mintID(t, w, grant.GrantMade, u, access.value)
		if err != nil {
			return fail(err)
		}
		ans.ID = id.value
		b.Events = append(b.Events, id.event)
	}
	rotated, err := a.rotation(t, row, fam, value, &next.token, sealedAnswer{*ans, access.token.Expires})
	if err != nil {
		return fail(err)
	}
	return join(b, rotated), ans, nil
}

// rotation is what makes next the family's current token, and leaves the answer
// sealed for whoever presents the predecessor again.
func (a *Authority) rotation(t target, row *ledger.TokenRow, fam *ledger.FamilyRow, value string, next *mintmark.Token, s sealedAnswer) (ledger.Batch, error) {
	plain, err := json.Marshal(s)
	if err != nil {
		return ledger.Batch{}, fmt.Errorf("encode answer: %w", err)
	}
	sealed, err := a.d.Keyring.SealAnswer(mintmark.NewSecret(value), row.Family, plain)
	if err != nil {
		return ledger.Batch{}, fmt.Errorf("seal answer: %w", err)
	}
	grace := defaultGrace
	if t.mint.GraceSeconds > 0 {
		grace = time.Duration(t.mint.GraceSeconds) * time.Second
	}
	stream := "family/" + string(row.Family)
	return ledger.Batch{
		Events: []mintmark.Event{
			event("token/"+string(row.ID), mintmark.EventTokenSuperseded, &row.Token,
				mintmark.TokenChanged{ID: row.ID, Reason: "refreshed", By: next.ID}),
			event(stream, mintmark.EventFamilyRotated, next, mintmark.FamilyRotated{
				Family: row.Family, Old: row.ID, New: next.ID, Sealed: sealed, GraceUntil: a.d.Now().Add(grace).UnixMilli(),
			}),
		},
		Expect: []ledger.Expect{{Stream: stream, Version: fam.Version}},
	}, nil
}

// killFamily ends a family and nothing else; the client is told invalid_grant
// once that is durable.
func (a *Authority) killFamily(ctx context.Context, row *ledger.TokenRow, reason string) error {
	a.d.Metrics.Reused(row.Client)
	if err := a.endFamily(ctx, &row.Token, reason, "system:authority"); err != nil {
		return err
	}
	return errGrant
}

// endFamily revokes a family in the ledger and in the state log, in one
// transaction. Idempotent.
func (a *Authority) endFamily(ctx context.Context, t *mintmark.Token, reason, actor string) error {
	e := event("family/"+string(t.Family), mintmark.EventFamilyRevoked, t, mintmark.FamilyRevoked{Family: t.Family, Reason: reason})
	e.Actor = actor
	return a.revokeOnce(ctx, mintmark.Selector{Family: t.Family}, reason, actor, e, func() (bool, error) {
		fam, err := a.d.Tokens.Family(ctx, t.Family)
		return fam.Revoked, err
	})
}

// revokeOnce commits a revocation with the event that folds it, unless done
// already.
func (a *Authority) revokeOnce(ctx context.Context, sel mintmark.Selector, reason, actor string, e mintmark.Event, done func() (bool, error)) error {
	for attempt := range 5 {
		if attempt > 0 {
			if err := pause(ctx, time.Duration(attempt)*2*time.Millisecond); err != nil {
				return err
			}
		}
		was, err := done()
		if err != nil {
			return fmt.Errorf("read before revoking: %w", err)
		}
		if was {
			return nil
		}
		_, err = a.d.Revoker.Revoke(ctx, []mintmark.Revocation{{
			Action: mintmark.ActionRevoke, Selector: sel, Reason: reason, Actor: actor,
		}}, ledger.Batch{Events: []mintmark.Event{e}})
		if !errors.Is(err, ledger.ErrConflict) && !errors.Is(err, ledger.ErrStale) {
			return err
		}
	}
	return fmt.Errorf("revoke %s: %w", sel, ledger.ErrUnavailable)
}
