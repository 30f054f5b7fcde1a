package adminapi

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/control"
)

// Role is what a caller may do.
type Role string

// Roles. Admin may do everything; operator, security and viewer each what the
// table says. Pipeline drives rollouts and nothing else; gate asks how they go.
const (
	Gate     Role = "gate"
	Pipeline Role = "pipeline"
	Viewer   Role = "viewer"
	Operator Role = "operator"
	Security Role = "security"
	Admin    Role = "admin"
)

// Roles lists them.
func Roles() []Role { return []Role{Gate, Pipeline, Viewer, Operator, Security, Admin} }

// Caller is who is asking.
type Caller struct {
	Actor string // user:NAME, client:ID
	Roles []Role
	// Stands reports whether the token is still good, by what this process knows;
	// nil is always. Streams end when it is not.
	Stands func() bool
}

// Authenticator tells who is asking. It checks the token and its binding; on an
// error it has answered the request itself.
type Authenticator interface {
	Authenticate(w http.ResponseWriter, r *http.Request) (Caller, bool)
	// AuthenticateClient does so by a client's own id and secret (HTTP Basic).
	AuthenticateClient(w http.ResponseWriter, r *http.Request) (Caller, bool)
}

// Issuance makes tokens.
type Issuance interface {
	Issue(ctx context.Context, actor string, r api.IssueRequest) (*api.Issued, error)
	CreateAPIKey(ctx context.Context, actor string, r api.APIKeyRequest) (*api.Issued, error)
	RotateAPIKey(ctx context.Context, actor string, id mintmark.TokenID, r api.RotateRequest) (*api.Issued, error)
}

// SigningKeys manages the authority's keys.
type SigningKeys interface {
	Keys(ctx context.Context) (*api.Keys, error)
	RotateKey(ctx context.Context, actor string, r api.KeyRequest) (*api.KeyAnswer, error)
	RetireKey(ctx context.Context, actor, kid string, r api.KeyRequest) (*api.KeyAnswer, error)
	// KeepKey takes back that a key is to be retired when it is safe.
	KeepKey(ctx context.Context, actor, kid string) (*api.KeyAnswer, error)
	KillKey(ctx context.Context, actor, kid string, r api.KeyRequest) (*api.KeyAnswer, error)
}

// Accounts manages clients and users.
type Accounts interface {
	CreateClient(ctx context.Context, actor string, r api.OAuthClient) (*api.ClientAnswer, error)
	RotateClientSecret(ctx context.Context, actor string, id mintmark.ClientID, r api.RotateRequest) (*api.ClientAnswer, error)
	DisableClient(ctx context.Context, actor string, id mintmark.ClientID) error
	PutUser(ctx context.Context, actor string, r api.UserRequest) (*api.User, error)
}

// Joining lets gateways in.
type Joining interface {
	Invite(ctx context.Context, actor string, r api.JoinTokenRequest) (*api.JoinToken, error)
	// Join redeems a token; an error that is fleet.ErrJoin says that it is no good.
	Join(ctx context.Context, token mintmark.Secret, r api.JoinRequest) (*api.JoinReply, error)
	// Remove cuts a gateway off; fleet.ErrMember when there is none.
	Remove(ctx context.Context, actor string, id mintmark.GatewayID) error
}

// Checks proves what can be proved while serving.
type Checks interface {
	Verify(ctx context.Context) (*api.Verification, error)
}

// Events reads the ledger's events in order.
type Events interface {
	EventsAfter(ctx context.Context, seq uint64, limit int) ([]mintmark.Event, error)
	// Events reads a stream's, with versions above after.
	Events(ctx context.Context, stream string, after uint64, limit int) ([]mintmark.Event, error)
}

// Config is what the admin API is made of. Issuance, Keys, Accounts, Joining,
// Checks and Events may be nil: their operations answer 501.
type Config struct {
	Control  *control.Control
	Auth     Authenticator
	Issuance Issuance
	Keys     SigningKeys
	Accounts Accounts
	Joining  Joining
	Checks   Checks
	Events   Events
	Version  string
	Poll     time.Duration // of the event stream; 0 is 500ms
	Log      *slog.Logger
}

// Server answers the admin API.
type Server struct {
	cfg Config
	mux *http.ServeMux
	api huma.API
}

// New builds the handler from the table. It starts nothing.
func New(cfg Config) *Server {
	if cfg.Poll == 0 {
		cfg.Poll = 500 * time.Millisecond
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{cfg: cfg, mux: http.NewServeMux()}
	hc := huma.DefaultConfig("Mintmark admin API", cfg.Version)
	hc.OpenAPIPath, hc.DocsPath, hc.SchemasPath, hc.CreateHooks = "/v1/openapi", "", "", nil
	hc.RejectUnknownQueryParameters = true
	hc.Transformers = []huma.Transformer{plainProblem}
	hc.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		"token": {Type: "http", Scheme: "bearer", Description: "Access token of the authority for the admin audience."},
	}
	s.api = humago.New(verbMux{s.mux}, hc)
	for _, r := range Table() {
		r.register(s, s.operation(r))
	}
	s.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		write(w, api.NewProblem(api.CodeNotFound, "there is no "+r.Method+" "+short(r.URL.Path)+" here", "see /v1/openapi.json"))
	})
	return s
}

func (s *Server) operation(r Route) huma.Operation {
	op := huma.Operation{
		OperationID: r.ID, Method: r.Method, Path: r.Path, Summary: r.Summary, MaxBodyBytes: 32 << 20, BodyReadTimeout: 30 * time.Second,
		Middlewares: huma.Middlewares{s.guard(r)},
	}
	if r.Roles == nil {
		op.MaxBodyBytes = 16 << 10 // anybody may send it
		return op
	}
	op.Security = []map[string][]string{{"token": {}}}
	names := make([]string, len(r.Roles))
	for i, role := range r.Roles {
		names[i] = string(role)
	}
	op.Description = "Roles: " + strings.Join(names, ", ") + "."
	return op
}

type callerKey struct{}

// guard lets callers with one of the route's roles pass. Reading a large body
// comes after it.
func (s *Server) guard(route Route) func(huma.Context, func(huma.Context)) {
	return func(ctx huma.Context, next func(huma.Context)) {
		r, w := humago.Unwrap(ctx)
		w.Header().Set("Cache-Control", "no-store")
		if route.Roles == nil {
			next(ctx)
			return
		}
		authenticate := s.cfg.Auth.Authenticate
		if _, _, basic := r.BasicAuth(); basic && route.Basic {
			authenticate = s.cfg.Auth.AuthenticateClient
		}
		caller, ok := authenticate(w, r)
		if !ok {
			return
		}
		if !may(caller.Roles, route.Roles) {
			s.cfg.Log.Warn("refused for want of a role", "actor", caller.Actor, "operation", route.ID)
			write(w, api.NewProblem(api.CodeForbidden, "this needs one of the roles: "+strings.TrimSuffix(strings.TrimPrefix(s.rolesText(route), "Roles: "), "."), "ask an admin for the role"))
			return
		}
		ctx = huma.WithValue(ctx, callerKey{}, caller)
		if !slices.Contains(caller.Roles, Admin) {
			ctx = huma.WithContext(ctx, control.Limited(ctx.Context()))
		}
		next(ctx)
	}
}

func (s *Server) rolesText(r Route) string {
	var names []string
	for _, role := range r.Roles {
		names = append(names, string(role))
	}
	return strings.Join(names, ", ")
}

func may(have, want []Role) bool {
	return slices.ContainsFunc(have, func(r Role) bool { return slices.Contains(want, r) })
}

// over reports whether the caller's token has ended since the request came.
func over(ctx context.Context) bool {
	c, _ := ctx.Value(callerKey{}).(Caller)
	return c.Stands != nil && !c.Stands()
}

func actorOf(ctx context.Context) string {
	c, _ := ctx.Value(callerKey{}).(Caller)
	return c.Actor
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		if err, ok := p.(error); ok && errors.Is(err, http.ErrAbortHandler) {
			panic(p)
		}
		s.cfg.Log.Error("admin request failed", "path", r.URL.Path, "panic", p)
		write(w, api.NewProblem(api.CodeInternal, "the request failed", "see control's log"))
	}()
	verbMux{s.mux}.ServeHTTP(w, r)
}

// OpenAPI returns the document.
func (s *Server) OpenAPI() *huma.OpenAPI { return s.api.OpenAPI() }

// verbMux serves paths that end in a verb after a colon ("/v1/rollouts/{id}:promote"),
// which http.ServeMux can't match: the colon becomes a segment of its own inside.
type verbMux struct{ mux *http.ServeMux }

var verbEnd = regexp.MustCompile(`:([a-z][a-z-]*)$`)

// HandleFunc implements humago.Mux.
func (m verbMux) HandleFunc(pattern string, handler func(http.ResponseWriter, *http.Request)) {
	m.mux.HandleFunc(verbEnd.ReplaceAllString(pattern, "/:$1"), handler)
}

// ServeHTTP implements humago.Mux. An id that holds a colon is sent encoded.
func (m verbMux) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	raw := r.URL.EscapedPath()
	at := verbEnd.FindStringIndex(raw)
	if r.Method != http.MethodPost || at == nil {
		m.mux.ServeHTTP(w, r)
		return
	}
	verb := raw[at[0]:]
	u := *r.URL
	u.Path = strings.TrimSuffix(u.Path, verb) + "/" + verb
	u.RawPath = strings.TrimSuffix(raw, verb) + "/" + verb
	r2 := *r
	r2.URL = &u
	m.mux.ServeHTTP(w, &r2)
}
