package cli

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/policy"
)

func (a *app) rolloutPlan() *cobra.Command {
	var names []string
	return a.call(call{
		use: "plan ID | plan SERVICE CANDIDATE", short: "Count live tokens stranded in each direction; exits 20 when not rollback-safe",
		long: `With a rollout's id: what rolling it back now would mean. With a service and a candidate: what starting one would;
with --candidate-file as if those resources were applied, which changes nothing. The digest of -o json is what
rollout start --plan goes by. -o wide adds sample tokens.`,
		example: "  mintmark rollout plan orders v2\n  mintmark rollout plan orders v3 --candidate-file v3.yaml",
		args:    cobra.RangeArgs(1, 2), complete: rolloutNames,
		flags: func(cmd *cobra.Command) {
			cmd.Flags().StringSliceVar(&names, "candidate-file", nil, "resources that are not applied yet: a file, a directory, or - for standard input")
		},
		run: func(ctx context.Context, c *api.Client, args []string) (result, error) {
			if len(args) == 1 {
				if len(names) > 0 {
					return result{}, usage("a rollout under way has its candidate applied", "mintmark rollout plan SERVICE CANDIDATE --candidate-file FILE")
				}
				return plan(c.RolloutPlan(ctx, mintmark.RolloutID(args[0])))
			}
			var files []api.File
			if len(names) > 0 {
				var err error
				if files, err = a.resourceFiles(names); err != nil {
					return result{}, err
				}
				if _, errs := policy.Parse(policyFiles(files)); len(errs) > 0 {
					return result{}, problemOf(errs)
				}
			}
			return plan(c.PlanRollout(ctx, args[0], args[1], files...))
		},
	})
}

// plan shows both directions; not rollback-safe is exit 20.
func plan(p *api.Plan, err error) (result, error) {
	if err != nil {
		return result{}, err
	}
	r := result{value: p, table: table{head: []string{"DIRECTION", "MINTED BY", "UNDER", "CLASS", "COMPAT", "TAINTED", "DISPOSITION", "LIVE TOKENS", "SAMPLE"}, wide: 8}}
	add := func(direction string, lines []api.PlanLine) {
		for _, l := range lines {
			var sample []string
			for _, id := range l.Sample {
				sample = append(sample, string(id))
			}
			r.table.rows = append(r.table.rows, []string{direction, string(l.Release), string(l.Under), l.Class, l.Compat, yes(l.Tainted), l.Disposition.String(), num(l.Tokens), join(sample)})
		}
	}
	add("forward", p.Forward)
	add("back", p.Back)
	verdict := "rollback-safe: rolling back strands no harmless token"
	if !p.Safe {
		verdict, r.exit = "NOT rollback-safe", api.ExitNotSafe
	}
	r.notes = append([]string{"", verdict}, p.Reasons...)
	r.notes = append(r.notes, fmt.Sprintf("stranded now: %d forward, %d back; %d tainted that a rollback would revoke", p.Stranded.Forward, p.Stranded.Back, p.Tainted))
	if l := p.Load; l != nil {
		r.notes = append(r.notes, fmt.Sprintf("reissue after a rollback: %s over %ds, at most %d a second  %s", many(l.Tokens, "token"), l.WindowSeconds, l.Peak, sparkline(l.Curve, slices.Max(l.Curve), 30)))
	}
	r.notes = append(r.notes, hits(p)...)
	if p.Digest != "" {
		r.notes = append(r.notes, "digest "+p.Digest[:min(16, len(p.Digest))]+"…; to start exactly this: -o json > plan.json, then rollout start --plan plan.json")
	}
	return r, nil
}

// hits says whose tokens a switch would cost.
func hits(p *api.Plan) (out []string) {
	for i, h := range p.Hit {
		if i == 10 {
			out = append(out, fmt.Sprintf("and %d more in -o json", len(p.Hit)-i+p.HitMore))
			break
		}
		who := "client " + plainCell(string(h.Client))
		if h.Owner != "" {
			who += ", key of " + plainCell(h.Owner)
		}
		out = append(out, fmt.Sprintf("%s: %s, %s, %s: %s", h.Direction, who, many(h.Tokens, "token"), h.Class, h.Disposition))
	}
	return out
}

func (a *app) rolloutStranded() *cobra.Command {
	return a.call(call{
		use: "stranded ID|SERVICE", short: "List what the candidate minted and the stable release would not go on with; exits 20 when there is any", args: cobra.ExactArgs(1), complete: rolloutNames,
		long: "Each token that a candidate mints is judged by the stable release too, at once: one that a rollback would cut off\n" +
			"trips the metric stranded. This lists them, and those that merely live longer than the stable release's.",
		run: func(ctx context.Context, c *api.Client, args []string) (result, error) {
			s, err := c.Stranded(ctx, mintmark.RolloutID(args[0]))
			if err != nil {
				return result{}, err
			}
			r := result{value: s, table: table{head: []string{"TOKEN", "CLASS", "STRANDED", "TAINTED", "KIND", "CLIENT", "ISSUED", "SCOPES", "AUDIENCE", "OWNER"}, wide: 7}}
			for i := range s.Tokens {
				t := &s.Tokens[i]
				if t.Stranded {
					r.exit = api.ExitNotSafe
				}
				r.table.rows = append(r.table.rows, []string{string(t.ID), t.Class, yes(t.Stranded), yes(t.Tainted), t.Kind.String(), string(t.Client), at(t.Issued), join(t.Scopes), join(t.Audience), t.Owner})
			}
			if len(r.table.rows) == 0 {
				r.table = table{}
			}
			var counts []string
			for _, class := range slices.Sorted(maps.Keys(s.Classes)) {
				counts = append(counts, fmt.Sprintf("%d %s", s.Classes[class], class))
			}
			line := fmt.Sprintf("%s of %s judged by %s: %s", many(s.Judged, "live token"), s.Candidate, s.Stable, first(strings.Join(counts, ", "), "none would be stranded"))
			if s.More {
				line += "; there are more tokens than were looked at"
			}
			r.notes = []string{line}
			return r, nil
		},
	})
}
