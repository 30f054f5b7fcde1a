package control

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/epoch"
	"github.com/mintmark/mintmark/internal/rollout"
)

// Plan says what moving a service to a candidate, and back, would mean. With files
// it says so as if they were applied; nothing changes.
func (c *Control) Plan(ctx context.Context, service, candidate string, files ...api.File) (*api.Plan, error) {
	entry := c.cfg.State.Current().Table.Service(service)
	if entry == nil {
		return nil, fmt.Errorf("%w: there is no service %.70q", ErrNotFound, service)
	}
	svc, stable := entry.Service, entry.Split.Stable
	if len(files) > 0 {
		next, err := c.Candidate(ctx, files, false)
		if err != nil {
			return nil, err
		}
		svc = next.service(service)
	}
	rules, err := rollout.Rules(svc, stable, candidate, rollout.Options{})
	if err != nil {
		return nil, err
	}
	from, to := mintmark.NewReleaseID(service, stable), mintmark.NewReleaseID(service, candidate)
	forward := []epoch.DispositionRule{rollout.Forward(svc, stable, candidate)}
	there, err := c.census(ctx, from, forward, nil, maxGlanced)
	if err != nil {
		return nil, err
	}
	back, err := c.census(ctx, to, rules, rollout.Selectors(svc, stable, candidate, rules), maxGlanced)
	if err != nil {
		return nil, err
	}
	p, err := rollout.NewPlan(svc, stable, candidate, map[mintmark.ReleaseID]map[string]int64{from: there.count, to: back.count})
	if err != nil {
		return nil, err
	}
	out := &api.Plan{Service: service, Stable: stable, Candidate: candidate, Safe: p.Safe, Reasons: p.Reasons, Applied: len(files) == 0}
	for _, l := range p.Forward {
		out.Forward = append(out.Forward, lineOf(l, there))
		if l.Disposition == mintmark.Revoke {
			out.Stranded.Forward += l.Tokens
		}
	}
	for _, l := range p.Back {
		out.Back = append(out.Back, lineOf(l, back))
		switch {
		case l.Disposition != mintmark.Revoke:
		case l.Tainted:
			out.Tainted += l.Tokens
		default:
			out.Stranded.Back += l.Tokens
		}
	}
	whom(out, there.hits("forward", forward), back.hits("back", rules))
	out.Load = back.load(int64(c.cfg.Spread.Seconds()))
	c.basis(out, svc)
	return out, nil
}

// RolloutPlan is Plan of a rollout that was started.
func (c *Control) RolloutPlan(ctx context.Context, id string) (*api.Plan, error) {
	r, _, err := c.find(ctx, id)
	if err != nil {
		return nil, err
	}
	if !r.State.Open() {
		return nil, fmt.Errorf("%w: rollout %s is %s", rollout.ErrIllegal, r.ID, r.State)
	}
	return c.Plan(ctx, r.Service, r.Candidate)
}

func lineOf(l rollout.Line, of *census) api.PlanLine {
	return api.PlanLine{
		Release: l.Release, Under: l.Under, Class: l.Class, Compat: string(l.Compat), Tainted: l.Tainted, Disposition: l.Disposition, Tokens: l.Tokens,
		Sample: of.sample[l.Class],
	}
}

// maxHit is how many of those who would be hit a plan names.
const maxHit = 50

// whom puts into a plan who would be hit, most tokens first.
func whom(p *api.Plan, lists ...[]api.PlanHit) {
	p.Hit = slices.Concat(lists...)
	slices.SortStableFunc(p.Hit, func(a, b api.PlanHit) int {
		return cmp.Or(cmp.Compare(b.Tokens, a.Tokens), cmp.Compare(a.Direction, b.Direction), cmp.Compare(a.Client, b.Client), cmp.Compare(a.Owner, b.Owner), cmp.Compare(a.Class, b.Class))
	})
	if n := len(p.Hit) - maxHit; n > 0 {
		p.Hit, p.HitMore = p.Hit[:maxHit], n
	}
}
