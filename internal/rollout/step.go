package rollout

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/health"
)

// Input is what happens to a rollout: somebody's wish, or, with an empty verb, the
// passing of time.
type Input struct {
	Verb   Verb
	Weight int // of start and weight, in basis points
	Actor  string
	Roles  []string // of the actor; for approve
	Reason string
	Now    int64 // Unix milliseconds; one that lies before the last is taken as that
	// Health is the newest report; nil when there is none.
	Health *health.Report
	// Freeze are the windows of the installation; those of the spec come beside them.
	Freeze []Window
}

// ActionKind says what is to be done.
type ActionKind string

// Kinds of action. Of the first four there is at most one, and it is done in the
// very row that writes the new state; Record writes the state alone. Notify tells
// people and comes last.
const (
	SetWeight ActionKind = "set-weight"
	Promote   ActionKind = "promote"
	RollBack  ActionKind = "roll-back"
	Finalise  ActionKind = "finalise"
	Record    ActionKind = "record"
	Notify    ActionKind = "notify"
)

// Action is one thing to do.
type Action struct {
	Kind   ActionKind
	Weight int
	Reason string
	// Why is the evidence of a rollback or promotion that nobody asked for.
	Why *mintmark.Evidence
}

// Actor of what a rollout does by itself.
const Actor = "system:rollout"

// transitions are the only legal ones for people's verbs. Where a verb can lead to
// several states, it is the first unless the function of the verb says why.
var transitions = map[State]map[Verb][]State{
	"": {VerbStart: {Progressing, Waiting}},
	Progressing: {
		VerbWeight: {Progressing, Paused}, VerbPause: {Paused}, VerbPromote: {Promoted},
		VerbRollback: {RolledBack}, VerbAbort: {RolledBack},
	},
	Waiting: {
		VerbApprove: {Progressing, Waiting, Promoted}, VerbWeight: {Paused}, VerbPause: {Paused},
		VerbRollback: {RolledBack}, VerbAbort: {RolledBack},
	},
	Paused: {
		VerbResume: {Progressing, Waiting, Promoted}, VerbWeight: {Paused},
		VerbRollback: {RolledBack}, VerbAbort: {RolledBack},
	},
	Promoted: {
		VerbWeight: {Progressing, Paused}, VerbPause: {Paused}, VerbFinalise: {Finalised},
		VerbRollback: {RolledBack}, VerbAbort: {RolledBack}, VerbUndo: {RolledBack},
	},
	Finalised:  {VerbUndo: {RolledBack}},
	RolledBack: {},
}

// drift is where the passing of time may lead to. Every open state may be rolled
// back: a failing health is never held up.
var drift = map[State][]State{
	Progressing: {Progressing, Waiting, Paused, Promoted, RolledBack},
	Waiting:     {Waiting, Progressing, Paused, Promoted, RolledBack}, // approved, and frozen until now
	Paused:      {Paused, RolledBack},
	Promoted:    {Promoted, Paused, Finalised, RolledBack},
	Finalised:   {Finalised},
	RolledBack:  {RolledBack},
}

// settled is the state in which a verb has nothing left to do: asked for again it
// is a success, so that two operators who press the button both succeed.
func settled(v Verb, s State) bool {
	switch v {
	case VerbPromote:
		return s == Promoted
	case VerbFinalise:
		return s == Finalised
	case VerbRollback, VerbAbort, VerbUndo:
		return s == RolledBack
	case VerbPause:
		return s == Paused
	case VerbResume:
		return s == Progressing || s == Waiting || s == Promoted
	}
	return false
}

// Step takes what happens and returns the rollout after it, and what is to be done
// for that to be so: nothing, when there is no action. The rollout given is not
// changed. Errors are of verbs only: time is never refused.
func Step(r Rollout, in Input) (Rollout, []Action, error) {
	m := machine{r: r, was: r, in: in, now: max(in.Now, r.Updated)}
	m.r.History, m.r.Approvals = slices.Clip(r.History), slices.Clip(r.Approvals)
	if in.Verb == "" {
		m.tick()
		next, actions := m.out()
		return next, actions, nil
	}
	if _, ok := transitions[r.State][in.Verb]; !ok {
		if settled(in.Verb, r.State) {
			return r, nil, nil
		}
		return r, nil, fmt.Errorf("%w: rollout %s is %s; %s", ErrIllegal, r.ID, said(r), possible(r.State))
	}
	m.actor, m.verb, m.reason = in.Actor, in.Verb, in.Reason
	if err := m.wish(); err != nil {
		return r, nil, err
	}
	next, actions := m.out()
	return next, actions, nil
}

// said names a state with what it waits for.
func said(r Rollout) string {
	switch r.State {
	case RolledBack:
		return "rolled back"
	case Waiting:
		return "waiting for approval"
	}
	return string(r.State)
}

func possible(s State) string {
	var verbs []string
	for _, v := range []Verb{VerbApprove, VerbResume, VerbWeight, VerbPause, VerbPromote, VerbFinalise, VerbRollback, VerbUndo} {
		if _, ok := transitions[s][v]; ok {
			verbs = append(verbs, string(v))
		}
	}
	if len(verbs) == 0 {
		return "it is over: start another rollout"
	}
	return "possible: " + strings.Join(verbs, ", ")
}

// machine is one step under way.
type machine struct {
	r, was Rollout
	in     Input
	now    int64

	// What goes into the history when something is done.
	verb   Verb
	actor  string
	reason string
	why    *mintmark.Evidence
	notes  []string
	dirty  bool // changed in a way that out can't see by comparing
}

func (m *machine) spec() *Spec {
	if m.r.Spec == nil {
		return &Spec{}
	}
	return m.r.Spec
}

// hold pauses, with why.
func (m *machine) hold(why string) {
	m.r.Before, m.r.Held, m.r.HeldAt = m.r.State, why, m.now
	m.r.State = Paused
}

// mayGrow refuses what would give the candidate more, or bind to it, while it is
// failing or a window freezes everything.
func (m *machine) mayGrow(verb string) error {
	if m.failing() {
		return fmt.Errorf("%w: the candidate is failing (%s): roll it back", ErrIllegal, m.trouble())
	}
	if name, until, frozen := Frozen(m.windows(), m.now); frozen {
		return fmt.Errorf("%w: %s is frozen until %s by window %q; a rollback is not", ErrIllegal, verb, time.UnixMilli(until).UTC().Format(time.RFC3339), name)
	}
	return nil
}

func (m *machine) windows() []Window { return slices.Concat(m.spec().Freeze, m.in.Freeze) }

func (m *machine) failing() bool {
	if h := m.in.Health; h != nil {
		return h.Outcome == health.Fail
	}
	return m.r.Health != nil && m.r.Health.Outcome == string(health.Fail)
}

func (m *machine) trouble() string {
	if h := m.in.Health; h != nil && len(h.Reasons) > 0 {
		return h.Reasons[0]
	}
	if h := m.r.Health; h != nil && len(h.Reasons) > 0 {
		return h.Reasons[0]
	}
	return "its health"
}

// step is the step under way; nil after the last.
func (m *machine) step() *SpecStep {
	if s := m.spec().Steps; m.r.Step < len(s) {
		return &s[m.r.Step]
	}
	return nil
}

// out compares the rollout with what it was and says what is to be done.
func (m *machine) out() (Rollout, []Action) {
	a := Action{Kind: Record, Weight: m.r.Weight, Reason: m.reason, Why: m.why}
	switch {
	case m.r.State != m.was.State && m.r.State == RolledBack:
		a.Kind = RollBack
	case m.r.State != m.was.State && m.r.State == Finalised:
		a.Kind = Finalise
	case m.r.State == Promoted && m.was.State != Promoted && !(m.was.State == Paused && m.was.Before == Promoted):
		a.Kind = Promote
	case m.r.Weight != m.was.Weight, m.was.State == "":
		a.Kind = SetWeight
	case m.r.State == m.was.State && m.r.Step == m.was.Step && !m.dirty:
		return m.was, nil
	}
	m.r.Updated = m.now
	if m.verb != "" {
		m.r.History = append(m.r.History, Done{At: m.now, Verb: m.verb, Weight: m.r.Weight, Actor: m.actor, Reason: m.reason, Evidence: m.why})
	}
	actions := []Action{a}
	for _, n := range m.notes {
		actions = append(actions, Action{Kind: Notify, Weight: m.r.Weight, Reason: n, Why: m.why})
	}
	return m.r, actions
}

func first(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}
