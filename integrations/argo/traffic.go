package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/argoproj/argo-rollouts/pkg/apis/rollouts/v1alpha1"
	"github.com/argoproj/argo-rollouts/utils/plugin/types"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/api"
)

// traffic gives the candidate the share that Argo wants, at every gateway.
type traffic struct{ *mintmarkPlugin }

// UpdateHash does nothing: releases are named, not hashed.
func (t traffic) UpdateHash(*v1alpha1.Rollout, string, string, []v1alpha1.WeightDestination) types.RpcError {
	return types.RpcError{}
}

// promotedFully reports whether Argo's rollout is at its end: the new pods are the
// stable ones, and a canary weight of 0 is not a retreat.
func promotedFully(ro *v1alpha1.Rollout) bool {
	return ro.Status.StableRS != "" && ro.Status.StableRS == ro.Status.CurrentPodHash
}

func settings(ro *v1alpha1.Rollout) (options, error) {
	s := ro.Spec.Strategy.Canary
	if s == nil || s.TrafficRouting == nil {
		return options{}, errors.New("the rollout has no strategy.canary.trafficRouting")
	}
	return parse(s.TrafficRouting.Plugins[name])
}

// SetWeight is called at every reconciliation; it changes something only when the
// share is another one. 100 promotes. 0 takes back when Argo aborted, and is left
// alone when nothing is under way or Argo is done.
func (t traffic) SetWeight(ro *v1alpha1.Rollout, weight int32, _ []v1alpha1.WeightDestination) types.RpcError {
	ctx, cancel := context.WithTimeout(context.Background(), callBound)
	defer cancel()
	o, err := settings(ro)
	if err != nil {
		return rpcError(err)
	}
	switch {
	case ro.Status.Abort:
		_, err = t.takeBack(ctx, mintmark.RolloutID(o.Service), o, "Argo Rollouts aborted "+ro.Namespace+"/"+ro.Name)
	case weight == 0 && promotedFully(ro):
		err = t.end(ctx, o)
	case weight > 0:
		err = t.give(ctx, o, ro, weight)
	}
	return rpcError(err)
}

// give moves the share; of a candidate that was taken back it refuses to.
func (t traffic) give(ctx context.Context, o options, ro *v1alpha1.Rollout, weight int32) error {
	share := strconv.Itoa(int(weight))
	r, err := t.begin(ctx, o, "argo start "+string(ro.UID)+" "+ro.Status.CurrentPodHash, share)
	if err != nil {
		return err
	}
	if r.Percent == share || r.State == promoted {
		return nil
	}
	c, err := t.connect()
	if err != nil {
		return err
	}
	verb, q := "weight", api.StepRequest{Version: r.Version, Weight: share, Reason: "Argo Rollouts"}
	if weight >= 100 {
		verb, q.Weight = "promote", ""
	}
	_, err = c.StepRollout(ctx, r.ID, verb, q)
	return err
}

// end makes the candidate stable when Argo has, if that is wanted.
func (t traffic) end(ctx context.Context, o options) error {
	c, err := t.connect()
	if err != nil || !o.Finalise {
		return err
	}
	r, err := c.Rollout(ctx, mintmark.RolloutID(o.Service))
	if missing(err) || err == nil && (r.State != promoted || o.Candidate != "" && r.Candidate != o.Candidate) {
		return nil
	}
	if err == nil {
		_, err = c.StepRollout(ctx, r.ID, "finalise", api.StepRequest{Version: r.Version, Reason: "Argo Rollouts finished"})
	}
	return err
}

// VerifyWeight says yes only when the share is what Argo wants and every gateway that
// holds a lease has acknowledged the epoch that says so. A gateway without a lease
// answers 503 for the service while it is on probation, so it is not waited for.
func (t traffic) VerifyWeight(ro *v1alpha1.Rollout, weight int32, _ []v1alpha1.WeightDestination) (types.RpcVerified, types.RpcError) {
	ctx, cancel := context.WithTimeout(context.Background(), callBound)
	defer cancel()
	o, err := settings(ro)
	if err != nil {
		return types.NotVerified, rpcError(err)
	}
	c, err := t.connect()
	if err != nil {
		return types.NotVerified, rpcError(err)
	}
	r, err := c.Rollout(ctx, mintmark.RolloutID(o.Service))
	if missing(err) && weight == 0 {
		return types.Verified, types.RpcError{}
	}
	if err != nil {
		return types.NotVerified, rpcError(err)
	}
	return verified(r, o, weight, promotedFully(ro)), types.RpcError{}
}

func verified(r *api.Rollout, o options, weight int32, full bool) types.RpcVerified {
	share := fmt.Sprint(weight)
	ended := over(r.State) || r.State == promoted
	switch {
	case weight == 0 && (full && ended || r.State == rolledBack): // Argo's canary has none, and so has ours
	case weight == 0 && !over(r.State):
		return types.NotVerified
	case weight > 0 && (r.Percent != share || r.State == rolledBack || o.Candidate != "" && r.Candidate != o.Candidate):
		return types.NotVerified
	}
	for _, g := range r.Gateways {
		if g.State == "left" || g.State == "removed" || g.LeaseMS <= 0 {
			continue
		}
		if g.Epoch < r.Epoch {
			return types.NotVerified
		}
	}
	return types.Verified
}

// SetHeaderRoute refuses: which client meets the candidate is a preview of Mintmark's.
func (t traffic) SetHeaderRoute(_ *v1alpha1.Rollout, h *v1alpha1.SetHeaderRoute) types.RpcError {
	if h == nil || len(h.Match) == 0 {
		return types.RpcError{} // its removal
	}
	return rpcError(errors.New("setHeaderRoute is not supported: use a preview of the rollout in Mintmark"))
}

// SetMirrorRoute refuses, too.
func (t traffic) SetMirrorRoute(_ *v1alpha1.Rollout, m *v1alpha1.SetMirrorRoute) types.RpcError {
	if m == nil || len(m.Match) == 0 {
		return types.RpcError{}
	}
	return rpcError(errors.New("setMirrorRoute is not supported: use the strategy shadow in Mintmark"))
}

// RemoveManagedRoutes has none to remove.
func (t traffic) RemoveManagedRoutes(*v1alpha1.Rollout) types.RpcError { return types.RpcError{} }

// Type names the plugin.
func (t traffic) Type() string { return name }
