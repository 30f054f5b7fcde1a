package telemetry

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/mintmark/mintmark"
)

// Tokens holds the metrics of what the ledger says of tokens: how many came to
// be, were renewed, ended, and live.
type Tokens struct {
	labels  *Labels
	issued  *prometheus.CounterVec
	renewed *prometheus.CounterVec
	ended   *prometheus.CounterVec
	live    *prometheus.GaugeVec
	// Append is the time of one append to the ledger, in seconds.
	Append prometheus.Histogram
	// Failed counts appends that the store failed.
	Failed prometheus.Counter
}

// NewTokens registers the ledger's metrics.
func NewTokens(r prometheus.Registerer) *Tokens {
	live := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "mintmark_tokens_live", Help: "Tokens that are neither over nor ended one by one; those that a rule refuses count until they expire.",
	}, tokenLabels)
	failed := prometheus.NewCounter(prometheus.CounterOpts{Name: "mintmark_ledger_append_failures_total", Help: "Appends that the store failed; the callers were answered 503."})
	r.MustRegister(live, failed)
	return &Tokens{
		labels:  NewLabels(),
		issued:  counter(r, "mintmark_tokens_issued_total", "Tokens issued, by kind; durable.", append([]string{"kind"}, tokenLabels...)...),
		renewed: counter(r, "mintmark_tokens_renewed_total", "Refreshes answered with new tokens; durable.", tokenLabels...),
		ended:   counter(r, "mintmark_tokens_ended_total", "Tokens that ended, by state: expired, revoked, superseded.", append([]string{"state"}, tokenLabels...)...),
		live:    live,
		Append:  histogram(r, "mintmark_ledger_append_seconds", "Time of one append to the ledger."),
		Failed:  failed,
	}
}

// Issued counts one token that is in the ledger.
func (m *Tokens) Issued(kind mintmark.TokenKind, release mintmark.ReleaseID, client mintmark.ClientID, issuer string) {
	m.issued.WithLabelValues(append([]string{kind.String()}, m.labels.values(string(release), string(client), issuer)...)...).Inc()
}

// Renewed counts one refresh.
func (m *Tokens) Renewed(release mintmark.ReleaseID, client mintmark.ClientID, issuer string) {
	m.renewed.WithLabelValues(m.labels.values(string(release), string(client), issuer)...).Inc()
}

// Ended adds tokens that ended in state.
func (m *Tokens) Ended(state mintmark.TokenState, c Count) {
	m.ended.WithLabelValues(append([]string{state.String()}, m.labels.values(string(c.Release), string(c.Client), c.Issuer)...)...).Add(float64(c.Tokens))
}

// Count is a number of tokens that are alike.
type Count struct {
	Release mintmark.ReleaseID
	Client  mintmark.ClientID
	Issuer  string
	Tokens  int64
}

// SetLive replaces the gauges of live tokens; lines that meet in one bounded
// label add up.
func (m *Tokens) SetLive(lines []Count) {
	m.live.Reset()
	for _, l := range lines {
		m.live.WithLabelValues(m.labels.values(string(l.Release), string(l.Client), l.Issuer)...).Add(float64(l.Tokens))
	}
}

// Recorder holds the metrics of records that came from gateways.
type Recorder struct {
	// Batches and Deltas were folded; Duplicates were known already.
	Batches, Deltas, Duplicates prometheus.Counter
	// Lost counts boots of gateways that ended with an interval of counts missing.
	Lost prometheus.Counter
	// SetAside counts records that could not be folded and were kept as they are.
	SetAside prometheus.Counter
	// Lag is the time from a batch's end at its gateway until it was folded, in
	// seconds.
	Lag prometheus.Histogram
}

// NewRecorder registers the recorder's metrics.
func NewRecorder(r prometheus.Registerer) *Recorder {
	one := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
		r.MustRegister(c)
		return c
	}
	return &Recorder{
		Batches:    one("mintmark_recorder_batches_total", "Record batches folded into the ledger."),
		Deltas:     one("mintmark_recorder_deltas_total", "Usage deltas folded into the ledger."),
		Duplicates: one("mintmark_recorder_duplicates_total", "Record batches delivered again and ignored."),
		Lost:       one("mintmark_recorder_unclean_boots_total", "Boots of gateways that ended with up to one interval of counts missing."),
		SetAside:   one("mintmark_recorder_set_aside_total", "Records that could not be folded and are kept in the ledger as they came."),
		Lag:        histogram(r, "mintmark_recorder_lag_seconds", "Time from a batch's end at its gateway until it was in the ledger."),
	}
}

// Authority holds the metrics of the OAuth endpoints.
type Authority struct {
	clients, paths *Bounded
	reused         *prometheus.CounterVec
	failures       *prometheus.CounterVec
	// Token is the time of the token endpoint's answer, in seconds.
	Token prometheus.Histogram
}

// NewAuthority registers the authority's metrics.
func NewAuthority(r prometheus.Registerer) *Authority {
	return &Authority{
		clients:  NewBounded(500),
		paths:    NewBounded(30),
		reused:   counter(r, "mintmark_authority_reuse_total", "Superseded refresh tokens presented outside grace.", "client"),
		failures: counter(r, "mintmark_authority_errors_total", "OAuth errors answered, by endpoint and error.", "endpoint", "error"),
		Token:    histogram(r, "mintmark_authority_token_seconds", "Time of the token endpoint's answer."),
	}
}

// Issued does nothing: tokens are counted where they become durable.
func (a *Authority) Issued(mintmark.ReleaseID, mintmark.ClientID, mintmark.TokenKind) {}

// Reused counts one re-use of a superseded refresh token.
func (a *Authority) Reused(client mintmark.ClientID) {
	a.reused.WithLabelValues(a.clients.Label(string(client))).Inc()
}

// Refused counts one OAuth error answered at an endpoint; code is from the RFC's
// registry.
func (a *Authority) Refused(endpoint, code string, _ mintmark.ClientID) {
	a.failures.WithLabelValues(a.paths.Label(endpoint), code).Inc()
}

// Since observes the seconds from start to now, both of a monotonic clock.
func Since(h prometheus.Observer, start, now time.Time) { h.Observe(now.Sub(start).Seconds()) }
