package adminapi_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/control/controltest"
)

const steps = `apiVersion: mintmark/v1
kind: Rollout
name: r
service: shop
candidate: v2
strategy: canary
steps:
  - set_weight: 5
  - pause: {until: approved}
approvals: {roles: [security]}
`

// A rollout over the API: from a file, with its gate, its stream, and the codes that
// pipelines act on.
func TestRolloutOverTheAPI(t *testing.T) {
	_, _, as := serve(t)
	ctx, stop := context.WithTimeout(t.Context(), 30*time.Second)
	defer stop()
	op := as("operator")
	if _, err := op.Apply(ctx, api.ApplyRequest{Files: []api.File{{Name: "s.yaml", Text: controltest.Shop}}}); err != nil {
		t.Fatal(err)
	}
	code := func(err error) api.Code {
		var p *api.Problem
		if !errors.As(err, &p) {
			return ""
		}
		return p.Code
	}
	if _, err := op.StartRollout(ctx, api.RolloutRequest{File: &api.File{Name: "r.yaml", Text: steps + "analisys: {}\n"}}); code(err) != api.CodeInvalidFile {
		t.Errorf("a bad file: %v", err)
	}
	key := api.WithKey(ctx, "pipeline-1")
	a, err := op.StartRollout(key, api.RolloutRequest{File: &api.File{Name: "r.yaml", Text: steps}})
	if err != nil {
		t.Fatal(err)
	}
	// A pipeline that retries gets the same rollout.
	if b, err := op.StartRollout(key, api.RolloutRequest{File: &api.File{Name: "r.yaml", Text: steps}}); err != nil || b.Rollout.ID != a.Rollout.ID {
		t.Errorf("retried: %+v, %v", b, err)
	}
	id := a.Rollout.ID
	if a.Rollout.State != "waiting" || a.Rollout.Percent != "5" {
		t.Fatalf("started: %+v", a.Rollout)
	}
	g, err := as("viewer").RolloutGate(ctx, id, 0)
	if err != nil || g.OK || g.Verdict != api.VerdictInconclusive || g.Percent != 5 {
		t.Errorf("gate without an analysis: %+v, %v", g, err)
	}
	if _, err := op.RolloutGate(ctx, id, time.Hour); code(err) != api.CodeInvalid {
		t.Errorf("gate for an hour: %v", err)
	}

	events := make(chan string, 100)
	go func() {
		_ = as("viewer").RolloutEvents(ctx, id, func(name string, data []byte) error {
			var e mintmark.Event
			if name == "rollout.written" && (json.Unmarshal(data, &e) != nil || e.Stream != "rollout/"+string(id)) {
				name = "bad " + string(data)
			}
			events <- name
			return nil
		})
	}()
	if first := <-events; first != "gate" {
		t.Errorf("the stream begins with %s", first)
	}
	if _, err := op.StepRollout(ctx, id, "approve", api.StepRequest{}); code(err) != api.CodeForbidden {
		t.Errorf("approved without the role: %v", err)
	}
	if r, err := as("security").StepRollout(ctx, id, "approve", api.StepRequest{}); err != nil || r.Rollout.State != "progressing" {
		t.Errorf("approve: %+v, %v", r, err)
	}
	for seen := ""; seen != "rollout.written"; {
		select {
		case seen = <-events:
		case <-ctx.Done():
			t.Fatal("no event of the approval")
		}
	}
	if _, err := op.StepRollout(ctx, id, "pause", api.StepRequest{Version: 1}); code(err) != api.CodeConflict || api.Exit(err) != api.ExitConflict {
		t.Errorf("an old version: %v", err)
	}
	if _, err := op.StepRollout(ctx, id, "resume", api.StepRequest{}); err != nil {
		t.Errorf("resume of what is not paused is a success: %v", err)
	}
	if _, err := op.StepRollout(ctx, id, "finalise", api.StepRequest{}); code(err) != api.CodePrecondition {
		t.Errorf("finalise too early: %v", err)
	}
	if _, err := op.StepRollout(ctx, id, "abort", api.StepRequest{}); code(err) != api.CodeInvalid {
		t.Errorf("abort without a reason: %v", err)
	}
	if r, err := op.StepRollout(ctx, id, "abort", api.StepRequest{Reason: "enough"}); err != nil || r.Rollout.State != "rolled_back" {
		t.Errorf("abort: %+v, %v", r, err)
	}
	if g, err := op.RolloutGate(ctx, id, 30*time.Second); err != nil || g.Verdict != api.VerdictFail || api.ExitVerdict(g.Verdict) != api.ExitGateFail {
		t.Errorf("gate after: %+v, %v", g, err)
	}
}
