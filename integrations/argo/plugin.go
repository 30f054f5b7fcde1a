package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/argoproj/argo-rollouts/utils/plugin/types"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/integrations/connect"
)

// name is how Argo's documents refer to the plugins.
const name = "mintmark/rollout"

const (
	callBound = 20 * time.Second // of one call of Argo's
	askAgain  = 15 * time.Second // while there is no verdict
)

// States of a rollout that is over.
const (
	rolledBack = "rolled_back"
	finalised  = "finalised"
	promoted   = "promoted"
)

// options are what Argo's documents say about us.
type options struct {
	// Service is wanted. Candidate names the release that is judged; without one,
	// whatever rollout of the service is under way.
	Service   string `json:"service"`
	Candidate string `json:"candidate,omitempty"`
	// Start lets the step and the traffic router start the rollout to Candidate.
	Start bool `json:"start,omitempty"`
	// Finalise makes the candidate stable at the end of Argo's rollout.
	Finalise bool `json:"finalise,omitempty"`
}

func parse(raw json.RawMessage) (options, error) {
	var o options
	dec := json.NewDecoder(strings.NewReader(string(raw)))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&o); err != nil {
		return o, fmt.Errorf("configuration of %s: %w", name, err)
	}
	if o.Service == "" {
		return o, fmt.Errorf("configuration of %s: service is empty", name)
	}
	if o.Start && o.Candidate == "" {
		return o, fmt.Errorf("configuration of %s: start wants a candidate", name)
	}
	return o, nil
}

// mintmarkPlugin is what the three share: the way to control. It may be used
// concurrently.
type mintmarkPlugin struct {
	getenv func(string) string
	once   sync.Once
	client *api.Client
	err    error
}

// connect makes the client, once; tokens are renewed by themselves.
func (p *mintmarkPlugin) connect() (*api.Client, error) {
	p.once.Do(func() { p.client, p.err = connect.FromEnv(p.getenv, "mintmark-argo", callBound) })
	return p.client, p.err
}

// InitPlugin is called once, when Argo has started us.
func (p *mintmarkPlugin) InitPlugin() types.RpcError { return rpcError(second(p.connect())) }

func second[T any](_ T, err error) error { return err }

func rpcError(err error) types.RpcError {
	if err == nil {
		return types.RpcError{}
	}
	return types.RpcError{ErrorString: "mintmark: " + err.Error()}
}

func over(state string) bool { return state == rolledBack || state == finalised }

func missing(err error) bool {
	var p *api.Problem
	return errors.As(err, &p) && p.Code == api.CodeNotFound
}

// gate is the verdict about a candidate. What is over counts only when the candidate
// is named: it may be about another one else.
func (p *mintmarkPlugin) gate(ctx context.Context, id string, o options) (*api.Gate, error) {
	c, err := p.connect()
	if err != nil {
		return nil, err
	}
	g, err := c.RolloutGate(ctx, mintmark.RolloutID(id), 0)
	switch {
	case err != nil:
		return nil, err
	case o.Candidate != "" && g.Candidate != o.Candidate:
		return nil, fmt.Errorf("rollout %s of %s is to %s, not to %s", g.Rollout, g.Service, g.Candidate, o.Candidate)
	case o.Candidate == "" && id == o.Service && over(g.State):
		return nil, fmt.Errorf("no rollout of %s is under way", o.Service)
	}
	return g, nil
}

// begin returns the rollout under way to the candidate, or starts it.
func (p *mintmarkPlugin) begin(ctx context.Context, o options, key, weight string) (*api.Rollout, error) {
	c, err := p.connect()
	if err != nil {
		return nil, err
	}
	r, err := c.Rollout(ctx, mintmark.RolloutID(o.Service))
	switch {
	case err == nil && !over(r.State) && (o.Candidate == "" || r.Candidate == o.Candidate):
		return r, nil
	case err == nil && !over(r.State):
		return nil, fmt.Errorf("rollout %s of %s to %s is under way", r.ID, r.Service, r.Candidate)
	case err != nil && !missing(err):
		return nil, err
	case !o.Start:
		return nil, fmt.Errorf("no rollout of %s is under way", o.Service)
	}
	a, err := c.StartRollout(api.WithKey(ctx, key), api.RolloutRequest{Service: o.Service, Candidate: o.Candidate, Strategy: "canary", Weight: weight, Reason: "Argo Rollouts"})
	if err != nil {
		return nil, err
	}
	return &a.Rollout, nil
}

// takeBack rolls a service's rollout back, once: what is taken back already stays so.
func (p *mintmarkPlugin) takeBack(ctx context.Context, id mintmark.RolloutID, o options, reason string) (string, error) {
	c, err := p.connect()
	if err != nil {
		return "", err
	}
	r, err := c.Rollout(ctx, id)
	switch {
	case missing(err):
		return "there was no rollout", nil
	case err != nil:
		return "", err
	case r.State == rolledBack || o.Candidate != "" && r.Candidate != o.Candidate:
		return fmt.Sprintf("rollout %s to %s is %s", r.ID, r.Candidate, r.State), nil
	case over(r.State):
		return "", fmt.Errorf("rollout %s is %s: take it back with mintmark rollout undo", r.ID, r.State)
	}
	a, err := c.StepRollout(api.WithKey(ctx, "argo abort "+string(r.ID)), r.ID, "abort", api.StepRequest{Reason: reason, Wait: true, Timeout: "10s"})
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("rollout %s is %s", r.ID, a.Rollout.State), nil
}

func about(g *api.Gate) string {
	s := fmt.Sprintf("verdict %s on %s of %s at %g%%", g.Verdict, g.Candidate, g.Service, g.Percent)
	if len(g.Reasons) > 0 {
		s += ": " + strings.Join(g.Reasons, "; ")
	}
	return s
}
