package storetest

import (
	"errors"
	"testing"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/bus"
	"github.com/mintmark/mintmark/internal/epoch"
	"github.com/mintmark/mintmark/internal/ledger"
)

func testStateLog(t *testing.T, open Open) {
	b := Start(t, open(t, t.TempDir()))
	b.Reserve()
	b.Reserve()
	rev := mintmark.Revocation{ID: "rev_1", Action: mintmark.ActionRevoke, Selector: mintmark.Selector{Subject: "ann"}, Made: 1}
	c := b.Must(t, ledger.Batch{Row: b.Row(func(r *epoch.Row) {
		if r.Issued != 2 {
			t.Errorf("row names issuance %d, want 2", r.Issued)
		}
		r.Revocations = []mintmark.Revocation{rev, {ID: "rev_2", Action: mintmark.ActionSuspend, Selector: mintmark.Selector{Client: "web"}, Forget: 1}}
	})})
	if c.RowSeq != 1 || c.First == 0 {
		t.Errorf("committed %+v", c)
	}
	_, e := b.Token(nil)
	b.Must(t, ledger.Batch{Events: []mintmark.Event{e}, AsOf: 1})
	c2 := b.Must(t, ledger.Batch{Row: b.Row(func(r *epoch.Row) { r.Restores = []mintmark.RevocationID{"rev_2"} }), AsOf: 1})
	if _, err := b.Append(bg, ledger.Batch{Events: []mintmark.Event{e}, AsOf: 1}); !errors.Is(err, ledger.ErrStale) {
		t.Errorf("decided before row 2: %v", err)
	}
	rows, err := b.Store.StateRows(bg, 1, 10)
	if err != nil || len(rows) != 2 || rows[1].Prev != c.RowHash || rows[1].Hash != c2.RowHash {
		t.Errorf("rows %v, %v", rows, err)
	}
	if seq, hash, term, err := b.Store.StateHead(bg); seq != 2 || hash != c2.RowHash || term != 1 || err != nil {
		t.Errorf("head %d %x %d %v", seq, hash, term, err)
	}
	active, err := b.Store.ActiveRevocations(bg, ledger.ActiveRevocation{}, 10)
	if err != nil || len(active) != 1 || active[0].ID != "rev_1" || active[0].RowSeq != 1 {
		t.Errorf("active %v, %v", active, err)
	}
	if r := b.Verify(t); r.Rows != 2 {
		t.Errorf("report %+v", r)
	}
}

func testUsage(t *testing.T, open Open) {
	b := Start(t, open(t, t.TempDir()))
	id, e := b.Token(nil)
	b.Must(t, ledger.Batch{Events: []mintmark.Event{e}})
	now := b.Clock.Load()
	batch := func(seq uint64) ledger.Batch {
		return ledger.Batch{Events: []mintmark.Event{Event("gateway/gw", mintmark.EventUsageRecorded, bus.RecordBatch{
			V: 1, Gateway: "gw", Boot: "boot_1", Seq: seq,
			Usage: []bus.UsageDelta{
				{Token: id, Release: "orders/v1", Served: "orders/v2", Route: "orders/list", N: 3, First: now + 5, Last: now + 10},
				{Token: id, Release: "orders/v1", Served: "orders/v2", Route: "orders/list", N: 2, First: now, Last: now + 7},
				{Token: id, Release: "orders/v1", Route: "orders/\"né\x01", Code: mintmark.CodeScope, N: 1, First: now + 20, Last: now + 20},
				{Route: "orders/list", Code: mintmark.CodeMalformed, N: 4, First: now, Last: now},
			},
			Foreign: []mintmark.Token{{ID: "fgn_1", Kind: mintmark.KindForeign, Subject: "eve"}, {ID: "tok_fake", Kind: mintmark.KindAPIKey}},
		})}}
	}
	for _, seq := range []uint64{1, 3, 2} { // out of turn
		b.Must(t, batch(seq))
	}
	for _, seq := range []uint64{1, 2, 3} {
		if _, err := b.Append(bg, batch(seq)); !errors.Is(err, ledger.ErrUsed) {
			t.Errorf("batch %d again: %v", seq, err)
		}
	}
	u, routes, err := b.Store.UsageOf(bg, id)
	if err != nil || u.Uses != 15 || u.Refused != 3 || u.First != now || u.Last != now+20 || u.Gateway != "gw" || len(routes) != 2 {
		t.Errorf("usage %+v %+v, %v", u, routes, err)
	}
	if row, _ := b.Store.TokenByID(bg, id); row.Uses != 15 || row.FirstSeen != now {
		t.Errorf("row %+v", row)
	}
	if row, err := b.Store.TokenByID(bg, "fgn_1"); err != nil || row.State != mintmark.StateActive {
		t.Errorf("foreign: %v, %v", row.State, err)
	}
	if _, err := b.Store.TokenByID(bg, "tok_fake"); !errors.Is(err, ledger.ErrNotFound) {
		t.Error("a gateway made up a token of ours")
	}
	hours, err := b.Store.UsageHours(bg, 0, 1<<40)
	var n uint64
	for _, h := range hours {
		n += h.N
	}
	if err != nil || n != 30 {
		t.Errorf("hours %v, %v", hours, err)
	}
	if r := b.Verify(t); r.States["active"] != 2 {
		t.Errorf("report %+v", r)
	}
}
