package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/api"
)

func (a *app) releaseCmd() *cobra.Command {
	var service string
	list := a.call(call{
		use: "list", short: "List releases", args: cobra.NoArgs,
		flags: func(cmd *cobra.Command) { cmd.Flags().StringVar(&service, "service", "", "of this service only") },
		run: func(ctx context.Context, c *api.Client, _ []string) (result, error) {
			rs, err := c.Releases(ctx, service)
			if err != nil {
				return result{}, err
			}
			t := table{head: []string{"RELEASE", "ROLE", "PERCENT", "POLICY", "FORMAT", "LIVE TOKENS", "UPSTREAMS", "SCOPES"}, wide: 6}
			for _, r := range rs.Releases {
				t.rows = append(t.rows, []string{string(r.ID), r.Role, r.Percent, fmt.Sprintf("%s@%d", r.Policy, r.PolicyVersion), r.Format, num(r.Tokens), join(r.Upstreams), join(r.Scopes)})
			}
			return show(rs, t, nil)
		},
	})
	get := a.call(call{
		use: "get SERVICE/RELEASE", short: "Show a release", args: cobra.ExactArgs(1),
		complete: func(ctx context.Context, c *api.Client) (out []string) {
			if rs, err := c.Releases(ctx, ""); err == nil {
				for _, r := range rs.Releases {
					out = append(out, string(r.ID))
				}
			}
			return out
		},
		run: func(ctx context.Context, c *api.Client, args []string) (result, error) {
			id, err := mintmark.ParseReleaseID(args[0])
			if err != nil {
				return result{}, usage(err.Error(), "")
			}
			r, err := c.Release(ctx, id)
			if err != nil {
				return result{}, err
			}
			return show(r, pairs("release", string(r.ID), "role", r.Role, "percent", r.Percent, "policy", fmt.Sprintf("%s@%d", r.Policy, r.PolicyVersion),
				"upstreams", join(r.Upstreams), "format", r.Format, "scopes", join(r.Scopes), "forced scopes", join(r.ForcedScopes),
				"audience", join(r.Audience), "accepts", join(r.Accept), "live tokens", num(r.Tokens)), nil)
		},
	})
	return noun("release", "Versions of a service", list, get)
}

func (a *app) rolloutCmd() *cobra.Command {
	return noun("rollout", "Move a service from a stable release to a candidate, and back",
		a.rolloutStart(), a.rolloutStatus(), a.rolloutList(), a.rolloutPlan(), a.rolloutStranded(), a.rolloutGate(), a.rolloutHistory(), a.rolloutExplain(),
		a.rolloutStep("set-weight ID PERCENT", "Change a canary's share", "weight", cobra.ExactArgs(2)),
		a.rolloutStep("pause ID", "Keep the candidate's share where it is; a failing health still takes it back", "pause", cobra.ExactArgs(1)),
		a.rolloutStep("resume ID", "Let a paused rollout go on", "resume", cobra.ExactArgs(1)),
		a.rolloutStep("approve ID", "Approve the step that waits for it", "approve", cobra.ExactArgs(1)),
		a.rolloutStep("promote ID", "Give the candidate all traffic", "promote", cobra.ExactArgs(1)),
		a.rolloutStep("rollback ID", "Take the candidate and what it handed out back, on every gateway", "rollback", cobra.ExactArgs(1)),
		a.rolloutStep("abort ID", "Roll back, and say why: --reason is wanted", "abort", cobra.ExactArgs(1)),
		a.rolloutStep("undo ID", "Take back what was promoted or finalised, while the prior release's tokens, keys and policy are good", "undo", cobra.ExactArgs(1)),
		a.rolloutStep("finalise ID", "End the rollout: the candidate is the stable release, rollback is over", "finalise", cobra.ExactArgs(1)),
	)
}

func rolloutNames(ctx context.Context, c *api.Client) (out []string) {
	if rs, err := c.Rollouts(ctx); err == nil {
		for _, r := range rs.Rollouts {
			out = append(out, string(r.ID)+"\t"+r.Service+" "+r.State)
		}
	}
	return out
}

func rolloutPairs(r *api.Rollout) table {
	return pairs("rollout", string(r.ID), "service", r.Service, "state", r.State, "strategy", r.Strategy, "stable", r.Stable,
		"candidate", r.Candidate, "percent", r.Percent, "epoch", num(r.Epoch), "inverse staged", first(yes(r.Staged), "no"),
		"started", at(r.Started), "updated", at(r.Updated), "actor", r.Actor, "reason", r.Reason, "receipt", string(r.Receipt))
}

func rolloutAnswer(r *api.RolloutAnswer, err error) (result, error) {
	if err != nil {
		return result{}, err
	}
	line := fmt.Sprintf("rollout %s of %s: %s, candidate %s at %s%%", r.Rollout.ID, r.Rollout.Service, r.Rollout.State, r.Rollout.Candidate, r.Rollout.Percent)
	return withReceipt(r, r.Receipt, line), nil
}

func (a *app) rolloutList() *cobra.Command {
	return a.call(call{
		use: "list", short: "List rollouts, newest first", args: cobra.NoArgs,
		run: func(ctx context.Context, c *api.Client, _ []string) (result, error) {
			rs, err := c.Rollouts(ctx)
			if err != nil {
				return result{}, err
			}
			t := table{head: []string{"ROLLOUT", "SERVICE", "STABLE", "CANDIDATE", "PERCENT", "STATE", "STARTED", "RECEIPT"}, wide: 7}
			for _, r := range rs.Rollouts {
				t.rows = append(t.rows, []string{string(r.ID), r.Service, r.Stable, r.Candidate, r.Percent, r.State, at(r.Started), string(r.Receipt)})
			}
			return show(rs, t, nil)
		},
	})
}

func (a *app) rolloutStep(use, short, verb string, args cobra.PositionalArgs) *cobra.Command {
	var w waiting
	var dispositions map[string]string
	var version uint64
	return a.call(call{
		use: use, short: short, args: args, complete: rolloutNames,
		flags: func(cmd *cobra.Command) {
			w.flags(cmd, true)
			cmd.Flags().Uint64Var(&version, "if-version", 0, "only if the rollout is at this version still; see rollout status -o json")
			if verb == "rollback" || verb == "abort" || verb == "undo" {
				cmd.Flags().StringToStringVar(&dispositions, "disposition", nil, "what becomes of a class of tokens, such as over_scoped=revoke; see --dry-run for the classes")
			}
		},
		run: func(ctx context.Context, c *api.Client, args []string) (result, error) {
			id := mintmark.RolloutID(args[0])
			if w.dryRun {
				return plan(c.RolloutPlan(ctx, id))
			}
			if verb == "abort" && strings.TrimSpace(w.reason) == "" {
				return result{}, usage("an abort must say why", "add --reason 'what went wrong'")
			}
			q := api.StepRequest{Reason: w.reason, Version: version, Wait: w.wait, Timeout: a.bound()}
			if len(args) > 1 {
				q.Weight = strings.TrimSuffix(args[1], "%")
			}
			for class, text := range dispositions {
				var d mintmark.Disposition
				if err := d.UnmarshalText([]byte(text)); err != nil {
					return result{}, usage(err.Error(), "")
				}
				if q.Dispositions == nil {
					q.Dispositions = map[string]mintmark.Disposition{}
				}
				q.Dispositions[class] = d
			}
			return rolloutAnswer(c.StepRollout(ctx, id, verb, q))
		},
	})
}
