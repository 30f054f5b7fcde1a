package rollout

import (
	"fmt"
	"time"

	"github.com/mintmark/mintmark/internal/health"
)

// tick lets time pass: health is looked at first, and a failing one acts whatever
// else holds the rollout; then freezes; then steps and deadlines.
func (m *machine) tick() {
	if !m.r.State.Open() {
		return
	}
	m.note()
	if m.fail() || m.r.State == Paused {
		return
	}
	if m.freeze() {
		return
	}
	m.advance()
}

// note remembers what the health says, when it is news.
func (m *machine) note() {
	if m.in.Health == nil {
		return
	}
	h, news := noted(m.r.Health, EvidenceOf(m.in.Health), m.now)
	m.r.Health = h
	m.dirty = m.dirty || news
}

// fail acts on a failing health: the candidate is taken back, or, where that was
// left to people, held.
func (m *machine) fail() bool {
	if m.in.Health == nil || m.in.Health.Outcome != health.Fail {
		return false
	}
	why := EvidenceOf(m.in.Health)
	why.At = m.now
	if m.spec().HandRollback {
		if m.r.State != Paused {
			m.by(VerbPause, "health failed: "+m.trouble())
			m.why = &why
			m.hold(m.reason)
			m.notes = append(m.notes, m.reason)
		}
		return true
	}
	m.by(VerbRollback, "health failed: "+m.trouble())
	m.why = &why
	m.takeBack()
	m.notes = append(m.notes, m.reason)
	return true
}

func (m *machine) by(v Verb, reason string) { m.verb, m.actor, m.reason = v, Actor, reason }

// freeze keeps everything as it is while a window holds. What waits is not charged
// with the time.
func (m *machine) freeze() bool {
	_, _, frozen := Frozen(m.windows(), m.now)
	switch {
	case frozen && m.r.Frozen == 0:
		m.r.Frozen, m.dirty = max(m.now, 1), true
	case !frozen && m.r.Frozen != 0:
		// People's verbs may have begun something within the window.
		m.r.Moved += m.now - max(m.r.Frozen, m.r.Moved)
		if s := m.step(); s != nil && s.Kind != StepPause {
			m.r.StepSince += m.now - max(m.r.Frozen, m.r.StepSince)
		}
		m.r.Frozen, m.dirty = 0, true
	}
	return frozen
}

// advance goes as far as the steps let it at this moment. After a person's verb it
// does not judge what is late: that is left to the next tick.
func (m *machine) advance() {
	if _, _, frozen := Frozen(m.windows(), m.now); frozen || m.failing() {
		return
	}
	if m.r.State == Promoted {
		m.prove()
		return
	}
	from := m.r.Weight
	for s := m.step(); s != nil; s = m.step() {
		if !m.over(s) {
			m.late(s)
			m.moved(from)
			return
		}
		m.r.Step++
		m.r.StepSince, m.r.Moved = m.now, m.now
		m.r.Approvals, m.r.State = nil, Progressing
	}
	m.moved(from)
	if !m.spec().AutoPromote {
		return
	}
	if m.spec().Analysis != nil && m.outcome() != health.Pass {
		m.late(&SpecStep{Kind: StepGate})
		return
	}
	if m.in.Verb == "" {
		m.by(VerbPromote, "all steps done")
		if h := m.in.Health; h != nil && h.Outcome == health.Pass {
			why := EvidenceOf(h)
			why.At, why.Series = m.now, nil
			m.why = &why
			m.reason = "all steps done; the analysis says pass"
		}
	}
	m.notes = append(m.notes, "promoted: all steps are done")
	m.promoted()
}

// moved makes a line of history of a share that grew by itself.
func (m *machine) moved(from int) {
	if m.verb == "" && m.r.Weight != from {
		m.by(VerbTick, fmt.Sprintf("step %d of %d", min(m.r.Step+1, len(m.spec().Steps)), len(m.spec().Steps)))
	}
}

// over reports whether a step is done at this moment, and does what it is.
func (m *machine) over(s *SpecStep) bool {
	switch s.Kind {
	case StepWeight:
		m.r.Weight = max(m.r.Weight, s.Weight)
		return true
	case StepPause:
		return m.now-m.r.StepSince >= s.Millis
	case StepApproval:
		if len(m.r.Approvals) >= m.spec().Approvals.count() {
			return true
		}
		if m.r.State != Waiting {
			m.r.State = Waiting
			m.notes = append(m.notes, fmt.Sprintf("step %d wants approval", m.r.Step+1))
		}
		return false
	case StepGate:
		return m.outcome() == health.Pass
	}
	return false // a kind of a newer program: it waits for people
}

func (m *machine) outcome() health.Outcome {
	if m.in.Health == nil {
		return health.Wait
	}
	return m.in.Health.Outcome
}

// late holds or takes back what waited too long for a step.
func (m *machine) late(s *SpecStep) {
	if m.in.Verb != "" {
		return
	}
	why := ""
	sp := m.spec()
	gate := s.Kind == StepGate
	switch {
	case s.Kind != StepPause && s.Millis > 0 && m.now-m.r.StepSince >= s.Millis:
		why = fmt.Sprintf("step %d waited for longer than %s", m.r.Step+1, length(s.Millis))
	case gate && sp.Analysis != nil && m.unjudged(sp.Analysis.MaxDuration):
		why = fmt.Sprintf("the analysis came to no verdict within %s", length(sp.Analysis.MaxDuration))
	case sp.Progress > 0 && m.now-m.r.Moved >= sp.Progress:
		why = fmt.Sprintf("no step was done for %s", length(sp.Progress))
	default:
		return
	}
	m.notes = append(m.notes, why)
	m.by(VerbPause, why)
	if m.in.Health != nil {
		e := EvidenceOf(m.in.Health)
		e.At, e.Outcome = m.now, string(health.Inconclusive)
		m.why = &e
	}
	if sp.Inconclusive == OnRollback {
		m.verb = VerbRollback
		m.takeBack()
		return
	}
	m.hold(why)
}

// unjudged reports whether a gate has waited for a verdict for too long: until that
// long after the start, and where it begins after that, or anew, for that long.
func (m *machine) unjudged(most int64) bool {
	if most <= 0 || m.now-m.r.Started < most {
		return false
	}
	return m.r.StepSince <= m.r.Started+most || m.now-m.r.StepSince >= most
}

// prove finalises what was promoted for long enough without failing.
func (m *machine) prove() {
	f := m.spec().Finalise
	if f == 0 || m.now-m.r.StepSince < f || m.in.Verb != "" {
		return
	}
	m.by(VerbFinalise, fmt.Sprintf("promoted for %s without failing", length(f)))
	m.notes = append(m.notes, "finalised: "+m.reason)
	m.r.State, m.r.Weight = Finalised, Full
}

func length(ms int64) string { return (time.Duration(ms) * time.Millisecond).String() }
