package fleet

import (
	"context"
	"crypto"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/epoch"
	"github.com/mintmark/mintmark/internal/ledger"
)

// ReceiptRequest is what the caller knows for a receipt; the rest is the fleet's.
type ReceiptRequest struct {
	ID           mintmark.ReceiptID // empty: made
	Release      mintmark.ReleaseID // taken back
	Dispositions []mintmark.DispositionCount
	Tokens       int64
	// Approver and BreakGlass are as in mintmark.Receipt.
	Approver   string
	BreakGlass bool
	// Evidence is as in mintmark.Receipt.
	Evidence *mintmark.Evidence
}

// newReceipt is a receipt at the moment of its commit: pending, and without the
// row's hash, which is read when it is completed.
func (f *Fleet) newReceipt(c Change, seq, number uint64) mintmark.Receipt {
	now := f.cfg.Now().UTC()
	return mintmark.Receipt{
		ID: c.Receipt.ID, Kind: c.Kind, Term: f.term, Seq: seq, Epoch: number,
		Rollout: c.Rollout, Release: c.Receipt.Release, Actor: c.Actor, Reason: c.Reason,
		Outcome: mintmark.OutcomePending, Committed: now, Returned: now,
		Revocations: c.Revocations, Dispositions: c.Receipt.Dispositions, Tokens: c.Receipt.Tokens,
		Approver: c.Receipt.Approver, BreakGlass: c.Receipt.BreakGlass,
		Evidence: c.Receipt.Evidence,
		KeyID:    f.cfg.KeyID,
	}
}

func receiptEvent(r mintmark.Receipt) (mintmark.Event, error) {
	body, err := json.Marshal(r)
	if err != nil {
		return mintmark.Event{}, fmt.Errorf("write receipt: %w", err)
	}
	return mintmark.Event{
		Stream: ledger.DocReceipt + "/" + string(r.ID), Type: "receipt.written", Actor: r.Actor, Release: r.Release, Data: body,
	}, nil
}

// Receipt reads a receipt. ledger.ErrNotFound when there is none.
func (f *Fleet) Receipt(ctx context.Context, id mintmark.ReceiptID) (mintmark.Receipt, error) {
	var r mintmark.Receipt
	d, err := f.cfg.Store.Document(ctx, ledger.DocReceipt, string(id))
	if err == nil {
		err = json.Unmarshal(d.Body, &r)
	}
	if err != nil {
		return r, fmt.Errorf("read receipt %s: %w", id, err)
	}
	return r, nil
}

// complete signs a receipt and stores it. The commit it tells of is durable
// already; dying here leaves the pending one, which Run completes.
func (f *Fleet) complete(ctx context.Context, r *mintmark.Receipt) error {
	if err := SignReceipt(r, f.cfg.Key, f.cfg.KeyID); err != nil {
		return err
	}
	event, err := receiptEvent(*r)
	if err != nil {
		return err
	}
	if _, err := f.cfg.Ledger.Append(ctx, ledger.Batch{Events: []mintmark.Event{event}}); err != nil {
		return fmt.Errorf("store receipt %s: %w", r.ID, err)
	}
	f.outstanding(r.ID, r.Outcome == mintmark.OutcomePending)
	return nil
}

// SignReceipt signs a receipt with control's state key.
func SignReceipt(r *mintmark.Receipt, key crypto.Signer, kid string) error {
	r.KeyID, r.Signature = kid, ""
	body, err := receiptBytes(*r)
	if err != nil {
		return err
	}
	sig, err := key.Sign(nil, body, crypto.Hash(0))
	if err != nil {
		return fmt.Errorf("sign receipt %s: %w", r.ID, err)
	}
	r.Signature = base64.RawURLEncoding.EncodeToString(sig)
	return nil
}

// receiptBytes are what is signed (mintmark.Receipt.Signature says what).
func receiptBytes(r mintmark.Receipt) ([]byte, error) {
	r.Signature = ""
	body, _, err := epoch.Encode(r)
	if err != nil {
		return nil, fmt.Errorf("encode receipt: %w", err)
	}
	return append([]byte(mintmark.ReceiptDomain), body...), nil
}

// resume completes the receipts that nobody waits for any more: of callers that
// went away, deadlines hit, and earlier control processes. What those left behind
// is looked for once, among all; after that the pending ones are known.
func (f *Fleet) resume(ctx context.Context) {
	f.mu.Lock()
	sought := f.sought
	f.mu.Unlock()
	if !sought && !f.seek(ctx) {
		return
	}
	f.mu.Lock()
	open := slices.Sorted(maps.Keys(f.pending))
	f.mu.Unlock()
	for _, id := range open {
		if ctx.Err() != nil {
			return
		}
		r, err := f.Receipt(ctx, id)
		switch {
		case errors.Is(err, ledger.ErrNotFound):
			f.outstanding(id, false) // its commit did not happen
		case err != nil:
			return // asked for again
		case r.Outcome != mintmark.OutcomePending:
			f.outstanding(id, false)
		default:
			f.settle(ctx, r)
		}
	}
}

// seek reads which receipts are pending; false when that could not be read.
func (f *Fleet) seek(ctx context.Context) bool {
	after := ""
	for {
		docs, err := f.cfg.Store.Documents(ctx, ledger.DocReceipt, after, 200)
		if err != nil {
			return false
		}
		for _, d := range docs {
			after = d.ID
			var r struct {
				Outcome mintmark.Outcome `json:"outcome"`
			}
			if json.Unmarshal(d.Body, &r) == nil && r.Outcome == mintmark.OutcomePending {
				f.outstanding(mintmark.ReceiptID(d.ID), true)
			}
		}
		if len(docs) == 0 {
			break
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sought = true
	return true
}

// outstanding notes that a receipt is pending, or no longer.
func (f *Fleet) outstanding(id mintmark.ReceiptID, pending bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if pending {
		f.pending[id] = true
	} else {
		delete(f.pending, id)
	}
}

// settle completes one receipt if its row has come to everybody by now.
func (f *Fleet) settle(ctx context.Context, r mintmark.Receipt) {
	b, err := f.barrier(ctx, &r)
	if err != nil {
		f.cfg.Log.Warn("receipt not completed", "receipt", r.ID, "error", err)
		return
	}
	if open, _ := b.look(f); open {
		return
	}
	b.write(&r, f)
	if err := f.complete(ctx, &r); err != nil {
		f.cfg.Log.Warn("receipt not completed", "receipt", r.ID, "error", err)
	}
}

// resumeEvery is how often pending receipts are looked at.
const resumeEvery = 2 * time.Second
