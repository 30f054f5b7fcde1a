package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/api"
)

func (a *app) revocationCmd() *cobra.Command {
	return noun("revocation", "Revocations in force, and those that wait for a second person",
		a.revocationList(), a.revocationGet(), a.revocationPending(), a.revocationApprove(), a.revocationDeny())
}

func (a *app) revocationList() *cobra.Command {
	var q api.RevocationQuery
	var after string
	return a.call(call{
		use: "list", short: "List the revocations in force, oldest first", args: cobra.NoArgs,
		flags: func(cmd *cobra.Command) {
			cmd.Flags().BoolVar(&q.Counts, "counts", false, "count the live tokens that each reaches (50 at a time)")
			cmd.Flags().IntVar(&q.Limit, "limit", 0, "how many, 1 to 500 (default 500, or 50 with --counts)")
			cmd.Flags().StringVar(&after, "after", "", "go on after this revocation")
		},
		run: func(ctx context.Context, c *api.Client, _ []string) (result, error) {
			q.After = mintmark.RevocationID(after)
			rs, err := c.Revocations(ctx, q)
			if err != nil {
				return result{}, err
			}
			t := table{head: []string{"REVOCATION", "ACTION", "SELECTOR", "TOKENS", "MADE", "ENDS", "ACTOR", "REASON", "FORGOTTEN"}, wide: 6}
			for _, r := range rs.Revocations {
				tokens := ""
				if q.Counts {
					tokens = num(rs.Tokens[r.ID])
				}
				t.rows = append(t.rows, []string{string(r.ID), r.Action.String(), r.Selector.String(), tokens, atMilli(r.Made), atUnix(r.Until), r.Actor, r.Reason, atUnix(r.Forget)})
			}
			out := result{value: rs, table: t}
			if rs.Next != "" {
				out.notes = []string{"more: --after " + string(rs.Next)}
			}
			return out, nil
		},
	})
}

func revocationNames(ctx context.Context, c *api.Client) (out []string) {
	if rs, err := c.Revocations(ctx, api.RevocationQuery{Limit: 100}); err == nil {
		for _, r := range rs.Revocations {
			out = append(out, string(r.ID))
		}
	}
	return out
}

func (a *app) revocationGet() *cobra.Command {
	return a.call(call{
		use: "get ID", short: "Show a revocation, in force or pending, and what it reaches", args: cobra.ExactArgs(1), complete: revocationNames,
		run: func(ctx context.Context, c *api.Client, args []string) (result, error) {
			d, err := c.Revocation(ctx, mintmark.RevocationID(args[0]))
			if err != nil {
				return result{}, err
			}
			out := result{value: d}
			var kv []string
			if r := d.Revocation; r != nil {
				kv = append(kv, "revocation", string(r.ID), "state", "in force", "action", r.Action.String(), "selector", r.Selector.String(),
					"made", atMilli(r.Made), "actor", r.Actor, "reason", r.Reason, "ends", atUnix(r.Until), "forgotten", atUnix(r.Forget), "rollout", string(r.Rollout))
			}
			if p := d.Pending; p != nil {
				if d.Revocation == nil {
					kv = append(kv, "revocation", string(p.ID), "state", p.State, "action", p.Action, "selector", p.Selector, "reason", p.Reason, "for", p.For)
				}
				kv = append(kv, "asked for by", p.Requester, "why a second person", p.Why, "asked at", at(p.Made), "decision until", at(p.Expires),
					"decided by", p.Approver, "decided at", at(p.Decided), "denied because", p.DenyReason, "receipt", string(p.Receipt))
			}
			out.table = pairs(append(kv, "live tokens", num(d.Tokens))...)
			for _, n := range firstOf(d.ByRelease) {
				out.notes = append(out.notes, fmt.Sprintf("release %s: %s", first(string(n.Release), "none"), many(n.Tokens, "token")))
			}
			for _, n := range firstOf(d.ByClient) {
				out.notes = append(out.notes, fmt.Sprintf("client %s: %s", first(string(n.Client), "none"), many(n.Tokens, "token")))
			}
			return out, nil
		},
	})
}

func pendingTable(list []api.PendingRevocation) table {
	t := table{head: []string{"REVOCATION", "STATE", "ACTION", "SELECTOR", "TOKENS", "REQUESTER", "EXPIRES", "APPROVER", "REASON", "WHY"}, wide: 8}
	for _, p := range list {
		t.rows = append(t.rows, []string{string(p.ID), p.State, p.Action, p.Selector, num(p.Tokens), p.Requester, at(p.Expires), p.Approver, p.Reason, p.Why})
	}
	return t
}

func (a *app) revocationPending() *cobra.Command {
	var all bool
	return a.call(call{
		use: "pending", short: "List the revocations that wait for a second person", args: cobra.NoArgs,
		flags: func(cmd *cobra.Command) {
			cmd.Flags().BoolVar(&all, "all", false, "also those that were decided, or not in time")
		},
		run: func(ctx context.Context, c *api.Client, _ []string) (result, error) {
			ps, err := c.PendingRevocations(ctx)
			if err != nil {
				return result{}, err
			}
			if !all {
				waiting := []api.PendingRevocation{}
				for _, p := range ps.Pending {
					if p.State == api.PendingWaiting {
						waiting = append(waiting, p)
					}
				}
				ps.Pending = waiting
			}
			return show(ps, pendingTable(ps.Pending), nil)
		},
	})
}

func pendingNames(ctx context.Context, c *api.Client) (out []string) {
	if ps, err := c.PendingRevocations(ctx); err == nil {
		for _, p := range ps.Pending {
			if p.State == api.PendingWaiting {
				out = append(out, string(p.ID))
			}
		}
	}
	return out
}

func (a *app) revocationApprove() *cobra.Command {
	var w waiting
	return a.call(call{
		use: "approve ID", short: "Carry out a pending revocation, as the second person", args: cobra.ExactArgs(1), complete: pendingNames,
		long: "Carries out what another operator asked for, on the tokens issued until now. It asks for the selector to\nbe typed, whatever it is: who approves has read it. The receipt names both. Needs the role security.",
		flags: func(cmd *cobra.Command) {
			w.flags(cmd, false)
		},
		run: func(ctx context.Context, c *api.Client, args []string) (result, error) {
			q := api.DecideRequest{Reason: w.reason, Wait: w.wait, Timeout: a.bound()}
			var answer *api.RevokeAnswer
			err := a.confirm(func(text string) (err error) {
				q.Confirm = text
				answer, err = c.ApproveRevocation(ctx, mintmark.RevocationID(args[0]), q)
				return err
			})
			if err != nil {
				return result{}, err
			}
			return revoked(answer, "cover"), nil
		},
	})
}

func (a *app) revocationDeny() *cobra.Command {
	var q api.DecideRequest
	return a.call(call{
		use: "deny ID", short: "End a pending revocation without effect; its requester may, too", args: cobra.ExactArgs(1), complete: pendingNames,
		flags: func(cmd *cobra.Command) {
			cmd.Flags().StringVar(&q.Reason, "reason", "", "why; its requester is told")
		},
		run: func(ctx context.Context, c *api.Client, args []string) (result, error) {
			p, err := c.DenyRevocation(ctx, mintmark.RevocationID(args[0]), q)
			if err != nil {
				return result{}, err
			}
			return show(p, pendingTable([]api.PendingRevocation{*p}), nil)
		},
	})
}
