package adminapi

import (
	"context"

	"github.com/danielgtaylor/huma/v2"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/control"
	"github.com/mintmark/mintmark/internal/rollout"
)

// Route is one operation: what it is called, who may call it, what it does.
type Route struct {
	ID, Method, Path string
	// Roles of which a caller needs one; nil needs no admin token at all.
	Roles    []Role
	Summary  string
	register func(s *Server, op huma.Operation)
}

// Sets of roles that the table uses.
var (
	anybody   = []Role{Viewer, Operator, Security, Admin}
	operators = []Role{Operator, Admin}
	guards    = []Role{Operator, Security, Admin} // who may take away
	security  = []Role{Security, Admin}
	admins    = []Role{Admin}
	nobody    []Role // no admin token: the operation has a proof of its own
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

// step builds the route of one rollout verb.
func step(verb rollout.Verb, summary string) Route {
	id := string(verb) + "Rollout"
	return row(id, "POST", "/v1/rollouts/{id}:"+string(verb), operators, summary, func(s *Server, ctx context.Context, in *bodyByID[api.StepRequest]) (*api.RolloutAnswer, error) {
		actor := actorOf(ctx)
		return control.Once(ctx, s.cfg.Control, actor, in.Key, id+" "+in.ID, in.Body, func(ctx context.Context) (*api.RolloutAnswer, error) {
			return s.cfg.Control.StepRollout(ctx, actor, in.ID, verb, in.Body)
		})
	})
}

// Table is every operation of the admin API.
func Table() []Route {
	routes := [][]Route{tokenRoutes(), rolloutRoutes(), resourceRoutes(), accountRoutes(), fleetRoutes()}
	var all []Route
	for _, r := range routes {
		all = append(all, r...)
	}
	return all
}

func rolloutRoutes() []Route {
	return []Route{
		once("startRollout", "/v1/rollouts", operators, "Start a rollout", func(s *Server, ctx context.Context, actor string, r api.RolloutRequest) (*api.RolloutAnswer, error) {
			return s.cfg.Control.StartRollout(ctx, actor, r)
		}),
		row("planRollout", "POST", "/v1/rollouts:plan", anybody, "Say what a rollout and its rollback would mean", func(s *Server, ctx context.Context, in *body[api.RolloutRequest]) (*api.Plan, error) {
			return s.cfg.Control.Plan(ctx, in.Body.Service, in.Body.Candidate)
		}),
		row("listRollouts", "GET", "/v1/rollouts", anybody, "List rollouts, newest first", func(s *Server, ctx context.Context, _ *none) (*api.Rollouts, error) {
			return s.cfg.Control.Rollouts(ctx)
		}),
		row("getRollout", "GET", "/v1/rollouts/{id}", anybody, "Get a rollout, by id or by service", func(s *Server, ctx context.Context, in *byID) (*api.Rollout, error) {
			return s.cfg.Control.Rollout(ctx, in.ID)
		}),
		row("getRolloutPlan", "GET", "/v1/rollouts/{id}/plan", anybody, "Say what rolling back now would mean", func(s *Server, ctx context.Context, in *byID) (*api.Plan, error) {
			return s.cfg.Control.RolloutPlan(ctx, in.ID)
		}),
		step(rollout.VerbWeight, "Change the candidate's share"),
		step(rollout.VerbPromote, "Give the candidate all traffic"),
		step(rollout.VerbFinalise, "Make the candidate the stable release"),
		step(rollout.VerbRollback, "Take the candidate back"),
		row("listReleases", "GET", "/v1/releases", anybody, "List releases", func(s *Server, ctx context.Context, in *struct {
			Service string `query:"service" maxLength:"63"`
		},
		) (*api.Releases, error) {
			return s.cfg.Control.Releases(ctx, in.Service)
		}),
		row("getRelease", "GET", "/v1/releases/{service}/{name}", anybody, "Get a release", func(s *Server, ctx context.Context, in *struct {
			Service string `path:"service" maxLength:"63"`
			Name    string `path:"name" maxLength:"63"`
		},
		) (*api.Release, error) {
			return s.cfg.Control.Release(ctx, mintmark.NewReleaseID(in.Service, in.Name))
		}),
		row("listReceipts", "GET", "/v1/receipts", anybody, "List receipts, newest first", func(s *Server, ctx context.Context, _ *none) (*api.Receipts, error) {
			return s.cfg.Control.Receipts(ctx)
		}),
		row("getReceipt", "GET", "/v1/receipts/{id}", anybody, "Get a receipt", func(s *Server, ctx context.Context, in *byID) (*mintmark.Receipt, error) {
			return s.cfg.Control.Receipt(ctx, mintmark.ReceiptID(in.ID))
		}),
	}
}
