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
	"github.com/mintmark/mintmark/internal/epoch"
	"github.com/mintmark/mintmark/internal/handle"
	"github.com/mintmark/mintmark/internal/ledger"
)

// typAccess is the typ of our access tokens (RFC 9068 §2.1); typID that of ID
// tokens. They differ so that one is never taken for the other.
const (
	typAccess = "at+jwt"
	typID     = "JWT"
)

// wish is what a request wants minted.
type wish struct {
	client  *Client
	subject string // empty: the client itself
	user    map[string]json.RawMessage
	grant   mintmark.GrantID
	family  mintmark.FamilyID
	// scopes asked for; nil is the policy's default. within, when not nil, bounds
	// them (what was granted, or what the subject token had).
	scopes   []string
	within   []string
	binding  mintmark.Binding
	authTime int64
	acr      string
	parent   mintmark.TokenID
	of       *mintmark.Token // what it is exchanged from; nil for none
	actor    string
	notAfter int64  // Unix second that exp may not pass; 0 is unbounded
	internal bool   // for an upstream, behind the gateway
	reason   string // of who issues it by hand
}

// minted is a token that is ready to be appended, and its value.
type minted struct {
	value string
	token mintmark.Token
	event mintmark.Event
}

// target is the service that a token is for and the policy it is minted under.
type target struct {
	service string
	release mintmark.ReleaseID
	mint    *epoch.Mint
	epoch   uint64
	// audience is what the stable release mints: of whom the token's family speaks.
	audience []string
	// judged is the service as it stands; nil when no rollout could concern it.
	judged *about
}

// decide runs one decision to its durable end: fn decides against the view it is
// given, and what it returns is appended as of that view. When the state log or
// one of the streams has moved on, fn decides again: nothing was written.
func (a *Authority) decide(ctx context.Context, fn func(v view) (ledger.Batch, error)) error {
	var last error
	for attempt := range 12 {
		if attempt > 0 {
			if err := pause(ctx, time.Duration(attempt)*2*time.Millisecond); err != nil {
				return err
			}
		}
		v, err := a.view()
		if err != nil {
			return err
		}
		b, err := fn(v)
		if err != nil {
			return err
		}
		b.AsOf = v.cur.Seq
		_, last = a.d.Ledger.Append(ctx, b)
		if last == nil || !errors.Is(last, ledger.ErrStale) && !errors.Is(last, ledger.ErrConflict) {
			return last
		}
	}
	return fmt.Errorf("decide against a moving state: %w: %w", ledger.ErrUnavailable, last)
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// mintAccess makes an access token for t: scopes are what was asked for, within
// the grant, the client and the policy; then what the policy forces.
func (a *Authority) mintAccess(t target, w wish) (minted, error) {
	now := a.d.Now()
	scopes, err := grantedScopes(t.mint, w)
	if err != nil {
		return minted{}, err
	}
	if t.service == adminService && w.subject != "" {
		scopes = roleScopes(scopes, w.user)
	}
	tok, err := a.blank(t, w, now)
	if err != nil {
		return minted{}, err
	}
	tok.Scopes = scopes
	tok.Audience = mintmark.SortedSet(t.mint.Audience)
	tok.Expires = bounded(now.Unix()+t.mint.AccessSeconds, w.notAfter)
	claims, err := renderClaims(t.mint.Claims, w)
	if err != nil {
		return minted{}, err
	}
	switch {
	case w.internal:
		tok.Kind = mintmark.KindInternal
	case t.mint.Format == "opaque":
		tok.Kind = mintmark.KindOpaque
	default:
		tok.Kind = mintmark.KindAccessJWT
	}
	if t.mint.StatusList && tok.Kind == mintmark.KindAccessJWT {
		claims["status"] = a.places.Reference(t.release, tok.Expires, tok.Mark.Seq).Claim()
	}
	if len(claims) > 0 {
		if tok.Claims, err = json.Marshal(claims); err != nil {
			return minted{}, fmt.Errorf("encode claims: %w", err)
		}
	}
	a.shadow(t, &tok)
	if tok.Kind == mintmark.KindOpaque {
		return a.opaque(tok, w)
	}
	key, err := a.keys.active(t.mint.Alg)
	if err != nil {
		return minted{}, err
	}
	tok.Mark.Key = key.ID
	value, err := key.sign(typAccess, accessClaims(&tok, claims))
	if err != nil {
		return minted{}, err
	}
	return a.issued(value, tok, nil, w), nil
}

// mintRefresh makes a refresh token of a family.
func (a *Authority) mintRefresh(t target, w wish, state refreshState) (minted, error) {
	now := a.d.Now()
	tok, err := a.blank(t, w, now)
	if err != nil {
		return minted{}, err
	}
	tok.Kind = mintmark.KindRefresh
	// What the family may ask for, in a service's own words: OpenID scopes and the
	// names that a client used for the resource are not taint when the release is
	// taken back.
	tok.Scopes = slices.DeleteFunc(mintmark.SortedSet(w.within), func(s string) bool { return slices.Contains(openIDScopes, s) })
	tok.Audience = mintmark.SortedSet(t.audience)
	tok.Expires = now.Unix() + t.mint.RefreshSeconds
	if tok.Claims, err = json.Marshal(state); err != nil {
		return minted{}, fmt.Errorf("encode refresh state: %w", err)
	}
	if !w.client.Public() && w.client.Method() != AuthTLS && w.client.Method() != AuthSelfSigned {
		// A confidential client's refresh tokens are bound to it by its
		// authentication (RFC 9449 §5): keys may rotate under them.
		tok.Binding = mintmark.Binding{}
	}
	return a.opaque(tok, w)
}

// blank fills what every token of ours has.
func (a *Authority) blank(t target, w wish, now time.Time) (mintmark.Token, error) {
	id, err := a.newID(mintmark.PrefixToken)
	if err != nil {
		return mintmark.Token{}, err
	}
	subject := w.subject
	if subject == "" {
		subject = string(w.client.ID) // RFC 9068 §2.2
	}
	tok := mintmark.Token{
		ID: mintmark.TokenID(id), Issuer: a.cfg.Issuer, Subject: subject, Client: w.client.ID,
		Grant: w.grant, Family: w.family, Binding: w.binding, IssuedAt: now.Unix(),
		AuthTime: w.authTime, ACR: w.acr, Actor: w.actor,
		Mark: mintmark.Mark{Release: t.release, Policy: t.mint.Version, Epoch: t.epoch, Seq: a.d.Ledger.Reserve()},
	}
	if w.of != nil {
		tok.Via, tok.Origins = mintmark.Descend(w.of)
	}
	return tok, nil
}

// opaque gives tok a random value and its handle.
func (a *Authority) opaque(tok mintmark.Token, w wish) (minted, error) {
	var r [32]byte
	if err := a.random(r[:]); err != nil {
		return minted{}, err
	}
	value := handle.Generate(tok.Kind, r)
	return a.issued(value, tok, a.handleOf(value), w), nil
}

func (a *Authority) issued(value string, tok mintmark.Token, mac []byte, w wish) minted {
	a.d.Metrics.Issued(tok.Mark.Release, tok.Client, tok.Kind)
	return minted{value: value, token: tok, event: event("token/"+string(tok.ID), mintmark.EventTokenIssued, &tok,
		mintmark.TokenIssued{Token: tok, Handle: mac, Parent: w.parent, Reason: w.reason})}
}

// handleOf is what the ledger knows a value by.
func (a *Authority) handleOf(value string) []byte {
	d := handle.Digest(value)
	return a.d.Keyring.Handle(d[:])
}

// event builds an event about a token. Our own types always encode.
func event(stream string, typ mintmark.EventType, tok *mintmark.Token, data any) mintmark.Event {
	body, err := json.Marshal(data)
	if err != nil {
		panic(fmt.Sprintf("authority: encode %s: %v", typ, err))
	}
	e := mintmark.Event{Stream: stream, Type: typ, Data: body}
	if tok != nil {
		e.Actor = "client:" + string(tok.Client)
		e.Token, e.Subject, e.Client, e.Release = tok.ID, tok.Subject, tok.Client, tok.Mark.Release
	}
	return e
}

func bounded(exp, notAfter int64) int64 {
	if notAfter != 0 && notAfter < exp {
		return notAfter
	}
	return exp
}

// openIDScopes ask for identity; they are granted by the grant, not by a service's
// policy, and stand in no access token unless the policy lists them.
var openIDScopes = []string{"openid", "profile", "email", "address", "phone", "offline_access"}

// grantedScopes decides an access token's scopes.
func grantedScopes(m *epoch.Mint, w wish) ([]string, error) {
	asked := w.scopes
	if asked == nil {
		if asked = m.DefaultScopes; len(w.within) > 0 {
			asked = w.within
		}
	}
	var out []string
	dropped := false
	for _, s := range asked {
		switch {
		case !slices.Contains(w.client.Scopes, s) || w.within != nil && !slices.Contains(w.within, s):
			if w.scopes != nil {
				return nil, refuse("invalid_scope", "a scope is not allowed to this client")
			}
		case slices.Contains(m.Scopes, s):
			out = append(out, s)
		case !slices.Contains(openIDScopes, s):
			dropped = true
		}
	}
	if len(out) == 0 && dropped {
		return nil, refuse("invalid_scope", "no requested scope is known to the service")
	}
	return mintmark.SortedSet(append(out, m.ForcedScopes...)), nil
}

// renderClaims fills a policy's claims: "${user.NAME}" and "${client.NAME}" stand
// for the claim of that name, keeping its type when they are the whole string.
// What has no value is left out, and so is what a token already has.
func renderClaims(policy map[string]json.RawMessage, w wish) (map[string]json.RawMessage, error) {
	out := make(map[string]json.RawMessage, len(policy))
	for name, raw := range policy {
		if slices.Contains(reservedClaims, name) {
			continue
		}
		var text string
		if len(raw) == 0 || raw[0] != '"' || json.Unmarshal(raw, &text) != nil || !strings.Contains(text, "${") {
			out[name] = raw
			continue
		}
		v, ok := fillTemplate(text, w)
		if ok {
			out[name] = v
		}
	}
	return out, nil
}

var reservedClaims = []string{
	"iss", "sub", "aud", "exp", "nbf", "iat", "jti", "client_id", "scope", "auth_time",
	"acr", "cnf", "act", "mintmark",
}

func fillTemplate(text string, w wish) (json.RawMessage, bool) {
	look := func(ref string) (json.RawMessage, bool) {
		scope, name, _ := strings.Cut(ref, ".")
		switch scope {
		case "user":
			v, ok := w.user[name]
			return v, ok
		case "client":
			v, ok := w.client.Claims[name]
			return v, ok
		}
		return nil, false
	}
	if strings.HasPrefix(text, "${") && strings.Index(text, "}") == len(text)-1 {
		return look(text[2 : len(text)-1])
	}
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(text, "${")
		b.WriteString(before)
		if !found {
			break
		}
		ref, after, closed := strings.Cut(rest, "}")
		v, ok := look(ref)
		if !closed || !ok {
			return nil, false
		}
		var s string
		if json.Unmarshal(v, &s) != nil {
			s = string(v)
		}
		b.WriteString(s)
		text = after
	}
	v, err := json.Marshal(b.String())
	return v, err == nil
}
