// Package extauthz answers other gateways' question: may this request pass? It
// speaks the plain HTTP dialect of forward-auth and auth_request over the same
// decision as our own proxy (gateway.Decider).
//
// The original request is described by X-Forwarded-Method and -Uri, which are
// required, and by -Host, -Proto and -For; the credential is in Authorization (with DPoP) or X-API-Key. Whoever
// can reach this handler can describe any request, so it must only be reachable
// by the gateways that ask; it answers nothing but decisions, and never a token's
// value.
//
// An admitted request gets 200 with every Mintmark-Token-* header, empty where
// there is nothing to say: a gateway that copies only headers that are present
// would else keep what the client forged. A refused one gets the exact status,
// challenge and problem details of our own gateway, or, in the nginx dialect
// (which knows no status but 2xx, 401 and 403), 403 with these in X-Error-*
// headers.
//
// The decision holds for the instant of the answer; what the asking gateway does
// later is outside our guarantee, and Cache-Control says for how long it may keep
// the answer at most: nothing by default.
package extauthz

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/bus"
	"github.com/mintmark/mintmark/internal/forwarded"
	"github.com/mintmark/mintmark/internal/gateway"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/web"
)

// Path is where the handler is mounted.
const Path = "/v1/decide"

// Config is what a Handler is made of.
type Config struct {
	Decider *gateway.Decider // required
	Counter gateway.Counter  // nil counts nothing
	// Recorder makes uses durable; nil refuses routes with audit: every_use.
	Recorder gateway.Recorder
	Realm    string // "" is mintmark
	// MaxAge is how long an asking gateway may keep a 200; 0 forbids it. It adds
	// to the time that a revocation takes there.
	MaxAge time.Duration
	// Trusted is the networks of proxies in front of the gateways that ask.
	Trusted forwarded.Trust
}

// Handler answers GET and POST on Path. Safe for concurrent use.
type Handler struct{ cfg Config }

// New returns a handler.
func New(c Config) *Handler {
	if c.Realm == "" {
		c.Realm = "mintmark"
	}
	return &Handler{cfg: c}
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodPost && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD, POST")
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	nginx := false
	for _, d := range r.URL.Query()["dialect"] {
		nginx = d == "nginx"
	}
	var d gateway.Decision
	q, ok := Describe(r, h.cfg.Trusted)
	d.Query = q
	code := mintmark.CodeInvalidRequest
	if ok {
		h.cfg.Decider.Decide(r.Context(), &d)
		// Recorded before the last look at the state, as in our own gateway.
		h.record(r, &d)
		if !d.Refused() && h.cfg.Decider.Moved(&d) {
			// The state moved on while this was decided: once more, by the new one.
			h.cfg.Decider.Decide(r.Context(), &d)
			h.record(r, &d)
		}
		code = d.Verdict.Code
	}
	h.count(&d, code)
	Identity(w.Header(), &d)
	if ok && !d.Refused() {
		h.admit(w, &d)
		return
	}
	if code == mintmark.CodeNone {
		code = mintmark.CodeStateUnknown
	}
	refuse(w, &d, code, h.cfg.Realm, nginx)
}

// record makes the use of an audited route durable, or refuses it.
func (h *Handler) record(r *http.Request, d *gateway.Decision) {
	if d.Refused() || d.Verdict.Route.Audit != "every_use" {
		return
	}
	trace := ""
	if v := r.Header["Traceparent"]; len(v) == 1 && web.ValidTraceparent(v[0]) {
		trace = v[0]
	}
	if h.cfg.Recorder == nil || h.cfg.Recorder.Record(r.Context(), d.Use(trace)) != nil {
		d.Verdict.Allow, d.Verdict.Code, d.RetryAfter = false, mintmark.CodeStateUnknown, time.Second
	}
}

func (h *Handler) admit(w http.ResponseWriter, d *gateway.Decision) {
	hd := w.Header()
	cache := "no-store"
	if age := h.cfg.MaxAge; age > 0 {
		if t := d.Token; t != nil && t.Expires != 0 {
			age = min(age, time.Until(time.Unix(t.Expires, 0)))
		}
		if s := int64(age / time.Second); s > 0 {
			cache = "private, max-age=" + strconv.FormatInt(s, 10)
		}
	}
	hd.Set("Cache-Control", cache)
	if d.Verdict.RenewAfter >= 0 && d.Token != nil {
		hd.Set(identity.RenewAfter, strconv.FormatInt(d.Verdict.RenewAfter, 10))
	}
	if d.Verdict.MustRenew {
		hd.Set(identity.MustRenew, "true")
	}
	w.WriteHeader(http.StatusOK)
}

func (h *Handler) count(d *gateway.Decision, code mintmark.Code) {
	c := h.cfg.Counter
	if c == nil {
		return
	}
	now := h.cfg.Decider.Now()
	c.Count(d.Token, d.Verdict.Route, d.Verdict.Release, code, now)
	if code == mintmark.CodeNone {
		return
	}
	f := bus.Refusal{At: now.UnixMilli(), Code: code, Address: gateway.Truncated(d.Query.Peer)}
	if d.Verdict.Route != nil {
		f.Route = d.Verdict.Route.ID
	}
	if t := d.Token; t != nil {
		f.Token, f.Issuer = t.ID, t.Issuer
	}
	c.Refuse(f)
}

// refuse answers with code, in the nginx dialect inside a 403.
func refuse(w http.ResponseWriter, d *gateway.Decision, code mintmark.Code, realm string, nginx bool) {
	metadata := ""
	if d.Verdict.Route != nil && d.Query.Host != "" {
		metadata = d.Query.Scheme + "://" + d.Query.Host + "/.well-known/oauth-protected-resource"
	}
	ref := gateway.RefusalOf(d, code, realm, metadata)
	if nginx {
		h := w.Header()
		h.Set("X-Error-Status", strconv.Itoa(ref.Status))
		h.Set("X-Error-Body", string(ref.Body))
		h.Set("X-Error-Challenge", strings.Join(ref.Challenges, ", "))
		if ref.RetryAfter > 0 {
			h.Set("X-Error-Retry", strconv.FormatInt(ref.RetryAfter, 10))
		}
		ref.Status, ref.Challenges, ref.RetryAfter = http.StatusForbidden, nil, 0
	}
	ref.Write(w)
}

// Identity puts all fields that say who asks into h, empty where nobody was
// identified. What a request brings under these names is ignored.
func Identity(h http.Header, d *gateway.Decision) {
	epoch := ""
	if d.Snapshot != nil {
		epoch = strconv.FormatUint(d.Snapshot.Epoch, 10)
	}
	values := identity.Values(d.Token, stateOf(d), epoch)
	for i, name := range identity.Names() {
		h[name] = []string{web.SafeValue(values[i])}
	}
}

// stateOf is the token's state as far as this decision shows it.
func stateOf(d *gateway.Decision) mintmark.TokenState {
	switch d.Verdict.Code {
	case mintmark.CodeRevoked, mintmark.CodeReleaseRetired:
		return mintmark.StateRevoked
	case mintmark.CodeSuspended:
		return mintmark.StateSuspended
	case mintmark.CodeExpired:
		return mintmark.StateExpired
	case mintmark.CodeSuperseded:
		return mintmark.StateSuperseded
	case mintmark.CodeStateUnknown:
		return mintmark.StateUnknown
	}
	return mintmark.StateActive
}

// Describe reads the request that is asked about. Each X-Forwarded-* header must
// be there at most once, and those of method and target must be there: the asking
// request's own are never what is asked about, and a gateway that forgets to tell
// them would have every POST decided as a GET. For host, scheme and peer the asking
// request's own count. The client's address is the last of X-Forwarded-For, which
// the asking gateway appended itself, that is no proxy's of trusted.
func Describe(r *http.Request, trusted forwarded.Trust) (gateway.Query, bool) {
	q := gateway.Query{Method: r.Method, Scheme: "https", Host: r.Host, Path: r.URL.EscapedPath(), Header: r.Header}
	method, ok1 := only(r.Header, "X-Forwarded-Method")
	uri, ok2 := only(r.Header, "X-Forwarded-Uri")
	host, ok3 := only(r.Header, "X-Forwarded-Host")
	proto, ok4 := only(r.Header, "X-Forwarded-Proto")
	if !ok1 || !ok2 || !ok3 || !ok4 || method == "" || uri == "" {
		return q, false
	}
	q.Method = method
	if host != "" {
		q.Host = host
	}
	switch proto {
	case "", "https", "wss":
	case "http", "ws":
		q.Scheme = "http"
	default:
		return q, false
	}
	q.Peer = trusted.Told(forwarded.Peer(r.RemoteAddr), r.Header)
	path, ok := pathOf(uri)
	q.Path = path
	return q, ok
}

// pathOf returns the path of a request target as it was sent, without the query.
func pathOf(uri string) (string, bool) {
	if uri[0] != '/' {
		u, err := url.Parse(uri)
		if err != nil || u.Opaque != "" {
			return "", false
		}
		uri = u.EscapedPath()
		if uri == "" {
			uri = "/"
		}
		return uri, uri[0] == '/'
	}
	path, _, _ := strings.Cut(uri, "?")
	return path, !strings.ContainsAny(path, "# \t\r\n\x00")
}

func only(h http.Header, name string) (string, bool) {
	v := h[name]
	switch len(v) {
	case 0:
		return "", true
	case 1:
		return strings.TrimSpace(v[0]), true
	}
	return "", false
}
