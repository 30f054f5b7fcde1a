package gateway

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/admission"
	"github.com/mintmark/mintmark/internal/arrival"
	"github.com/mintmark/mintmark/internal/epoch"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/upstream"
	"github.com/mintmark/mintmark/internal/web"
)

// maxMoves is how often a request may start over because the epoch changed before
// its first byte went upstream.
const maxMoves = 8

var (
	// errMoved: the epoch changed; start over under the new one.
	errMoved = errors.New("gateway: epoch changed")
	// errRefused: the last check refused; the verdict says why.
	errRefused = errors.New("gateway: refused at the last check")
)

// exchange is one request on its way. It is reused once its upstream exchange came
// to a clean end, so that nothing still refers to it.
type exchange struct {
	g *Gateway
	d Decision
	e edit

	w      http.ResponseWriter
	r      *http.Request
	out    http.Request
	url    url.URL
	opts   upstream.Options
	rv     *routeView // of the route decided for; nil until there is one
	facts  *arrival.Facts
	trace  string
	start  time.Time
	status int   // sent to the client
	sent   int64 // bytes of body sent to the client
	clean  bool  // may be reused
	met    outcome

	// cord ends the exchange early. It is pulled by streams and by who watches the
	// client (see watch), never after they were told that the exchange is over.
	cord     upstream.Cord
	watching func() bool // stops the watch on the request's context; else nil
	hint     [3]string   // backs the fields that hints sets

	// For streams; token is set before add and stays until remove.
	token      *mintmark.Token
	severed    bool      // guarded by shard.mu
	shard      *shard    // owned by the exchange
	prev, next *exchange // guarded by shard.mu
}

func newExchange(g *Gateway) *exchange {
	x := &exchange{g: g}
	x.opts.Gate, x.opts.Cord = x, &x.cord
	x.opts.Informational = x.informational
	return x
}

func (x *exchange) reset() {
	x.e.reset()
	x.w, x.r, x.rv, x.facts, x.token = nil, nil, nil, nil, nil
	x.out, x.url = http.Request{}, url.URL{}
	x.cord.Reset()
	x.severed, x.clean, x.status, x.sent, x.trace = false, false, 0, 0, ""
	x.met = outcome{}
	x.d.Query, x.d.proof = Query{}, proved{}
	x.d.Token, x.d.Snapshot = nil, nil
	x.d.verified.Token = mintmark.Token{}
	x.d.req.Token, x.d.req.Route, x.d.req.Snapshot = nil, nil, nil
}

// Pass implements upstream.Gate: the final admission check, after a connection was
// obtained and immediately before the first byte of the request.
func (x *exchange) Pass() error {
	if cause := x.over(); cause != nil {
		return cause
	}
	if x.g.decider.again(&x.d) {
		return errMoved
	}
	if x.d.Refused() {
		return errRefused
	}
	return nil
}

// over returns why the exchange may not go on; nil as long as it may.
func (x *exchange) over() error {
	if cause := x.cord.Cause(); cause != nil {
		return cause
	}
	if x.r.Context().Err() != nil {
		return arrival.ErrGone
	}
	return nil
}

// watch ends the exchange when its client goes. An HTTP/1 connection of ours sees
// that itself, which spares the request a child of its context.
func (x *exchange) watch() {
	if x.facts.Watched(x.r) {
		x.facts.Watch(&x.cord)
		return
	}
	x.watching = context.AfterFunc(x.r.Context(), func() { x.cord.Pull(arrival.ErrGone) })
}

// unwatch ends the watch.
func (x *exchange) unwatch() {
	if x.facts.Watched(x.r) {
		x.facts.Watch(nil)
		return
	}
	if x.watching != nil && !x.watching() {
		x.clean = false // it was called, and may still hold the cord
	}
	x.watching = nil
}

func (x *exchange) informational(code int, h http.Header) {
	cleanResponse(h)
	for _, n := range x.rv.response.remove {
		delete(h, n)
	}
	out := x.w.Header()
	for name, values := range h {
		out[name] = values
	}
	x.w.WriteHeader(code)
	clear(out)
}

// serve carries one request from its arrival to its end.
func (x *exchange) serve(w http.ResponseWriter, r *http.Request) {
	x.w, x.r = w, r
	x.start = x.g.cfg.Now()
	x.facts = arrival.Of(r).Behind(x.g.cfg.Trusted, r.Header)
	x.trace = traceOf(r.Header)
	x.e.h = r.Header
	x.clean = true
	if x.g.cfg.Access != nil {
		defer x.log()
	}
	if x.g.cfg.Meter != nil {
		defer x.observe()
	}
	path, ok := target(r)
	if !ok {
		x.undecided(mintmark.CodeInvalidRequest)
		x.refuse(mintmark.CodeInvalidRequest)
		return
	}
	if isMetadata(path) {
		x.metadata(path)
		return
	}
	x.d.Query = Query{
		Method: r.Method, Scheme: x.facts.Scheme, Host: r.Host, Path: path, Header: r.Header,
		Peer: x.facts.Peer, X5T: x.facts.X5T, At: x.start,
	}
	for range maxMoves {
		again := x.attempt(r.Context())
		x.d.Query.At = time.Time{} // it may have waited
		if !again {
			return
		}
		x.e.rewind()
	}
	x.d.RetryAfter = time.Second
	x.refuse(mintmark.CodeStateUnknown)
}

// undecided sets the decision of a request that no decider was asked about.
func (x *exchange) undecided(code mintmark.Code) {
	x.d.Verdict = admission.Verdict{Code: code, RenewAfter: -1}
	x.d.Token, x.d.Snapshot, x.d.RetryAfter = nil, x.g.cfg.State.Current(), 0
	x.d.req.Now, x.d.req.Scheme = x.g.cfg.Now(), admission.SchemeNone
}

// attempt decides and forwards under one snapshot; true means start over.
func (x *exchange) attempt(ctx context.Context) (again bool) {
	d := &x.d
	x.g.decider.Decide(ctx, d)
	x.g.metrics.latency.Observe(x.g.cfg.Now().Sub(x.start))
	if d.Refused() {
		x.refuse(d.Verdict.Code)
		return false
	}
	v, err := x.g.viewOf(d.Snapshot)
	var to *destination
	if err == nil {
		to = v.to[d.Verdict.Release]
	}
	if to == nil {
		x.g.unavailable(ctx, "no upstream for the release", x, err)
		x.refuse(mintmark.CodeUpstream)
		return false
	}
	rv := &v.routes[d.Verdict.Route.Index]
	x.rv = rv
	if !x.inject(ctx, v, rv) {
		x.d.RetryAfter = time.Second
		x.refuse(mintmark.CodeStateUnknown)
		return false
	}
	if code := x.direct(rv); code != mintmark.CodeNone {
		x.refuse(code)
		return false
	}
	if d.Token != nil {
		x.token = d.Token
		x.g.streams.add(x)
		defer x.g.streams.remove(x)
	}
	if d.Verdict.Route.Audit == "every_use" && !x.record(ctx) {
		x.d.RetryAfter = time.Second
		x.refuse(mintmark.CodeStateUnknown)
		return false
	}
	if s := d.Verdict.Route.Service; s.Split.Mirror != nil {
		x.shadow(s)
		defer x.sendCopy(v)
	}
	return x.forward(ctx, to, rv)
}

// record makes the use durable before its first byte goes upstream.
func (x *exchange) record(ctx context.Context) bool {
	if x.g.cfg.Recorder == nil {
		return false
	}
	if err := x.g.cfg.Recorder.Record(ctx, x.d.Use(x.trace)); err != nil {
		x.g.unavailable(ctx, "use could not be recorded", x, err)
		return false
	}
	return true
}

// inject replaces what the client said about identity by what was decided.
func (x *exchange) inject(ctx context.Context, v *view, rv *routeView) bool {
	d, e := &x.d, &x.e
	tr := d.Verdict.Route.Transform
	upgrade := upgradeOf(x.r)
	auth, key := e.h["Authorization"], e.h["X-Api-Key"]
	e.strip(rv.reserved)
	if p := d.Verdict.Route.Service.Split.Preview; p != nil {
		e.unpreview(p)
	}
	x.opts.Extra = x.opts.Extra[:0]
	if tr == nil || !tr.PassToken || d.Token == nil {
		e.del("Authorization")
	} else {
		if len(auth) == 1 {
			e.set("Authorization", auth[0])
		} else if len(key) == 1 {
			e.set("X-Api-Key", key[0])
		}
	}
	for _, n := range rv.request.remove {
		e.del(n)
	}
	for _, s := range rv.request.set {
		e.set(s[0], s[1])
	}
	if upgrade != "" {
		e.set("Connection", "Upgrade")
		e.set("Upgrade", upgrade)
	}
	// What follows is reserved, hence no longer in the header, and no transformation
	// can have put it there.
	x.add("X-Forwarded-For", x.facts.Address)
	x.add("X-Forwarded-Host", x.r.Host)
	x.add("X-Forwarded-Proto", x.facts.Scheme)
	e.del("Traceparent")
	x.add("Traceparent", x.trace)
	// Always all of them: an upstream must not find an identity header absent
	// that a peer in front of it might then fill.
	names, values := identity.Names(), identity.Values(d.Token, mintmark.StateActive, v.number)
	for i, n := range names {
		x.add(n, web.SafeValue(values[i]))
	}
	if d.Token == nil {
		for _, c := range rv.claims {
			x.put(c.header, "")
		}
		return true
	}
	return x.reshape(ctx, rv)
}

// add puts a field beside the header of the outgoing request.
func (x *exchange) add(name, value string) {
	x.opts.Extra = append(x.opts.Extra, upstream.Field{Name: name, Value: value})
}

// put is add for a name that configuration chose: it may be there already.
func (x *exchange) put(name, value string) {
	for i := range x.opts.Extra {
		if x.opts.Extra[i].Name == name {
			x.opts.Extra[i].Value = value
			return
		}
	}
	x.e.set(name, value)
}

// reshape lets the release read the token: claims in headers, claims mapped, or an
// internal token of its own shape.
func (x *exchange) reshape(ctx context.Context, rv *routeView) bool {
	d, e := &x.d, &x.e
	fate := &d.Verdict.Fate
	shape := fate.Map
	if fate.Disposition == mintmark.Reissue {
		value, err := x.g.reissues.fetch(ctx, d)
		switch {
		case err == nil:
			e.set("Authorization", "Bearer "+value)
			e.del("X-Api-Key")
			shape = nil
		case shape == nil:
			x.g.unavailable(ctx, "token could not be reissued", x, err)
			return false
		}
	}
	if shape == nil && len(rv.claims) == 0 {
		return true
	}
	claims := readClaims(d.Token, shape)
	for _, c := range rv.claims {
		x.put(c.header, claims.header(c.claim))
	}
	if shape != nil {
		x.add(identity.Claims, claims.encoded())
	}
	return true
}

// direct fills in the outgoing request. Its header is the client's own map.
// The code says why there is none.
func (x *exchange) direct(rv *routeView) mintmark.Code {
	r, out, route := x.r, &x.out, x.d.Verdict.Route
	path := x.d.Query.Path
	host := r.Host
	if tr := route.Transform; tr != nil {
		path = rewrite(path, tr)
		if tr.Host != "" {
			host = tr.Host
		}
	}
	if !epoch.PathOK(path) {
		return mintmark.CodeInvalidRequest
	}
	decoded, err := url.PathUnescape(path)
	if err != nil {
		return mintmark.CodeInvalidRequest
	}
	// Opaque, because the path must go up byte for byte as it was matched: net/url
	// would encode anew a path that holds a byte it thinks should be encoded.
	x.url = url.URL{Scheme: "http", Host: host, Path: decoded, RawPath: path, Opaque: path, RawQuery: r.URL.RawQuery, ForceQuery: r.URL.ForceQuery}
	*out = *r // with its context, which nothing else can give it without another copy
	out.URL, out.Host, out.RequestURI, out.TransferEncoding, out.Close = &x.url, host, "", nil, false
	out.Proto, out.ProtoMajor, out.ProtoMinor = "HTTP/1.1", 1, 1
	x.opts.Trailers, out.Trailer = nil, nil
	if r.ContentLength == 0 || r.Body == nil {
		out.Body, out.ContentLength = http.NoBody, 0
	} else {
		if route.MaxBody > 0 {
			if r.ContentLength > route.MaxBody {
				return mintmark.CodeTooLarge
			}
			out.Body = http.MaxBytesReader(x.w, r.Body, route.MaxBody)
		}
		x.trail(rv)
	}
	grpc := isGRPC(r.Header)
	if grpc {
		x.e.set("Te", "trailers") // gRPC over HTTP/2 §Requests; RFC 9113 §8.2.2
	}
	x.opts.Timeout, x.opts.Retries, x.opts.Streaming = rv.timeout, route.Retries, grpc
	return mintmark.CodeNone
}
