package gateway

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/mintmark/mintmark"
)

// metrics are the gateway's. Labels come from the epoch and from fixed lists, so
// that their number is bounded by configuration; a request cannot make a new one.
type metrics struct {
	decisions *prometheus.CounterVec
	latency   prometheus.Histogram
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
		latency: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:                            "mintmark_gateway_decision_seconds",
			Help:                            "Time from a parsed request to its decision.",
			NativeHistogramBucketFactor:     1.1,
			NativeHistogramMaxBucketNumber:  160,
			NativeHistogramMinResetDuration: time.Hour,
		}),
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

func (m *metrics) decided(d *Decision, code mintmark.Code) {
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
	c.Inc()
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

var classes = [...]string{"other", "1xx", "2xx", "3xx", "4xx", "5xx"}

func (m *metrics) answered(release string, status int) {
	class := "error"
	if status >= 100 && status < 600 {
		class = classes[status/100]
	}
	m.upstreams.WithLabelValues(release, class).Inc()
}
