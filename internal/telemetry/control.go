package telemetry

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/mintmark/mintmark"
)

// ControlState is what control knows of the state log and its members at one
// moment.
type ControlState struct {
	Epoch, Settled, Seq, Term uint64
	Revocations               int // in force
	ClaimsRefused             uint64
	Gateways                  []Member
}

// Member is a gateway as control sees it.
type Member struct {
	Gateway mintmark.GatewayID
	State   string // of its lease
	Behind  uint64 // rows not acknowledged
}

// Control holds the metrics of control: the state log, its members and what its
// receipts said.
type Control struct {
	labels  *Labels
	revoked *prometheus.CounterVec
	outcome *prometheus.CounterVec
	reach   prometheus.Histogram

	mu   sync.Mutex
	seen map[mintmark.ReceiptID]bool // guarded by mu; true once completed
}

// maxSeen bounds the receipts remembered as counted.
const maxSeen = 10_000

// NewControl registers control's metrics. read is called once per scrape.
func NewControl(r prometheus.Registerer, read func() ControlState) *Control {
	r.MustRegister(newReadings(read,
		reading[ControlState]{gauge, "mintmark_control_epoch", "Number of the current epoch.", func(s ControlState) float64 { return float64(s.Epoch) }},
		reading[ControlState]{gauge, "mintmark_control_settled_epoch", "Newest epoch that every leased gateway acknowledged.", func(s ControlState) float64 { return float64(s.Settled) }},
		reading[ControlState]{gauge, "mintmark_control_head_seq", "Number of the last state-log row.", func(s ControlState) float64 { return float64(s.Seq) }},
		reading[ControlState]{gauge, "mintmark_control_term", "Current term.", func(s ControlState) float64 { return float64(s.Term) }},
		reading[ControlState]{gauge, "mintmark_control_revocations", "Revocations in force.", func(s ControlState) float64 { return float64(s.Revocations) }},
		reading[ControlState]{prometheus.CounterValue, "mintmark_control_claims_refused_total", "Claims of gateways to state-log rows that control does not hold, not shown to be signed.", func(s ControlState) float64 { return float64(s.ClaimsRefused) }},
	), &memberReadings{read: read})
	return &Control{
		labels:  NewLabels(),
		revoked: counter(r, "mintmark_control_revoked_tokens_total", "Live tokens covered by revocations and suspensions at their commit.", "action", "release", "client", "issuer"),
		outcome: counter(r, "mintmark_control_receipts_total", "Receipts completed, by kind and outcome.", "kind", "outcome"),
		reach:   histogram(r, "mintmark_control_reach_seconds", "Time from commit until every gateway applied it or was fenced."),
		seen:    map[mintmark.ReceiptID]bool{},
	}
}

// Receipt counts a receipt that was written: the tokens that its revocations
// cover when it is written pending, at its commit; its outcome when it is first
// written complete, however often it is written then.
func (c *Control) Receipt(r *mintmark.Receipt) {
	pending := r.Outcome == mintmark.OutcomePending
	c.mu.Lock()
	completed, known := c.seen[r.ID]
	if len(c.seen) >= maxSeen {
		clear(c.seen)
	}
	c.seen[r.ID] = completed || !pending
	c.mu.Unlock()
	if !pending && !completed {
		c.outcome.WithLabelValues(r.Kind, string(r.Outcome)).Inc()
		c.reach.Observe(r.Elapsed.Seconds())
	}
	if !pending || known || len(r.Revocations) == 0 {
		return
	}
	first := r.Revocations[0]
	release := string(r.Release)
	if release == "" {
		release = string(first.Selector.Release)
	}
	c.revoked.WithLabelValues(append([]string{first.Action.String()}, c.labels.values(release, string(first.Selector.Client), first.Selector.Issuer)...)...).Add(float64(r.Tokens))
}

// memberReadings collects the gauges of each gateway, as many as have joined.
type memberReadings struct{ read func() ControlState }

var (
	membersDesc = prometheus.NewDesc("mintmark_control_gateways", "Gateways by state of their lease.", []string{"state"}, nil)
	behindDesc  = prometheus.NewDesc("mintmark_control_gateway_behind_rows", "State-log rows that a gateway has not acknowledged.", []string{"gateway"}, nil)
)

// Describe implements prometheus.Collector.
func (c *memberReadings) Describe(out chan<- *prometheus.Desc) {
	out <- membersDesc
	out <- behindDesc
}

// Collect implements prometheus.Collector.
func (c *memberReadings) Collect(out chan<- prometheus.Metric) {
	states := map[string]int{"live": 0}
	for _, m := range c.read().Gateways {
		states[m.State]++
		out <- prometheus.MustNewConstMetric(behindDesc, gauge, float64(m.Behind), string(m.Gateway))
	}
	for s, n := range states {
		out <- prometheus.MustNewConstMetric(membersDesc, gauge, float64(n), s)
	}
}
