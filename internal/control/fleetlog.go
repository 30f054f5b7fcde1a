package control

import (
	"context"
	"encoding/base64"
	"time"

	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/epoch"
	"github.com/mintmark/mintmark/internal/fleet"
)

// Fleet makes a fleet control's StateLog and State.
type Fleet struct {
	*fleet.Fleet
	// Wall is for people: when a gateway was last heard.
	Wall func() time.Time
}

// Commit implements StateLog.
func (f Fleet) Commit(ctx context.Context, c Change) (Committed, error) {
	r, err := f.Fleet.Commit(ctx, fleet.Change{
		Kind: c.Kind, Rollout: c.Rollout, Parts: c.Parts, Revocations: c.Revocations, Restores: c.Restores, Also: c.Also,
		Actor: c.Actor, Reason: c.Reason,
		Receipt: &fleet.ReceiptRequest{ID: c.Receipt, Release: c.Release, Dispositions: c.Dispositions, Tokens: c.Tokens, Approver: c.Approver, BreakGlass: c.BreakGlass, Evidence: c.Evidence},
	})
	return Committed{Seq: r.RowSeq, Epoch: r.Epoch, Issued: r.Row.Issued, Receipt: r.Receipt}, err
}

// Stage implements StateLog.
func (f Fleet) Stage(ctx context.Context, name string, parts map[epoch.PartName][]byte) error {
	_, err := f.Fleet.Stage(ctx, name, parts)
	return err
}

// Gateways implements State.
func (f Fleet) Gateways() []api.Gateway {
	list := f.Fleet.Gateways()
	out := make([]api.Gateway, len(list))
	for i, g := range list {
		out[i] = api.Gateway{
			ID: g.Gateway, Boot: g.Boot, Version: g.Version, State: g.State, Term: g.Term, Epoch: g.Epoch, Seq: g.Seq,
			LeaseMS: g.Lease.Milliseconds(), MaxBudgetMS: g.MaxBudget.Milliseconds(), Static: g.Static,
			CredentialEnds: g.Credential, Suspect: g.Suspect, ClaimsRefused: g.Refused,
		}
		if g.Silent >= 0 {
			out[i].LastSeen = f.Wall().Add(-g.Silent).UTC()
		}
	}
	return out
}

// StateKeys lists the public keys that verify receipts among the key ids given.
func (f Fleet) StateKeys(kids ...string) map[string]string {
	out := map[string]string{}
	for _, kid := range kids {
		if pub := f.StateKey(kid); pub != nil {
			out[kid] = base64.RawURLEncoding.EncodeToString(pub)
		}
	}
	return out
}

var _ interface {
	StateLog
	State
} = Fleet{}
