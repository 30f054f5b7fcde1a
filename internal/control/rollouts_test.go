package control_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/control"
	"github.com/mintmark/mintmark/internal/control/controltest"
	"github.com/mintmark/mintmark/internal/health"
	"github.com/mintmark/mintmark/internal/policy"
	"github.com/mintmark/mintmark/internal/rollout"
)

type openings map[mintmark.RolloutID]health.Opening

// analyst says what the test wants it to.
type analyst struct {
	mu      sync.Mutex
	outcome health.Outcome // guarded by mu
	open    openings       // guarded by mu
}

func (a *analyst) say(o health.Outcome) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.outcome = o
}

// Baseline implements control.Analyst.
func (a *analyst) Baseline(mintmark.ReleaseID) []int64 { return []int64{1000, 2000, 3000} }

// Open implements control.Analyst.
func (a *analyst) Open(_ context.Context, o health.Opening) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.open[o.Rollout] = o
	return o.Spec.Check()
}

// Close implements control.Analyst.
func (a *analyst) Close(_ context.Context, id mintmark.RolloutID) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.open, id)
	return nil
}

// Reports implements control.Analyst.
func (a *analyst) Reports() (out []health.Report) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for id := range a.open {
		out = append(out, health.Report{Rollout: id})
	}
	return out
}

func (a *analyst) watching() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.open)
}

// Health implements control.Analyst.
func (a *analyst) Health(id mintmark.RolloutID) (health.Report, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	o, ok := a.open[id]
	h := health.Report{Rollout: id, Service: o.Service, Outcome: a.outcome, Alpha: 0.01, Beta: 0.05, Reasons: []string{"the test says " + string(a.outcome)}}
	if a.outcome == health.Fail {
		h.LogE, h.Tripped = 4.7, health.ServerError
		h.Metrics = []health.MetricReport{{Name: health.ServerError, LogE: 4.7, Ratio: 9, RatioLow: 3, RatioHigh: 31}}
		h.History = []health.Point{{At: 1, LogE: 0.5}, {At: 2, LogE: 4.7}}
	}
	return h, ok
}

func judged(t *testing.T, outcome health.Outcome) (*controltest.World, *analyst) {
	t.Helper()
	a := &analyst{outcome: outcome, open: openings{}}
	w := controltest.New(t, func(c *control.Config) { c.Analyst, c.Tick = a, 10*time.Millisecond })
	apply(t, w, controltest.Shop)
	return w, a
}

const canary = `apiVersion: mintmark/v1
kind: Rollout
name: shop-v2
service: shop
candidate: v2
strategy: canary
steps:
  - set_weight: 5
  - gate: {}
  - pause: {until: approved}
  - set_weight: 50
  - gate: {}
approvals: {roles: [security], distinct: true}
analysis: {}
`

func startFile(t *testing.T, w *controltest.World, text string) *api.RolloutAnswer {
	t.Helper()
	a, err := w.Control.StartRollout(t.Context(), op, api.RolloutRequest{File: &api.File{Name: "r.yaml", Text: text}})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// running starts the loop; it ends with the test.
func running(t *testing.T, w *controltest.World) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- w.Control.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func until(t *testing.T, w *controltest.World, id mintmark.RolloutID, want rollout.State) *api.Rollout {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		r, err := w.Control.Rollout(t.Context(), string(id))
		if err != nil {
			t.Fatal(err)
		}
		if r.State == string(want) {
			return r
		}
		if time.Now().After(deadline) {
			t.Fatalf("rollout is %s at %s%%, want %s: %+v", r.State, r.Percent, want, r.History)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// From start to promotion by itself, but for one approval.
func TestRolloutByItself(t *testing.T) {
	w, a := judged(t, health.Wait)
	running(t, w)
	r := startFile(t, w, canary)
	id := r.Rollout.ID
	if r.Rollout.Percent != "5" || len(r.Rollout.Steps) != 5 || r.Rollout.Steps[1].State != "current" || !r.Rollout.AutoPromote {
		t.Fatalf("started: %+v", r.Rollout)
	}
	if sw := w.Fleet.Current().Table.Service("shop").Split; sw.Weight != 500 || sw.Watch == nil || len(sw.Watch.LatencyUS) != 3 {
		t.Fatalf("split: %+v", sw)
	}
	g, err := w.Control.Gate(t.Context(), string(id), 0)
	if err != nil || g.Verdict != api.VerdictWait || g.OK {
		t.Errorf("gate: %+v, %v", g, err)
	}
	a.say(health.Pass)
	until(t, w, id, rollout.Waiting)
	step := func(actor string, roles ...string) error {
		_, err := w.Control.StepRollout(t.Context(), actor, roles, string(id), rollout.VerbApprove, api.StepRequest{})
		return err
	}
	if err := step(op, "security"); !errors.Is(err, rollout.ErrRole) {
		t.Errorf("approved by whoever started it: %v", err)
	}
	if err := step("user:sec", "security"); err != nil {
		t.Fatal(err)
	}
	got := until(t, w, id, rollout.Promoted)
	if sw := w.Fleet.Current().Table.Service("shop").Split; sw.Weight != rollout.Full || sw.Rollout != id || got.Percent != "100" {
		t.Errorf("promoted: %+v", sw)
	}
	// Even now a failing health takes it back.
	a.say(health.Fail)
	got = until(t, w, id, rollout.RolledBack)
	receipt, err := w.Control.Receipt(t.Context(), got.Receipt)
	if err != nil || receipt.Kind != "rollback" || receipt.Actor != rollout.Actor || receipt.Evidence == nil || receipt.Evidence.Metric != "server_error" || len(receipt.Evidence.Series) != 2 {
		t.Errorf("receipt: %+v, %v", receipt, err)
	}
	for deadline := time.Now().Add(10 * time.Second); a.watching() > 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("still judged after it is over")
		}
	}
	if g, err := w.Control.Gate(t.Context(), string(id), 0); err != nil || g.Verdict != api.VerdictFail || g.Metric != "server_error" || g.EFail < 100 || g.RateRatio == nil {
		t.Errorf("gate after: %+v, %v", g, err)
	}
}

// A question about a gate waits for a verdict, and no longer.
func TestGateWaits(t *testing.T) {
	w, a := judged(t, health.Wait)
	r := startFile(t, w, canary)
	go func() {
		time.Sleep(20 * time.Millisecond)
		a.say(health.Inconclusive)
	}()
	g, err := w.Control.Gate(t.Context(), string(r.Rollout.ID), 20*time.Second)
	if err != nil || g.Verdict != api.VerdictInconclusive {
		t.Errorf("%+v, %v", g, err)
	}
	if _, err := w.Control.Gate(t.Context(), string(r.Rollout.ID), time.Hour); !errors.Is(err, control.ErrInvalid) {
		t.Errorf("an hour: %v", err)
	}
}

// Whoever starts again after a death at any step goes on from what is durable: a
// second control on the same ledger, which knows nothing, comes to the same end.
func TestRolloutAfterDeath(t *testing.T) {
	w, a := judged(t, health.Pass)
	id := startFile(t, w, canary).Rollout.ID
	for _, want := range []rollout.State{rollout.Waiting, rollout.Promoted, rollout.RolledBack} {
		next := w.Again()
		next.Resume(t.Context())
		switch want {
		case rollout.Promoted:
			if _, err := next.StepRollout(t.Context(), "user:sec", []string{"security"}, string(id), rollout.VerbApprove, api.StepRequest{}); err != nil {
				t.Fatal(err)
			}
		case rollout.RolledBack:
			a.say(health.Fail)
		}
		for range 3 { // the same as Run would; more often changes nothing
			if err := next.TickRollout(t.Context(), string(id)); err != nil {
				t.Fatal(err)
			}
		}
		if r, err := w.Control.Rollout(t.Context(), string(id)); err != nil || r.State != string(want) {
			t.Fatalf("%s, %v; want %s", r.State, err, want)
		}
	}
}

// Two controls that tick at once do each thing once.
func TestTicksAtOnce(t *testing.T) {
	w, a := judged(t, health.Wait)
	id := startFile(t, w, canary).Rollout.ID
	a.say(health.Fail)
	var wg sync.WaitGroup
	for range 4 {
		c := w.Again()
		wg.Go(func() {
			for range 3 {
				if err := c.TickRollout(context.Background(), string(id)); err != nil && !errors.Is(err, control.ErrConflict) {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	all, err := w.Control.Receipts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, r := range all.Receipts {
		if r.Kind == "rollback" {
			n++
		}
	}
	if n != 1 {
		t.Errorf("%d rollbacks, want 1", n)
	}
}

func TestFreezeResource(t *testing.T) {
	w, _ := judged(t, health.Wait)
	apply(t, w, "apiVersion: mintmark/v1\nkind: Freeze\nname: always\nservices: [shop]\nwindows:\n  - {from: \"00:00\", to: \"24:00\", zone: Europe/Berlin}\n")
	_, err := w.Control.StartRollout(t.Context(), op, api.RolloutRequest{Service: "shop", Candidate: "v2"})
	if !errors.Is(err, rollout.ErrIllegal) || !strings.Contains(err.Error(), `"always"`) {
		t.Fatalf("start in a freeze: %v", err)
	}
	apply(t, w, "apiVersion: mintmark/v1\nkind: Freeze\nname: always\nwindows:\n  - {begin: 2020-01-01T00:00:00Z, end: 2020-01-02T00:00:00Z}\n")
	r := startFile(t, w, canary)
	apply(t, w, "apiVersion: mintmark/v1\nkind: Freeze\nname: always\nwindows:\n  - {from: \"00:00\", to: \"24:00\"}\n")
	got, err := w.Control.Rollout(t.Context(), string(r.Rollout.ID))
	if err != nil || got.Frozen == nil || got.Frozen.Window != "always" {
		t.Errorf("frozen: %+v, %v", got.Frozen, err)
	}
	if _, err := w.Control.StepRollout(t.Context(), op, nil, string(r.Rollout.ID), rollout.VerbAbort, api.StepRequest{Reason: "enough"}); err != nil {
		t.Errorf("abort in a freeze: %v", err)
	}
}

func TestUndo(t *testing.T) {
	w, _ := judged(t, health.Wait)
	finalise := func() string {
		t.Helper()
		r, err := w.Control.StartRollout(t.Context(), op, api.RolloutRequest{Service: "shop", Candidate: "v2"})
		if err != nil {
			t.Fatal(err)
		}
		id := string(r.Rollout.ID)
		for _, verb := range []rollout.Verb{rollout.VerbPromote, rollout.VerbFinalise} {
			if _, err := w.Control.StepRollout(t.Context(), op, nil, id, verb, api.StepRequest{}); err != nil {
				t.Fatal(err)
			}
		}
		return id
	}
	undo := func(id string) error {
		_, err := w.Control.StepRollout(t.Context(), op, nil, id, rollout.VerbUndo, api.StepRequest{Reason: "second thoughts", Wait: true})
		return err
	}
	id := finalise()
	bad := w.Issue("shop/v2", func(k *mintmark.Token) { k.Scopes = []string{"shop:admin"}; k.Mark.Key = "" })
	if err := undo(id); err != nil {
		t.Fatal(err)
	}
	if svc := w.Fleet.Current().Table.Service("shop"); svc.Split.Stable != "v1" || len(svc.Retired) != 1 {
		t.Errorf("after undo: %+v", svc.Split)
	}
	if k, err := w.Control.Token(t.Context(), bad); err != nil || k.State.Live() {
		t.Errorf("an over-scoped token of the release taken back: %+v, %v", k, err)
	}
	if err := undo(id); err != nil {
		t.Errorf("again: %v", err)
	}
	// Its policy changed since: refused, with the reason.
	id = finalise()
	apply(t, w, strings.Replace(controltest.Shop, "scopes: [shop:read, shop:write]", "scopes: [shop:read]", 1))
	if err := undo(id); !errors.Is(err, rollout.ErrIllegal) || !strings.Contains(err.Error(), "policy of shop/v1 was changed") {
		t.Errorf("undo after a change of policy: %v", err)
	}
}

// A plan that is no longer true is refused with what changed.
func TestStalePlan(t *testing.T) {
	w, _ := judged(t, health.Wait)
	plan, err := w.Control.Plan(t.Context(), "shop", "v2")
	if err != nil || plan.Digest == "" {
		t.Fatal(plan, err)
	}
	w.Issue("shop/v1") // tokens come and go: no reason to plan again
	apply(t, w, strings.Replace(controltest.Shop, "forced_scopes: [shop:admin]", "forced_scopes: [shop:root]", 1))
	_, err = w.Control.StartRollout(t.Context(), op, api.RolloutRequest{Service: "shop", Candidate: "v2", Plan: plan})
	if !errors.Is(err, control.ErrConflict) || !strings.Contains(err.Error(), "policy of v2 was shop-next@1 and is shop-next@2") {
		t.Fatalf("stale: %v", err)
	}
	if plan, err = w.Control.Plan(t.Context(), "shop", "v2"); err != nil {
		t.Fatal(err)
	}
	// A plan that went through a file is the same plan.
	b, _ := json.Marshal(plan)
	again := new(api.Plan)
	if err := json.Unmarshal(b, again); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Control.StartRollout(t.Context(), op, api.RolloutRequest{Service: "shop", Candidate: "v2", Plan: again}); err != nil {
		t.Errorf("fresh: %v", err)
	}
}

// What the caller has not seen is not changed.
func TestVersionSeen(t *testing.T) {
	w, _ := judged(t, health.Wait)
	r := startFile(t, w, canary).Rollout
	pause := func(version uint64) error {
		_, err := w.Control.StepRollout(t.Context(), op, nil, string(r.ID), rollout.VerbPause, api.StepRequest{Version: version})
		return err
	}
	if err := pause(r.Version); err != nil {
		t.Fatal(err)
	}
	if err := pause(r.Version); !errors.Is(err, control.ErrConflict) || !strings.Contains(err.Error(), fmt.Sprintf("not at %d", r.Version)) {
		t.Errorf("an old version: %v", err)
	}
}

func TestRolloutFileRefused(t *testing.T) {
	w, a := judged(t, health.Wait)
	_, err := w.Control.StartRollout(t.Context(), op, api.RolloutRequest{File: &api.File{Name: "r.yaml", Text: strings.Replace(canary, "set_weight: 50", "set_weight: 4", 1)}})
	var errs policy.Errors
	if !errors.As(err, &errs) || errs[0].Line != 11 || a.watching() != 0 {
		t.Errorf("%v", err)
	}
	if _, err := w.Control.Apply(t.Context(), op, api.ApplyRequest{Files: []api.File{{Text: canary}}}); !errors.As(err, &errs) || !strings.Contains(errs[0].Fix, "rollout start") {
		t.Errorf("applied: %v", err)
	}
}
