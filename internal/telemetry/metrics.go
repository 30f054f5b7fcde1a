package telemetry

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/mintmark/mintmark"
)

// NewRegistry returns a registry with the Go runtime's and the process's
// metrics, and one gauge that names the version.
func NewRegistry(version string) *prometheus.Registry {
	r := prometheus.NewRegistry()
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "mintmark_build_info", Help: "Always 1; the label names the version.", ConstLabels: prometheus.Labels{"version": version},
	})
	build.Set(1)
	r.MustRegister(build, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}

// tokenLabels are the dimensions of every metric that counts tokens.
var tokenLabels = []string{"release", "client", "issuer"}

func counter(r prometheus.Registerer, name, help string, labels ...string) *prometheus.CounterVec {
	c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	r.MustRegister(c)
	return c
}

func gauge(r prometheus.Registerer, name, help string) prometheus.Gauge {
	g := prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
	r.MustRegister(g)
	return g
}

func histogram(r prometheus.Registerer, name, help string) prometheus.Histogram {
	h := prometheus.NewHistogram(native(name, help))
	r.MustRegister(h)
	return h
}

// native describes a native histogram (some 10 % resolution, at most 160
// buckets) that keeps a few classic buckets for scrapers that know no other.
func native(name, help string) prometheus.HistogramOpts {
	return prometheus.HistogramOpts{
		Name: name, Help: help,
		NativeHistogramBucketFactor:     1.1,
		NativeHistogramMaxBucketNumber:  160,
		NativeHistogramMinResetDuration: time.Hour,
		Buckets:                         []float64{1e-6, 1e-5, 1e-4, 1e-3, 5e-3, 2e-2, 0.1, 0.5, 2, 10},
	}
}

// Gateway holds a gateway's metrics. The hot path must not touch labels: it
// counts in its own cells, and its owner adds them here once per flush.
type Gateway struct {
	labels    *Labels
	validated *prometheus.CounterVec
	refused   *prometheus.CounterVec
	// Decision is the time of one decision, in seconds; sampled by the caller.
	Decision prometheus.Histogram
	// Upstream is the time to an upstream's first byte, in seconds.
	Upstream prometheus.Histogram
	// Epoch, Seq and Term are what is applied; Lease the seconds left, negative
	// once it is over; Fenced counts routes past their budget.
	Epoch, Seq, Term, Lease, Fenced prometheus.Gauge
	// SpoolBatches and SpoolBytes are what the recorder has not acknowledged.
	SpoolBatches, SpoolBytes prometheus.Gauge
	// CacheTokens is how many verified tokens are held; Revocations how many facts.
	CacheTokens, Revocations prometheus.Gauge
	// Streams is how many are open; StreamsCut how many a revocation ended.
	Streams    prometheus.Gauge
	StreamsCut prometheus.Counter
	// Verified counts signatures checked: cache misses.
	Verified prometheus.Counter
	// RenewHints counts answers that told a client to renew; CutOff tokens that
	// expired in use without having been renewed.
	RenewHints, CutOff prometheus.Counter
}

// NewGateway registers a gateway's metrics.
func NewGateway(r prometheus.Registerer) *Gateway {
	one := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
		r.MustRegister(c)
		return c
	}
	return &Gateway{
		labels:       NewLabels(),
		validated:    counter(r, "mintmark_gateway_validated_total", "Requests admitted with a valid token.", tokenLabels...),
		refused:      counter(r, "mintmark_gateway_refused_total", "Requests refused, by stable code.", append([]string{"code"}, tokenLabels...)...),
		Decision:     histogram(r, "mintmark_gateway_decision_seconds", "Time of one admission decision."),
		Upstream:     histogram(r, "mintmark_gateway_upstream_seconds", "Time to an upstream's first byte."),
		Epoch:        gauge(r, "mintmark_gateway_epoch", "Number of the epoch applied."),
		Seq:          gauge(r, "mintmark_gateway_applied_seq", "Number of the last state-log row applied."),
		Term:         gauge(r, "mintmark_gateway_term", "Term applied."),
		Lease:        gauge(r, "mintmark_gateway_lease_seconds", "Seconds left of the lease; negative when it is over."),
		Fenced:       gauge(r, "mintmark_gateway_fenced_routes", "Routes past their staleness budget."),
		SpoolBatches: gauge(r, "mintmark_gateway_spool_batches", "Record batches that the recorder has not acknowledged."),
		SpoolBytes:   gauge(r, "mintmark_gateway_spool_bytes", "Bytes of those."),
		CacheTokens:  gauge(r, "mintmark_gateway_cached_tokens", "Verified tokens held in memory."),
		Revocations:  gauge(r, "mintmark_gateway_revocations", "Revocations held in memory."),
		Streams:      gauge(r, "mintmark_gateway_open_streams", "Long-lived exchanges open."),
		StreamsCut:   one("mintmark_gateway_streams_cut_total", "Long-lived exchanges ended because their token is refused."),
		Verified:     one("mintmark_gateway_verified_total", "Tokens verified in full: cache misses."),
		RenewHints:   one("mintmark_gateway_renew_hints_total", "Answers that told a client to renew."),
		CutOff:       one("mintmark_gateway_cut_off_total", "Tokens that expired while in use."),
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

// Authority holds the authority's metrics.
type Authority struct {
	labels   *Labels
	grants   *Bounded
	issued   *prometheus.CounterVec
	renewed  *prometheus.CounterVec
	reused   *prometheus.CounterVec
	failures *prometheus.CounterVec
	// Endpoint is the time of a token endpoint's answer, in seconds.
	Endpoint prometheus.Histogram
}

// NewAuthority registers the authority's metrics.
func NewAuthority(r prometheus.Registerer) *Authority {
	return &Authority{
		labels:   NewLabels(),
		grants:   NewBounded(20),
		issued:   counter(r, "mintmark_authority_issued_total", "Tokens issued, by kind.", append([]string{"kind"}, tokenLabels...)...),
		renewed:  counter(r, "mintmark_authority_renewed_total", "Refreshes answered with new tokens.", tokenLabels...),
		reused:   counter(r, "mintmark_authority_reuse_total", "Superseded refresh tokens presented outside grace.", tokenLabels...),
		failures: counter(r, "mintmark_authority_errors_total", "OAuth errors answered, by grant type and error.", "grant_type", "error"),
		Endpoint: histogram(r, "mintmark_authority_token_seconds", "Time of a token endpoint's answer."),
	}
}

// Issued counts one token issued.
func (a *Authority) Issued(t *mintmark.Token) {
	a.issued.WithLabelValues(append([]string{t.Kind.String()}, a.labels.values(string(t.Mark.Release), string(t.Client), t.Issuer)...)...).Inc()
}

// Renewed counts one refresh.
func (a *Authority) Renewed(t *mintmark.Token) {
	a.renewed.WithLabelValues(a.labels.values(string(t.Mark.Release), string(t.Client), t.Issuer)...).Inc()
}

// Reused counts one re-use of a superseded refresh token.
func (a *Authority) Reused(t *mintmark.Token) {
	a.reused.WithLabelValues(a.labels.values(string(t.Mark.Release), string(t.Client), t.Issuer)...).Inc()
}

// Failed counts one OAuth error answered; code is from the RFC's registry.
func (a *Authority) Failed(grantType, code string) {
	a.failures.WithLabelValues(a.grants.Label(grantType), code).Inc()
}
