package cli

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/api"
)

var began = time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)

func sampleRollout(id, state string) api.Rollout {
	since := began
	r := api.Rollout{
		ID: mintmark.RolloutID(id), Service: "orders", Stable: "v1", Candidate: "v2", Strategy: "canary", State: state, Percent: "5", Version: 7,
		AutoPromote: true, Approvers: []string{"security"}, Wanted: 1,
		Steps: []api.RolloutStage{
			{Kind: "weight", Percent: "5", State: "done"}, {Kind: "gate", Length: "30m0s", State: "current", Since: &since}, {Kind: "approval", State: "ahead"}, {Kind: "pause", Length: "10m0s", State: "ahead"},
		},
		History: []api.RolloutStep{{At: began, Verb: "start", Percent: "5", Actor: "user:op", Reason: "v2", Epoch: 3, Seq: 9, Receipt: "rcp_1"}},
	}
	if state == "rolled_back" {
		r.Percent = "0"
		r.History = append(r.History, api.RolloutStep{At: began, Verb: "rollback", Percent: "0", Actor: "system:rollout", Reason: "health failed: server_error", Receipt: "rcp_2", Evidence: &mintmark.Evidence{
			Metric: "server_error", Outcome: "fail", LogE: 2040, Limit: 2000, Alpha: 10_000, Ratio: 9000, RatioLo: 3000, RatioHi: -1,
			Candidate: mintmark.EvidenceArm{Exposed: 500, Bad: 40}, Stable: mintmark.EvidenceArm{Exposed: 9500, Bad: 80},
			Series: []mintmark.EvidencePoint{{At: 0, LogE: 0}, {At: 1000, LogE: 900}, {At: 9000, LogE: 2040}},
		}})
	}
	return r
}

// rollouts is a fake control's: ro_SERVICE in the state that its name ends with.
func rollouts(answer func(string, func(*http.Request) (any, *api.Problem))) {
	states := map[string]string{"rol_running": "progressing", "rol_bad": "rolled_back", "rol_good": "finalised"}
	answer("GET /v1/rollouts/{id}", func(r *http.Request) (any, *api.Problem) {
		id := r.PathValue("id")
		if states[id] == "" {
			return nil, api.NewProblem(api.CodeNotFound, "there is no rollout "+id, "")
		}
		return sampleRollout(id, states[id]), nil
	})
	answer("GET /v1/rollouts/{id}/gate", func(r *http.Request) (any, *api.Problem) {
		g := api.Gate{Rollout: mintmark.RolloutID(r.PathValue("id")), Verdict: "wait", EFail: 1.25, Alpha: 0.01, RateRatio: &api.RateRatio{Est: 1.1, Lo: 0.4}, Metric: "server_error", Reasons: []string{"too few subjects"}, Exposed: api.Exposure{Candidate: 20, Stable: 400}}
		switch g.Rollout {
		case "rol_bad":
			g.Verdict, g.Reasons = "fail", []string{"too few subjects", "$(id)`\"\n::echo::\nx"}
		case "rol_unsure":
			g.Verdict = "inconclusive"
		case "rol_none":
			return nil, api.NewProblem(api.CodeNotFound, "there is no rollout rol_none", "")
		case "rol_good":
			g.Verdict, g.OK = "pass", true
		}
		return g, nil
	})
	answer("POST /v1/rollouts", func(r *http.Request) (any, *api.Problem) {
		var q api.RolloutRequest
		if err := json.NewDecoder(r.Body).Decode(&q); err != nil {
			return nil, api.NewProblem(api.CodeInvalid, err.Error(), "")
		}
		if q.Plan != nil && q.Plan.Digest != "fresh" {
			return nil, api.NewProblem(api.CodeConflict, "the plan is stale: policy of v2 was p@1 and is p@2; plan again", "")
		}
		a := api.RolloutAnswer{Rollout: sampleRollout("rol_running", "progressing")}
		if q.File != nil {
			a.Rollout.Source = q.File.Text
		}
		return a, nil
	})
	for _, verb := range []string{"pause", "resume", "approve", "abort", "undo"} {
		answer("POST /v1/rollouts/"+"rol_running:"+verb, func(r *http.Request) (any, *api.Problem) {
			var q api.StepRequest
			_ = json.NewDecoder(r.Body).Decode(&q)
			if q.Version == 6 {
				return nil, api.NewProblem(api.CodeConflict, "the rollout moved on", "")
			}
			return api.RolloutAnswer{Rollout: sampleRollout("rol_running", "paused")}, nil
		})
	}
}

func TestTree(t *testing.T) {
	r := sampleRollout("rol_1", "progressing")
	hi := 3.0
	g := &api.Gate{Verdict: "wait", EFail: 1.25, Alpha: 0.01, Metric: "server_error", RateRatio: &api.RateRatio{Est: 1.1, Lo: 0.4, Hi: &hi}, Exposed: api.Exposure{Candidate: 20, Stable: 400}, Reasons: []string{"too few\x1b[2J subjects"}}
	want := `◌ rol_1 orders: v1 → v2, canary, progressing, 5%
├─ ✔ give 5%
├─ ◌ gate: the analysis says pass, for 3m0s of 30m0s
├─ • approval by security
├─ • pause 10m0s
├─ • promote, once the analysis says pass
└─ ◌ health: wait; E 1.25 of 100; server_error 1.1 times as often (0.4 to 3); 20 and 400 subjects; too few` + "\uFFFD" + `[2J subjects`
	if got := strings.Join(tree(&r, g, began.Add(3*time.Minute)), "\n"); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
	r.State, r.Held = "paused", "step 2 waited for longer than 30m0s"
	r.Frozen = &api.Frozen{Window: "nights", Until: began}
	got := tree(&r, nil, began)
	for _, line := range []string{"├─ ॥ gate: the analysis says pass, for 0s of 30m0s", "├─ ⚠ paused: step 2 waited for longer than 30m0s", "└─ ◷ frozen until 2026-03-01T09:00:00Z by window nights"} {
		if !slices.Contains(got, line) {
			t.Errorf("no line %q in:\n%s", line, strings.Join(got, "\n"))
		}
	}
}

func TestSparkline(t *testing.T) {
	for _, c := range []struct {
		values []int64
		top    int64
		width  int
		want   string
	}{
		{[]int64{0, 1, 2, 3, 4, 5, 6, 7}, 7, 60, "▁▂▃▄▅▆▇█"},
		{[]int64{-5, 9, 20}, 7, 60, "▁██"},
		{[]int64{0, 7, 0, 0}, 7, 2, "█▁"},
		{nil, 7, 60, ""},
		{[]int64{1}, 0, 60, ""},
	} {
		if got := sparkline(c.values, c.top, c.width); got != c.want {
			t.Errorf("%v of %d in %d: %q, want %q", c.values, c.top, c.width, got, c.want)
		}
	}
}
