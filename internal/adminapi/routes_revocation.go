package adminapi

import (
	"context"
	"slices"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/control"
)

// revocationRoutes are what takes tokens back, and gives them back.
func revocationRoutes() []Route {
	return []Route{
		once("revoke", "/v1/revocations", guards, "Revoke or suspend tokens", func(s *Server, ctx context.Context, actor string, r api.RevokeRequest) (*api.RevokeAnswer, error) {
			if err := mayBreak(ctx, r.BreakGlass); err != nil {
				return nil, err
			}
			return s.cfg.Control.Revoke(ctx, actor, r)
		}),
		once("restore", "/v1/restores", guards, "End a suspension", func(s *Server, ctx context.Context, actor string, r api.RestoreRequest) (*api.RevokeAnswer, error) {
			return s.cfg.Control.Restore(ctx, actor, r)
		}),
		row("listRevocations", "GET", "/v1/revocations", anybody, "List the revocations in force", func(s *Server, ctx context.Context, in *struct {
			After  string `query:"after" maxLength:"255" doc:"Last id of the page before."`
			Limit  int    `query:"limit" minimum:"0" maximum:"500" doc:"How many; 500 when left out, 50 with counts."`
			Counts bool   `query:"counts" doc:"Count the live tokens that each reaches; 50 at most then."`
		},
		) (*api.Revocations, error) {
			return s.cfg.Control.Revocations(ctx, api.RevocationQuery{After: mintmark.RevocationID(in.After), Limit: in.Limit, Counts: in.Counts})
		}),
		row("getRevocation", "GET", "/v1/revocations/{id}", anybody, "Get a revocation, in force or pending, with what it reaches", func(s *Server, ctx context.Context, in *byID) (*api.RevocationDetail, error) {
			return s.cfg.Control.Revocation(ctx, mintmark.RevocationID(in.ID))
		}),
		row("listPendingRevocations", "GET", "/v1/pending-revocations", anybody, "List revocations that wait or waited for a second person", func(s *Server, ctx context.Context, _ *none) (*api.PendingRevocations, error) {
			return s.cfg.Control.PendingRevocations(ctx)
		}),
		row("approveRevocation", "POST", "/v1/revocations/{id}:approve", security, "Carry out a pending revocation, as the second person", func(s *Server, ctx context.Context, in *bodyByID[api.DecideRequest]) (*api.RevokeAnswer, error) {
			actor := actorOf(ctx)
			return control.Once(ctx, s.cfg.Control, actor, in.Key, "approveRevocation "+in.ID, in.Body, func(ctx context.Context) (*api.RevokeAnswer, error) {
				return s.cfg.Control.Approve(ctx, actor, mintmark.RevocationID(in.ID), in.Body)
			})
		}),
		// Its requester may take it back, whatever his role; control sees to the rest.
		row("denyRevocation", "POST", "/v1/revocations/{id}:deny", guards, "End a pending revocation without effect", func(s *Server, ctx context.Context, in *bodyByID[api.DecideRequest]) (*api.PendingRevocation, error) {
			actor := actorOf(ctx)
			if !holds(ctx, security) {
				d, err := s.cfg.Control.Revocation(ctx, mintmark.RevocationID(in.ID))
				if err != nil {
					return nil, err
				}
				if d.Pending == nil || d.Pending.Requester != actor {
					return nil, api.NewProblem(api.CodeForbidden, "to deny what another asked for needs the role security", "ask an operator with that role")
				}
			}
			return s.cfg.Control.Deny(ctx, actor, mintmark.RevocationID(in.ID), in.Body)
		}),
	}
}

// holds reports whether the caller has one of some roles.
func holds(ctx context.Context, roles []Role) bool {
	c, _ := ctx.Value(callerKey{}).(Caller)
	return slices.ContainsFunc(c.Roles, func(r Role) bool { return slices.Contains(roles, r) })
}
