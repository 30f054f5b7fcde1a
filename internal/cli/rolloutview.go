package cli

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/api"
)

// Marks of steps and states. Each stands beside a word that says the same.
const (
	markDone    = "✔"
	markFailed  = "✖"
	markRunning = "◌"
	markPaused  = "॥"
	markWarning = "⚠"
	markWaiting = "◷"
	markAhead   = "•"
)

func stateMark(r *api.Rollout) string {
	switch {
	case r.State == "rolled_back":
		return markFailed
	case r.State == "finalised":
		return markDone
	case r.State == "paused":
		return markPaused
	case r.State == "waiting", r.Frozen != nil:
		return markWaiting
	}
	return markRunning
}

// tree shows a rollout as people follow it: its steps, where it is, and its health.
func tree(r *api.Rollout, g *api.Gate, now time.Time) []string {
	out := []string{fmt.Sprintf("%s %s %s: %s → %s, %s, %s, %s%%", stateMark(r), r.ID, r.Service, r.Stable, r.Candidate, r.Strategy, strings.ReplaceAll(r.State, "_", " "), r.Percent)}
	var lines []string
	for i := range r.Steps {
		lines = append(lines, stage(r, &r.Steps[i], now))
	}
	switch {
	case r.State == "promoted", r.State == "finalised":
		lines = append(lines, markDone+" promote")
	case r.State == "rolled_back":
		lines = append(lines, markFailed+" rolled back: "+lastReason(r))
	case len(r.Steps) > 0 && r.AutoPromote:
		lines = append(lines, markAhead+" promote, once the analysis says pass")
	default:
		lines = append(lines, markAhead+" promote, by hand")
	}
	if r.Held != "" {
		lines = append(lines, markWarning+" paused: "+plainCell(r.Held))
	}
	if r.Frozen != nil {
		lines = append(lines, fmt.Sprintf("%s frozen until %s by window %s", markWaiting, at(r.Frozen.Until), plainCell(r.Frozen.Window)))
	}
	if g != nil && r.State != "finalised" {
		lines = append(lines, healthLine(g))
	}
	for i, l := range lines {
		if i == len(lines)-1 {
			out = append(out, "└─ "+l)
		} else {
			out = append(out, "├─ "+l)
		}
	}
	return out
}

func lastReason(r *api.Rollout) string {
	if n := len(r.History); n > 0 {
		return plainCell(first(r.History[n-1].Reason, "by "+r.History[n-1].Actor))
	}
	return first(r.Reason, "-")
}

func stage(r *api.Rollout, s *api.RolloutStage, now time.Time) string {
	what := s.Kind
	switch s.Kind {
	case "weight":
		what = "give " + s.Percent + "%"
	case "pause":
		what = "pause " + s.Length
	case "gate":
		what = "gate: the analysis says pass"
	case "approval":
		what = "approval by " + strings.Join(r.Approvers, " or ")
		if r.Wanted > 1 {
			what += fmt.Sprintf(" of %d people", r.Wanted)
		}
	}
	mark := map[string]string{"done": markDone, "ahead": markAhead}[s.State]
	if s.State == "done" || s.State == "ahead" {
		return mark + " " + what
	}
	mark = markRunning
	switch {
	case r.State == "paused":
		mark = markPaused
	case s.Kind == "approval":
		mark = markWaiting
	}
	if s.Since != nil && !s.Since.IsZero() {
		what += ", for " + now.Sub(*s.Since).Truncate(time.Second).String()
		if s.Length != "" && s.Kind != "pause" {
			what += " of " + s.Length
		}
	}
	for _, a := range r.Approvals {
		what += "; " + markDone + " " + plainCell(a.Actor)
	}
	return mark + " " + what
}

func healthLine(g *api.Gate) string {
	mark := map[string]string{api.VerdictPass: markDone, api.VerdictFail: markFailed, api.VerdictWait: markRunning}[g.Verdict]
	line := fmt.Sprintf("%s health: %s", first(mark, markWarning), g.Verdict)
	if g.Alpha > 0 {
		line += fmt.Sprintf("; E %s of %s", short(g.EFail), short(1/g.Alpha))
	}
	if g.RateRatio != nil {
		line += fmt.Sprintf("; %s %s", g.Metric, bounds(g.RateRatio))
	}
	if g.Exposed.Candidate+g.Exposed.Stable > 0 {
		line += fmt.Sprintf("; %d and %d subjects", g.Exposed.Candidate, g.Exposed.Stable)
	}
	if len(g.Reasons) > 0 {
		line += "; " + plainCell(g.Reasons[0])
	}
	return line
}

// short prints a number for people: three digits are enough.
func short(x float64) string { return fmt.Sprintf("%.3g", x) }

func bounds(r *api.RateRatio) string {
	hi := "∞"
	if r.Hi != nil {
		hi = short(*r.Hi)
	}
	return fmt.Sprintf("%s times as often (%s to %s)", short(r.Est), short(r.Lo), hi)
}

// sparkline draws values between 0 and top in one line of at most width marks; each
// stands for the largest of its part.
func sparkline(values []int64, top int64, width int) string {
	const bars = "▁▂▃▄▅▆▇█"
	levels := []rune(bars)
	if len(values) == 0 || top <= 0 {
		return ""
	}
	n := min(width, len(values))
	out := make([]rune, n)
	for i := range n {
		most := int64(math.MinInt64)
		for _, v := range values[i*len(values)/n : (i+1)*len(values)/n] {
			most = max(most, v)
		}
		out[i] = levels[min(max(most, 0)*int64(len(levels)-1)/top, int64(len(levels)-1))]
	}
	return string(out)
}

// explained says why a rollout was taken back, or held, in words and figures.
func explained(r *api.Rollout) []string {
	e, step := decisive(r)
	var out []string
	if step != nil {
		out = append(out, fmt.Sprintf("%s %s at %s, by %s: %s", map[bool]string{true: markFailed, false: markWarning}[r.State == "rolled_back"],
			strings.ReplaceAll(step.Verb, "rollback", "taken back"), at(step.At), step.Actor, plainCell(first(step.Reason, "no reason was given"))))
	}
	if e == nil {
		return append(out, "no evidence was kept: a person decided, or nothing has been judged yet")
	}
	out = append(out, "")
	if e.Metric != "" {
		out = append(out, fmt.Sprintf("metric     %s", e.Metric))
	}
	if e.Ratio != 0 || e.RatioLo != 0 || e.RatioHi != 0 {
		hi := "∞"
		if e.RatioHi >= 0 {
			hi = short(float64(e.RatioHi) / 1e3)
		}
		est := short(float64(e.Ratio)/1e3) + " times the stable release's rate"
		if e.Ratio == 0 && e.Candidate.Bad > 0 {
			est = "only the candidate has any: ∞ times the stable release's rate"
		}
		out = append(out, fmt.Sprintf("ratio      %s (between %s and %s)", est, short(float64(e.RatioLo)/1e3), hi))
	}
	if e.Candidate != (mintmark.EvidenceArm{}) || e.Stable != (mintmark.EvidenceArm{}) {
		out = append(out, fmt.Sprintf("subjects   candidate: %d, %d of them with a bad event; stable: %d, %d", e.Candidate.Exposed, e.Candidate.Bad, e.Stable.Exposed, e.Stable.Bad))
	}
	if e.Metric == invariant && e.LogE < e.Limit {
		out = append(out, "evidence   one is enough: it must never happen, and no probability is involved")
	} else {
		out = append(out, fmt.Sprintf("evidence   E = %s; it fails at %s (a false alarm in %s rollouts)", short(math.Pow(10, float64(e.LogE)/1e3)), short(math.Pow(10, float64(e.Limit)/1e3)), short(1e6/max(float64(e.Alpha), 1))))
	}
	if len(e.Series) > 1 {
		values := make([]int64, len(e.Series))
		for i, p := range e.Series {
			values[i] = p.LogE
		}
		took := time.Duration(e.Series[len(e.Series)-1].At-e.Series[0].At) * time.Millisecond
		out = append(out, fmt.Sprintf("over time  %s  log E from 1 to %s in %s", sparkline(values, max(e.Limit, e.LogE, 1), 60), short(math.Pow(10, float64(values[len(values)-1])/1e3)), took.Round(time.Millisecond)))
	}
	for _, reason := range e.Reasons {
		out = append(out, "because    "+plainCell(reason))
	}
	return out
}

// invariant is the metric of which one occurrence is enough (docs/analysis.md).
const invariant = "stranded"

// decisive finds the step that was taken because of evidence, else the newest
// evidence there is.
func decisive(r *api.Rollout) (*mintmark.Evidence, *api.RolloutStep) {
	for i := len(r.History) - 1; i >= 0; i-- {
		if h := &r.History[i]; h.Evidence != nil {
			return h.Evidence, h
		}
	}
	if n := len(r.History); n > 0 && (r.State == "rolled_back" || r.State == "paused") {
		return r.Evidence, &r.History[n-1]
	}
	return r.Evidence, nil
}
