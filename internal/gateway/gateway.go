package gateway

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/epoch"
	"github.com/mintmark/mintmark/internal/forwarded"
	"github.com/mintmark/mintmark/internal/limit"
	"github.com/mintmark/mintmark/internal/upstream"
)

// Config is what a Gateway is made of.
type Config struct {
	State     State         // required
	Verifier  Verifier      // required
	Counter   Counter       // nil counts nothing
	Recorder  Recorder      // nil refuses routes with audit: every_use
	Reissuer  Reissuer      // nil: tokens to be reissued are mapped or answered 503
	Meter     Meter         // nil measures nothing
	Mirror    Mirror        // nil sends no copies: shadow rollouts see nothing
	Once      Once          // nil: a proof's single use is checked on this gateway only
	Upstreams *upstream.Set // required; Run it beside the gateway
	// Now is the wall clock; nil is time.Now.
	Now func() time.Time
	// Log gets what an operator must know; nil discards.
	Log *slog.Logger
	// Access gets one record a request; nil writes none.
	Access *slog.Logger
	// Metrics is where the gateway registers; nil registers nowhere.
	Metrics prometheus.Registerer
	// Skew is how far clocks may differ when times of our own tokens are judged;
	// 0 is DefaultSkew, negative is none.
	Skew time.Duration
	// Trusted is the networks of the proxies in front, whose word about the client's
	// address and scheme counts; nil trusts nobody.
	Trusted forwarded.Trust
	// Realm names the protection space in challenges; "" is mintmark.
	Realm string
}

// DefaultSkew is the allowed clock skew where none is configured.
const DefaultSkew = 5 * time.Second

// Gateway is an http.Handler that admits or refuses, and forwards.
type Gateway struct {
	cfg      Config
	decider  Decider
	streams  streams
	metrics  *metrics
	reissues *reissues
	view     atomic.Pointer[view]
	building sync.Mutex
	pool     sync.Pool // *exchange
	// shadowing is how many bytes of bodies are kept for copies of requests.
	shadowing atomic.Int64
}

// New returns a gateway; it starts nothing.
func New(c Config) (*Gateway, error) {
	if c.State == nil || c.Verifier == nil || c.Upstreams == nil {
		return nil, errors.New("gateway: State, Verifier and Upstreams are required")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Realm == "" {
		c.Realm = "mintmark"
	}
	if c.Skew == 0 {
		c.Skew = DefaultSkew
	}
	g := &Gateway{cfg: c, reissues: newReissues(c.Reissuer)}
	g.decider = Decider{State: c.State, Verifier: c.Verifier, Proofs: NewProofs(c.Once), Now: c.Now, Skew: max(c.Skew, 0), limits: limit.New()}
	g.metrics = newMetrics(c.Metrics, func() float64 { return float64(g.streams.open()) })
	g.pool.New = func() any { return newExchange(g) }
	return g, nil
}

// Decider returns the gateway's decider, for surfaces that answer other gateways'
// questions; they share its limits and proof memory.
func (g *Gateway) Decider() *Decider { return &g.decider }

// Cut ends every exchange in flight whose token snap refuses, and says how many
// there were. The follower calls it after it has put snap in force and before it
// acknowledges.
func (g *Gateway) Cut(snap *epoch.Snapshot) int {
	n := g.streams.cut(snap, g.cfg.Now())
	if n > 0 {
		g.metrics.cuts.Add(float64(n))
	}
	return n
}

// Prepare makes the gateway ready to serve snap, so that the first request after
// a swap does not pay for it; the error says what cannot be served.
func (g *Gateway) Prepare(snap *epoch.Snapshot) error {
	_, err := g.viewOf(snap)
	return err
}

// Open counts exchanges in flight.
func (g *Gateway) Open() int { return g.streams.open() }

// ServeHTTP implements http.Handler.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := g.pool.Get().(*exchange)
	x.serve(w, r)
	if x.clean {
		x.reset()
		g.pool.Put(x)
	}
}

// count accounts for one decision.
func (g *Gateway) count(x *exchange, code mintmark.Code) {
	if !counting {
		return
	}
	d := &x.d
	if c := g.cfg.Counter; c != nil {
		now := d.req.Now
		// With the cached token itself, if it can be, else in the counter's own table.
		if d.Token != &d.verified.Token || !d.verified.Count(d.Verdict.Route, d.Verdict.Release, code, now) {
			c.Count(d.Token, d.Verdict.Route, d.Verdict.Release, code, now)
		}
		if d.verified.First && d.Token != nil && d.Token.Kind == mintmark.KindForeign {
			c.Foreign(d.Token)
		}
		if code != mintmark.CodeNone {
			c.Refuse(x.refusal(code, now))
		}
	}
	if code == mintmark.CodeNone && x.rv != nil {
		x.rv.admitted.count(g.metrics, d)
		return
	}
	g.metrics.decided(d, code)
}

// unavailable logs why the gateway could not do its part; the client never sees it.
func (g *Gateway) unavailable(ctx context.Context, what string, x *exchange, err error) {
	route := ""
	if r := x.d.Verdict.Route; r != nil {
		route = r.ID
	}
	g.cfg.Log.LogAttrs(ctx, slog.LevelWarn, what, slog.String("route", route), slog.Any("error", err))
}
