package control

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/health"
	"github.com/mintmark/mintmark/internal/rollout"
)

// maxGateWait is the longest that one question about a gate waits.
const maxGateWait = time.Minute

// Gate returns the verdict about a rollout. It waits up to wait for one that is not
// "wait"; the verdict of that moment is answered then, for a pipeline asks again.
func (c *Control) Gate(ctx context.Context, id string, wait time.Duration) (*api.Gate, error) {
	if wait < 0 || wait > maxGateWait {
		return nil, fmt.Errorf("%w: wait %s: want up to %s, and ask again", ErrInvalid, wait, maxGateWait)
	}
	every := time.NewTicker(tickEvery)
	defer every.Stop()
	end := time.NewTimer(wait)
	defer end.Stop()
	for {
		g, err := c.gate(ctx, id)
		if err != nil || wait == 0 || g.Verdict != api.VerdictWait {
			return g, err
		}
		select {
		case <-ctx.Done():
			return g, nil
		case <-end.C:
			return g, nil
		case <-every.C:
		}
	}
}

func (c *Control) gate(ctx context.Context, id string) (*api.Gate, error) {
	r, _, err := c.find(ctx, id)
	if err != nil {
		return nil, err
	}
	now := c.cfg.Now()
	g := &api.Gate{
		Rollout: r.ID, Service: r.Service, Candidate: r.Candidate, Stable: r.Stable, State: string(r.State), Epoch: r.Epoch,
		Percent: float64(r.Weight) / 100, Receipt: r.Receipt, Reasons: []string{}, At: now.UTC(),
	}
	h := c.health(ctx, &r)
	if h != nil {
		judged(g, h)
	}
	outcome := string(health.Wait)
	switch {
	case h != nil:
		outcome = string(h.Outcome)
	case r.Health != nil:
		remembered(g, &r)
		outcome = r.Health.Outcome
	}
	g.Verdict, g.Reasons = verdict(&r, outcome, c.cfg.Analyst != nil, g.Reasons)
	if name, until, frozen := frozenNow(&r, c.freezes(r.Service), now); frozen && r.State.Open() {
		g.Reasons = append(g.Reasons, fmt.Sprintf("frozen until %s by window %q", until.Format(time.RFC3339), name))
	}
	g.OK = g.Verdict == api.VerdictPass
	return g, nil
}

// verdict is a rollout's: what it came to, else what its health says. Little
// traffic, or no analysis, is never a pass.
func verdict(r *rollout.Rollout, outcome string, judging bool, reasons []string) (string, []string) {
	switch r.State {
	case rollout.RolledBack:
		return api.VerdictFail, append([]string{because("rolled back", r)}, reasons...)
	case rollout.Finalised:
		return api.VerdictPass, append(reasons, "finalised")
	}
	switch {
	case outcome == string(health.Fail):
		return api.VerdictFail, reasons
	case r.State == rollout.Paused:
		return api.VerdictInconclusive, append([]string{"paused: " + r.Held}, reasons...)
	case outcome == string(health.Pass):
		return api.VerdictPass, reasons
	case outcome == string(health.Inconclusive):
		return api.VerdictInconclusive, reasons
	case !judging:
		return api.VerdictInconclusive, append(reasons, "there is no analysis: people decide")
	case r.State == rollout.Waiting:
		return api.VerdictWait, append([]string{fmt.Sprintf("step %d waits for approval", r.Step+1)}, reasons...)
	}
	return api.VerdictWait, reasons
}

// because is what the last line of history says about why.
func because(what string, r *rollout.Rollout) string {
	if n := len(r.History); n > 0 && r.History[n-1].Reason != "" {
		return what + ": " + r.History[n-1].Reason
	}
	return what
}

// judged fills in what a report says.
func judged(g *api.Gate, h *health.Report) {
	g.EFail, g.ESafe, g.Alpha, g.Beta = exp(h.LogE), exp(h.LogSafe), h.Alpha, h.Beta
	g.Reasons = append(g.Reasons, h.Reasons...)
	g.Exposed = api.Exposure{Candidate: h.Exposed.Candidate, Stable: h.Exposed.Stable}
	e := rollout.EvidenceOf(h)
	g.Metric = e.Metric
	if e.Ratio != 0 || e.RatioLo != 0 || e.RatioHi != 0 {
		g.RateRatio = &api.RateRatio{Est: float64(e.Ratio) / 1e3, Lo: float64(e.RatioLo) / 1e3}
		if e.RatioHi >= 0 {
			hi := float64(e.RatioHi) / 1e3
			g.RateRatio.Hi = &hi
		}
	}
}

// remembered fills in what the rollout's document knows, once nothing is judged any
// more: the evidence of what decided, else the last that was noted.
func remembered(g *api.Gate, r *rollout.Rollout) {
	e := r.Health
	for i := range r.History {
		if r.History[i].Evidence != nil {
			e = r.History[i].Evidence
		}
	}
	g.Metric, g.Reasons = e.Metric, append(g.Reasons, e.Reasons...)
	g.EFail, g.ESafe = exp(float64(e.LogE)/1e3*math.Ln10), exp(float64(e.LogSafe)/1e3*math.Ln10)
	g.Alpha, g.Beta = float64(e.Alpha)/1e6, float64(e.Beta)/1e6
	g.Exposed = api.Exposure{Candidate: e.Candidate.Exposed, Stable: e.Stable.Exposed}
	if e.Ratio != 0 || e.RatioLo != 0 || e.RatioHi != 0 {
		g.RateRatio = &api.RateRatio{Est: float64(e.Ratio) / 1e3, Lo: float64(e.RatioLo) / 1e3}
		if e.RatioHi >= 0 {
			hi := float64(e.RatioHi) / 1e3
			g.RateRatio.Hi = &hi
		}
	}
}

// exp never overflows: JSON has no infinity.
func exp(x float64) float64 {
	if x > 700 {
		return math.MaxFloat64
	}
	return math.Exp(x)
}

func frozenNow(r *rollout.Rollout, windows []rollout.Window, now time.Time) (string, time.Time, bool) {
	if r.Spec != nil {
		windows = append(append([]rollout.Window(nil), r.Spec.Freeze...), windows...)
	}
	name, until, frozen := rollout.Frozen(windows, now.UnixMilli())
	return name, time.UnixMilli(until).UTC(), frozen
}

// staged fills in where a rollout is among its steps, and what it waits for.
func staged(out *api.Rollout, r *rollout.Rollout) {
	out.Held, out.Evidence, out.AutoRollback = r.Held, r.Health, true
	for _, a := range r.Approvals {
		out.Approvals = append(out.Approvals, api.RolloutApproval{Actor: a.Actor, Role: a.Role, At: time.UnixMilli(a.At).UTC(), Note: a.Note})
	}
	s := r.Spec
	if s == nil {
		return
	}
	out.AutoPromote, out.AutoRollback, out.Source = s.AutoPromote, !s.HandRollback, s.Source
	if s.Approvals != nil {
		out.Approvers, out.Wanted = s.Approvals.Roles, max(s.Approvals.Count, 1)
	}
	for i, st := range s.Steps {
		stage := api.RolloutStage{Kind: st.Kind, State: "ahead"}
		if st.Kind == rollout.StepWeight {
			stage.Percent = rollout.FormatPercent(st.Weight)
		}
		if st.Millis > 0 {
			stage.Length = (time.Duration(st.Millis) * time.Millisecond).String()
		}
		switch {
		case i < r.Step:
			stage.State = "done"
		case i == r.Step && r.State.Open():
			stage.State = "current"
			since := time.UnixMilli(r.StepSince).UTC()
			stage.Since = &since
		}
		out.Steps = append(out.Steps, stage)
	}
}
