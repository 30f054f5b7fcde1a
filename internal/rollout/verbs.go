package rollout

import (
	"fmt"
	"slices"
	"strings"
)

// wish carries out a person's verb.
func (m *machine) wish() error {
	switch m.verb {
	case VerbStart:
		return m.start()
	case VerbWeight:
		return m.weight()
	case VerbPause:
		m.hold(first(m.reason, "paused by "+m.actor))
	case VerbResume:
		return m.resume()
	case VerbApprove:
		return m.approve()
	case VerbPromote:
		return m.promote()
	case VerbFinalise:
		if err := m.mayGrow("finalise"); err != nil {
			return err
		}
		m.r.State, m.r.Weight = Finalised, Full
	case VerbAbort:
		if strings.TrimSpace(m.reason) == "" {
			return fmt.Errorf("%w: an abort must say why: give a reason", ErrInvalid)
		}
		m.takeBack()
	default: // rollback, undo
		m.takeBack()
	}
	return nil
}

func (m *machine) start() error {
	if err := checkWeight(m.r.Strategy, VerbStart, m.in.Weight); err != nil {
		return err
	}
	if err := m.r.Spec.check(m.r.Strategy); err != nil {
		return err
	}
	if err := m.mayGrow("start"); err != nil {
		return err
	}
	m.r.State, m.r.Weight = Progressing, m.in.Weight
	m.r.StepSince, m.r.Moved = m.now, m.now
	m.advance()
	return nil
}

// weight sets a share by hand. Where steps would go on by themselves they are
// paused: they must not undo what a person just did.
func (m *machine) weight() error {
	if err := checkWeight(m.r.Strategy, VerbWeight, m.in.Weight); err != nil {
		return err
	}
	if m.in.Weight > m.r.Weight {
		if m.r.State == Paused {
			return fmt.Errorf("%w: rollout %s is paused (%s): resume it before its share grows", ErrIllegal, m.r.ID, m.r.Held)
		}
		if err := m.mayGrow("weight"); err != nil {
			return err
		}
		if at, most := m.unapproved(); at > 0 && m.in.Weight > most {
			return fmt.Errorf("%w: step %d wants approval before the share is more than %s%%", ErrIllegal, at, FormatPercent(most))
		}
	}
	m.r.Weight = m.in.Weight
	m.dirty = true
	steps := len(m.spec().Steps) > 0
	switch {
	case m.r.State == Paused:
		if m.r.Before == Promoted {
			m.r.Before = Progressing
		}
	case steps:
		m.r.State = Progressing
		m.hold("the share was set by hand; resume lets the steps go on")
	default:
		m.r.State = Progressing
	}
	return nil
}

func (m *machine) resume() error {
	if m.failing() {
		return fmt.Errorf("%w: the candidate is failing (%s): roll it back", ErrIllegal, m.trouble())
	}
	held := m.now - m.r.HeldAt
	m.r.State = m.r.Before
	if m.r.State == "" || m.r.State == Waiting {
		m.r.State = Progressing // advance finds out whether it still waits
	}
	m.r.Before, m.r.Held, m.r.HeldAt = "", "", 0
	// A pause or a time of proof goes on where it was; what waits begins anew.
	if s := m.step(); s == nil && m.r.State != Promoted || s != nil && s.Kind != StepPause {
		m.r.StepSince = m.now
	} else {
		m.r.StepSince += held
	}
	m.r.Moved = m.now
	m.advance()
	return nil
}

func (m *machine) approve() error {
	a := m.spec().Approvals
	if a == nil {
		return fmt.Errorf("%w: nobody was named who may approve", ErrIllegal)
	}
	if slices.ContainsFunc(m.r.Approvals, func(p Approval) bool { return p.Actor == m.actor }) {
		return nil
	}
	if a.Distinct && m.actor == m.r.Actor {
		return fmt.Errorf("%w: %s started the rollout and may not approve it too: ask another person", ErrRole, m.actor)
	}
	role := ""
	for _, have := range m.in.Roles {
		if role == "" && (len(a.Roles) == 0 || slices.Contains(a.Roles, have)) {
			role = have
		}
	}
	if role == "" {
		return fmt.Errorf("%w: approval takes one of the roles: %s", ErrRole, strings.Join(a.Roles, ", "))
	}
	m.r.Approvals = append(m.r.Approvals, Approval{Actor: m.actor, Role: role, At: m.now, Note: m.reason})
	m.dirty = true
	m.advance()
	return nil
}

func (m *machine) promote() error {
	if err := m.mayGrow("promote"); err != nil {
		return err
	}
	if at, _ := m.unapproved(); at > 0 {
		return fmt.Errorf("%w: step %d wants approval before everything goes to the candidate", ErrIllegal, at)
	}
	m.promoted()
	return nil
}

// unapproved is the number of the next step that wants approval, and the share that
// the steps before it lead to; 0 when none does.
func (m *machine) unapproved() (at, most int) {
	most = m.r.Weight
	for i := range m.spec().Steps {
		switch s := &m.spec().Steps[i]; {
		case s.Kind == StepWeight:
			most = max(most, s.Weight)
		case s.Kind == StepApproval && i >= m.r.Step:
			return i + 1, most
		}
	}
	return 0, Full
}

func (m *machine) promoted() {
	m.r.State, m.r.Weight = Promoted, Full
	m.r.Step, m.r.StepSince, m.r.Moved = len(m.spec().Steps), m.now, m.now
	m.r.Approvals = nil
}

func (m *machine) takeBack() {
	m.r.State, m.r.Weight = RolledBack, 0
	m.r.Before, m.r.Held, m.r.HeldAt, m.r.Frozen = "", "", 0, 0
}

func checkWeight(strategy string, verb Verb, weight int) error {
	switch {
	case strategy != BlueGreen && strategy != Canary && strategy != Mirrored:
		return fmt.Errorf("%w: strategy %.40q: want %s, %s or %s", ErrInvalid, strategy, BlueGreen, Canary, Mirrored)
	case weight < 0 || weight > Full:
		return fmt.Errorf("%w: weight must be 0 to 100 percent", ErrInvalid)
	case strategy != Canary && verb == VerbWeight:
		return fmt.Errorf("%w: a %s rollout has no weight; promote it", ErrInvalid, strategy)
	case strategy != Canary && weight != 0:
		return fmt.Errorf("%w: a %s rollout starts without traffic; promote it, or choose canary", ErrInvalid, strategy)
	}
	return nil
}
