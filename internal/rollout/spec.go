package rollout

import (
	"fmt"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/health"
)

// Spec is what a rollout was started with: how it comes forward by itself, what it
// is watched by, and what holds it back. It is part of the rollout's document;
// members are added, never renamed. Lengths of time are in milliseconds, shares in
// basis points. The zero value is a rollout that people move by hand and that is
// taken back by itself when its health fails.
type Spec struct {
	Steps    []SpecStep `json:"steps,omitempty"`
	Analysis *Analysis  `json:"analysis,omitempty"`
	Preview  *Preview   `json:"preview,omitempty"`
	Mirror   *Mirror    `json:"mirror,omitempty"`
	// Freeze are windows in which nothing grows; those of the whole installation
	// come beside them.
	Freeze []Window `json:"freeze,omitempty"`
	// Approvals says who may approve; needed when a step wants approval.
	Approvals *Approvals `json:"approvals,omitempty"`
	// Dispositions override what becomes of a class of tokens at a rollback.
	Dispositions map[string]mintmark.Disposition `json:"dispositions,omitempty"`
	// AutoPromote promotes after the last step by itself; with an analysis, once it
	// says pass.
	AutoPromote bool `json:"auto_promote,omitempty"`
	// HandRollback leaves the rollback to people: a failing health only pauses.
	HandRollback bool `json:"hand_rollback,omitempty"`
	// Inconclusive is what happens when a deadline comes without a verdict: OnHold
	// (also when empty) or OnRollback.
	Inconclusive string `json:"inconclusive,omitempty"`
	// Progress is the longest that one step may take, Finalise how long after its
	// promotion the rollout is finalised; 0 is without end.
	Progress int64 `json:"progress_ms,omitempty"`
	Finalise int64 `json:"finalise_ms,omitempty"`
	// Source names the file it was read from, for people.
	Source string `json:"source,omitempty"`
}

// What an inconclusive deadline leads to.
const (
	OnHold     = "pause"
	OnRollback = "rollback"
)

// Kinds of step.
const (
	StepWeight   = "weight"   // give the candidate a share
	StepPause    = "pause"    // let time pass
	StepApproval = "approval" // wait for people
	StepGate     = "gate"     // wait until the analysis says pass
)

// SpecStep is one step.
type SpecStep struct {
	Kind string `json:"kind"`
	// Weight is StepWeight's share. A step never takes away: a share that is larger
	// already stays.
	Weight int `json:"weight,omitempty"`
	// Millis is how long StepPause lasts, and the longest that StepGate and
	// StepApproval wait; 0 for those is as long as it takes.
	Millis int64 `json:"ms,omitempty"`
}

// Analysis is what the candidate is judged by, and for how long.
type Analysis struct {
	health.Spec
	// MaxDuration is after how long without a verdict a gate is inconclusive; 0 is
	// never.
	MaxDuration int64 `json:"max_duration_ms,omitempty"`
}

// Approvals says who may approve the steps that want it.
type Approvals struct {
	// Roles of which an approver needs one; Count approvers are wanted, 1 when 0.
	Roles []string `json:"roles,omitempty"`
	Count int      `json:"count,omitempty"`
	// Distinct refuses the approval of whoever started the rollout.
	Distinct bool `json:"distinct,omitempty"`
}

func (a *Approvals) count() int {
	if a == nil || a.Count < 1 {
		return 1
	}
	return a.Count
}

// Preview is how requests reach the candidate, and how the authority mints under
// it, whatever its share.
type Preview struct {
	Header  string   `json:"header,omitempty"` // name; Value is its exact value
	Value   string   `json:"value,omitempty"`
	Cookie  string   `json:"cookie,omitempty"` // name; Value is its exact value
	Host    string   `json:"host,omitempty"`
	Clients []string `json:"clients,omitempty"` // whose tokens are minted under the candidate and meet it
	Share   int      `json:"share,omitempty"`   // of the subjects, for minting, in basis points
}

// Mirror is what share of the requests the candidate gets copies of.
type Mirror struct {
	Share   int      `json:"share"` // in basis points
	Methods []string `json:"methods,omitempty"`
	MaxBody int64    `json:"max_body,omitempty"`
}

// check judges a spec against its strategy; files were judged line by line before.
func (s *Spec) check(strategy string) error {
	if s == nil {
		return nil
	}
	if s.AutoPromote && s.Analysis == nil {
		return fmt.Errorf("%w: promotion by itself needs an analysis", ErrInvalid)
	}
	if s.Mirror != nil && strategy != Mirrored {
		return fmt.Errorf("%w: only a shadow rollout mirrors requests", ErrInvalid)
	}
	for _, w := range s.Freeze {
		if err := w.Check(); err != nil {
			return err
		}
	}
	last := -1
	for i, st := range s.Steps {
		switch {
		case st.Kind == StepWeight && strategy != Canary:
			return fmt.Errorf("%w: steps[%d]: a %s rollout has no shares", ErrInvalid, i, strategy)
		case st.Kind == StepWeight && (st.Weight < 0 || st.Weight > Full || st.Weight <= last):
			return fmt.Errorf("%w: steps[%d]: shares must grow and be at most 100 percent", ErrInvalid, i)
		case st.Kind == StepWeight:
			last = st.Weight
		case st.Kind == StepPause && st.Millis <= 0:
			return fmt.Errorf("%w: steps[%d]: a pause needs a length", ErrInvalid, i)
		case st.Kind == StepGate && s.Analysis == nil:
			return fmt.Errorf("%w: steps[%d]: a gate needs an analysis", ErrInvalid, i)
		case st.Kind == StepApproval && s.Approvals == nil:
			return fmt.Errorf("%w: steps[%d]: an approval needs approvals: who may give it", ErrInvalid, i)
		case st.Kind != StepPause && st.Kind != StepGate && st.Kind != StepApproval:
			return fmt.Errorf("%w: steps[%d]: kind %.20q is not known", ErrInvalid, i, st.Kind)
		}
	}
	return nil
}
