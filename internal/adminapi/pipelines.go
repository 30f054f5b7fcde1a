package adminapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/control"
	"github.com/mintmark/mintmark/internal/rollout"
)

// hookBound is how long a webhook may take: callers give up after ten seconds.
const (
	hookBound = 8 * time.Second
	hookWait  = "6s" // of it, for gateways
)

// pipelineRoutes answer pipelines in their own dialects. They do nothing that the
// rollout operations don't: they translate.
func pipelineRoutes() []Route {
	return []Route{
		hook(row("flaggerHook", "POST", "/v1/rollouts/{id}/flagger/{hook}", watchers, "Answer a webhook of Flagger about a service's rollout", (*Server).flagger)),
		hook(row("kayentaJudge", "POST", "/v1/kayenta/judge", watchers, "Judge as Kayenta's remote judge", (*Server).kayenta)),
		{
			ID: "spinnakerHook", Method: "POST", Path: "/v1/rollouts/{id}/spinnaker", Roles: watchers, Basic: true,
			Summary: "Answer a webhook stage of Spinnaker: where to ask for the verdict", register: func(s *Server, op huma.Operation) {
				op.DefaultStatus = http.StatusAccepted
				huma.Register(s.api, op, s.spinnaker)
			},
		},
	}
}

// hook marks a route whose callers know only a URL, such as
// https://ID:SECRET@control.example.
func hook(r Route) Route {
	r.Basic = true
	return r
}

// flaggerCall is what Flagger sends.
type flaggerCall struct {
	ID   string `path:"id" maxLength:"255" doc:"The service."`
	Hook string `path:"hook" enum:"confirm-rollout,pre-rollout,rollout,confirm-traffic-increase,confirm-promotion,post-rollout,rollback,event"`
	Body struct {
		_         struct{} `additionalProperties:"true"`
		Name      string   `json:"name" maxLength:"253"`
		Namespace string   `json:"namespace" maxLength:"253"`
		Phase     string   `json:"phase" maxLength:"50"`
		Checksum  string   `json:"checksum,omitempty" maxLength:"255"`
		// Metadata may name the candidate; pre-rollout starts a rollout to it then.
		Metadata map[string]string `json:"metadata,omitempty"`
	}
}

// hookAnswer says why.
type hookAnswer struct {
	Verdict string `json:"verdict,omitempty"`
	Message string `json:"message"`
	Rollout string `json:"rollout,omitempty"`
}

// flagger answers 2xx for "go on" and 409 or 412 with the reason for "halt"; for the
// hook rollback 200 means "take back now". Statuses of 5xx, which Flagger retries
// without showing the body, are for failures only, never for a verdict.
func (s *Server) flagger(ctx context.Context, in *flaggerCall) (*hookAnswer, error) {
	ctx, cancel := context.WithTimeout(ctx, hookBound)
	defer cancel()
	candidate := in.Body.Metadata["candidate"]
	switch in.Hook {
	case "event":
		return &hookAnswer{Message: "noted nowhere"}, nil
	case "pre-rollout":
		if candidate != "" {
			reason := fmt.Sprintf("Flagger: canary %s/%s, checksum %s", in.Body.Namespace, in.Body.Name, in.Body.Checksum)
			return s.begin(ctx, in.ID, candidate, reason, in.Body.Checksum != "")
		}
	case "post-rollout":
		return s.flaggerOver(ctx, in, candidate)
	case "rollback":
		return s.flaggerRollback(ctx, in.ID, candidate)
	}
	g, err := s.gateOf(ctx, in.ID, candidate)
	if err != nil {
		return nil, err
	}
	switch {
	case g.Verdict == api.VerdictFail:
		return nil, halt(api.CodePrecondition, g)
	case g.Verdict == api.VerdictPass, in.Hook == "confirm-rollout", in.Hook == "pre-rollout", in.Hook == "rollout" && g.Verdict == api.VerdictWait:
		return &hookAnswer{g.Verdict, saying1(g), string(g.Rollout)}, nil
	}
	return nil, halt(api.CodeConflict, g)
}

// halt is a verdict that keeps a pipeline from going on.
func halt(code api.Code, g *api.Gate) *api.Problem {
	return api.NewProblem(code, saying1(g), "mintmark rollout explain "+string(g.Rollout))
}

func saying1(g *api.Gate) string {
	text := fmt.Sprintf("verdict %s on %s of %s (%s)", g.Verdict, g.Candidate, g.Service, strings.ReplaceAll(g.State, "_", " "))
	if len(g.Reasons) > 0 {
		text += ": " + strings.Join(g.Reasons, "; ")
	}
	return text
}

// gateOf is the verdict about a candidate: of the rollout to it, or, when none is
// named, of the one under way. What is over may be about another release: it counts
// only when the caller names the candidate.
func (s *Server) gateOf(ctx context.Context, service, candidate string) (*api.Gate, error) {
	g, err := s.cfg.Control.Gate(ctx, service, 0)
	if err != nil {
		return nil, err
	}
	if candidate != "" && g.Candidate != candidate {
		return nil, api.NewProblem(api.CodeConflict, fmt.Sprintf("rollout %s of %s is to %s, not to %.70q", g.Rollout, g.Service, g.Candidate, candidate), "start the rollout first, or name its candidate")
	}
	if candidate == "" && ended(g.State) {
		return nil, api.NewProblem(api.CodeConflict, fmt.Sprintf("no rollout of %s is under way; the last one, %s to %s, is %s", g.Service, g.Rollout, g.Candidate, strings.ReplaceAll(g.State, "_", " ")),
			"start one, or name the candidate whose verdict counts")
	}
	return g, nil
}

func ended(state string) bool {
	return state == string(rollout.RolledBack) || state == string(rollout.Finalised)
}

// begin starts a rollout, once: the one to the same candidate under way is the same,
// and one to another is a conflict. With once, the reason names the one occasion on
// which it is started: a caller that asks again after that rollout was taken back
// does not start the candidate anew.
func (s *Server) begin(ctx context.Context, service, candidate, reason string, once bool) (*hookAnswer, error) {
	if !holds(ctx, drivers) {
		return nil, api.NewProblem(api.CodeForbidden, "starting a rollout needs one of the roles: "+s.rolesText(Route{Roles: drivers}), "use a token with the scope admin:pipeline")
	}
	for attempt := range 2 {
		r, err := s.cfg.Control.Rollout(ctx, service)
		switch {
		case err == nil && !ended(r.State) && r.Candidate == candidate:
			return &hookAnswer{Message: fmt.Sprintf("rollout %s to %s is %s at %s%%", r.ID, candidate, r.State, r.Percent), Rollout: string(r.ID)}, nil
		case err == nil && !ended(r.State):
			return nil, api.NewProblem(api.CodeConflict, fmt.Sprintf("rollout %s of %s to %s is under way already", r.ID, service, r.Candidate), "let it end, or take it back: mintmark rollout abort "+string(r.ID))
		case err == nil && once && r.Candidate == candidate && len(r.History) > 0 && r.History[0].Reason == reason:
			if r.State == string(rollout.RolledBack) {
				return nil, api.NewProblem(api.CodePrecondition, fmt.Sprintf("rollout %s to %s was started for this already, and taken back", r.ID, candidate), "mintmark rollout explain "+string(r.ID))
			}
			return &hookAnswer{Message: fmt.Sprintf("rollout %s to %s is finalised", r.ID, candidate), Rollout: string(r.ID)}, nil
		case err != nil && !errors.Is(err, control.ErrNotFound):
			return nil, err
		}
		a, err := s.cfg.Control.StartRollout(ctx, actorOf(ctx), api.RolloutRequest{Service: service, Candidate: candidate, Strategy: rollout.Canary, Reason: reason})
		if err == nil {
			return &hookAnswer{Message: fmt.Sprintf("started rollout %s to %s at %s%%", a.Rollout.ID, candidate, a.Rollout.Percent), Rollout: string(a.Rollout.ID)}, nil
		}
		if attempt > 0 || !errors.Is(err, rollout.ErrIllegal) && !errors.Is(err, control.ErrConflict) {
			return nil, err
		}
	}
	return nil, control.ErrConflict
}

// flaggerOver does what Flagger did: it takes the candidate back after a failure and
// makes it stable after a success. Told twice, it is done once.
func (s *Server) flaggerOver(ctx context.Context, in *flaggerCall, candidate string) (*hookAnswer, error) {
	if !holds(ctx, drivers) {
		return nil, api.NewProblem(api.CodeForbidden, "ending a rollout needs one of the roles: "+s.rolesText(Route{Roles: drivers}), "use a token with the scope admin:pipeline")
	}
	r, err := s.cfg.Control.Rollout(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	if candidate != "" && r.Candidate != candidate {
		return nil, api.NewProblem(api.CodeConflict, fmt.Sprintf("rollout %s of %s is to %s, not to %.70q", r.ID, r.Service, r.Candidate, candidate), "")
	}
	var verbs []rollout.Verb
	switch {
	case in.Body.Phase == "Failed" && r.State == string(rollout.RolledBack), in.Body.Phase == "Succeeded" && r.State == string(rollout.Finalised):
	case in.Body.Phase == "Failed" && !ended(r.State):
		verbs = []rollout.Verb{rollout.VerbRollback}
	case in.Body.Phase == "Succeeded" && r.State == string(rollout.Promoted):
		verbs = []rollout.Verb{rollout.VerbFinalise}
	case in.Body.Phase == "Succeeded" && !ended(r.State):
		verbs = []rollout.Verb{rollout.VerbPromote, rollout.VerbFinalise}
	case in.Body.Phase == "Failed" || in.Body.Phase == "Succeeded":
		return nil, api.NewProblem(api.CodePrecondition, fmt.Sprintf("the canary %s, but rollout %s is %s", strings.ToLower(in.Body.Phase), r.ID, strings.ReplaceAll(r.State, "_", " ")), "mintmark rollout history "+string(r.ID))
	default:
		return nil, api.NewProblem(api.CodeInvalid, fmt.Sprintf("phase %.50q after a rollout: want Succeeded or Failed", in.Body.Phase), "use this URL for hooks of type post-rollout")
	}
	state := r.State
	for _, verb := range verbs {
		a, err := s.cfg.Control.StepRollout(ctx, actorOf(ctx), rolesOf(ctx), string(r.ID), verb, api.StepRequest{
			Reason: fmt.Sprintf("Flagger: canary %s/%s %s", in.Body.Namespace, in.Body.Name, strings.ToLower(in.Body.Phase)), Wait: true, Timeout: hookWait,
		})
		if err != nil {
			return nil, err
		}
		state = a.Rollout.State
	}
	return &hookAnswer{Message: fmt.Sprintf("rollout %s is %s", r.ID, strings.ReplaceAll(state, "_", " ")), Rollout: string(r.ID)}, nil
}

// flaggerRollback answers 200 only when the candidate certainly is to be taken back,
// and 4xx for everything else, failures included.
func (s *Server) flaggerRollback(ctx context.Context, service, candidate string) (*hookAnswer, error) {
	g, err := s.gateOf(ctx, service, candidate)
	if err != nil {
		if p := s.problem(err); p.Status < 500 {
			return nil, p
		}
		return nil, api.NewProblem(api.CodeConflict, "whether to roll back is not known: "+err.Error(), "look at control")
	}
	if g.Verdict != api.VerdictFail {
		return nil, api.NewProblem(api.CodeConflict, "no reason to roll back: "+saying1(g), "")
	}
	return &hookAnswer{g.Verdict, saying1(g), string(g.Rollout)}, nil
}
