package adminapi

import (
	"context"

	"github.com/danielgtaylor/huma/v2"

	"github.com/mintmark/mintmark/internal/control"
)

// Route is one operation: what it is called, who may call it, what it does.
type Route struct {
	ID, Method, Path string
	// Roles of which a caller needs one; nil needs no admin token at all.
	Roles   []Role
	Summary string
	// Basic lets a caller that can't obtain a token come with its client's id and
	// secret, as HTTP Basic.
	Basic    bool
	register func(s *Server, op huma.Operation)
}

// Sets of roles that the table uses.
var (
	anybody   = []Role{Viewer, Operator, Security, Admin}
	operators = []Role{Operator, Admin}
	guards    = []Role{Operator, Security, Admin} // who may take away
	security  = []Role{Security, Admin}
	admins    = []Role{Admin}
	drivers   = []Role{Pipeline, Operator, Admin}                         // who moves rollouts
	brakes    = []Role{Pipeline, Operator, Security, Admin}               // who stops them
	watchers  = []Role{Gate, Pipeline, Viewer, Operator, Security, Admin} // who sees how they go
	nobody    []Role                                                      // no admin token: the operation has a proof of its own
)

// Inputs by shape. The generic ones keep one row a line.
type (
	none        struct{}
	body[T any] struct {
		Key  string `header:"Idempotency-Key" maxLength:"255" doc:"Repeats the answer instead of the deed when sent again."`
		Body T
	}
	byID struct {
		ID string `path:"id" maxLength:"255"`
	}
	bodyByID[T any] struct {
		ID   string `path:"id" maxLength:"255"`
		Key  string `header:"Idempotency-Key" maxLength:"255" doc:"Repeats the answer instead of the deed when sent again."`
		Body T
	}
	page struct {
		After string `query:"after" maxLength:"255" doc:"Last id of the page before."`
	}
	out[T any] struct{ Body *T }
)

// row builds a route whose operation takes In and answers Out.
func row[In, Out any](id, method, path string, roles []Role, summary string, do func(s *Server, ctx context.Context, in *In) (*Out, error)) Route {
	return Route{ID: id, Method: method, Path: path, Roles: roles, Summary: summary, register: func(s *Server, op huma.Operation) {
		huma.Register(s.api, op, func(ctx context.Context, in *In) (*out[Out], error) {
			v, err := do(s, ctx, in)
			if err != nil {
				return nil, s.problem(err)
			}
			return &out[Out]{v}, nil
		})
	}}
}

// once builds a route for a deed that is kept under its idempotency key.
func once[Req, Out any](id, path string, roles []Role, summary string, do func(s *Server, ctx context.Context, actor string, r Req) (*Out, error)) Route {
	return row(id, "POST", path, roles, summary, func(s *Server, ctx context.Context, in *body[Req]) (*Out, error) {
		actor := actorOf(ctx)
		return control.Once(ctx, s.cfg.Control, actor, in.Key, id, in.Body, func(ctx context.Context) (*Out, error) { return do(s, ctx, actor, in.Body) })
	})
}

// Table is every operation of the admin API.
func Table() []Route {
	routes := [][]Route{tokenRoutes(), revocationRoutes(), rolloutRoutes(), resourceRoutes(), accountRoutes(), fleetRoutes(), memberRoutes(), pipelineRoutes()}
	var all []Route
	for _, r := range routes {
		all = append(all, r...)
	}
	return all
}
