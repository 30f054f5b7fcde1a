package rollout

import (
	"errors"
	"slices"
	"testing"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/epoch"
	"github.com/mintmark/mintmark/internal/health"
)

// An approval that lies ahead is not gone round by setting the share by hand.
func TestWeightStopsAtApproval(t *testing.T) {
	weight := func(r Rollout, bp int) (Rollout, error) {
		next, _, err := Step(r, Input{Verb: VerbWeight, Weight: bp, Actor: "user:op", Now: 2 * minute})
		return next, err
	}
	r := begin(t, full()) // 5%, a pause, a gate, 25%, approval, 50%, a gate
	if _, err := weight(r, 2501); !errors.Is(err, ErrIllegal) {
		t.Errorf("past the approval from before it: %v", err)
	}
	if next, err := weight(r, 2500); err != nil || next.Weight != 2500 {
		t.Errorf("up to the approval: %d, %v", next.Weight, err)
	}
	r.Step, r.State, r.Weight = 4, Waiting, 2500
	if _, err := weight(r, Full); !errors.Is(err, ErrIllegal) {
		t.Errorf("while it waits for approval: %v", err)
	}
	if next, err := weight(r, 100); err != nil || next.Weight != 100 {
		t.Errorf("less while it waits: %d, %v", next.Weight, err)
	}
	r.Step, r.State, r.Weight = 6, Progressing, 5000
	if next, err := weight(r, Full); err != nil || next.Weight != Full {
		t.Errorf("after the last approval: %d, %v", next.Weight, err)
	}
}

// What waits for the analysis after the last step has its time anew when resumed.
func TestResumeAfterLastStep(t *testing.T) {
	s := &Spec{Steps: []SpecStep{{Kind: StepWeight, Weight: 500}}, Analysis: &Analysis{MaxDuration: 60 * minute}, AutoPromote: true}
	r := begin(t, s)
	r, _, _ = Step(r, Input{Now: 61 * minute, Health: report(health.Wait)})
	if r.State != Paused {
		t.Fatalf("after the longest time: %s", r.State)
	}
	r, _, err := Step(r, Input{Verb: VerbResume, Actor: "user:op", Now: 65 * minute})
	if err != nil || r.State != Progressing {
		t.Fatalf("resume: %s, %v", r.State, err)
	}
	if r, _, _ = Step(r, Input{Now: 66 * minute, Health: report(health.Wait)}); r.State != Progressing {
		t.Fatalf("a minute after resume: %s, %s", r.State, r.Held)
	}
	if r, _, _ = Step(r, Input{Now: 126 * minute, Health: report(health.Wait)}); r.State != Paused {
		t.Errorf("once more after the longest time: %s", r.State)
	}
}

// A gate that begins after the analysis's longest time still has an end.
func TestLateGateEnds(t *testing.T) {
	s := &Spec{
		Steps:    []SpecStep{{Kind: StepWeight, Weight: 500}, {Kind: StepPause, Millis: 120 * minute}, {Kind: StepGate}},
		Analysis: &Analysis{MaxDuration: 60 * minute},
	}
	r := begin(t, s)
	r, _, _ = Step(r, Input{Now: 121 * minute, Health: report(health.Wait)})
	if r.State != Progressing || r.Step != 2 {
		t.Fatalf("%s at step %d", r.State, r.Step)
	}
	if r, _, _ = Step(r, Input{Now: 181 * minute, Health: report(health.Wait)}); r.State != Paused {
		t.Errorf("an hour after the gate began: %s", r.State)
	}
}

// A part that is compiled anew while a rollout is under way still keeps out the
// gateways that would misread the rollout's split.
func TestRebaseKeepsRequires(t *testing.T) {
	svc := epoch.Service{Name: "s", Releases: []epoch.Release{{Name: "v1"}, {Name: "v2"}}, Split: epoch.Split{Stable: "v1"}}
	r := Rollout{ID: "rol_1", Service: "s", Stable: "v1", Candidate: "v2", State: Progressing, Spec: &Spec{Preview: &Preview{Header: "X-P", Value: "1"}}}
	current, err := Service(svc, r)
	if err != nil || !slices.Contains(current.Requires, epoch.FeaturePreview) {
		t.Fatal(current.Requires, err)
	}
	got, err := Rebase(svc, &current)
	if err != nil || !slices.Contains(got.Requires, epoch.FeaturePreview) {
		t.Errorf("requires %v, %v", got.Requires, err)
	}
}

// Dispositions that were declared at the start hold for the classes that there are;
// one that no token can be of any more does not keep a release in place.
func TestDeclaredDispositions(t *testing.T) {
	svc := epoch.Service{Name: "s", OwnIssuer: true, Releases: []epoch.Release{{Name: "v1", Accept: []string{"v2"}}, {Name: "v2"}}, Split: epoch.Split{Stable: "v1"}}
	declared := map[string]mintmark.Disposition{string(Native): mintmark.Reissue, OverScoped: mintmark.Keep, string(Reissuable): mintmark.Map}
	rules, err := Rules(&svc, "v1", "v2", Options{Declared: declared})
	if err != nil || rules[0].Disposition != mintmark.Keep || rules[2].Disposition != mintmark.Reissue {
		t.Fatalf("%+v, %v", rules, err)
	}
	svc.Releases[0].Accept = nil // the class is another now, and it can't be mapped
	rules, err = Rules(&svc, "v1", "v2", Options{Declared: declared})
	if err != nil || rules[0].Disposition != mintmark.Keep || rules[2].Disposition != mintmark.Reissue {
		t.Fatalf("after an apply: %+v, %v", rules, err)
	}
	rules, err = Rules(&svc, "v1", "v2", Options{Declared: declared, Override: map[string]mintmark.Disposition{OverScoped: mintmark.Revoke}})
	if err != nil || rules[0].Disposition != mintmark.Revoke {
		t.Errorf("what is said now goes first: %+v, %v", rules, err)
	}
	if _, err := Rules(&svc, "v1", "v2", Options{Override: map[string]mintmark.Disposition{string(Native): mintmark.Keep}}); !errors.Is(err, ErrInvalid) {
		t.Errorf("what is said now is checked: %v", err)
	}
}
