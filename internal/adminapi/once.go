package adminapi

import (
	"context"

	"github.com/mintmark/mintmark/internal/control"
)

// onceByID is once for what an id in the path names.
func onceByID[Req, Out any](id, path string, roles []Role, summary string, do func(s *Server, ctx context.Context, actor, target string, r Req) (*Out, error)) Route {
	return row(id, "POST", path, roles, summary, func(s *Server, ctx context.Context, in *bodyByID[Req]) (*Out, error) {
		actor := actorOf(ctx)
		return control.Once(ctx, s.cfg.Control, actor, in.Key, id+" "+in.ID, in.Body, func(ctx context.Context) (*Out, error) {
			return do(s, ctx, actor, in.ID, in.Body)
		})
	})
}
