package api

import (
	"context"
	"encoding/json"
	"net/url"
	"strconv"

	"github.com/mintmark/mintmark"
)

// ReceiptTexts is a page of receipts as control keeps them, oldest first: the
// members as they were signed, also those that this version does not know.
type ReceiptTexts struct {
	Receipts []json.RawMessage `json:"receipts"`
	// Next is the id to ask for the page after with; empty after the last.
	Next mintmark.ReceiptID `json:"next,omitempty"`
}

// StateRow is a row of the state log as it was signed.
type StateRow struct {
	Seq  uint64 `json:"seq"`
	Body []byte `json:"body"` // canonical JSON
	// Signature is Ed25519 over "mintmark-row-v1\n" and Body.
	Signature []byte `json:"sig"`
}

// StateRows is a page of the state log, in order and without gaps.
type StateRows struct {
	Rows []StateRow `json:"rows"`
	Head uint64     `json:"head"` // the last row's number
}

// ReceiptTexts returns up to limit (1 to 500; 0 is 100) receipts after one.
func (c *Client) ReceiptTexts(ctx context.Context, after mintmark.ReceiptID, limit int) (*ReceiptTexts, error) {
	return call[ReceiptTexts](ctx, c, "GET", query("/v1/receipt-texts", paged(string(after), limit)), nil)
}

// StateRows returns up to limit (1 to 500; 0 is 100) rows after a number.
func (c *Client) StateRows(ctx context.Context, after uint64, limit int) (*StateRows, error) {
	return call[StateRows](ctx, c, "GET", query("/v1/state-log", paged(strconv.FormatUint(after, 10), limit)), nil)
}

func paged(after string, limit int) url.Values {
	v := url.Values{}
	if after != "" {
		v.Set("after", after)
	}
	if limit != 0 {
		v.Set("limit", strconv.Itoa(limit))
	}
	return v
}

// ReceiptText returns one receipt with the members that control shows, also those
// that this version does not know.
func (c *Client) ReceiptText(ctx context.Context, id mintmark.ReceiptID) (json.RawMessage, error) {
	var raw json.RawMessage
	err := c.Do(ctx, "GET", path("receipts", string(id)), nil, &raw)
	return raw, err
}
