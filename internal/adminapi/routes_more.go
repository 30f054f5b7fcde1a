package adminapi

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/control"
	"github.com/mintmark/mintmark/internal/policy"
)

func notSupported(what string) error {
	return api.NewProblem(api.CodeNotSupported, "this control plane has no "+what, "")
}

func tokenRoutes() []Route {
	return []Route{
		row("listTokens", "GET", "/v1/tokens", anybody, "List tokens", func(s *Server, ctx context.Context, in *struct {
			Selector string `query:"selector" maxLength:"4096" doc:"condition[,condition]…, such as client=web,release=shop/v2"`
			State    string `query:"state" doc:"Names of states, or all; live ones when left out."`
			Kind     string `query:"kind"`
			After    string `query:"after" maxLength:"255"`
			Limit    int    `query:"limit" minimum:"0" maximum:"1000"`
		},
		) (*api.TokenPage, error) {
			return s.cfg.Control.Tokens(ctx, api.TokenQuery{Selector: in.Selector, States: list(in.State), Kinds: list(in.Kind), After: mintmark.TokenID(in.After), Limit: in.Limit})
		}),
		row("getToken", "GET", "/v1/tokens/{id}", anybody, "Get a token", func(s *Server, ctx context.Context, in *byID) (*api.Token, error) {
			return s.cfg.Control.Token(ctx, mintmark.TokenID(in.ID))
		}),
		row("traceToken", "GET", "/v1/tokens/{id}/trace", anybody, "Get a token's life", func(s *Server, ctx context.Context, in *byID) (*api.Trace, error) {
			t, err := s.cfg.Control.Trace(ctx, mintmark.TokenID(in.ID))
			if err == nil {
				t.Events = shown(t.Events)
			}
			return t, err
		}),
		once("issueToken", "/v1/tokens", operators, "Issue a token for a client", func(s *Server, ctx context.Context, actor string, r api.IssueRequest) (*api.Issued, error) {
			if s.cfg.Issuance == nil {
				return nil, notSupported("issuance")
			}
			return s.cfg.Issuance.Issue(ctx, actor, r)
		}),
		row("listAPIKeys", "GET", "/v1/api-keys", anybody, "List API keys", func(s *Server, ctx context.Context, in *page) (*api.TokenPage, error) {
			return s.cfg.Control.Tokens(ctx, api.TokenQuery{Kinds: []string{"apikey"}, States: []string{"all"}, After: mintmark.TokenID(in.After)})
		}),
		once("createAPIKey", "/v1/api-keys", operators, "Create an API key", func(s *Server, ctx context.Context, actor string, r api.APIKeyRequest) (*api.Issued, error) {
			if s.cfg.Issuance == nil {
				return nil, notSupported("issuance")
			}
			return s.cfg.Issuance.CreateAPIKey(ctx, actor, r)
		}),
		onceByID("rotateAPIKey", "/v1/api-keys/{id}:rotate", operators, "Replace an API key", func(s *Server, ctx context.Context, actor, id string, r api.RotateRequest) (*api.Issued, error) {
			if s.cfg.Issuance == nil {
				return nil, notSupported("issuance")
			}
			return s.cfg.Issuance.RotateAPIKey(ctx, actor, mintmark.TokenID(id), r)
		}),
	}
}

func list(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(s, ",")
}

func resourceRoutes() []Route {
	return append([]Route{
		once("applyResources", "/v1/resources:apply", operators, "Apply resources, all or none", func(s *Server, ctx context.Context, actor string, r api.ApplyRequest) (*api.ApplyAnswer, error) {
			return s.cfg.Control.Apply(ctx, actor, r)
		}),
		row("diffResources", "POST", "/v1/resources:diff", anybody, "Say what applying would do", func(s *Server, ctx context.Context, in *body[api.ApplyRequest]) (*api.ApplyAnswer, error) {
			in.Body.DryRun = true
			return s.cfg.Control.Apply(ctx, actorOf(ctx), in.Body)
		}),
		row("exportResources", "GET", "/v1/resources", anybody, "Export all resources", func(s *Server, ctx context.Context, _ *none) (*api.Export, error) {
			return s.cfg.Control.Export(ctx)
		}),
		row("getSchemas", "GET", "/v1/schemas", anybody, "Get the JSON Schema of all kinds", func(*Server, context.Context, *none) (*json.RawMessage, error) {
			schema, err := policy.Schemas()
			return raw(schema, err)
		}),
		row("getSchema", "GET", "/v1/schemas/{id}", anybody, "Get the JSON Schema of a kind", func(_ *Server, _ context.Context, in *byID) (*json.RawMessage, error) {
			schema, err := policy.Schema(in.ID)
			if err != nil {
				return nil, fmt.Errorf("%w: %w", control.ErrNotFound, err)
			}
			return raw(schema, nil)
		}),
	}, whatIfRoutes()...)
}

func raw(v any, err error) (*json.RawMessage, error) {
	if err != nil {
		return nil, err
	}
	b, err := json.Marshal(v)
	return (*json.RawMessage)(&b), err
}

func accountRoutes() []Route {
	return []Route{
		row("listClients", "GET", "/v1/clients", anybody, "List OAuth clients", func(s *Server, ctx context.Context, _ *none) (*api.Clients, error) {
			return s.cfg.Control.Clients(ctx)
		}),
		row("getClient", "GET", "/v1/clients/{id}", anybody, "Get an OAuth client", func(s *Server, ctx context.Context, in *byID) (*api.OAuthClient, error) {
			c, err := s.client(ctx, mintmark.ClientID(in.ID))
			return &c, err
		}),
		once("createClient", "/v1/clients", operators, "Create an OAuth client", func(s *Server, ctx context.Context, actor string, r api.OAuthClient) (*api.ClientAnswer, error) {
			if s.cfg.Accounts == nil {
				return nil, notSupported("accounts")
			}
			if err := s.cfg.Control.MayChangeClient(ctx, r.ID, r.Scopes); err != nil {
				return nil, err
			}
			return s.cfg.Accounts.CreateClient(ctx, actor, r)
		}),
		onceByID("rotateClientSecret", "/v1/clients/{id}:rotate-secret", operators, "Give a client a new secret", func(s *Server, ctx context.Context, actor, id string, r api.RotateRequest) (*api.ClientAnswer, error) {
			if s.cfg.Accounts == nil {
				return nil, notSupported("accounts")
			}
			if err := s.cfg.Control.MayChangeClient(ctx, mintmark.ClientID(id), nil); err != nil {
				return nil, err
			}
			out, err := s.cfg.Accounts.RotateClientSecret(ctx, actor, mintmark.ClientID(id), r)
			if err == nil {
				out.Client, err = s.client(ctx, mintmark.ClientID(id))
			}
			return out, err
		}),
		row("disableClient", "POST", "/v1/clients/{id}:disable", guards, "Refuse a client everywhere and revoke its tokens", (*Server).disableClient),
		row("listUsers", "GET", "/v1/users", anybody, "List local users", func(s *Server, ctx context.Context, _ *none) (*api.Users, error) {
			return s.cfg.Control.Users(ctx)
		}),
		once("putUser", "/v1/users", admins, "Make a local user, or change its password", func(s *Server, ctx context.Context, actor string, r api.UserRequest) (*api.User, error) {
			if s.cfg.Accounts == nil {
				return nil, notSupported("accounts")
			}
			return s.putUser(ctx, actor, r)
		}),
		row("listKeys", "GET", "/v1/keys", anybody, "List signing keys", func(s *Server, ctx context.Context, _ *none) (*api.Keys, error) {
			if s.cfg.Keys == nil {
				return nil, notSupported("signing keys")
			}
			return s.cfg.Keys.Keys(ctx)
		}),
		once("rotateKey", "/v1/keys:rotate", security, "Sign with a new key", func(s *Server, ctx context.Context, actor string, r api.KeyRequest) (*api.KeyAnswer, error) {
			if s.cfg.Keys == nil {
				return nil, notSupported("signing keys")
			}
			return s.cfg.Keys.RotateKey(ctx, actor, r)
		}),
		row("retireKey", "POST", "/v1/keys/{id}:retire", security, "Take a key out of use", func(s *Server, ctx context.Context, in *bodyByID[api.KeyRequest]) (*api.KeyAnswer, error) {
			if s.cfg.Keys == nil {
				return nil, notSupported("signing keys")
			}
			return s.cfg.Keys.RetireKey(ctx, actorOf(ctx), in.ID, in.Body)
		}),
		row("keepKey", "POST", "/v1/keys/{id}:keep", security, "Take back that a key is to be retired when it is safe", func(s *Server, ctx context.Context, in *bodyByID[api.KeyRequest]) (*api.KeyAnswer, error) {
			if s.cfg.Keys == nil {
				return nil, notSupported("signing keys")
			}
			return s.cfg.Keys.KeepKey(ctx, actorOf(ctx), in.ID)
		}),
		row("keyNeeds", "GET", "/v1/keys/{id}/needs", anybody, "Say what still needs a key", (*Server).keyNeeds),
		row("issuerNeeds", "GET", "/v1/issuers/{id}/needs", anybody, "Say what still needs another issuer", func(s *Server, ctx context.Context, in *byID) (*api.Needs, error) {
			return s.cfg.Control.IssuerNeeds(ctx, in.ID)
		}),
		row("killKey", "POST", "/v1/keys/{id}:kill", security, "Refuse all that a key signed, at once and for good", func(s *Server, ctx context.Context, in *bodyByID[api.KeyRequest]) (*api.KeyAnswer, error) {
			return s.killKey(ctx, in)
		}),
	}
}

// putUser refuses to change beside its declaration what a declared user is: the
// next apply would undo it. A password is never declared.
func (s *Server) putUser(ctx context.Context, actor string, r api.UserRequest) (*api.User, error) {
	if r.Email != "" || len(r.Roles) > 0 {
		declared, err := s.cfg.Control.Declared(ctx, policy.KindUser, strings.TrimSpace(r.Name))
		if err != nil {
			return nil, err
		}
		if declared {
			return nil, api.NewProblem(api.CodeInvalid, "the user "+strings.TrimSpace(r.Name)+" is declared, so that e-mail and roles are changed there",
				"change claims in its resource (mintmark export User/"+strings.TrimSpace(r.Name)+") and apply it")
		}
	}
	return s.cfg.Accounts.PutUser(ctx, actor, r)
}

// keyNeeds says what needs a key that there is, and whether it is to be retired.
func (s *Server) keyNeeds(ctx context.Context, in *byID) (*api.Needs, error) {
	if s.cfg.Keys == nil {
		return nil, notSupported("signing keys")
	}
	keys, err := s.cfg.Keys.Keys(ctx)
	if err != nil {
		return nil, err
	}
	for _, k := range keys.Keys {
		if k.ID == in.ID {
			out, err := s.cfg.Control.KeyNeeds(ctx, k.ID)
			if err != nil {
				return nil, err
			}
			out.WhenSafe = k.WhenSafe
			return out, nil
		}
	}
	return nil, fmt.Errorf("%w: there is no key %.80q", control.ErrNotFound, in.ID)
}

// killKey takes the key out of use first, so that nothing more is signed with it,
// and revokes all it signed once more: the receipt of that says how far both have
// come, for the gateways apply rows in order.
func (s *Server) killKey(ctx context.Context, in *bodyByID[api.KeyRequest]) (*api.KeyAnswer, error) {
	if s.cfg.Keys == nil {
		return nil, notSupported("signing keys")
	}
	if in.Body.Confirm != in.ID {
		return nil, &control.ConfirmError{Text: in.ID}
	}
	if err := mayBreak(ctx, in.Body.BreakGlass); err != nil {
		return nil, err
	}
	actor := actorOf(ctx)
	out, err := s.key(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	kill := func() (err error) {
		out, err = s.cfg.Keys.KillKey(ctx, actor, in.ID, in.Body)
		return err
	}
	sel := mintmark.Selector{Key: in.ID}.String()
	a, err := s.cfg.Control.Withdraw(ctx, actor, api.RevokeRequest{
		Selector: sel, Confirm: sel, Reason: cmp.Or(in.Body.Reason, "key killed"), BreakGlass: in.Body.BreakGlass, Wait: in.Body.Wait, Timeout: in.Body.Timeout,
	}, kill)
	if err != nil {
		return nil, err
	}
	out.Receipt, out.Pending = a.Receipt, a.Pending
	return out, nil
}

// disableClient turns the client off first: what it could still get in between is
// revoked after.
func (s *Server) disableClient(ctx context.Context, in *bodyByID[api.DisableRequest]) (*api.ClientAnswer, error) {
	if s.cfg.Accounts == nil {
		return nil, notSupported("accounts")
	}
	if err := mayBreak(ctx, in.Body.BreakGlass); err != nil {
		return nil, err
	}
	actor, id := actorOf(ctx), mintmark.ClientID(in.ID)
	if _, err := s.client(ctx, id); err != nil {
		return nil, err
	}
	sel := mintmark.Selector{Client: id}.String()
	a, err := s.cfg.Control.Withdraw(ctx, actor, api.RevokeRequest{
		Selector: sel, Confirm: sel, Reason: cmp.Or(in.Body.Reason, "client disabled"), BreakGlass: in.Body.BreakGlass, Wait: in.Body.Wait, Timeout: in.Body.Timeout,
	}, func() error { return s.cfg.Accounts.DisableClient(ctx, actor, id) })
	if err != nil {
		return nil, err
	}
	c, err := s.client(ctx, id)
	return &api.ClientAnswer{Client: c, Receipt: a.Receipt, Pending: a.Pending}, err
}

// key is a key as it stands.
func (s *Server) key(ctx context.Context, kid string) (*api.KeyAnswer, error) {
	all, err := s.cfg.Keys.Keys(ctx)
	if err != nil {
		return nil, err
	}
	for _, k := range all.Keys {
		if k.ID == kid {
			return &api.KeyAnswer{Key: k}, nil
		}
	}
	return nil, fmt.Errorf("%w: there is no key %.80q", control.ErrNotFound, kid)
}

// mayBreak refuses who may not do without a second person.
func mayBreak(ctx context.Context, breakGlass bool) error {
	if breakGlass && !holds(ctx, security) {
		return api.NewProblem(api.CodeForbidden, "break_glass needs the role security", "leave it out, and let another operator approve it")
	}
	return nil
}

func (s *Server) client(ctx context.Context, id mintmark.ClientID) (api.OAuthClient, error) {
	all, err := s.cfg.Control.Clients(ctx)
	if err != nil {
		return api.OAuthClient{}, err
	}
	for _, c := range all.Clients {
		if c.ID == id {
			return c, nil
		}
	}
	return api.OAuthClient{}, fmt.Errorf("%w: there is no client %.80q", control.ErrNotFound, id)
}

func fleetRoutes() []Route {
	return []Route{
		row("getStatus", "GET", "/v1/status", anybody, "Get control's state at a glance", func(s *Server, ctx context.Context, _ *none) (*api.Status, error) {
			return s.cfg.Control.Status(ctx, s.cfg.Version)
		}),
		row("verify", "POST", "/v1/verify", operators, "Prove what can be proved while serving", func(s *Server, ctx context.Context, _ *none) (*api.Verification, error) {
			if s.cfg.Checks == nil {
				return nil, notSupported("online checks")
			}
			return s.cfg.Checks.Verify(ctx)
		}),
		row("listGateways", "GET", "/v1/gateways", anybody, "List gateways", func(s *Server, _ context.Context, _ *none) (*api.Gateways, error) {
			return s.cfg.Control.Gateways(), nil
		}),
		row("inviteGateway", "POST", "/v1/join-tokens", admins, "Make a one-time join token", func(s *Server, ctx context.Context, in *body[api.JoinTokenRequest]) (*api.JoinToken, error) {
			if s.cfg.Joining == nil {
				return nil, notSupported("joining")
			}
			return s.cfg.Joining.Invite(ctx, actorOf(ctx), in.Body)
		}),
		row("join", "POST", "/v1/join", nobody, "Join as a gateway, with a one-time join token as bearer token", func(s *Server, ctx context.Context, in *struct {
			Authorization string `header:"Authorization" maxLength:"512"`
			Body          api.JoinRequest
		},
		) (*api.JoinReply, error) {
			token, ok := strings.CutPrefix(in.Authorization, "Bearer ")
			if !ok || token == "" {
				return nil, api.NewProblem(api.CodeUnauthorized, "a join token is wanted as bearer token", "ask for one: mintmark gateway join-token")
			}
			if s.cfg.Joining == nil {
				return nil, notSupported("joining")
			}
			return s.cfg.Joining.Join(ctx, mintmark.NewSecret(token), in.Body)
		}),
		{ID: "tailEvents", Method: "GET", Path: "/v1/events", Roles: anybody, Summary: "Follow events (server-sent events)", register: func(s *Server, op huma.Operation) {
			huma.Register(s.api, op, s.events)
		}},
	}
}
