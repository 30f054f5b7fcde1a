package adminapi

import (
	"context"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/api"
)

// memberRoutes change who follows the state log.
func memberRoutes() []Route {
	return []Route{
		row("removeGateway", "POST", "/v1/gateways/{id}:remove", guards, "Cut a gateway off and refuse its credential",
			func(s *Server, ctx context.Context, in *bodyByID[api.StepRequest]) (*api.Gateway, error) {
				if s.cfg.Joining == nil {
					return nil, notSupported("joining")
				}
				id := mintmark.GatewayID(in.ID)
				if err := s.cfg.Joining.Remove(ctx, actorOf(ctx), id); err != nil {
					return nil, err
				}
				return &api.Gateway{ID: id, State: "removed"}, nil
			}),
	}
}
