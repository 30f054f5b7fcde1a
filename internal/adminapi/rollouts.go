package adminapi

import (
	"context"
	"fmt"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/control"
	"github.com/mintmark/mintmark/internal/rollout"
)

// step builds the route of one rollout verb.
func step(verb rollout.Verb, roles []Role, summary string) Route {
	id := string(verb) + "Rollout"
	return row(id, "POST", "/v1/rollouts/{id}:"+string(verb), roles, summary, func(s *Server, ctx context.Context, in *bodyByID[api.StepRequest]) (*api.RolloutAnswer, error) {
		actor := actorOf(ctx)
		return control.Once(ctx, s.cfg.Control, actor, in.Key, id+" "+in.ID, in.Body, func(ctx context.Context) (*api.RolloutAnswer, error) {
			return s.cfg.Control.StepRollout(ctx, actor, rolesOf(ctx), in.ID, verb, in.Body)
		})
	})
}

func rolesOf(ctx context.Context) []string {
	c, _ := ctx.Value(callerKey{}).(Caller)
	out := make([]string, len(c.Roles))
	for i, r := range c.Roles {
		out[i] = string(r)
	}
	return out
}

func rolloutRoutes() []Route {
	return []Route{
		once("startRollout", "/v1/rollouts", drivers, "Start a rollout", func(s *Server, ctx context.Context, actor string, r api.RolloutRequest) (*api.RolloutAnswer, error) {
			return s.cfg.Control.StartRollout(ctx, actor, r)
		}),
		row("planRollout", "POST", "/v1/rollouts:plan", watchers, "Say what a rollout and its rollback would mean", func(s *Server, ctx context.Context, in *body[api.RolloutRequest]) (*api.Plan, error) {
			return s.cfg.Control.Plan(ctx, in.Body.Service, in.Body.Candidate, in.Body.Resources...)
		}),
		row("listRollouts", "GET", "/v1/rollouts", watchers, "List rollouts, newest first", func(s *Server, ctx context.Context, _ *none) (*api.Rollouts, error) {
			return s.cfg.Control.Rollouts(ctx)
		}),
		row("getRollout", "GET", "/v1/rollouts/{id}", watchers, "Get a rollout, by id or by service", func(s *Server, ctx context.Context, in *byID) (*api.Rollout, error) {
			return s.cfg.Control.Rollout(ctx, in.ID)
		}),
		row("getRolloutPlan", "GET", "/v1/rollouts/{id}/plan", watchers, "Say what rolling back now would mean", func(s *Server, ctx context.Context, in *byID) (*api.Plan, error) {
			return s.cfg.Control.RolloutPlan(ctx, in.ID)
		}),
		row("getRolloutGate", "GET", "/v1/rollouts/{id}/gate", watchers, "Get the verdict about a rollout, waiting for one", func(s *Server, ctx context.Context, in *struct {
			ID   string `path:"id" maxLength:"255"`
			Wait string `query:"wait" maxLength:"20" doc:"How long to wait for a verdict other than wait, such as 30s; at most 1m."`
		},
		) (*api.Gate, error) {
			var wait time.Duration
			if in.Wait != "" {
				var err error
				if wait, err = time.ParseDuration(in.Wait); err != nil {
					return nil, fmt.Errorf("%w: wait %.20q: want a duration such as 30s", control.ErrInvalid, in.Wait)
				}
			}
			return s.cfg.Control.Gate(ctx, in.ID, wait)
		}),
		{ID: "followRollout", Method: "GET", Path: "/v1/rollouts/{id}/events", Roles: watchers, Summary: "Follow a rollout (server-sent events)", register: func(s *Server, op huma.Operation) {
			huma.Register(s.api, op, s.rolloutEvents)
		}},
		step(rollout.VerbWeight, drivers, "Change the candidate's share"),
		step(rollout.VerbPause, brakes, "Keep the candidate's share where it is"),
		step(rollout.VerbResume, drivers, "Let a paused rollout go on"),
		step(rollout.VerbApprove, anybody, "Approve the step that waits for it; the rollout says which roles may"),
		step(rollout.VerbPromote, drivers, "Give the candidate all traffic"),
		step(rollout.VerbFinalise, drivers, "Make the candidate the stable release"),
		step(rollout.VerbRollback, brakes, "Take the candidate back"),
		step(rollout.VerbAbort, brakes, "Take the candidate back, and say why"),
		step(rollout.VerbUndo, brakes, "Take back what was promoted or finalised"),
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
		row("exportReceipts", "GET", "/v1/receipt-texts", anybody, "Get receipts as they were signed, oldest first", func(s *Server, ctx context.Context, in *struct {
			After string `query:"after" maxLength:"255" doc:"Last id of the page before."`
			Limit int    `query:"limit" minimum:"0" maximum:"500" doc:"How many; 100 when left out."`
		},
		) (*api.ReceiptTexts, error) {
			return s.cfg.Control.ReceiptTexts(ctx, mintmark.ReceiptID(in.After), in.Limit)
		}),
		row("exportStateLog", "GET", "/v1/state-log", anybody, "Get rows of the state log as they were signed", func(s *Server, ctx context.Context, in *struct {
			After uint64 `query:"after" doc:"Number of the last row of the page before."`
			Limit int    `query:"limit" minimum:"0" maximum:"500" doc:"How many; 100 when left out."`
		},
		) (*api.StateRows, error) {
			return s.cfg.Control.StateRows(ctx, in.After, in.Limit)
		}),
		row("getReceipt", "GET", "/v1/receipts/{id}", watchers, "Get a receipt", func(s *Server, ctx context.Context, in *byID) (*mintmark.Receipt, error) {
			return s.cfg.Control.Receipt(ctx, mintmark.ReceiptID(in.ID))
		}),
	}
}
