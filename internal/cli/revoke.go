package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/api"
)

// taking holds the flags of commands that take tokens back.
type taking struct {
	sel        selection
	w          waiting
	last       time.Duration
	atMost     int64
	breakGlass bool
}

func (k *taking) flags(cmd *cobra.Command, lasts string) {
	k.sel.flags(cmd)
	k.w.flags(cmd, true)
	cmd.Flags().DurationVar(&k.last, "for", 0, lasts)
	cmd.Flags().Int64Var(&k.atMost, "at-most", 0, "refuse to cover more live tokens than this")
	breakGlassFlag(cmd, &k.breakGlass)
}

// request reads the flags and the token named by argument, if any.
func (k *taking) request(a *app, args []string, action string) (api.RevokeRequest, error) {
	if len(args) == 1 {
		*k.sel.dims["token"] = args[0]
	}
	text, err := k.sel.checked()
	q := api.RevokeRequest{
		Selector: text, Action: action, Reason: k.w.reason, Wait: k.w.wait, Timeout: a.bound(), DryRun: k.w.dryRun,
		AtMost: k.atMost, BreakGlass: k.breakGlass,
	}
	if k.last != 0 {
		q.For = k.last.String()
	}
	return q, err
}

func (a *app) tokenRevoke() *cobra.Command {
	var k taking
	var suspend bool
	return a.call(call{
		use: "revoke [ID]", short: "Take tokens back, everywhere, by any of their dimensions", args: cobra.MaximumNArgs(1),
		long: "Revokes the token with this ID, or all that the selector covers. Returns when every gateway\n" +
			"refuses them (0), or says which are fenced (13), static (14) or still pending (15).\n" +
			"Where the guard wants a second person nothing happens until one approves: 15, with the id to approve.",
		example: "  mintmark token revoke tok_… --reason leaked\n  mintmark token revoke --release orders/v2 --scope admin --dry-run\n  mintmark token revoke -l 'client=shop,issued<=2026-01-31T14:00:00Z' --at-most 500 --reason leaked -y",
		flags: func(cmd *cobra.Command) {
			k.flags(cmd, "forget the fact after this long (default: for ever, or when nothing covered can be live); with --suspend, how long")
			cmd.Flags().BoolVar(&suspend, "suspend", false, "suspend instead; the same as token suspend")
		},
		run: func(ctx context.Context, c *api.Client, args []string) (result, error) {
			action := "revoke"
			if suspend {
				action = "suspend"
			}
			q, err := k.request(a, args, action)
			if err != nil {
				return result{}, err
			}
			return a.revoke(ctx, c, q)
		},
	})
}

func (a *app) tokenSuspend() *cobra.Command {
	var k taking
	return a.call(call{
		use: "suspend [ID]", short: "Refuse tokens until they are restored, or for a while", args: cobra.MaximumNArgs(1),
		long:    "Suspends the token with this ID, or all that the selector covers: refused everywhere, as by token revoke,\nbut token restore gives them back, or time does.",
		example: "  mintmark token suspend --subject ann --for 24h --reason 'ticket 17'",
		flags:   func(cmd *cobra.Command) { k.flags(cmd, "how long (default: until token restore)") },
		run: func(ctx context.Context, c *api.Client, args []string) (result, error) {
			q, err := k.request(a, args, "suspend")
			if err != nil {
				return result{}, err
			}
			return a.revoke(ctx, c, q)
		},
	})
}

// revoke sends a revocation, confirmed where control wants that.
func (a *app) revoke(ctx context.Context, c *api.Client, q api.RevokeRequest) (result, error) {
	var answer *api.RevokeAnswer
	err := a.confirm(func(text string) (err error) {
		q.Confirm = text
		answer, err = c.Revoke(ctx, q)
		return err
	})
	if err != nil {
		return result{}, err
	}
	return revoked(answer, "cover"), nil
}

// revoked shows what a revocation or restoration did, or would do.
func revoked(r *api.RevokeAnswer, verb string) result {
	switch {
	case r.DryRun:
		return result{value: r, table: tokenTable(r.Sample), notes: wouldNotes(r, verb)}
	case r.Receipt == nil && r.Pending != nil:
		return waitsFor(r, r.Pending)
	}
	var notes []string
	if !r.Ends.IsZero() {
		notes = append(notes, "", "ends by itself at "+at(r.Ends))
	}
	if !r.Forgotten.IsZero() {
		notes = append(notes, "", "the fact is forgotten at "+at(r.Forgotten)+", when nothing that it covers can be live")
	}
	return withReceipt(r, r.Receipt, notes...)
}

// waitsFor shows what waits for a second person.
func waitsFor(v any, p *api.PendingRevocation) result {
	return result{value: v, table: pendingTable([]api.PendingRevocation{*p}), exit: api.ExitPending, notes: []string{
		"", "nothing has happened yet: " + p.Why, "another operator decides until " + at(p.Expires) + ":",
		"  mintmark revocation approve " + string(p.ID), "  mintmark revocation deny " + string(p.ID) + " --reason …",
	}}
}

// breakGlassFlag is of the commands that a guard may want a second person for.
func breakGlassFlag(cmd *cobra.Command, into *bool) {
	cmd.Flags().BoolVar(into, "break-glass", false, "do without the second person that the guard wants, in an emergency; the receipt says so (role security)")
}

func wouldNotes(r *api.RevokeAnswer, verb string) []string {
	notes := []string{"", fmt.Sprintf("dry run: %s would %s %s; %s would be told; nothing was changed", r.Selector, verb, many(r.Tokens, "live token"), many(r.Gateways, "gateway"))}
	if int64(len(r.Sample)) < r.Tokens && len(r.Sample) > 0 {
		notes = append(notes, fmt.Sprintf("  above: a sample of %d", len(r.Sample)))
	}
	for _, n := range firstOf(r.ByRelease) {
		notes = append(notes, fmt.Sprintf("  release %s: %s", first(string(n.Release), "none"), many(n.Tokens, "token")))
	}
	for _, n := range firstOf(r.ByClient) {
		notes = append(notes, fmt.Sprintf("  client %s: %s", first(string(n.Client), "none"), many(n.Tokens, "token")))
	}
	if len(r.Reached) > 0 {
		names := make([]string, len(r.Reached))
		for i, g := range r.Reached {
			names[i] = string(g)
		}
		notes = append(notes, "  gateways: "+strings.Join(firstOf(names), " "))
	}
	if !r.Forgotten.IsZero() {
		notes = append(notes, "  the fact would be forgotten at "+at(r.Forgotten))
	}
	if !r.Ends.IsZero() {
		notes = append(notes, "  it would end by itself at "+at(r.Ends))
	}
	if r.SecondPerson != "" {
		notes = append(notes, "  a second person would be wanted: "+r.SecondPerson)
	}
	return notes
}

// firstOf keeps a list fit for people; -o json has all of it.
func firstOf[T any](list []T) []T { return list[:min(len(list), 20)] }

func (a *app) tokenRestore() *cobra.Command {
	var w waiting
	var text string
	return a.call(call{
		use: "restore [REVOCATION]", short: "End a suspension", args: cobra.MaximumNArgs(1),
		flags: func(cmd *cobra.Command) {
			w.flags(cmd, true)
			cmd.Flags().StringVarP(&text, "select", "l", "", "the exact selector that was suspended, instead of the revocation's id")
		},
		run: func(ctx context.Context, c *api.Client, args []string) (result, error) {
			q := api.RestoreRequest{Selector: text, Reason: w.reason, Wait: w.wait, Timeout: a.bound(), DryRun: w.dryRun}
			if len(args) == 1 {
				q.ID = mintmark.RevocationID(args[0])
			}
			if (q.ID == "") == (q.Selector == "") {
				return result{}, usage("want a revocation's id or --select", "mintmark revocation list names them")
			}
			answer, err := c.Restore(ctx, q)
			if err != nil {
				return result{}, err
			}
			return revoked(answer, "restore"), nil
		},
	})
}
