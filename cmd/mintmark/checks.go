package main

import (
	"context"
	"fmt"

	"github.com/mintmark/mintmark/api"
)

// onlineChecks proves what can be proved while serving. The whole proof needs the
// ledger at rest: mintmark verify.
type onlineChecks struct{ *plane }

// Verify implements adminapi.Checks.
func (p onlineChecks) Verify(ctx context.Context) (*api.Verification, error) {
	v := &api.Verification{OK: true}
	add := func(name, detail string, err error) {
		c := api.Check{Name: name, OK: err == nil, Detail: detail}
		if err != nil {
			c.Detail, v.OK = err.Error(), false
		}
		v.Checks = append(v.Checks, c)
	}
	head, err := p.store.Head(ctx)
	add("ledger readable", fmt.Sprintf("%d events, %d rows of the state log", head.Seq, head.RowSeq), err)
	if err == nil && head.Seq > 0 {
		verifier, err := auditVerifier(p.keys)
		if err == nil {
			_, err = verifier.Open(head.Signed)
		}
		add("checkpoint signed", fmt.Sprintf("tree of %d leaves", head.Seq), err)
	}
	// In force comes after durable: what is in force can never be ahead.
	snap := p.fleet.Current()
	var ahead error
	if snap.Seq > head.RowSeq+1 {
		ahead = fmt.Errorf("row %d is in force, the ledger has %d", snap.Seq, head.RowSeq)
	}
	add("state log in force", fmt.Sprintf("term %d, epoch %d, row %d", snap.Term, snap.Epoch, snap.Seq), ahead)
	return v, nil
}
