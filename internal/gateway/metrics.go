package gateway

import (
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/latency"
)

// metrics are the gateway's. Labels come from the epoch and from fixed lists, so
// that their number is bounded by configuration; a request cannot make a new one.
type metrics struct {
	decisions *prometheus.CounterVec
	latency   *latency.Histogram
	cuts      prometheus.Counter
	upstreams *prometheus.CounterVec

	mu    sync.RWMutex
	known map[seriesKey]prometheus.Counter // guarded by mu; bounded by maxSeries
}

type seriesKey struct {
	route  string
	minted mintmark.ReleaseID
	code   mintmark.Code
}

const maxSeries = 8192

func newMetrics(r prometheus.Registerer, open func() float64) *metrics {
	m := &metrics{
		decisions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mintmark_gateway_decisions_total",
			Help: "Requests decided, by route, the release that minted the token, and the code of the refusal (admitted: none).",
		}, []string{"route", "release", "code"}),
		latency: latency.NewHistogram("mintmark_gateway_decision_seconds", "Time from a parsed request to its decision."),
		cuts: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "mintmark_gateway_streams_cut_total",
			Help: "Exchanges in flight that were ended because their token was taken back.",
		}),
		upstreams: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mintmark_gateway_upstream_total",
			Help: "Answers of upstreams, by release and class of status (error: none came).",
		}, []string{"release", "class"}),
		known: map[seriesKey]prometheus.Counter{},
	}
	if r != nil {
		r.MustRegister(m.decisions, m.latency, m.cuts, m.upstreams, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "mintmark_gateway_exchanges_open",
			Help: "Exchanges in flight.",
		}, open))
	}
	return m
}

func (m *metrics) decided(d *Decision, code mintmark.Code) { m.counterOf(d, code).Inc() }

func (m *metrics) counterOf(d *Decision, code mintmark.Code) prometheus.Counter {
	k := seriesKey{code: code}
	if r := d.Verdict.Route; r != nil {
		k.route = r.ID
	}
	if d.Token != nil {
		k.minted = d.Token.Mark.Release
		if k.minted != "" && d.Snapshot.Table.Release(k.minted) == nil {
			k.minted = "other"
		}
	}
	m.mu.RLock()
	c := m.known[k]
	m.mu.RUnlock()
	if c == nil {
		c = m.series(k)
	}
	return c
}

// admitted finds the counter of a route's admitted requests by the release that
// minted the token: of those there are a few at a time. It belongs to one epoch.
type admitted struct {
	recent [4]atomic.Pointer[minted]
	turn   atomic.Uint32
}

type minted struct {
	by mintmark.ReleaseID // "" also without a token
	n  prometheus.Counter
}

func (a *admitted) count(m *metrics, d *Decision) {
	var by mintmark.ReleaseID
	if d.Token != nil {
		by = d.Token.Mark.Release
	}
	for i := range a.recent {
		if c := a.recent[i].Load(); c != nil && c.by == by {
			c.n.Inc()
			return
		}
	}
	c := &minted{by, m.counterOf(d, mintmark.CodeNone)}
	a.recent[a.turn.Add(1)%uint32(len(a.recent))].Store(c)
	c.n.Inc()
}

func (m *metrics) series(k seriesKey) prometheus.Counter {
	name := string(k.code)
	if name == "" {
		name = "none"
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.known) >= maxSeries {
		return m.decisions.WithLabelValues("other", "other", name)
	}
	c := m.decisions.WithLabelValues(k.route, string(k.minted), name)
	m.known[k] = c
	return c
}

var classes = [...]string{"error", "1xx", "2xx", "3xx", "4xx", "5xx"}

// answers counts what one release's servers answer.
type answers struct {
	of      *prometheus.CounterVec
	release string
	known   [len(classes)]atomic.Pointer[prometheus.Counter] // by class, once there was one
}

// answered counts one answer; status 0 is none.
func (a *answers) answered(status int) {
	class := 0
	if status >= 100 && status < 600 {
		class = status / 100
	}
	c := a.known[class].Load()
	if c == nil {
		made := a.of.WithLabelValues(a.release, classes[class])
		c = &made
		a.known[class].Store(c)
	}
	(*c).Inc()
}
