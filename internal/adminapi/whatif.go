package adminapi

import (
	"context"

	"github.com/mintmark/mintmark/api"
)

// whatIfRoutes say what would be, and change nothing.
func whatIfRoutes() []Route {
	return []Route{
		row("listStranded", "GET", "/v1/rollouts/{id}/stranded", anybody, "List the candidate's tokens that the stable release would not go on with", func(s *Server, ctx context.Context, in *byID) (*api.Stranded, error) {
			return s.cfg.Control.Stranded(ctx, in.ID)
		}),
		row("simulateResources", "POST", "/v1/resources:simulate", anybody, "Say what applying would have changed for recorded requests", func(s *Server, ctx context.Context, in *body[api.SimulateRequest]) (*api.Simulation, error) {
			return s.cfg.Control.Simulate(ctx, in.Body)
		}),
		row("listRecorded", "GET", "/v1/recorded", anybody, "List redacted records of requests", func(s *Server, _ context.Context, in *struct {
			Recorded string `query:"recorded" maxLength:"20" doc:"How far back, such as 1h; all that are kept when left out."`
			Service  string `query:"service" maxLength:"63"`
		},
		) (*api.Recorded, error) {
			return s.cfg.Control.RecordedRequests(in.Recorded, in.Service)
		}),
	}
}
