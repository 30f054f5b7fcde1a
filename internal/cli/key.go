package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/mintmark/mintmark/api"
)

func keyTable(keys []api.Key) table {
	t := table{head: []string{"KEY", "ALG", "STATE", "CREATED", "LIVE TOKENS", "RETIRES"}}
	for _, k := range keys {
		t.rows = append(t.rows, []string{k.ID, k.Alg, k.State, at(k.Created), num(k.Tokens), whenSafe(k.WhenSafe)})
	}
	return t
}

func keyNames(ctx context.Context, c *api.Client) (out []string) {
	if ks, err := c.Keys(ctx); err == nil {
		for _, k := range ks.Keys {
			out = append(out, k.ID)
		}
	}
	return out
}

func (a *app) keyCmd() *cobra.Command {
	list := a.call(call{
		use: "list", short: "List signing keys, newest first", args: cobra.NoArgs,
		run: func(ctx context.Context, c *api.Client, _ []string) (result, error) {
			ks, err := c.Keys(ctx)
			if err != nil {
				return result{}, err
			}
			return show(ks, keyTable(ks.Keys), nil)
		},
	})
	return noun("key", "Signing keys of the authority", list, a.keyRotate(), a.keyNeeds(), a.keyRetire(), a.keyKeep(), a.keyKill())
}

func (a *app) keyRotate() *cobra.Command {
	var q api.KeyRequest
	var w waiting
	return a.call(call{
		use: "rotate", short: "Make a new signing key; it signs once every gateway knows it", args: cobra.NoArgs,
		flags: func(cmd *cobra.Command) {
			w.flags(cmd, false)
			cmd.Flags().StringVar(&q.Alg, "alg", "", "algorithm (default: as configured)")
		},
		run: func(ctx context.Context, c *api.Client, _ []string) (result, error) {
			q.Reason, q.Wait, q.Timeout = w.reason, w.wait, a.bound()
			return keyStep(c.RotateKey(ctx, q))
		},
	})
}

func keyStep(k *api.KeyAnswer, err error) (result, error) {
	if err != nil {
		return result{}, err
	}
	if k.Pending != nil {
		return waitsFor(k, k.Pending), nil
	}
	r := withReceipt(k, k.Receipt, fmt.Sprintf("key %s is %s", k.Key.ID, k.Key.State))
	if k.Receipt == nil {
		r.table = keyTable([]api.Key{k.Key})
		r.notes = nil
	}
	return r, nil
}

// keyDryRun says how many live tokens a key signed.
func keyDryRun(ctx context.Context, c *api.Client, kid, would string) (result, error) {
	ks, err := c.Keys(ctx)
	if err != nil {
		return result{}, err
	}
	for _, k := range ks.Keys {
		if k.ID == kid {
			return result{
				value: struct {
					DryRun bool    `json:"dry_run"`
					Key    api.Key `json:"key"`
				}{true, k},
				table: keyTable([]api.Key{k}),
				notes: []string{"", fmt.Sprintf("dry run: %s %s; nothing was changed", many(k.Tokens, "live token"), would)},
			}, nil
		}
	}
	return result{}, api.NewProblem(api.CodeNotFound, "no key "+quote(kid), "see mintmark key list")
}

func (a *app) keyRetire() *cobra.Command {
	var q api.KeyRequest
	var w waiting
	return a.call(call{
		use: "retire KID", short: "Take a key out of the published set; refused while live tokens need it", args: cobra.ExactArgs(1), complete: keyNames,
		flags: func(cmd *cobra.Command) {
			w.flags(cmd, true)
			cmd.Flags().BoolVar(&q.Force, "force", false, "although live tokens need it")
			cmd.Flags().BoolVar(&q.WhenSafe, "when-safe", false, "as soon as the ledger shows that no token needs it: now, or by itself later")
		},
		run: func(ctx context.Context, c *api.Client, args []string) (result, error) {
			if w.dryRun {
				return keyDryRun(ctx, c, args[0], "still need it")
			}
			q.Reason, q.Wait, q.Timeout = w.reason, w.wait, a.bound()
			k, err := c.RetireKey(ctx, args[0], q)
			r, err := keyStep(k, err)
			if err != nil || k.Key.WhenSafe == nil {
				return r, err
			}
			n, err := c.KeyNeeds(ctx, args[0])
			if err != nil {
				return result{}, err
			}
			r.notes = append(needsNotes(n), "it is retired by itself once nothing needs it; mintmark key keep "+args[0]+" takes that back")
			return r, nil
		},
	})
}

func (a *app) keyKill() *cobra.Command {
	var w waiting
	var breakGlass bool
	return a.call(call{
		use: "kill KID", short: "Emergency: refuse every token that the key signed, now", args: cobra.ExactArgs(1), complete: keyNames,
		long: "Takes the key out of use and refuses every token that it signed, and what was made of those.\n" +
			"Where the guard wants a second person nothing happens until one approves: 15, with the id to approve;\n" +
			"the tokens are refused on approval, and the same command then replaces the key.",
		flags: func(cmd *cobra.Command) {
			w.flags(cmd, true)
			breakGlassFlag(cmd, &breakGlass)
		},
		run: func(ctx context.Context, c *api.Client, args []string) (result, error) {
			if w.dryRun {
				return keyDryRun(ctx, c, args[0], "would be refused")
			}
			q := api.KeyRequest{Reason: w.reason, BreakGlass: breakGlass, Wait: w.wait, Timeout: a.bound()}
			var k *api.KeyAnswer
			err := a.confirm(func(text string) (err error) {
				q.Confirm = text
				k, err = c.KillKey(ctx, args[0], q)
				return err
			})
			return keyStep(k, err)
		},
	})
}
