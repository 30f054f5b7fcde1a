package control

import (
	"context"
	"fmt"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/epoch"
	"github.com/mintmark/mintmark/internal/ledger"
	"github.com/mintmark/mintmark/internal/rollout"
)

// maxClassified bounds how many tokens are looked at one by one; above it the
// classes of the tainted are counted by selector, which may count a token with two
// taints twice.
const maxClassified = 20_000

// Plan says what moving a service to a candidate, and back, would mean.
func (c *Control) Plan(ctx context.Context, service, candidate string) (*api.Plan, error) {
	entry := c.cfg.State.Current().Table.Service(service)
	if entry == nil {
		return nil, fmt.Errorf("%w: there is no service %.70q", ErrNotFound, service)
	}
	svc, stable := entry.Service, entry.Split.Stable
	rules, err := rollout.Rules(svc, stable, candidate, rollout.Options{})
	if err != nil {
		return nil, err
	}
	from, to := mintmark.NewReleaseID(service, stable), mintmark.NewReleaseID(service, candidate)
	live, err := c.cfg.Tokens.CountLive(ctx, mintmark.Selector{Release: from}, mintmark.Cutoff{}, c.cfg.Now())
	if err != nil {
		return nil, fmt.Errorf("count tokens of %s: %w", from, err)
	}
	counts := map[mintmark.ReleaseID]map[string]int64{from: {"": live}}
	if counts[to], err = c.classes(ctx, to, rules); err != nil {
		return nil, err
	}
	p, err := rollout.NewPlan(svc, stable, candidate, counts)
	if err != nil {
		return nil, err
	}
	out := &api.Plan{Service: service, Stable: stable, Candidate: candidate, Safe: p.Safe, Reasons: p.Reasons}
	for _, l := range p.Forward {
		out.Forward = append(out.Forward, lineOf(l))
	}
	for _, l := range p.Back {
		out.Back = append(out.Back, lineOf(l))
	}
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

func lineOf(l rollout.Line) api.PlanLine {
	return api.PlanLine{
		Release: l.Release, Under: l.Under, Class: l.Class, Compat: string(l.Compat), Tainted: l.Tainted, Disposition: l.Disposition, Tokens: l.Tokens,
	}
}

// classes counts a release's live tokens by the rule that decides about them.
func (c *Control) classes(ctx context.Context, release mintmark.ReleaseID, rules []epoch.DispositionRule) (map[string]int64, error) {
	now := c.cfg.Now()
	sel := mintmark.Selector{Release: release}
	all, err := c.cfg.Tokens.CountLive(ctx, sel, mintmark.Cutoff{}, now)
	if err != nil {
		return nil, fmt.Errorf("count tokens of %s: %w", release, err)
	}
	out := map[string]int64{}
	if all <= maxClassified {
		return out, c.classify(ctx, sel, rules, out)
	}
	entry := c.cfg.State.Current().Table.Service(release.Service())
	if entry == nil {
		return out, nil
	}
	rest := all
	for _, taint := range rollout.Selectors(entry.Service, entry.Split.Stable, release.Name(), rules) {
		class := rollout.OverScoped
		switch {
		case taint.Audience != "":
			class = rollout.WrongAudience
		case taint.Scope == "":
			continue
		}
		n, err := c.cfg.Tokens.CountLive(ctx, taint, mintmark.Cutoff{}, now)
		if err != nil {
			return nil, fmt.Errorf("count tokens of %s: %w", release, err)
		}
		n = min(n, rest)
		out[class] += n
		rest -= n
	}
	out[rules[len(rules)-1].Class] += rest
	return out, nil
}

func (c *Control) classify(ctx context.Context, sel mintmark.Selector, rules []epoch.DispositionRule, out map[string]int64) error {
	f := ledger.TokenFilter{Selector: sel, States: liveStates, Now: c.cfg.Now(), Limit: 1000}
	for seen := 0; seen <= 2*maxClassified; seen += f.Limit {
		rows, err := c.cfg.Tokens.Tokens(ctx, f)
		if err != nil {
			return fmt.Errorf("read tokens of %s: %w", sel.Release, err)
		}
		for i := range rows {
			f.After = rows[i].ID
			if r := rollout.Classify(rules, &rows[i].Token); r != nil {
				out[r.Class]++
			}
		}
		if len(rows) < f.Limit {
			break
		}
	}
	return nil
}
