package health

import (
	"errors"
	"fmt"
	"math"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/epoch"
	"github.com/mintmark/mintmark/internal/sequential"
)

// Opening is what a judge is made of. It is fixed before the first event.
type Opening struct {
	Rollout   mintmark.RolloutID `json:"rollout"`
	Service   string             `json:"service"`
	Stable    string             `json:"stable"`
	Candidate string             `json:"candidate"`
	Spec      Spec               `json:"spec"`
	// Latency says that the epoch froze thresholds; without them the metrics of
	// latency take no part.
	Latency bool `json:"latency,omitempty"`
	// Limit is how many subjects are followed exactly; 0 is DefaultLimit.
	Limit int `json:"limit,omitempty"`
}

// Judge folds what was seen of one rollout into a verdict. The same things folded
// in the same order give the same judge, bit for bit. Not safe for concurrent use.
type Judge struct {
	open     Opening
	entries  []Entry
	cohorts  *Cohorts
	analysis *sequential.Analysis
	taking   [Places]bool // the analysis has the metric
	events   [Places]Arms
	idle     [Places]string
	weight   int // of the newest section
	peak     int // the largest so far
	tripped  Metric
	asOf     int64
	seq      uint64
	sources  map[string]*Source
	history  history
}

// NewJudge returns a judge that has seen nothing. The error names every fault of
// the specification.
func NewJudge(o Opening) (*Judge, error) {
	if err := o.Spec.Check(); err != nil {
		return nil, err
	}
	j := &Judge{open: o, entries: o.Spec.Entries(), cohorts: NewCohorts(o.Limit), sources: map[string]*Source{}}
	config := j.config()
	if len(config.Metrics) == 0 {
		return nil, fmt.Errorf("%w: metrics: every weight is 0: nothing would be judged", ErrSpec)
	}
	a, err := sequential.New(config)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSpec, err)
	}
	j.analysis = a
	return j, nil
}

// reserve is the part of the first bet kept back for regressions that begin with a
// later step.
const reserve = 0.25

// config says what the analysis is about, and notes which metrics it takes.
func (j *Judge) config() sequential.Config {
	s := j.open.Spec.Filled()
	c := sequential.Config{Alpha: s.Alpha, Beta: s.Beta, Null: s.Tolerated, MaxRatio: s.Acceptable, Reserve: reserve}
	sum := 0.0
	for _, e := range j.entries {
		switch {
		case e.Kind == Invariant:
			c.Metrics = append(c.Metrics, sequential.Metric{Name: string(e.Name), Kind: sequential.Invariant})
			j.taking[e.Place] = true
			continue
		case latencyLevel(e.Place) > 0 && !j.open.Latency:
			j.idle[e.Place] = "the stable release had too few answers before the rollout to freeze a baseline"
			continue
		case e.Weight == 0:
			j.idle[e.Place] = "watched only: its weight is 0"
			continue
		}
		m := sequential.Metric{Name: string(e.Name), Weight: e.Weight, FailOnly: !e.Needed}
		if l := latencyLevel(e.Place); l > 0 {
			m.Kind, m.Level = sequential.Latency, l
		}
		sum += e.Weight
		c.Metrics = append(c.Metrics, m)
		j.taking[e.Place] = true
	}
	if sum == 0 {
		c.Metrics = nil
	}
	for i := range c.Metrics {
		if c.Metrics[i].Kind != sequential.Invariant {
			c.Metrics[i].Weight /= sum
		}
	}
	return c
}

// LatencyLevels are the quantiles that are frozen before a rollout, in the order
// of their places from PlaceLatencyP50 on.
var latencyLevels = [...]float64{0.5, 0.9, 0.99}

// LatencyLevels returns the quantiles that are frozen before a rollout, in the
// order of their places from PlaceLatencyP50 on.
func LatencyLevels() []float64 { return latencyLevels[:] }

func latencyLevel(p Place) float64 {
	if p < PlaceLatencyP50 || p > PlaceLatencyP99 {
		return 0
	}
	return latencyLevels[p-PlaceLatencyP50]
}

// Opening returns what the judge was made of.
func (j *Judge) Opening() Opening { return j.open }

// Seq returns the number of the last thing folded.
func (j *Judge) Seq() uint64 { return j.seq }

// Fold takes a delta's sections of this rollout in: source saw them until at (Unix
// milliseconds), and the delta has number seq on the stream of health. One whose
// number is not above the last is left out, so that a replay does no harm. It is
// safe against any delta that DecodeDelta lets through.
func (j *Judge) Fold(seq uint64, at int64, source string, d *Delta) error {
	if seq <= j.seq {
		return nil
	}
	var errs []error
	for i := range d.Sections {
		if s := &d.Sections[i]; s.Rollout == j.open.Rollout {
			errs = append(errs, j.section(s))
			j.heard(seq, at, source, "")
			j.history.add(j, at)
		}
	}
	return errors.Join(errs...)
}

func (j *Judge) section(s *Section) error {
	j.weight = s.Weight
	if s.Weight > j.peak {
		if j.seen() {
			j.analysis.Renew()
		}
		j.peak = s.Weight
	}
	j.cohorts.Raise(s.Level)
	for _, k := range s.Exposed {
		j.cohorts.Add(k)
	}
	for _, b := range s.Bad {
		for _, k := range b.Keys {
			j.cohorts.Add(k)
		}
	}
	var errs []error
	for i := range s.Bad {
		errs = append(errs, j.failed(&s.Bad[i], s.Weight))
	}
	return errors.Join(errs...)
}

// failed takes the subjects that newly failed by one metric as one batch. The share
// at risk includes who was first seen together with the failures: who comes does
// not depend on how it fares.
func (j *Judge) failed(b *Bad, weight int) error {
	risk := j.cohorts.AtRisk(b.Place, weight)
	var n Arms
	for _, k := range b.Keys {
		if !j.cohorts.Fail(k, b.Place) {
			continue
		}
		if int(epoch.CohortOfKey(k)) < weight {
			n.Candidate++
		} else {
			n.Stable++
		}
	}
	if n == (Arms{}) {
		return nil
	}
	return j.observe(b.Place, risk, n)
}

// observe hands a batch of one metric to the analysis.
func (j *Judge) observe(p Place, risk, bad Arms) error {
	j.events[p].Candidate += bad.Candidate
	j.events[p].Stable += bad.Stable
	e := j.entry(p)
	if e == nil || !j.taking[p] {
		return nil
	}
	if e.Kind == Invariant {
		if j.tripped == "" {
			j.tripped = e.Name
		}
		return j.analysis.Trip(string(e.Name), fmt.Sprintf("%d subjects", bad.Candidate+bad.Stable))
	}
	return j.analysis.Observe(string(e.Name), sequential.Batch{
		ExposedCanary: int64(risk.Candidate), ExposedBaseline: int64(risk.Stable),
		CanaryEvents: int64(bad.Candidate), BaselineEvents: int64(bad.Stable),
	})
}

// Count takes what somebody else counted since the last call: of total events of
// each arm, bad were bad. An error of fetching instead (fault, not empty) is kept
// for the report: while there is one, nothing passes.
func (j *Judge) Count(seq uint64, at int64, m Metric, total, bad Arms, fault string) error {
	if seq <= j.seq {
		return nil
	}
	for _, e := range j.entries {
		if e.Name != m || e.Kind != Queried {
			continue
		}
		j.heard(seq, at, string(m), fault)
		if fault != "" {
			return nil
		}
		bad.Candidate, bad.Stable = min(bad.Candidate, total.Candidate), min(bad.Stable, total.Stable)
		err := j.observe(e.Place, total, bad)
		j.history.add(j, at)
		return err
	}
	return fmt.Errorf("%w: %.80q is not counted by a query", ErrSpec, m)
}

// maxSources bounds the sources that a judge knows by name.
const maxSources = 10_000

func (j *Judge) heard(seq uint64, at int64, source, fault string) {
	j.seq, j.asOf = seq, max(j.asOf, at)
	s := j.sources[source]
	if s == nil {
		if len(j.sources) >= maxSources {
			return
		}
		s = &Source{Name: source}
		j.sources[source] = s
	}
	s.Error = fault
	if fault == "" {
		s.Heard = max(s.Heard, at)
	}
}

func (j *Judge) seen() bool { return j.cohorts.Len() > 0 }

func (j *Judge) entry(p Place) *Entry {
	for i := range j.entries {
		if j.entries[i].Place == p {
			return &j.entries[i]
		}
	}
	return nil
}

// ln is the logarithm of an E-value as a report shows it: from -leastLog up, so that
// it can be drawn and written.
func ln(e float64) float64 {
	if !(e > 0) {
		return -leastLog
	}
	return max(math.Log(min(e, math.MaxFloat64)), -leastLog)
}

const leastLog = 1000
