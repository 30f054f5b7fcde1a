package adminapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/authority"
	"github.com/mintmark/mintmark/internal/ledger"
)

// Authority lets our own authority tell who is asking, and do what concerns keys
// and accounts.
type Authority struct {
	A *authority.Authority
	// URLs are those that callers know the admin API by, without path, the usual one
	// first: a DPoP proof must name one of them. Without any, bound tokens are
	// refused: a proof made for another server, taken from there, would name
	// whatever its thief calls us.
	URLs []string
	// CountLive counts live tokens, for keys.
	CountLive func(ctx context.Context, sel mintmark.Selector) (int64, error)
}

// Authenticate implements Authenticator: an access token of ours for the admin
// audience, with its proof if it is bound.
func (a Authority) Authenticate(w http.ResponseWriter, r *http.Request) (Caller, bool) {
	base := a.base(r.Host)
	if base == "" && r.Header.Get("DPoP") != "" {
		write(w, api.NewProblem(api.CodeUnauthorized, "control does not know by which URL it is called, so it can't check a DPoP proof", "set admin.url in mintmark.yaml, or use a token that is not bound"))
		return Caller{}, false
	}
	t, err := a.A.Present(w, r, a.A.AdminAudience(), base)
	if err != nil {
		a.A.Challenge(w, r, err)
		return Caller{}, false
	}
	c := CallerOf(t)
	c.Stands = func() bool { return a.A.Stands(t) }
	return c, true
}

// AuthenticateClient implements Authenticator: a client of ours for the admin
// audience, by its own secret.
func (a Authority) AuthenticateClient(w http.ResponseWriter, r *http.Request) (Caller, bool) {
	t, err := a.A.PresentClient(r)
	if err != nil {
		a.A.Challenge(w, r, err)
		return Caller{}, false
	}
	return CallerOf(t), true
}

// base is the URL of ours with that host, or else the usual one: what stands in
// front may call us by another name than it is called.
func (a Authority) base(host string) string {
	for _, u := range a.URLs {
		if _, name, _ := strings.Cut(u, "://"); strings.EqualFold(name, host) {
			return u
		}
	}
	if len(a.URLs) > 0 {
		return a.URLs[0]
	}
	return ""
}

// CallerOf reads a token's scopes as roles.
func CallerOf(t *mintmark.Token) Caller {
	c := Caller{Actor: "client:" + string(t.Client)}
	if t.Subject != "" && t.Subject != string(t.Client) {
		c.Actor = "user:" + t.Subject
	}
	for _, scope := range t.Scopes {
		for _, role := range Roles() {
			if scope == "admin:"+string(role) {
				c.Roles = append(c.Roles, role)
			}
		}
	}
	return c
}

func refused(err error) error {
	switch {
	case errors.Is(err, authority.ErrRequest):
		return api.NewProblem(api.CodeInvalid, saying(err, authority.ErrRequest), "")
	case errors.Is(err, authority.ErrInUse):
		return api.NewProblem(api.CodePrecondition, saying(err, authority.ErrInUse), "let it be retired once they are over with: mintmark key retire KID --when-safe; --force does it now")
	case errors.Is(err, authority.ErrNotReady), errors.Is(err, authority.ErrNoKey):
		return api.NewProblem(api.CodeUnavailable, err.Error(), "apply resources first, or wait for the gateways")
	}
	return err
}

// Issue implements Issuance: by hand, under the client's own policy and bounds.
func (a Authority) Issue(ctx context.Context, actor string, r api.IssueRequest) (*api.Issued, error) {
	if len(r.Audience) > 1 {
		return nil, api.NewProblem(api.CodeInvalid, "a token has one audience", "issue one token for each")
	}
	q := authority.IssueRequest{Client: r.Client, Subject: r.Subject, Scopes: r.Scopes, Seconds: r.Seconds, Actor: actor, Reason: r.Reason}
	if len(r.Audience) == 1 {
		q.Audience = r.Audience[0]
	}
	k, err := a.A.IssueFor(ctx, q)
	if err != nil {
		return nil, refused(err)
	}
	return issued(k, "", ""), nil
}

// CreateAPIKey implements Issuance.
func (a Authority) CreateAPIKey(ctx context.Context, actor string, r api.APIKeyRequest) (*api.Issued, error) {
	if len(r.Audience) > 1 {
		return nil, api.NewProblem(api.CodeInvalid, "an API key has one audience", "create one key for each")
	}
	q := authority.APIKeyRequest{Name: r.Name, Owner: r.Owner, Client: r.Client, Subject: r.Subject, Scopes: r.Scopes, Expires: r.Expires, Actor: actor}
	if len(r.Audience) == 1 {
		q.Audience = r.Audience[0]
	}
	k, err := a.A.CreateAPIKey(ctx, q)
	if err != nil {
		return nil, refused(err)
	}
	return issued(k, r.Name, r.Owner), nil
}

func issued(k authority.APIKey, name, owner string) *api.Issued {
	t := k.Token
	return &api.Issued{Value: k.Value.Reveal(), Token: api.Token{
		ID: t.ID, Kind: t.Kind, State: mintmark.StateIssued, Issuer: t.Issuer, Subject: t.Subject, Client: t.Client, Scopes: t.Scopes,
		Audience: t.Audience, Mark: t.Mark, IssuedAt: t.IssuedAt, Expires: t.Expires, Name: name, Owner: owner,
	}}
}

// RotateAPIKey implements Issuance.
func (a Authority) RotateAPIKey(ctx context.Context, actor string, id mintmark.TokenID, r api.RotateRequest) (*api.Issued, error) {
	overlap, err := parseOverlap(r.Overlap)
	if err != nil {
		return nil, err
	}
	k, err := a.A.RotateAPIKey(ctx, id, overlap, actor)
	if err != nil {
		return nil, refused(err)
	}
	return issued(k, "", ""), nil
}

func parseOverlap(s string) (time.Duration, error) {
	if s == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 || d > 90*24*time.Hour {
		return 0, api.NewProblem(api.CodeInvalid, fmt.Sprintf("overlap %.40q is not a duration up to 90 days", s), "write one like 24h")
	}
	return d, nil
}

// Keys implements SigningKeys.
func (a Authority) Keys(ctx context.Context) (*api.Keys, error) {
	list, err := a.A.Keys(ctx)
	if err != nil {
		return nil, err
	}
	out := &api.Keys{Keys: make([]api.Key, 0, len(list))}
	for _, k := range list {
		key := keyOf(k)
		if key.Tokens, err = a.CountLive(ctx, mintmark.Selector{Key: k.ID}); err != nil {
			return nil, fmt.Errorf("count tokens of key %s: %w", k.ID, err)
		}
		out.Keys = append(out.Keys, key)
	}
	return out, nil
}

func keyOf(k authority.SigningKey) api.Key {
	out := api.Key{ID: k.ID, Alg: k.Alg, State: k.State, Created: time.Unix(k.Created, 0).UTC()}
	if w := k.WhenSafe; w != nil {
		out.WhenSafe = &api.KeyWish{Since: time.Unix(w.Since, 0).UTC(), Actor: w.Actor, Reason: w.Reason}
	}
	return out
}

// RotateKey implements SigningKeys.
func (a Authority) RotateKey(ctx context.Context, actor string, r api.KeyRequest) (*api.KeyAnswer, error) {
	k, err := a.A.Rotate(ctx, r.Alg, actor, r.Reason)
	if err != nil {
		return nil, refused(err)
	}
	return &api.KeyAnswer{Key: keyOf(k)}, nil
}

// RetireKey implements SigningKeys.
func (a Authority) RetireKey(ctx context.Context, actor, kid string, r api.KeyRequest) (*api.KeyAnswer, error) {
	var err error
	switch {
	case r.WhenSafe && r.Force:
		return nil, api.NewProblem(api.CodeInvalid, "when_safe and force contradict each other", "say one of them")
	case r.WhenSafe:
		err = a.A.RetireWhenSafe(ctx, kid, actor, r.Reason)
	default:
		err = a.A.Retire(ctx, kid, actor, r.Reason, r.Force)
	}
	if err != nil {
		return nil, refused(err)
	}
	return a.key(ctx, kid)
}

// KeepKey implements SigningKeys.
func (a Authority) KeepKey(ctx context.Context, actor, kid string) (*api.KeyAnswer, error) {
	if err := a.A.KeepKey(ctx, kid, actor); err != nil {
		return nil, refused(err)
	}
	return a.key(ctx, kid)
}

// KillKey implements SigningKeys.
func (a Authority) KillKey(ctx context.Context, actor, kid string, r api.KeyRequest) (*api.KeyAnswer, error) {
	if err := a.A.Kill(ctx, kid, actor, r.Reason); err != nil {
		return nil, refused(err)
	}
	return a.key(ctx, kid)
}

func (a Authority) key(ctx context.Context, kid string) (*api.KeyAnswer, error) {
	list, err := a.A.Keys(ctx)
	if err != nil {
		return nil, err
	}
	for _, k := range list {
		if k.ID == kid {
			return &api.KeyAnswer{Key: keyOf(k)}, nil
		}
	}
	return nil, fmt.Errorf("key %.80q: %w", kid, ledger.ErrNotFound)
}

// CreateClient implements Accounts.
func (a Authority) CreateClient(ctx context.Context, actor string, r api.OAuthClient) (*api.ClientAnswer, error) {
	c := authority.Client{
		ID: r.ID, Name: r.Name, AuthMethod: r.Auth, GrantTypes: r.Grants, RedirectURIs: r.RedirectURIs, Scopes: r.Scopes,
		Audiences: r.Audience, Disabled: r.Disabled,
	}
	out := &api.ClientAnswer{Client: r}
	if c.AuthMethod == authority.AuthBasic || c.AuthMethod == authority.AuthPost {
		secret, entry, err := a.A.NewClientSecret()
		if err != nil {
			return nil, err
		}
		c.Secrets, out.Secret = []authority.ClientSecret{entry}, secret.Reveal()
	}
	if err := a.A.PutClient(ctx, c, actor); err != nil {
		return nil, refused(err)
	}
	return out, nil
}

// RotateClientSecret implements Accounts.
func (a Authority) RotateClientSecret(ctx context.Context, actor string, id mintmark.ClientID, r api.RotateRequest) (*api.ClientAnswer, error) {
	overlap, err := parseOverlap(r.Overlap)
	if err != nil {
		return nil, err
	}
	secret, err := a.A.RotateClientSecret(ctx, id, overlap, actor)
	if err != nil {
		return nil, refused(err)
	}
	return &api.ClientAnswer{Client: api.OAuthClient{ID: id}, Secret: secret.Reveal()}, nil
}

// DisableClient implements Accounts.
func (a Authority) DisableClient(ctx context.Context, actor string, id mintmark.ClientID) error {
	return refused(a.A.SetClientDisabled(ctx, id, true, actor))
}

// PutUser implements Accounts.
func (a Authority) PutUser(ctx context.Context, actor string, r api.UserRequest) (*api.User, error) {
	name := strings.TrimSpace(r.Name)
	if r.Disabled {
		return nil, api.NewProblem(api.CodeInvalid, "disabled can't be set here", "declare the user with kind: User and disabled: true, which revokes its tokens, too")
	}
	to := authority.UserChange{Password: mintmark.NewSecret(r.Password), Email: r.Email, Roles: r.Roles}
	if err := a.A.ChangeUser(ctx, name, to, true, actor); err != nil {
		return nil, refused(err)
	}
	return &api.User{Name: name, Email: r.Email, Roles: r.Roles}, nil
}

var (
	_ Authenticator = Authority{}
	_ Issuance      = Authority{}
	_ SigningKeys   = Authority{}
	_ Accounts      = Authority{}
)
