package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/epoch"
	"github.com/mintmark/mintmark/internal/receipt"
)

// exportPage is how many receipts or rows are asked for at once.
const exportPage = 200

func (a *app) receiptExportCmd() *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use: "export ID|--all", Short: "Write a receipt with its state-log row, or all of both, as JSON lines", Args: cobra.MaximumNArgs(1),
		Long: `Write JSON lines that mintmark-verify and "mintmark receipt verify" check with
control's public keys alone: a receipt with the row that made it happen, or with
--all every receipt and the whole state log. Its last line counts the others; an
export that was broken off lacks it.`,
		Example: "  mintmark receipt export --all > receipts.jsonl\n  mintmark receipt keys > state-keys.json\n  mintmark-verify --keys state-keys.json receipts.jsonl",
		RunE: func(cmd *cobra.Command, args []string) error {
			if all == (len(args) == 1) {
				return usage("want one receipt's ID, or --all", "mintmark receipt list shows them")
			}
			c, err := a.connect(cmd.Context())
			if err != nil {
				return err
			}
			out := bufio.NewWriterSize(a.Stdout, 64<<10)
			x := &exporter{c: c, w: receipt.NewWriter(out, time.Now())}
			if all {
				err = x.all(cmd.Context())
			} else {
				err = x.one(cmd.Context(), mintmark.ReceiptID(args[0]))
			}
			if err == nil {
				err = x.w.Close()
			}
			if err != nil {
				return err // nothing, or an export without its last line
			}
			if err := out.Flush(); err != nil {
				return fmt.Errorf("write export: %w", err)
			}
			x.tell(a.Stderr)
			return nil
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "every receipt, and the whole state log")
	return cmd
}

// exporter writes what control tells it.
type exporter struct {
	c        *api.Client
	w        *receipt.Writer
	unsigned int
}

func (x *exporter) tell(w io.Writer) {
	if x.unsigned > 0 {
		fmt.Fprintf(w, "%s left out: not signed yet; they are once their gateways have answered\n", many(int64(x.unsigned), "pending receipt"))
	}
}

func (x *exporter) all(ctx context.Context) error {
	for after := uint64(0); ; {
		page, err := x.c.StateRows(ctx, after, exportPage)
		if err != nil {
			return err
		}
		for _, r := range page.Rows {
			if err := x.w.Row(epoch.SignedRow{Body: r.Body, Signature: r.Signature}); err != nil {
				return err
			}
			after = r.Seq
		}
		if len(page.Rows) == 0 {
			break
		}
	}
	for after := mintmark.ReceiptID(""); ; {
		page, err := x.c.ReceiptTexts(ctx, after, exportPage)
		if err != nil {
			return err
		}
		for _, text := range page.Receipts {
			if err := x.receipt(text); err != nil {
				return err
			}
		}
		if after = page.Next; after == "" {
			return nil
		}
	}
}

// receipt writes one unless it has no signature yet.
func (x *exporter) receipt(text json.RawMessage) error {
	var r struct {
		Signature string `json:"signature"`
	}
	if err := json.Unmarshal(text, &r); err != nil {
		return fmt.Errorf("read receipt: %w", err)
	}
	if r.Signature == "" {
		x.unsigned++
		return nil
	}
	return x.w.Receipt(text)
}

func (x *exporter) one(ctx context.Context, id mintmark.ReceiptID) error {
	text, err := x.c.ReceiptText(ctx, id)
	if err != nil {
		return err
	}
	var r mintmark.Receipt
	if err := json.Unmarshal(text, &r); err != nil {
		return fmt.Errorf("read receipt: %w", err)
	}
	if r.Signature == "" {
		return api.NewProblem(api.CodePrecondition, "receipt "+quote(string(id))+" is pending and not signed yet", "look again with: mintmark receipt get "+string(id))
	}
	if r.Seq > 0 {
		page, err := x.c.StateRows(ctx, r.Seq-1, 1)
		if err != nil {
			return err
		}
		for _, row := range page.Rows {
			if err := x.w.Row(epoch.SignedRow{Body: row.Body, Signature: row.Signature}); err != nil {
				return err
			}
		}
	}
	return x.w.Receipt(text)
}

// jsonText is a value as indented JSON.
func jsonText(v any) string {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return "" // maps of strings: cannot fail
	}
	return string(b)
}
