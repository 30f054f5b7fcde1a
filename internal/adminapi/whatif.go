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
	}
}
