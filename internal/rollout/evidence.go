package rollout

import (
	"math"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/health"
)

// maxSeries bounds the trajectory that is kept of the evidence.
const maxSeries = 240

// EvidenceOf is a report in the form that documents and receipts keep: whole
// numbers, of the metric that says most.
func EvidenceOf(h *health.Report) mintmark.Evidence {
	e := mintmark.Evidence{
		Metric: string(h.Tripped), Outcome: string(h.Outcome), At: h.AsOf, LogE: log10Milli(h.LogE), LogSafe: log10Milli(h.LogSafe),
		Alpha: ppm(h.Alpha), Beta: ppm(h.Beta), Reasons: h.Reasons,
		Candidate: mintmark.EvidenceArm{Exposed: h.Exposed.Candidate}, Stable: mintmark.EvidenceArm{Exposed: h.Exposed.Stable},
	}
	if h.Alpha > 0 {
		e.Limit = log10Milli(-math.Log(h.Alpha))
	}
	if m := worst(h); m != nil {
		e.Metric = string(m.Name)
		e.Candidate.Bad, e.Stable.Bad = m.Events.Candidate, m.Events.Stable
		if m.Ratio != 0 || m.RatioLow != 0 || m.RatioHigh != 0 {
			e.Ratio, e.RatioLo, e.RatioHi = milli(m.Ratio), milli(m.RatioLow), milli(m.RatioHigh)
			if m.RatioHigh == 0 || math.IsInf(m.RatioHigh, 1) {
				e.RatioHi = -1
			}
		}
	}
	for _, p := range h.History {
		e.Series = append(e.Series, mintmark.EvidencePoint{At: p.At, LogE: log10Milli(p.LogE), Weight: p.Weight})
	}
	// The trajectory ends where the evidence stands.
	if n := len(e.Series); n > 0 && e.Series[n-1].LogE != e.LogE {
		e.Series = append(e.Series, mintmark.EvidencePoint{At: max(h.AsOf, e.Series[n-1].At), LogE: e.LogE, Weight: e.Series[n-1].Weight})
	}
	if len(e.Series) > 0 {
		e.Since = e.Series[0].At
	}
	e.Series = thin(e.Series)
	return e
}

// worst is the metric that tripped, else the one with the most evidence against
// the candidate.
func worst(h *health.Report) *health.MetricReport {
	var out *health.MetricReport
	for i := range h.Metrics {
		m := &h.Metrics[i]
		switch {
		case h.Tripped != "" && m.Name == h.Tripped:
			return m
		case m.Idle != "" || m.LogE <= 0:
		case out == nil || m.LogE > out.LogE:
			out = m
		}
	}
	return out
}

func log10Milli(ln float64) int64 { return milli(ln / math.Ln10) }
func milli(x float64) int64       { return whole(x * 1e3) }
func ppm(x float64) int64         { return whole(x * 1e6) }

// whole rounds; what is not a number is 0, and what is too large is bounded, far
// beyond anything that is a measurement.
func whole(x float64) int64 {
	const most = 1e15
	switch {
	case math.IsNaN(x):
		return 0
	case x > most:
		return most
	case x < -most:
		return -most
	}
	return int64(math.Round(x))
}

// thin drops every other point, but for the last, until the bound is kept.
func thin(s []mintmark.EvidencePoint) []mintmark.EvidencePoint {
	for len(s) > maxSeries {
		kept := make([]mintmark.EvidencePoint, 0, len(s)/2+1)
		for i := range s {
			if i%2 == 0 || i == len(s)-1 {
				kept = append(kept, s[i])
			}
		}
		s = kept
	}
	return s
}

// noteAfter is after how long without news evidence is noted all the same, in
// milliseconds; noteStep is what counts as news: a factor of about three.
const (
	noteAfter = 5 * 60 * 1000
	noteStep  = 500
)

// noted returns what is remembered after a report came: the old evidence when the
// new one tells nothing that is worth a line in the ledger.
func noted(old *mintmark.Evidence, e mintmark.Evidence, now int64) (*mintmark.Evidence, bool) {
	if old != nil && old.Outcome == e.Outcome && old.Metric == e.Metric {
		diff := max(old.LogE-e.LogE, e.LogE-old.LogE, e.LogSafe-old.LogSafe, old.LogSafe-e.LogSafe)
		same := diff == 0 && old.Candidate == e.Candidate && old.Stable == e.Stable
		if same || diff < noteStep && now-old.At < noteAfter {
			return old, false
		}
	}
	e.At = now
	e.Series = nil // the analysis keeps it; it is taken along when it decides
	return &e, true
}
