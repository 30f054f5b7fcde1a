package main

import (
	"context"
	"encoding/json"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/authority"
	"github.com/mintmark/mintmark/internal/control"
	"github.com/mintmark/mintmark/internal/epoch"
	"github.com/mintmark/mintmark/internal/fleet"
)

// The types of this file fit one role's method set to the few methods that
// another asks for. They decide nothing.

type gatewayID = mintmark.GatewayID

// stateLog is the fleet as control writes to it.
type stateLog struct{ *fleet.Fleet }

func (s stateLog) Commit(ctx context.Context, c control.Change) (control.Committed, error) {
	r, err := s.Fleet.Commit(ctx, fleet.Change{
		Kind: c.Kind, Rollout: c.Rollout, Parts: c.Parts, Revocations: c.Revocations, Restores: c.Restores,
		Also: c.Also, Actor: c.Actor, Reason: c.Reason,
		Receipt: &fleet.ReceiptRequest{Release: c.Release, Tokens: c.Tokens, Dispositions: c.Dispositions},
	})
	if err != nil {
		return control.Committed{}, err
	}
	return control.Committed{Seq: r.RowSeq, Epoch: r.Epoch, Issued: r.Row.Issued, Receipt: r.Receipt}, nil
}

func (s stateLog) Stage(ctx context.Context, name string, parts map[epoch.PartName][]byte) error {
	_, err := s.Fleet.Stage(ctx, name, parts)
	return err
}

// members is the fleet as control describes it.
type members struct {
	*fleet.Fleet
	now func() time.Time
}

func (m members) Gateways() []api.Gateway {
	in := m.Fleet.Gateways()
	out := make([]api.Gateway, len(in))
	for i, g := range in {
		out[i] = api.Gateway{
			ID: g.Gateway, Boot: g.Boot, Version: g.Version, State: g.State, Term: g.Term, Epoch: g.Epoch, Seq: g.Seq,
			LeaseMS: g.Lease.Milliseconds(), MaxBudgetMS: g.MaxBudget.Milliseconds(), Static: g.Static,
		}
		if g.Silent >= 0 {
			out[i].LastSeen = m.now().Add(-g.Silent).UTC()
		}
	}
	return out
}

// clientSecrets makes client secrets for control.
type clientSecrets struct{ *authority.Authority }

func (s clientSecrets) NewClientSecret() (string, json.RawMessage, error) {
	v, stored, err := s.Authority.NewClientSecret()
	if err != nil {
		return "", nil, err
	}
	b, err := json.Marshal(stored)
	return v.Reveal(), b, err
}
