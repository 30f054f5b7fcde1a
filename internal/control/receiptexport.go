package control

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/ledger"
)

// Rows reads the state log as it was signed, from a number on.
type Rows interface {
	StateRows(ctx context.Context, from uint64, limit int) ([]ledger.StateRow, error)
}

// maxExport bounds a page of what is exported, in things; pageBytes ends one that
// has grown large before that.
const (
	maxExport = 500
	pageBytes = 2 << 20
)

func exportLimit(limit int) (int, error) {
	if limit < 0 || limit > maxExport {
		return 0, fmt.Errorf("%w: limit must be 1 to %d", ErrInvalid, maxExport)
	}
	if limit == 0 {
		limit = 100
	}
	return limit, nil
}

// ReceiptTexts returns receipts as they are kept, oldest first, after one.
func (c *Control) ReceiptTexts(ctx context.Context, after mintmark.ReceiptID, limit int) (*api.ReceiptTexts, error) {
	limit, err := exportLimit(limit)
	if err != nil {
		return nil, err
	}
	docs, err := c.cfg.Store.Documents(ctx, ledger.DocReceipt, string(after), limit)
	if err != nil {
		return nil, fmt.Errorf("read receipts: %w", err)
	}
	out := &api.ReceiptTexts{Receipts: make([]json.RawMessage, 0, len(docs))}
	size := 0
	for i, d := range docs {
		out.Receipts = append(out.Receipts, d.Body)
		size += len(d.Body)
		if i+1 == limit || size > pageBytes {
			out.Next = mintmark.ReceiptID(d.ID)
			break
		}
	}
	return out, nil
}

// StateRows returns rows of the state log as they were signed, after a number.
func (c *Control) StateRows(ctx context.Context, after uint64, limit int) (*api.StateRows, error) {
	limit, err := exportLimit(limit)
	if err != nil {
		return nil, err
	}
	out := &api.StateRows{Rows: []api.StateRow{}, Head: c.cfg.State.Current().Seq}
	if after >= out.Head {
		return out, nil
	}
	rows, err := c.cfg.Rows.StateRows(ctx, after+1, limit)
	if err != nil {
		return nil, fmt.Errorf("read the state log: %w", err)
	}
	size := 0
	for _, r := range rows {
		out.Rows = append(out.Rows, api.StateRow{Seq: r.Seq, Body: r.Body, Signature: r.Signature})
		if size += len(r.Body); size > pageBytes {
			break
		}
	}
	return out, nil
}
