package adminapi_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/control/controltest"
	"github.com/mintmark/mintmark/internal/epoch"
	"github.com/mintmark/mintmark/internal/receipt"
)

// What control exports verifies with its public keys alone, and nothing that was
// changed on the way does.
func TestExportVerifies(t *testing.T) {
	w, _, as := serve(t)
	ctx := t.Context()
	c := as("operator")
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	_, err := c.Apply(ctx, api.ApplyRequest{Files: []api.File{{Name: "shop.yaml", Text: controltest.Shop}}, Wait: true})
	ok(err)
	for range 3 {
		_, err := c.Revoke(ctx, api.RevokeRequest{Selector: "token=tok_1", Reason: "lost <it> & \u2028", Wait: true})
		ok(err)
	}
	var out bytes.Buffer
	x := receipt.NewWriter(&out, time.Now())
	rows := uint64(0)
	for {
		page, err := as("viewer").StateRows(ctx, rows, 2)
		ok(err)
		if len(page.Rows) == 0 {
			if rows != page.Head || rows < 4 {
				t.Fatalf("%d rows, head %d", rows, page.Head)
			}
			break
		}
		for _, r := range page.Rows {
			ok(x.Row(epoch.SignedRow{Body: r.Body, Signature: r.Signature}))
			rows = r.Seq
		}
	}
	receipts, after := 0, mintmark.ReceiptID("")
	for {
		page, err := as("viewer").ReceiptTexts(ctx, after, 2)
		ok(err)
		for _, text := range page.Receipts {
			ok(x.Receipt(text))
			receipts++
		}
		if after = page.Next; after == "" {
			break
		}
	}
	ok(x.Close())
	keys := receipt.Keys{"state-1": w.Fleet.StateKey("state-1")}
	r, err := receipt.Check(strings.NewReader(out.String()), keys)
	ok(err)
	if r.Err() != nil || receipts != 4 || r.Receipts != receipts || r.Rows != int(rows) || r.Alone != 0 || r.Gaps != 0 {
		t.Errorf("%d receipts, %d rows: %+v", receipts, rows, r)
	}
	altered := strings.Replace(out.String(), `"actor":"user:ada"`, `"actor":"user:eve"`, 1)
	if r, _ = receipt.Check(strings.NewReader(altered), keys); r.Err() == nil {
		t.Error("an altered export verifies")
	}
	if list, err := c.Receipts(ctx); err != nil || len(list.Receipts) == 0 {
		t.Error(err)
	} else if text, err := c.ReceiptText(ctx, list.Receipts[0].ID); err != nil {
		t.Error(err)
	} else if _, err := receipt.Verify(text, keys); err != nil {
		t.Errorf("one receipt as the API shows it: %v\n%s", err, text)
	}
}
