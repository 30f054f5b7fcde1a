package projection

import (
	"encoding/json"
	"fmt"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/epoch"
	"github.com/mintmark/mintmark/internal/ledger"
)

// foldRow takes a state-log row apart: the row itself, the revocations it brings
// into force and those it takes out.
func foldRow(e *mintmark.Event) (ledger.Changes, error) {
	var signed epoch.SignedRow
	if err := decode(e, &signed); err != nil {
		return ledger.Changes{}, err
	}
	var r epoch.Row
	if err := json.Unmarshal(signed.Body, &r); err != nil {
		return ledger.Changes{}, fmt.Errorf("state-log row: %w", err)
	}
	row := &ledger.StateRow{
		Seq: r.Seq, Hash: signed.Hash(), Prev: r.Prev, Term: r.Term, Issued: r.Issued,
		Event: e.Seq, Body: signed.Body, Signature: signed.Signature, Restores: r.Restores,
	}
	if r.Commit != nil {
		row.Epoch = r.Commit.Epoch
	}
	for i := range r.Revocations {
		v := &r.Revocations[i]
		body, err := json.Marshal(v)
		if err != nil {
			return ledger.Changes{}, err
		}
		row.Revocations = append(row.Revocations, ledger.ActiveRevocation{ID: v.ID, RowSeq: r.Seq, Forget: v.Forget, Body: body})
	}
	return ledger.Changes{Row: row}, nil
}
