package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/api"
)

// withReceipt shows a receipt as the outcome of a command: its table says what
// each gateway did, its exit code is the outcome's.
func withReceipt(v any, r *mintmark.Receipt, notes ...string) result {
	if r == nil {
		return result{value: v, notes: notes}
	}
	out := result{value: v, table: receiptTable(r), exit: api.ExitOutcome(r.Outcome)}
	out.notes = append(notes, receiptNotes(r)...)
	return out
}

func receiptTable(r *mintmark.Receipt) table {
	t := table{head: []string{"GATEWAY", "REACH", "AFTER", "STREAMS CUT", "STATIC ROUTES"}, wide: 4}
	for _, g := range r.Gateways {
		t.rows = append(t.rows, []string{string(g.Gateway), string(g.Reach), g.Applied.Round(10 * time.Microsecond).String(), num(g.StreamsCut), fmt.Sprint(g.Static)})
	}
	return t
}

func receiptNotes(r *mintmark.Receipt) []string {
	notes := []string{"", fmt.Sprintf("%s %s: %s, %s, seq %d, epoch %d, in %s",
		r.Kind, r.ID, r.Outcome, many(r.Tokens, "live token"), r.Seq, r.Epoch, r.Elapsed.Round(10*time.Microsecond))}
	switch {
	case r.Approver != "":
		notes = append(notes, "asked for by "+r.Actor+", approved by "+r.Approver)
	case r.BreakGlass:
		notes = append(notes, "without the second person that the guard wanted, by "+r.Actor)
	}
	for _, d := range r.Dispositions {
		notes = append(notes, fmt.Sprintf("  %s %s: %s, %s", d.Release, d.Class, d.Disposition, many(d.Tokens, "token")))
	}
	switch r.Outcome {
	case mintmark.OutcomePending:
		notes = append(notes, "it is durable and goes on by itself; look again with: mintmark receipt get "+string(r.ID))
	case mintmark.OutcomeStatic:
		notes = append(notes, "static routes never fence: their gateways may go on accepting until they are heard from")
	}
	return notes
}

func (a *app) receiptCmd() *cobra.Command {
	get := a.call(call{
		use: "get ID", short: "Show a receipt; a pending one completes by itself", args: cobra.ExactArgs(1),
		run: func(ctx context.Context, c *api.Client, args []string) (result, error) {
			r, err := c.Receipt(ctx, mintmark.ReceiptID(args[0]))
			if err != nil {
				return result{}, err
			}
			return withReceipt(r, r), nil
		},
	})
	list := a.call(call{
		use: "list", short: "List receipts, newest first", args: cobra.NoArgs,
		run: func(ctx context.Context, c *api.Client, _ []string) (result, error) {
			rs, err := c.Receipts(ctx)
			if err != nil {
				return result{}, err
			}
			t := table{head: []string{"RECEIPT", "KIND", "OUTCOME", "TOKENS", "COMMITTED", "ACTOR", "REASON"}, wide: 5}
			for _, r := range rs.Receipts {
				t.rows = append(t.rows, []string{string(r.ID), r.Kind, string(r.Outcome), num(r.Tokens), at(r.Committed), r.Actor, r.Reason})
			}
			return show(rs, t, nil)
		},
	})
	return noun("receipt", "Signed accounts of revocations and rollbacks", get, list, a.receiptExportCmd(), a.receiptKeysCmd(), a.receiptVerifyCmd())
}
