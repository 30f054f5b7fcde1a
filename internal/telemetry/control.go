package telemetry

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/mintmark/mintmark"
)

// Control holds the metrics of control: the state log, its members and what its
// receipts said.
type Control struct {
	labels  *Labels
	revoked *prometheus.CounterVec
	outcome *prometheus.CounterVec
	members *prometheus.GaugeVec
	// Reach is the time from commit to the barrier's end, in seconds.
	Reach prometheus.Histogram
	// Epoch, Seq and Term are the head of the state log.
	Epoch, Seq, Term prometheus.Gauge
}

// NewControl registers control's metrics.
func NewControl(r prometheus.Registerer) *Control {
	members := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "mintmark_control_gateways", Help: "Gateways by state of their lease."}, []string{"state"})
	r.MustRegister(members)
	return &Control{
		labels:  NewLabels(),
		revoked: counter(r, "mintmark_control_revoked_tokens_total", "Live tokens covered by revocations at their commit.", "action", "release", "client"),
		outcome: counter(r, "mintmark_control_receipts_total", "Receipts by kind and outcome.", "kind", "outcome"),
		members: members,
		Reach:   histogram(r, "mintmark_control_reach_seconds", "Time from commit until every gateway applied it or was fenced."),
		Epoch:   gauge(r, "mintmark_control_epoch", "Number of the current epoch."),
		Seq:     gauge(r, "mintmark_control_head_seq", "Number of the last state-log row."),
		Term:    gauge(r, "mintmark_control_term", "Current term."),
	}
}

// Receipt counts a receipt and the tokens that its revocations covered.
func (c *Control) Receipt(r *mintmark.Receipt) {
	c.outcome.WithLabelValues(r.Kind, string(r.Outcome)).Inc()
	if r.Outcome == mintmark.OutcomeEffective {
		c.Reach.Observe(r.Elapsed.Seconds())
	}
	if len(r.Revocations) > 0 {
		first := r.Revocations[0]
		c.revoked.WithLabelValues(first.Action.String(), c.labels.release.Label(string(r.Release)), c.labels.client.Label(string(first.Selector.Client))).Add(float64(r.Tokens))
	}
}

// Members sets how many gateways are live, lapsed and unknown.
func (c *Control) Members(live, lapsed int) {
	c.members.WithLabelValues("live").Set(float64(live))
	c.members.WithLabelValues("lapsed").Set(float64(lapsed))
}

// Recorder holds the recorder's metrics: what was folded, and the ledger's own
// counts of tokens by state.
type Recorder struct {
	labels *Labels
	live   *prometheus.GaugeVec
	ended  *prometheus.CounterVec
	// Batches and Deltas were folded; Duplicates were known already.
	Batches, Deltas, Duplicates prometheus.Counter
	// Append is the time of one ledger append, in seconds.
	Append prometheus.Histogram
	// Lag is the age of the oldest record at its folding, in seconds.
	Lag prometheus.Gauge
}

// NewRecorder registers the recorder's metrics.
func NewRecorder(r prometheus.Registerer) *Recorder {
	one := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
		r.MustRegister(c)
		return c
	}
	live := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "mintmark_tokens_live", Help: "Live tokens."}, tokenLabels)
	r.MustRegister(live)
	return &Recorder{
		labels:     NewLabels(),
		live:       live,
		ended:      counter(r, "mintmark_tokens_ended_total", "Tokens that ended, by state: expired, revoked, superseded.", append([]string{"state"}, tokenLabels...)...),
		Batches:    one("mintmark_recorder_batches_total", "Record batches folded into the ledger."),
		Deltas:     one("mintmark_recorder_deltas_total", "Usage deltas folded into the ledger."),
		Duplicates: one("mintmark_recorder_duplicates_total", "Record batches delivered again and ignored."),
		Append:     histogram(r, "mintmark_ledger_append_seconds", "Time of one ledger append."),
		Lag:        gauge(r, "mintmark_recorder_lag_seconds", "Age of the oldest record at its folding."),
	}
}

// LiveCount is one line of the ledger's count of live tokens.
type LiveCount struct {
	Release mintmark.ReleaseID
	Client  mintmark.ClientID
	Issuer  string
	Tokens  int64
}

// SetLive replaces the gauges of live tokens; lines that meet in one bounded
// label add up.
func (m *Recorder) SetLive(lines []LiveCount) {
	m.live.Reset()
	for _, l := range lines {
		m.live.WithLabelValues(m.labels.values(string(l.Release), string(l.Client), l.Issuer)...).Add(float64(l.Tokens))
	}
}

// Ended adds n tokens that ended in state.
func (m *Recorder) Ended(state mintmark.TokenState, release mintmark.ReleaseID, client mintmark.ClientID, issuer string, n uint64) {
	m.ended.WithLabelValues(append([]string{state.String()}, m.labels.values(string(release), string(client), issuer)...)...).Add(float64(n))
}

// Since observes the seconds from start to now, both of a monotonic clock.
func Since(h prometheus.Observer, start, now time.Time) { h.Observe(now.Sub(start).Seconds()) }
