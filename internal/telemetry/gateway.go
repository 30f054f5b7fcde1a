package telemetry

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/mintmark/mintmark"
)

// GatewayState is what a gateway knows of itself at one moment.
type GatewayState struct {
	Epoch, Seq, Term uint64        // applied
	Lease            time.Duration // left; negative once it is over
	Fenced           int           // routes past their staleness budget
	Revocations      int           // facts held in memory
	Tokens           int           // verified tokens held in memory
	TokenBytes       int64         // about, of those
	Hits, Misses     uint64        // of that memory, since the start
	Pulls            uint64        // questions asked of control, since the start
	Spool, SpoolMax  int64         // bytes that the recorder has not acknowledged, and their bound
}

// Gateway counts a gateway's decisions by who minted the token and for whom. The
// hot path does not come here: it counts in its own cells, and its owner adds
// them once per flush. What the gateway package counts itself (by route, and the
// latency of decisions) it registers itself.
type Gateway struct {
	labels    *Labels
	validated *prometheus.CounterVec
	refused   *prometheus.CounterVec
}

// NewGateway registers a gateway's metrics. read is called once per scrape.
func NewGateway(r prometheus.Registerer, read func() GatewayState) *Gateway {
	r.MustRegister(newReadings(read,
		reading[GatewayState]{gauge, "mintmark_gateway_epoch", "Number of the epoch applied.", func(s GatewayState) float64 { return float64(s.Epoch) }},
		reading[GatewayState]{gauge, "mintmark_gateway_applied_seq", "Number of the last state-log row applied.", func(s GatewayState) float64 { return float64(s.Seq) }},
		reading[GatewayState]{gauge, "mintmark_gateway_term", "Term applied.", func(s GatewayState) float64 { return float64(s.Term) }},
		reading[GatewayState]{gauge, "mintmark_gateway_lease_seconds", "Seconds left of the lease; negative once it is over.", func(s GatewayState) float64 { return s.Lease.Seconds() }},
		reading[GatewayState]{gauge, "mintmark_gateway_fenced_routes", "Routes past their staleness budget.", func(s GatewayState) float64 { return float64(s.Fenced) }},
		reading[GatewayState]{gauge, "mintmark_gateway_revocations", "Revocations held in memory.", func(s GatewayState) float64 { return float64(s.Revocations) }},
		reading[GatewayState]{gauge, "mintmark_gateway_cached_tokens", "Verified tokens held in memory.", func(s GatewayState) float64 { return float64(s.Tokens) }},
		reading[GatewayState]{gauge, "mintmark_gateway_cached_bytes", "Bytes of verified tokens held in memory, about.", func(s GatewayState) float64 { return float64(s.TokenBytes) }},
		reading[GatewayState]{total, "mintmark_gateway_cache_hits_total", "Tokens found verified.", func(s GatewayState) float64 { return float64(s.Hits) }},
		reading[GatewayState]{total, "mintmark_gateway_cache_misses_total", "Tokens verified in full.", func(s GatewayState) float64 { return float64(s.Misses) }},
		reading[GatewayState]{total, "mintmark_gateway_pulls_total", "Tokens asked of control.", func(s GatewayState) float64 { return float64(s.Pulls) }},
		reading[GatewayState]{gauge, "mintmark_gateway_spool_bytes", "Bytes of records that the recorder has not acknowledged.", func(s GatewayState) float64 { return float64(s.Spool) }},
		reading[GatewayState]{gauge, "mintmark_gateway_spool_limit_bytes", "Bound of those.", func(s GatewayState) float64 { return float64(s.SpoolMax) }},
	))
	return &Gateway{
		labels:    NewLabels(),
		validated: counter(r, "mintmark_gateway_validated_total", "Requests admitted with a valid token.", tokenLabels...),
		refused:   counter(r, "mintmark_gateway_refused_total", "Requests refused, by stable code.", append([]string{"code"}, tokenLabels...)...),
	}
}

// AddValidated adds n admitted requests.
func (g *Gateway) AddValidated(release mintmark.ReleaseID, client mintmark.ClientID, issuer string, n uint64) {
	g.validated.WithLabelValues(g.labels.values(string(release), string(client), issuer)...).Add(float64(n))
}

// AddRefused adds n refused requests. Codes are a closed set and need no bound.
func (g *Gateway) AddRefused(code mintmark.Code, release mintmark.ReleaseID, client mintmark.ClientID, issuer string, n uint64) {
	g.refused.WithLabelValues(append([]string{string(code)}, g.labels.values(string(release), string(client), issuer)...)...).Add(float64(n))
}

// Kinds of readings.
const (
	gauge = prometheus.GaugeValue
	total = prometheus.CounterValue
)

// reading is one value of a state S.
type reading[S any] struct {
	kind       prometheus.ValueType
	name, help string
	value      func(S) float64
}

// readings collects values that all come from one look at a state, so that one
// scrape shows one moment.
type readings[S any] struct {
	read  func() S
	list  []reading[S]
	descs []*prometheus.Desc
}

func newReadings[S any](read func() S, list ...reading[S]) *readings[S] {
	c := &readings[S]{read: read, list: list}
	for _, r := range list {
		c.descs = append(c.descs, prometheus.NewDesc(r.name, r.help, nil, nil))
	}
	return c
}

// Describe implements prometheus.Collector.
func (c *readings[S]) Describe(out chan<- *prometheus.Desc) {
	for _, d := range c.descs {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (c *readings[S]) Collect(out chan<- prometheus.Metric) {
	s := c.read()
	for i, r := range c.list {
		out <- prometheus.MustNewConstMetric(c.descs[i], r.kind, r.value(s))
	}
}
