package telemetry

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/mintmark/mintmark/internal/health"
)

// maxRollouts bounds the rollouts that are shown at a time.
const maxRollouts = 100

// Rollouts collects how the candidates of open rollouts fare, one set of gauges for
// each service that is in a rollout.
type Rollouts struct{ read func() []health.Report }

var (
	verdictDesc  = prometheus.NewDesc("mintmark_rollout_verdict", "1 for the verdict on a service's candidate: wait, pass, fail or inconclusive.", []string{"service", "release", "verdict"}, nil)
	evidenceDesc = prometheus.NewDesc("mintmark_rollout_log_e", "Natural logarithm of the evidence: that the candidate is worse (worse), that it is not (safe).", []string{"service", "release", "hypothesis"}, nil)
	metricDesc   = prometheus.NewDesc("mintmark_rollout_metric_log_e", "Natural logarithm of one metric's evidence that the candidate is worse.", []string{"service", "release", "metric"}, nil)
	exposedDesc  = prometheus.NewDesc("mintmark_rollout_subjects", "Subjects seen since the rollout began, by arm.", []string{"service", "release", "arm"}, nil)
	badDesc      = prometheus.NewDesc("mintmark_rollout_bad_subjects", "Subjects with a bad event, by metric and arm.", []string{"service", "release", "metric", "arm"}, nil)
	samplingDesc = prometheus.NewDesc("mintmark_rollout_sampling_level", "How often the subjects that are followed were halved to bound memory.", []string{"service", "release"}, nil)
)

// NewRollouts registers the collector. read is called once per scrape.
func NewRollouts(r prometheus.Registerer, read func() []health.Report) *Rollouts {
	c := &Rollouts{read: read}
	r.MustRegister(c)
	return c
}

// Describe implements prometheus.Collector.
func (c *Rollouts) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{verdictDesc, evidenceDesc, metricDesc, exposedDesc, badDesc, samplingDesc} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (c *Rollouts) Collect(out chan<- prometheus.Metric) {
	seen := map[string]bool{}
	for _, r := range c.read() {
		if len(seen) >= maxRollouts || seen[r.Service] {
			continue
		}
		seen[r.Service] = true
		show := func(d *prometheus.Desc, v float64, labels ...string) {
			out <- prometheus.MustNewConstMetric(d, gauge, v, append([]string{r.Service, r.Candidate}, labels...)...)
		}
		for _, o := range []health.Outcome{health.Wait, health.Pass, health.Fail, health.Inconclusive} {
			is := 0.0
			if o == r.Outcome {
				is = 1
			}
			show(verdictDesc, is, string(o))
		}
		show(evidenceDesc, r.LogE, "worse")
		show(evidenceDesc, r.LogSafe, "safe")
		show(exposedDesc, float64(r.Exposed.Stable<<r.Level), "stable")
		show(exposedDesc, float64(r.Exposed.Candidate<<r.Level), "candidate")
		show(samplingDesc, float64(r.Level))
		for _, m := range r.Metrics {
			if m.Idle != "" {
				continue
			}
			show(metricDesc, m.LogE, string(m.Name))
			show(badDesc, float64(m.Events.Stable), string(m.Name), "stable")
			show(badDesc, float64(m.Events.Candidate), string(m.Name), "candidate")
		}
	}
}
