package sequential

import (
	"errors"
	"fmt"
	"math"
	"sort"
	"strings"
)

var (
	// ErrUnknownMetric: the analysis has no such metric, or it is of the wrong kind.
	ErrUnknownMetric = errors.New("unknown metric")
	// ErrBatch: the batch contradicts itself. Nothing was taken from it.
	ErrBatch = errors.New("bad batch")
)

// Analysis holds the evidence about one candidate. It is made by New or restored
// by UnmarshalJSON, and is not safe for concurrent use: one owner, or a lock.
type Analysis struct {
	config  Config
	byName  map[string]int
	metrics []series
	// logE is the logarithm of the weighted mean of the metrics' E now, maxE the
	// greatest so far, from 0 = log 1 on.
	logE, maxE float64
	tripped    bool
	expired    bool
}

// New returns an analysis that has seen nothing. Its error names every fault of
// the configuration.
func New(c Config) (*Analysis, error) {
	c = c.withDefaults()
	if err := c.validate(); err != nil {
		return nil, err
	}
	a := &Analysis{config: c, byName: make(map[string]int, len(c.Metrics)), metrics: make([]series, len(c.Metrics))}
	for i, m := range c.Metrics {
		a.byName[m.Name] = i
		a.metrics[i] = newSeries(m, &a.config)
	}
	return a, nil
}

// Config is the configuration with its defaults filled in; the slices are the
// analysis's own, to be read only.
func (a *Analysis) Config() Config { return a.config }

// Observe adds a batch of the named metric. It does not allocate, and takes time in
// proportion to the grid and the number of metrics. ErrUnknownMetric and
// ErrBatch leave everything as it was.
func (a *Analysis) Observe(metric string, b Batch) error {
	i, ok := a.byName[metric]
	if !ok || a.metrics[i].metric.Kind == Invariant {
		return a.unknown(metric, "metric that takes batches")
	}
	if err := b.validate(); err != nil {
		return fmt.Errorf("sequential: metric %q: %w: %w", metric, ErrBatch, err)
	}
	s := &a.metrics[i]
	if s.canary+s.baseline+b.CanaryEvents+b.BaselineEvents > maxCount {
		return fmt.Errorf("sequential: metric %q: %w: more than 10^15 events in all", metric, ErrBatch)
	}
	if s.observe(b) {
		a.logE = a.combine()
		a.maxE = max(a.maxE, a.logE)
	}
	return nil
}

// unknown says what the analysis has instead of the named thing.
func (a *Analysis) unknown(name, what string) error {
	names := make([]string, len(a.config.Metrics))
	for i, m := range a.config.Metrics {
		names[i] = m.Name + " (" + m.Kind.String() + ")"
	}
	return fmt.Errorf("sequential: %w: no %s is named %q; there are: %s", ErrUnknownMetric, what, name, strings.Join(names, ", "))
}

// combine is the logarithm of Σ weight·E over the metrics.
func (a *Analysis) combine() float64 {
	top := math.Inf(-1)
	for i := range a.metrics {
		if s := &a.metrics[i]; s.metric.Kind != Invariant {
			top = max(top, s.logE)
		}
	}
	if math.IsInf(top, -1) {
		return 0
	}
	sum := 0.0
	for i := range a.metrics {
		if s := &a.metrics[i]; s.metric.Kind != Invariant {
			sum += s.metric.Weight * math.Exp(s.logE-top)
		}
	}
	return top + math.Log(sum)
}

// maxDetail bounds what Trip keeps.
const maxDetail = 1024

// Trip records one occurrence of what the named invariant forbids: the verdict is
// Fail from now on. Of detail, which people will read, the first occurrence's is
// kept, up to 1 KiB.
func (a *Analysis) Trip(invariant, detail string) error {
	i, ok := a.byName[invariant]
	if !ok || a.metrics[i].metric.Kind != Invariant {
		return a.unknown(invariant, "invariant")
	}
	s := &a.metrics[i]
	if s.trips == 0 {
		s.detail = strings.ToValidUTF8(detail[:min(len(detail), maxDetail)], "")
	}
	s.trips = min(s.trips+1, maxCount)
	a.tripped = true
	return nil
}

// Renew says that a regression may begin now: a step to a greater weight, a new
// path in use. It places a quarter of what remains of Config.Reserve anew on every
// metric's grid, so that the new regression is not weighed against the healthy time before.
// The same happens by itself, per metric, whenever its events have doubled,
// from 64 on. Valid at any time, as long as the call depends on nothing but what was
// observed before it. Without a reserve it does nothing.
func (a *Analysis) Renew() {
	for i := range a.metrics {
		a.metrics[i].renew()
	}
}

// Expire says that the caller's time or exposure is used up: Wait becomes
// Inconclusive. Observing may go on, and may still fail or pass.
func (a *Analysis) Expire() { a.expired = true }

// Outcome is Verdict().Outcome, without allocation.
func (a *Analysis) Outcome() Outcome {
	switch {
	case a.tripped || a.maxE >= -math.Log(a.config.Alpha):
		return Fail
	case a.logSafe() >= -math.Log(a.config.Beta):
		return Pass
	case a.expired:
		return Inconclusive
	}
	return Wait
}

// logSafe is the least of the needed metrics' greatest evidence of being safe: that all
// are safe is shown when each one is. −∞ when none is needed, for then nothing
// was shown.
func (a *Analysis) logSafe() float64 {
	least, needed := math.Inf(1), false
	for i := range a.metrics {
		if s := &a.metrics[i]; s.needed() {
			needed = true
			least = min(least, s.maxSafe)
		}
	}
	if !needed {
		return math.Inf(-1)
	}
	return least
}

func (s *series) needed() bool { return s.metric.Kind != Invariant && !s.metric.FailOnly }

// Verdict is the outcome so far and its reasons.
func (a *Analysis) Verdict() Verdict {
	v := Verdict{
		Outcome: a.Outcome(),
		EFail:   exp(a.maxE), ESafe: exp(a.logSafe()),
		Alpha: a.config.Alpha, Beta: a.config.Beta,
		RateRatio: RateRatio{Hi: math.Inf(1)},
		Reasons:   make([]Reason, len(a.metrics)),
	}
	for i := range a.metrics {
		v.Reasons[i] = a.reason(&a.metrics[i])
	}
	sort.SliceStable(v.Reasons, func(i, j int) bool {
		x, y := &v.Reasons[i], &v.Reasons[j]
		if (x.Trips > 0) != (y.Trips > 0) {
			return x.Trips > 0
		}
		return x.Share > y.Share
	})
	for i := range v.Reasons {
		if v.Reasons[i].Kind != Invariant {
			v.RateRatio = v.Reasons[i].Ratio
			break
		}
	}
	return v
}

func (a *Analysis) reason(s *series) Reason {
	r := Reason{
		Metric: s.metric.Name, Kind: s.metric.Kind, Level: s.metric.Level,
		CanaryEvents: s.canary, BaselineEvents: s.baseline,
		Trips: s.trips, Detail: s.detail, Needed: s.needed(),
		Ratio: RateRatio{Hi: math.Inf(1)},
	}
	if s.metric.Kind == Invariant {
		r.Failed = s.trips > 0
		if r.Failed {
			r.Share = 1
		}
		return r
	}
	r.E, r.EMax, r.ESafe = exp(s.logE), exp(s.maxE), exp(s.maxSafe)
	r.Share = s.metric.Weight * math.Exp(s.logE-a.logE)
	r.Ratio = s.ratio.bounds(a.config.Confidence)
	r.Failed = s.maxE+math.Log(s.metric.Weight) >= -math.Log(a.config.Alpha)
	r.Passed = s.maxSafe >= -math.Log(a.config.Beta)
	return r
}

// exp is eˣ, never infinite.
func exp(x float64) float64 { return min(math.Exp(x), math.MaxFloat64) }
