package main

import (
	"context"
	"encoding/json"

	"github.com/argoproj/argo-rollouts/pkg/apis/rollouts/v1alpha1"
	"github.com/argoproj/argo-rollouts/utils/plugin/types"

	"github.com/mintmark/mintmark"
)

// step waits for the verdict: Argo goes on after a pass, and aborts after a fail.
// Aborting rolls back.
type step struct{ *mintmarkPlugin }

// stepStatus is what Argo keeps for us between calls.
type stepStatus struct {
	Rollout mintmark.RolloutID `json:"rollout"`
}

// Run is called until it says Successful or Failed. The rollout that it found, or
// started, at first is the one that it asks about to the end.
func (s step) Run(ro *v1alpha1.Rollout, c *types.RpcStepContext) (types.RpcStepResult, types.RpcError) {
	ctx, cancel := context.WithTimeout(context.Background(), callBound)
	defer cancel()
	o, status, err := read(c)
	if err != nil {
		return types.RpcStepResult{Phase: types.PhaseFailed, Message: err.Error()}, types.RpcError{}
	}
	if status.Rollout == "" {
		r, err := s.begin(ctx, o, "argo start "+string(ro.UID)+" "+ro.Status.CurrentPodHash, "")
		if err != nil {
			return types.RpcStepResult{}, rpcError(err)
		}
		status.Rollout = r.ID
	}
	out := types.RpcStepResult{Phase: types.PhaseRunning, RequeueAfter: askAgain}
	if out.Status, err = json.Marshal(status); err != nil {
		return types.RpcStepResult{}, rpcError(err)
	}
	g, err := s.gate(ctx, string(status.Rollout), o)
	if err != nil {
		return types.RpcStepResult{}, rpcError(err)
	}
	out.Message = about(g)
	switch g.Verdict {
	case "pass":
		out.Phase, out.RequeueAfter = types.PhaseSuccessful, 0
	case "fail":
		out.Phase, out.RequeueAfter = types.PhaseFailed, 0
	}
	return out, types.RpcError{}
}

// Terminate ends the step early: whoever skips it decides for himself.
func (s step) Terminate(_ *v1alpha1.Rollout, c *types.RpcStepContext) (types.RpcStepResult, types.RpcError) {
	return types.RpcStepResult{Phase: types.PhaseSuccessful, Message: "skipped: nobody judged", Status: c.Status}, types.RpcError{}
}

// Abort takes the candidate back. It is called again until it succeeds, and does it
// once.
func (s step) Abort(ro *v1alpha1.Rollout, c *types.RpcStepContext) (types.RpcStepResult, types.RpcError) {
	ctx, cancel := context.WithTimeout(context.Background(), callBound)
	defer cancel()
	o, status, err := read(c)
	if err != nil {
		return types.RpcStepResult{}, rpcError(err)
	}
	id := status.Rollout
	if id == "" {
		id = mintmark.RolloutID(o.Service)
	}
	what, err := s.takeBack(ctx, id, o, "Argo Rollouts aborted "+ro.Namespace+"/"+ro.Name)
	if err != nil {
		return types.RpcStepResult{}, rpcError(err)
	}
	return types.RpcStepResult{Phase: types.PhaseSuccessful, Message: what, Status: c.Status}, types.RpcError{}
}

// Type names the plugin.
func (s step) Type() string { return name }

func read(c *types.RpcStepContext) (options, stepStatus, error) {
	var status stepStatus
	if len(c.Status) > 0 {
		if err := json.Unmarshal(c.Status, &status); err != nil {
			return options{}, status, err
		}
	}
	o, err := parse(c.Config)
	return o, status, err
}
