package health

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/mintmark/mintmark/internal/sequential"
)

// Report says how things stand. It does not change the judge.
func (j *Judge) Report() Report {
	v := j.analysis.Verdict()
	r := Report{
		Rollout: j.open.Rollout, Service: j.open.Service, Stable: j.open.Stable, Candidate: j.open.Candidate,
		Alpha: v.Alpha, Beta: v.Beta, LogE: ln(v.EFail), LogSafe: ln(v.ESafe), Weight: j.weight,
		Exposed: j.cohorts.Exposed(j.weight), Level: j.cohorts.Level(), AsOf: j.asOf, Seq: j.seq,
		History: slices.Clone(j.history.points),
	}
	for _, name := range slices.Sorted(maps.Keys(j.sources)) {
		r.Sources = append(r.Sources, *j.sources[name])
	}
	by := make(map[string]*sequential.Reason, len(v.Reasons))
	for i := range v.Reasons {
		by[v.Reasons[i].Metric] = &v.Reasons[i]
	}
	for _, e := range j.entries {
		r.Metrics = append(r.Metrics, j.metric(&e, by[string(e.Name)]))
	}
	slices.SortFunc(r.Metrics, func(a, b MetricReport) int { return cmp.Compare(a.Name, b.Name) })
	j.decide(&r, &v)
	return r
}

func (j *Judge) metric(e *Entry, why *sequential.Reason) MetricReport {
	m := MetricReport{
		Name: e.Name, About: e.About, Weight: e.Weight, Idle: j.idle[e.Place], Events: j.events[e.Place],
		AtRisk: j.cohorts.AtRisk(e.Place, j.weight),
	}
	if e.Kind == Queried {
		m.AtRisk = Arms{}
		if s := j.sources[string(e.Name)]; s != nil && s.Error != "" {
			m.Idle = s.Error
		}
	}
	if why == nil || e.Kind == Invariant {
		return m
	}
	m.LogE, m.LogSafe = ln(why.E), ln(why.ESafe)
	if why.Ratio.Events > 0 {
		m.Ratio, m.RatioLow, m.RatioHigh = finite(why.Ratio.Est), finite(why.Ratio.Lo), finite(why.Ratio.Hi)
	}
	return m
}

func finite(f float64) float64 {
	if math.IsInf(f, 0) || math.IsNaN(f) {
		return 0
	}
	return f
}

// decide gives the report its outcome and reasons: the analysis's, but that nothing
// passes of which too little was seen, or of which somebody does not answer.
func (j *Judge) decide(r *Report, v *sequential.Verdict) {
	r.Outcome = Outcome(v.Outcome.String())
	for i := range v.Reasons {
		if why := &v.Reasons[i]; why.Failed || r.Outcome == Fail && why.Share >= 0.2 && why.CanaryEvents > 0 {
			r.Reasons = append(r.Reasons, j.sentence(why))
			if r.Tripped == "" {
				r.Tripped = Metric(why.Metric)
			}
		}
	}
	if r.Outcome == Fail {
		if len(r.Reasons) == 0 {
			r.Reasons = append(r.Reasons, fmt.Sprintf("the metrics together: E = %.3g, at least 1/alpha = %.3g", v.EFail, 1/v.Alpha))
		}
		return
	}
	r.Tripped = ""
	for _, s := range r.Sources {
		if s.Error != "" {
			r.Outcome = Inconclusive
			r.Reasons = append(r.Reasons, fmt.Sprintf("%s does not answer: %s", s.Name, s.Error))
		}
	}
	least := j.open.Spec.Filled().MinSubjects
	seen := r.Exposed.Candidate << r.Level
	switch {
	case r.Outcome == Pass && seen < least:
		r.Outcome = Wait
		r.Reasons = append(r.Reasons, fmt.Sprintf("%d subjects of the candidate seen, %d are asked for", seen, least))
	case r.Outcome == Pass:
		r.Reasons = append(r.Reasons, fmt.Sprintf("certified below %.3g times the stable release: E = %.3g, at least 1/beta = %.3g", j.open.Spec.Filled().Acceptable, v.ESafe, 1/v.Beta))
	case r.Outcome == Wait:
		r.Reasons = append(r.Reasons, fmt.Sprintf("%d subjects of the candidate seen; E = %.3g of %.3g for a fail, %.3g of %.3g for a pass", seen, v.EFail, 1/v.Alpha, v.ESafe, 1/v.Beta))
	case len(r.Reasons) == 0:
		r.Reasons = append(r.Reasons, "neither worse nor shown to be well")
	}
}

// sentence explains one metric that failed.
func (j *Judge) sentence(why *sequential.Reason) string {
	if why.Kind == sequential.Invariant {
		return fmt.Sprintf("%s happened, which must never be (%s)", why.Metric, why.Detail)
	}
	ratio := "only the candidate has any"
	if e := finite(why.Ratio.Est); e > 0 {
		ratio = fmt.Sprintf("%.2g times the stable release's rate, at least %.2g", e, why.Ratio.Lo)
	}
	return fmt.Sprintf("%s: %d subjects of the candidate and %d of the stable release: %s (E = %.3g)", why.Metric, why.CanaryEvents, why.BaselineEvents, ratio, why.EMax)
}

// history keeps points over time in bounded memory: when it is full every other
// point goes and the distance between points doubles.
type history struct {
	points []Point
	every  int64 // Unix milliseconds between points, at least
}

const maxPoints = 240

func (h *history) add(j *Judge, at int64) {
	h.every = max(h.every, 250) // as often as gateways tell while a rollout is open
	if n := len(h.points); n > 0 && at < h.points[n-1].At+h.every {
		return
	}
	if len(h.points) >= maxPoints {
		keep := h.points[:0]
		for i := 0; i < maxPoints; i += 2 {
			keep = append(keep, h.points[i])
		}
		h.points = keep
		h.every *= 2
	}
	v := j.analysis.Verdict()
	exposed := j.cohorts.Exposed(j.weight)
	h.points = append(h.points, Point{At: at, LogE: ln(v.EFail), LogSafe: ln(v.ESafe), Weight: j.weight, Candidate: exposed.Candidate, Stable: exposed.Stable})
}
