package adminapi

import (
	"context"
	"fmt"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/bus"
	"github.com/mintmark/mintmark/internal/fleet"
)

// Fleet lets the fleet's join tokens be made and redeemed.
type Fleet struct {
	F *fleet.Fleet
	// Bus and CA say where joined gateways find the bus and whom to believe.
	Bus, CA string
	Now     func() time.Time
}

// Invite implements Joining.
func (f Fleet) Invite(ctx context.Context, actor string, r api.JoinTokenRequest) (*api.JoinToken, error) {
	ttl := 15 * time.Minute
	if r.TTL != "" {
		var err error
		if ttl, err = time.ParseDuration(r.TTL); err != nil || ttl < time.Second || ttl > 24*time.Hour {
			return nil, api.NewProblem(api.CodeInvalid, fmt.Sprintf("ttl %.40q is not a duration up to 24h", r.TTL), "write one like 15m")
		}
	}
	if r.Gateway != "" {
		if err := mintmark.CheckGatewayID(r.Gateway); err != nil {
			return nil, api.NewProblem(api.CodeInvalid, err.Error(), "")
		}
	}
	token, err := f.F.Invite(ctx, r.Gateway, ttl, f.F.JoinAnswer(f.Bus, f.CA), actor)
	if err != nil {
		return nil, err
	}
	return &api.JoinToken{Gateway: r.Gateway, Value: token.Reveal(), Expires: f.Now().Add(ttl).UTC()}, nil
}

// Join implements Joining.
func (f Fleet) Join(ctx context.Context, token mintmark.Secret, r api.JoinRequest) (*api.JoinReply, error) {
	a, err := f.F.Join(ctx, bus.JoinRequest{V: r.V, Token: token, Gateway: r.Gateway, NKey: r.NKey, Version: r.Version}, f.F.JoinAnswer(f.Bus, f.CA))
	if err != nil {
		return nil, err
	}
	return &api.JoinReply{V: a.V, Gateway: a.Gateway, Bus: a.Bus, CA: a.CA, StateKeys: a.StateKeys, LeaseMS: a.LeaseMS}, nil
}

// Remove implements Joining.
func (f Fleet) Remove(ctx context.Context, actor string, id mintmark.GatewayID) error {
	return f.F.Remove(ctx, id, actor)
}

var _ Joining = Fleet{}
