package rollout

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/mintmark/mintmark/internal/health"
)

const minute = int64(60_000)

func report(o health.Outcome) *health.Report {
	h := &health.Report{Rollout: "rol_1", Outcome: o, Alpha: 0.01, Beta: 0.05, Reasons: []string{"because " + string(o)}, Weight: 500}
	if o == health.Fail {
		h.LogE, h.Tripped = 5, health.ServerError
		h.Metrics = []health.MetricReport{{Name: health.ServerError, LogE: 5, Ratio: 8, RatioLow: 2, RatioHigh: 40, Events: health.Arms{Stable: 3, Candidate: 24}}}
		h.History = []health.Point{{At: 1, LogE: 1}, {At: 2, LogE: 5}}
	}
	return h
}

// full is a rollout with every kind of step.
func full() *Spec {
	return &Spec{
		Steps: []SpecStep{
			{Kind: StepWeight, Weight: 500},
			{Kind: StepPause, Millis: 5 * minute},
			{Kind: StepGate, Millis: 30 * minute},
			{Kind: StepWeight, Weight: 2500},
			{Kind: StepApproval},
			{Kind: StepWeight, Weight: 5000},
			{Kind: StepGate},
		},
		Analysis:    &Analysis{},
		Approvals:   &Approvals{Roles: []string{"security"}, Distinct: true},
		AutoPromote: true,
		Finalise:    60 * minute,
	}
}

func begin(t interface{ Fatal(...any) }, s *Spec) Rollout {
	r, _, err := Step(Rollout{ID: "rol_1", Service: "s", Stable: "v1", Candidate: "v2", Strategy: Canary, Salt: "x", Actor: "user:op", Started: minute, Spec: s}, Input{Verb: VerbStart, Actor: "user:op", Now: minute})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func kinds(actions []Action) (out []ActionKind) {
	for _, a := range actions {
		out = append(out, a.Kind)
	}
	return out
}

// The whole table: every state with every verb, for a rollout without steps.
func TestVerbs(t *testing.T) {
	const illegal State = "illegal"
	all := []Verb{VerbStart, VerbWeight, VerbPause, VerbResume, VerbApprove, VerbPromote, VerbFinalise, VerbRollback, VerbAbort, VerbUndo}
	table := map[State]map[Verb]State{
		Progressing: {VerbWeight: Progressing, VerbPause: Paused, VerbResume: Progressing, VerbPromote: Promoted, VerbRollback: RolledBack, VerbAbort: RolledBack},
		Waiting:     {VerbWeight: Progressing, VerbPause: Paused, VerbResume: Waiting, VerbApprove: illegal, VerbRollback: RolledBack, VerbAbort: RolledBack},
		Paused:      {VerbWeight: Paused, VerbPause: Paused, VerbResume: Progressing, VerbRollback: RolledBack, VerbAbort: RolledBack},
		Promoted: {
			VerbWeight: Progressing, VerbPause: Paused, VerbResume: Promoted, VerbPromote: Promoted, VerbFinalise: Finalised,
			VerbRollback: RolledBack, VerbAbort: RolledBack, VerbUndo: RolledBack,
		},
		Finalised:  {VerbFinalise: Finalised, VerbUndo: RolledBack},
		RolledBack: {VerbRollback: RolledBack, VerbAbort: RolledBack, VerbUndo: RolledBack},
	}
	for state, verbs := range table {
		for _, verb := range all {
			want, ok := verbs[verb]
			if !ok {
				want = illegal
			}
			r := Rollout{ID: "rol_1", Strategy: Canary, State: state, Weight: 600, Before: Progressing}
			next, actions, err := Step(r, Input{Verb: verb, Weight: 500, Actor: "user:x", Reason: "why"})
			if want == illegal {
				if !errors.Is(err, ErrIllegal) || len(actions) != 0 || !reflect.DeepEqual(next, r) {
					t.Errorf("%s %s: %v, %v, %v; want it refused", state, verb, next.State, actions, err)
				}
				continue
			}
			if err != nil || next.State != want {
				t.Errorf("%s %s: %s, %v; want %s", state, verb, next.State, err, want)
			}
			if same := settled(verb, state); same != (len(actions) == 0) {
				t.Errorf("%s %s: actions %v", state, verb, kinds(actions))
			}
		}
	}
	for _, bad := range []struct {
		strategy string
		weight   int
	}{{BlueGreen, 1}, {Mirrored, 1}, {Canary, -1}, {Canary, Full + 1}, {"rainbow", 0}} {
		if _, _, err := Step(Rollout{Strategy: bad.strategy}, Input{Verb: VerbStart, Weight: bad.weight}); !errors.Is(err, ErrInvalid) {
			t.Errorf("start %v: %v", bad, err)
		}
	}
	if _, _, err := Step(Rollout{State: Progressing, Strategy: Canary}, Input{Verb: VerbAbort, Reason: "  "}); !errors.Is(err, ErrInvalid) {
		t.Errorf("abort without a reason: %v", err)
	}
}

// A rollout with every kind of step, from its start to its end, by itself.
func TestSteps(t *testing.T) {
	r := begin(t, full())
	now := minute
	if r.Weight != 500 || r.Step != 1 || r.State != Progressing || len(r.History) != 1 {
		t.Fatalf("started: %+v", r)
	}
	for _, s := range []struct {
		after  int64 // minutes
		health health.Outcome
		verb   Verb
		state  State
		weight int
		kinds  []ActionKind
	}{
		{4, health.Wait, "", Progressing, 500, []ActionKind{Record}}, // notes the first health
		{0, health.Wait, "", Progressing, 500, nil},
		{1, health.Wait, "", Progressing, 500, []ActionKind{Record}}, // at the gate
		{1, health.Inconclusive, "", Progressing, 500, []ActionKind{Record}},
		{1, health.Pass, "", Waiting, 2500, []ActionKind{SetWeight, Notify}},
		{9, health.Pass, "", Waiting, 2500, nil},
		{0, health.Pass, VerbApprove, Promoted, Full, []ActionKind{Promote, Notify}},
		{59, health.Pass, "", Promoted, Full, nil},
		{1, health.Pass, "", Finalised, Full, []ActionKind{Finalise, Notify}},
		{999, health.Fail, "", Finalised, Full, nil},
	} {
		now += s.after * minute
		next, actions, err := Step(r, Input{Verb: s.verb, Actor: "user:sec", Roles: []string{"viewer", "security"}, Now: now, Health: report(s.health)})
		if err != nil || next.State != s.state || next.Weight != s.weight || !slices.Equal(kinds(actions), s.kinds) {
			t.Fatalf("after %d minutes %s %s: %s at %d, %v, %v; want %s at %d, %v", (now-minute)/minute, s.health, s.verb, next.State, next.Weight, kinds(actions), err, s.state, s.weight, s.kinds)
		}
		r = next
	}
	var verbs []string
	for _, h := range r.History {
		verbs = append(verbs, fmt.Sprintf("%s:%d:%s", h.Verb, h.Weight, h.Actor))
	}
	if got, want := strings.Join(verbs, " "), "start:500:user:op step:2500:"+Actor+" approve:10000:user:sec finalise:10000:"+Actor; got != want {
		t.Errorf("history %s; want %s", got, want)
	}
}

// A failing health takes the candidate back from every open state, frozen or not.
func TestFail(t *testing.T) {
	always := []Window{{Name: "always", To: 0, From: 0}}
	for _, state := range []State{Progressing, Waiting, Paused, Promoted} {
		for _, freeze := range [][]Window{nil, always} {
			r := Rollout{ID: "rol_1", Strategy: Canary, State: state, Before: Progressing, Weight: 500, Spec: full()}
			next, actions, _ := Step(r, Input{Now: minute, Health: report(health.Fail), Freeze: freeze})
			if next.State != RolledBack || next.Weight != 0 || kinds(actions)[0] != RollBack {
				t.Fatalf("%s: %s, %v", state, next.State, kinds(actions))
			}
			e := actions[0].Why
			if e == nil || e.Metric != string(health.ServerError) || e.Ratio != 8000 || e.RatioLo != 2000 || e.RatioHi != 40000 || e.LogE != 2171 || e.Limit != 2000 || len(e.Series) != 2 || e.Candidate.Bad != 24 {
				t.Errorf("%s: evidence %+v", state, e)
			}
			if last := next.History[len(next.History)-1]; last.Verb != VerbRollback || last.Actor != Actor || last.Evidence == nil {
				t.Errorf("%s: history %+v", state, last)
			}
			r.Spec.HandRollback = true
			next, _, _ = Step(r, Input{Now: minute, Health: report(health.Fail), Freeze: freeze})
			if next.State != Paused || next.Weight != 500 {
				t.Errorf("%s, rollback by hand: %s at %d", state, next.State, next.Weight)
			}
			for _, verb := range []Verb{VerbResume, VerbPromote, VerbFinalise} {
				if _, _, err := Step(next, Input{Verb: verb, Now: minute, Health: report(health.Fail)}); !errors.Is(err, ErrIllegal) {
					t.Errorf("%s although it fails: %v", verb, err)
				}
			}
		}
	}
}

func TestDeadlines(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Spec)
		after  int64 // minutes since the start until something comes
		want   State
		why    string
	}{
		"gate":          {func(*Spec) {}, 35, Paused, "step 3 waited for longer than 30m0s"},
		"gate, back":    {func(s *Spec) { s.Inconclusive = OnRollback }, 35, RolledBack, "step 3 waited for longer than 30m0s"},
		"progress":      {func(s *Spec) { s.Progress = 20 * minute }, 25, Paused, "no step was done for 20m0s"},
		"analysis":      {func(s *Spec) { s.Analysis.MaxDuration = 12 * minute }, 12, Paused, "the analysis came to no verdict within 12m0s"},
		"by hand stays": {func(s *Spec) { s.HandRollback = true }, 35, Paused, "step 3 waited for longer than 30m0s"},
	} {
		t.Run(name, func(t *testing.T) {
			s := full()
			c.change(s)
			r := begin(t, s)
			for m := int64(1); m <= c.after; m++ {
				if r.State != Progressing {
					t.Fatalf("%s after %d minutes", r.State, m-1)
				}
				r, _, _ = Step(r, Input{Now: minute * (1 + m), Health: report(health.Inconclusive)})
			}
			if last := r.History[len(r.History)-1]; r.State != c.want || last.Reason != c.why || last.Evidence == nil {
				t.Fatalf("%s: %+v", r.State, last)
			}
			if c.want != Paused {
				return
			}
			// Resumed, the step has its time anew.
			r, _, err := Step(r, Input{Verb: VerbResume, Now: minute * (2 + c.after), Actor: "user:op"})
			if err != nil || r.State != Progressing {
				t.Fatalf("resume: %s, %v", r.State, err)
			}
			if r, _, _ = Step(r, Input{Now: minute * (3 + c.after), Health: report(health.Wait)}); r.State != Progressing {
				t.Errorf("a minute after resume: %s, %s", r.State, r.Held)
			}
		})
	}
}

func TestApprovals(t *testing.T) {
	s := full()
	s.Approvals.Count = 2
	r := begin(t, s)
	r.Step, r.State, r.Weight = 4, Waiting, 2500
	approve := func(actor string, roles ...string) error {
		next, _, err := Step(r, Input{Verb: VerbApprove, Actor: actor, Roles: roles, Now: 2 * minute})
		r = next
		return err
	}
	if err := approve("user:op", "security"); !errors.Is(err, ErrRole) {
		t.Errorf("whoever started it approved: %v", err)
	}
	if err := approve("user:a", "operator", "viewer"); !errors.Is(err, ErrRole) {
		t.Errorf("without the role: %v", err)
	}
	for range 2 { // twice is once
		if err := approve("user:a", "security"); err != nil || r.State != Progressing && r.State != Waiting || r.Weight != 2500 {
			t.Fatalf("first: %s at %d, %v", r.State, r.Weight, err)
		}
	}
	if _, _, err := Step(r, Input{Verb: VerbPromote, Now: 2 * minute}); !errors.Is(err, ErrIllegal) {
		t.Errorf("promoted past an approval: %v", err)
	}
	if err := approve("user:b", "security"); err != nil || r.State != Progressing || r.Weight != 5000 || len(r.Approvals) != 0 {
		t.Errorf("second: %s at %d, %v", r.State, r.Weight, err)
	}
}

// A share set by hand pauses the steps: they must not undo it.
func TestWeightByHand(t *testing.T) {
	r := begin(t, full())
	r, _, err := Step(r, Input{Verb: VerbWeight, Weight: 100, Now: 2 * minute, Actor: "user:op"})
	if err != nil || r.State != Paused || r.Weight != 100 {
		t.Fatalf("%s at %d, %v", r.State, r.Weight, err)
	}
	if _, _, err := Step(r, Input{Verb: VerbWeight, Weight: 200, Now: 2 * minute}); !errors.Is(err, ErrIllegal) {
		t.Errorf("grew while paused: %v", err)
	}
	if r, _, err = Step(r, Input{Verb: VerbWeight, Weight: 50, Now: 2 * minute}); err != nil || r.Weight != 50 || r.State != Paused {
		t.Errorf("less while paused: %s at %d, %v", r.State, r.Weight, err)
	}
}

func TestWindows(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	weekend := Window{Name: "weekend", Days: []time.Weekday{time.Friday}, From: 18 * 60, To: 8 * 60, Zone: "Europe/Berlin"}
	saturday := Window{Name: "saturday", Days: []time.Weekday{time.Saturday}, From: 0, To: 24 * 60, Zone: "Europe/Berlin"}
	once := Window{Name: "once", Begin: 5000, End: 6000}
	at := func(d, h, m int) int64 { return time.Date(2026, 10, d, h, m, 0, 0, berlin).UnixMilli() }
	for _, c := range []struct {
		now    int64
		w      []Window
		frozen bool
		until  int64
	}{
		{at(23, 17, 59), []Window{weekend}, false, 0},
		{at(23, 18, 0), []Window{weekend}, true, at(24, 8, 0)},
		{at(24, 7, 59), []Window{weekend}, true, at(24, 8, 0)},
		{at(24, 8, 0), []Window{weekend}, false, 0},
		{at(23, 20, 0), []Window{weekend, saturday}, true, at(25, 0, 0)}, // one follows on the other
		{at(24, 20, 0), []Window{saturday}, true, at(25, 0, 0)},
		{at(25, 2, 30), []Window{{From: 2 * 60, To: 3 * 60, Zone: "Europe/Berlin"}}, true, at(25, 3, 0)}, // clocks go back: two hours long
		{5000, []Window{once}, true, 6000},
		{6000, []Window{once}, false, 0},
	} {
		_, until, frozen := Frozen(c.w, c.now)
		if frozen != c.frozen || until != c.until {
			t.Errorf("%s: frozen %v until %s", time.UnixMilli(c.now).In(berlin), frozen, time.UnixMilli(until).In(berlin))
		}
	}
	for _, bad := range []Window{{From: -1}, {To: 24*60 + 1}, {Zone: "Mars/Base"}, {Begin: 5, End: 5}} {
		if bad.Check() == nil {
			t.Errorf("%+v passes", bad)
		}
	}
}

// A freeze stops the steps and their deadlines, not the way back.
func TestFreeze(t *testing.T) {
	s := full()
	s.Freeze = []Window{{Name: "w", Begin: 10 * minute, End: 100 * minute}}
	r := begin(t, s)
	for m := int64(2); m <= 101; m++ {
		outcome := health.Wait
		if m >= 12 && m < 100 {
			outcome = health.Pass // at the gate since minute 6
		}
		r, _, _ = Step(r, Input{Now: m * minute, Health: report(outcome)})
		if r.Weight != 500 || r.State != Progressing {
			t.Fatalf("minute %d: %s at %d: %s", m, r.State, r.Weight, r.Held)
		}
	}
	if r.Frozen != 0 {
		t.Error("still frozen")
	}
	for _, verb := range []Verb{VerbPromote, VerbWeight} {
		if _, _, err := Step(r, Input{Verb: verb, Weight: 9000, Now: 50 * minute, Freeze: []Window{{Begin: 1, End: 1000 * minute}}}); !errors.Is(err, ErrIllegal) || !strings.Contains(err.Error(), "frozen until") {
			t.Errorf("%s in a freeze: %v", verb, err)
		}
	}
	if next, _, err := Step(r, Input{Verb: VerbRollback, Now: 50 * minute, Freeze: []Window{{Begin: 1, End: 1000 * minute}}}); err != nil || next.State != RolledBack {
		t.Errorf("rollback in a freeze: %v", err)
	}
}

// anything happens, in any order: what must hold all the same.
func TestMachine(t *testing.T) {
	verbs := []Verb{"", "", "", "", VerbWeight, VerbPause, VerbResume, VerbApprove, VerbPromote, VerbFinalise, VerbRollback, VerbAbort, VerbUndo}
	outcomes := []health.Outcome{"", health.Wait, health.Wait, health.Pass, health.Pass, health.Inconclusive, health.Fail}
	rapid.Check(t, func(t *rapid.T) {
		s := full()
		s.HandRollback = rapid.Bool().Draw(t, "hand")
		s.Inconclusive = rapid.SampledFrom([]string{"", OnHold, OnRollback}).Draw(t, "inconclusive")
		s.Progress = rapid.SampledFrom([]int64{0, 40 * minute}).Draw(t, "progress")
		if rapid.Bool().Draw(t, "manual") {
			s = nil
		}
		r := begin(t, s)
		for range rapid.IntRange(1, 60).Draw(t, "n") {
			in := Input{
				Verb: rapid.SampledFrom(verbs).Draw(t, "verb"), Weight: rapid.IntRange(-1, Full+1).Draw(t, "weight"), Reason: "r",
				Actor: rapid.SampledFrom([]string{"user:op", "user:a", "user:b"}).Draw(t, "actor"), Roles: []string{"security"},
				// Clocks jump, also backwards.
				Now: r.Updated + rapid.Int64Range(-30, 90).Draw(t, "passed")*minute,
			}
			if o := rapid.SampledFrom(outcomes).Draw(t, "health"); o != "" {
				in.Health = report(o)
			}
			frozen := rapid.IntRange(0, 4).Draw(t, "frozen") == 0
			if frozen {
				in.Freeze = []Window{{Begin: 1, End: 1 << 50}}
			}
			r = must(t, r, in, frozen)
		}
	})
}

// must takes one step and checks all that holds of every step.
func must(t *rapid.T, r Rollout, in Input, frozen bool) Rollout {
	was, _ := json.Marshal(r)
	next, actions, err := Step(r, in)
	if now, _ := json.Marshal(r); string(now) != string(was) {
		t.Fatalf("%s changed what it was given", in.Verb)
	}
	// What was read back from disk steps alike.
	var stored Rollout
	if err := json.Unmarshal(was, &stored); err != nil {
		t.Fatal(err)
	}
	again, actions2, err2 := Step(stored, in)
	a, _ := json.Marshal([]any{next, actions, err == nil})
	b, _ := json.Marshal([]any{again, actions2, err2 == nil})
	if string(a) != string(b) {
		t.Fatalf("not deterministic over JSON:\n%s\n%s", a, b)
	}
	if err != nil {
		if in.Verb == "" {
			t.Fatalf("time was refused: %v", err)
		}
		if !reflect.DeepEqual(next, r) || len(actions) > 0 {
			t.Fatal("refused, and changed")
		}
		if in.Verb == VerbRollback && r.State.Open() {
			t.Fatalf("rollback refused from %s: %v", r.State, err)
		}
		return r
	}
	failing := in.Health != nil && in.Health.Outcome == health.Fail
	hand := r.Spec != nil && r.Spec.HandRollback
	if in.Verb == "" {
		if r.State.Open() && failing && !hand && (next.State != RolledBack || len(actions) == 0 || actions[0].Kind != RollBack || actions[0].Why == nil) {
			t.Fatalf("failing and not taken back: %s, %v", next.State, kinds(actions))
		}
		if !slices.Contains(drift[r.State], next.State) {
			t.Fatalf("time led from %s to %s", r.State, next.State)
		}
		twice, more, _ := Step(next, in)
		if len(more) > 0 || !reflect.DeepEqual(twice, next) {
			t.Fatalf("the same tick twice did something: %v", kinds(more))
		}
	} else if !settled(in.Verb, r.State) && !slices.Contains(transitions[r.State][in.Verb], next.State) {
		t.Fatalf("%s led from %s to %s", in.Verb, r.State, next.State)
	}
	paused := r.State == Paused && in.Verb != VerbResume
	if next.Weight > r.Weight && (paused || frozen || failing) {
		t.Fatalf("%s: the share grew from %d to %d: paused %v, frozen %v, failing %v", in.Verb, r.Weight, next.Weight, paused, frozen, failing)
	}
	if next.State == Finalised && r.State != Finalised && (frozen || failing) {
		t.Fatal("finalised while frozen or failing")
	}
	if next.Updated < r.Updated || next.StepSince > next.Updated || next.Moved > next.Updated {
		t.Fatalf("time went back: %d to %d, step since %d", r.Updated, next.Updated, next.StepSince)
	}
	if len(actions) > 1 && slices.ContainsFunc(actions[1:], func(a Action) bool { return a.Kind != Notify }) {
		t.Fatalf("two things at once: %v", kinds(actions))
	}
	if len(actions) == 0 && !reflect.DeepEqual(next, r) {
		t.Fatal("changed without an action")
	}
	row := len(actions) > 0 && actions[0].Kind != Record
	if row && len(next.History) != len(r.History)+1 {
		t.Fatalf("%s left %d lines of history", actions[0].Kind, len(next.History)-len(r.History))
	}
	if (next.Weight != r.Weight || next.State.Open() != r.State.Open()) && !row {
		t.Fatal("gateways would not hear of it")
	}
	return next
}
