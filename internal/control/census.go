package control

import (
	"context"
	"fmt"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/epoch"
	"github.com/mintmark/mintmark/internal/ledger"
	"github.com/mintmark/mintmark/internal/rollout"
)

// maxClassified bounds how many tokens are looked at one by one; above it the
// classes of the tainted are counted by selector, which may count a token with two
// taints twice, and owners of API keys are not told apart.
const maxClassified = 20_000

// maxSample is how many tokens of a class a plan names.
const maxSample = 5

// census counts a release's live tokens by the class of the rule that decides about
// them, and by whose they are.
type census struct {
	rules  []epoch.DispositionRule
	count  map[string]int64
	sample map[string][]mintmark.TokenID
	whose  map[holder]int64
	// left are the seconds that tokens to reissue have left, one for scale of them.
	left  []int64
	scale float64
}

// holder is whom a token of a class belongs to.
type holder struct {
	class  string
	client mintmark.ClientID
	owner  string
}

// maxGlanced is how many tokens a plan looks at when there are too many for all.
const maxGlanced = 2000

// classes counts a release's live tokens by the rule that decides about them; taints
// are selectors for the classes of the tainted.
func (c *Control) classes(ctx context.Context, release mintmark.ReleaseID, rules []epoch.DispositionRule, taints []mintmark.Selector) (map[string]int64, error) {
	n, err := c.census(ctx, release, rules, taints, 0)
	if err != nil {
		return nil, err
	}
	return n.count, nil
}

// census takes the count; glance is how many tokens to look at where there are too
// many to look at all.
func (c *Control) census(ctx context.Context, release mintmark.ReleaseID, rules []epoch.DispositionRule, taints []mintmark.Selector, glance int) (*census, error) {
	n := &census{rules: rules, count: map[string]int64{}, sample: map[string][]mintmark.TokenID{}, whose: map[holder]int64{}, scale: 1}
	now := c.cfg.Now()
	all, err := c.cfg.Tokens.CountLive(ctx, mintmark.Selector{Release: release}, mintmark.Cutoff{}, now)
	if err != nil {
		return nil, fmt.Errorf("count tokens of %s: %w", release, err)
	}
	if all <= maxClassified {
		glance = maxClassified + maxClassified/4 // others come meanwhile
	}
	seen, err := c.classify(ctx, release, now, glance, n)
	if err != nil || all <= maxClassified {
		return n, err
	}
	return n, c.estimate(ctx, release, taints, now, all, seen, n)
}

// classify looks at tokens one by one, up to most.
func (c *Control) classify(ctx context.Context, release mintmark.ReleaseID, now time.Time, most int, n *census) (seen int64, err error) {
	err = c.eachToken(ctx, ledger.TokenFilter{Selector: mintmark.Selector{Release: release}, States: liveStates, Now: now}, most, func(t *ledger.TokenRow) {
		seen++
		r := rollout.Classify(n.rules, &t.Token)
		if r == nil {
			return
		}
		n.count[r.Class]++
		n.whose[holder{r.Class, t.Client, t.Owner}]++
		if len(n.sample[r.Class]) < maxSample {
			n.sample[r.Class] = append(n.sample[r.Class], t.ID)
		}
		if r.Disposition == mintmark.Reissue && t.Kind != mintmark.KindRefresh {
			left := int64(-1)
			if t.Expires != 0 {
				left = max(t.Expires-now.Unix(), 0)
			}
			n.left = append(n.left, left)
		}
	})
	return seen, err
}

// eachToken visits tokens in the order of their ids, most at most, give or take a
// page.
func (c *Control) eachToken(ctx context.Context, f ledger.TokenFilter, most int, visit func(*ledger.TokenRow)) error {
	f.Limit = 1000
	for seen := 0; seen < most; seen += f.Limit {
		rows, err := c.cfg.Tokens.Tokens(ctx, f)
		if err != nil {
			return fmt.Errorf("read tokens of %s: %w", f.Selector.Release, err)
		}
		for i := range rows {
			f.After = rows[i].ID
			visit(&rows[i])
		}
		if len(rows) < f.Limit {
			break
		}
	}
	return nil
}

// estimate replaces the counts of a sample by counts of everything; the sample goes
// on saying how long tokens live.
func (c *Control) estimate(ctx context.Context, release mintmark.ReleaseID, taints []mintmark.Selector, now time.Time, all, seen int64, n *census) error {
	if seen > 0 {
		n.scale = float64(all) / float64(seen)
	}
	rest, last := all, n.rules[len(n.rules)-1].Class
	n.count, n.whose = map[string]int64{}, map[holder]int64{}
	count := func(sel mintmark.Selector, class string) error {
		reached, err := c.cfg.Reach.Reach(ctx, sel, mintmark.Cutoff{}, now)
		if err != nil {
			return fmt.Errorf("count tokens of %s: %w", release, err)
		}
		for _, r := range reached {
			k := min(r.Tokens, rest)
			n.count[class] += k
			n.whose[holder{class: class, client: r.Client}] += r.Tokens
			if class != last { // the last class gets what remains
				rest -= k
				n.whose[holder{class: last, client: r.Client}] -= r.Tokens
			}
		}
		return nil
	}
	for _, taint := range taints {
		class := rollout.OverScoped
		switch {
		case taint.Audience != "":
			class = rollout.WrongAudience
		case taint.Scope == "":
			continue
		}
		if err := count(taint, class); err != nil {
			return err
		}
	}
	return count(mintmark.Selector{Release: release}, last)
}

// hits lists whose tokens would be revoked or reissued.
func (n *census) hits(direction string, rules []epoch.DispositionRule) (out []api.PlanHit) {
	by := map[string]mintmark.Disposition{}
	for _, r := range rules {
		by[r.Class] = r.Disposition
	}
	for h, tokens := range n.whose {
		if d := by[h.class]; tokens > 0 && (d == mintmark.Revoke || d == mintmark.Reissue) {
			out = append(out, api.PlanHit{Direction: direction, Client: h.client, Owner: h.owner, Class: h.class, Disposition: d, Tokens: tokens})
		}
	}
	return out
}

// load is what would have to be reissued within a window of seconds; nil for
// nothing.
func (n *census) load(window int64) *api.ReissueLoad {
	if len(n.left) == 0 {
		return nil
	}
	l := rollout.LoadOf(n.left, n.scale, window)
	return &api.ReissueLoad{Tokens: l.Tokens, WindowSeconds: l.Window, Peak: l.Peak, Curve: l.Curve}
}
