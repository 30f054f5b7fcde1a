package control

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/fleet"
	"github.com/mintmark/mintmark/internal/ledger"
	"github.com/mintmark/mintmark/internal/policy"
	"github.com/mintmark/mintmark/internal/rollout"
)

// maxAttempts bounds how often a step is decided again after a conflict.
const maxAttempts = 5

// StartRollout begins to move a service to a candidate.
func (c *Control) StartRollout(ctx context.Context, actor string, req api.RolloutRequest) (*api.RolloutAnswer, error) {
	if err := c.checkTimeout(req.Timeout); err != nil {
		return nil, err
	}
	if done := earlier(ctx); done != "" {
		return c.stepped(ctx, done, req.Wait, req.Timeout)
	}
	if len(req.Resources) > 0 {
		return nil, fmt.Errorf("%w: resources are for a plan only: apply them first, then start the rollout with its plan", ErrInvalid)
	}
	spec, err := c.fill(&req)
	if err != nil {
		return nil, err
	}
	state, version, err := c.serial(ctx)
	if err != nil {
		return nil, err
	}
	entry := c.cfg.State.Current().Table.Service(req.Service)
	if entry == nil {
		return nil, fmt.Errorf("%w: there is no service %.70q", ErrNotFound, req.Service)
	}
	svc := *entry.Service
	if err := rollout.Check(&svc, req.Candidate); err != nil {
		return nil, err
	}
	plan, err := c.Plan(ctx, req.Service, req.Candidate)
	if err != nil {
		return nil, err
	}
	if err := stale(req.Plan, plan); err != nil {
		return nil, err
	}
	if !plan.Safe && !req.Unsafe {
		return nil, fmt.Errorf("%w: %s", ErrNotSafe, plan.Reasons[0])
	}
	r, actions, err := c.newRollout(actor, svc.Split.Stable, req, spec)
	if err != nil {
		return nil, err
	}
	// A candidate that was taken back before mints again: what it minted then goes
	// on meeting its rules, up to the newest number given out so far.
	_, newest, err := c.cfg.Tokens.SeqWindow(ctx, time.Time{}, c.cfg.Now())
	if err != nil {
		return nil, fmt.Errorf("find the newest token: %w", err)
	}
	svc = rollout.Return(svc, r.Candidate, newest)
	if svc, err = rollout.Service(svc, r); err != nil {
		return nil, err
	}
	if _, err := rollout.Rules(&svc, r.Stable, r.Candidate, rollout.Options{Override: declared(&r)}); err != nil {
		return nil, err
	}
	if svc.Split.Watch, err = c.watch(ctx, &r); err != nil {
		return nil, err
	}
	if err := c.stage(ctx, svc, &r); err != nil {
		c.unwatch(ctx, r.ID)
		return nil, err
	}
	done, err := c.commitStep(ctx, step{r: r, svc: svc, action: actions[0], actor: actor, reason: req.Reason, state: state, serial: version})
	if err != nil {
		// What may have begun goes on being judged: closed, it could not be opened again,
		// and nothing would take it back. Resume closes what did not begin.
		if notWritten(err) {
			c.cfg.StateLog.Unstage(string(r.ID))
			c.unwatch(context.WithoutCancel(ctx), r.ID)
		}
		return nil, err
	}
	return c.answer(ctx, r.ID, done.Receipt, req.Wait, req.Timeout)
}

// notWritten reports whether a commit's error says that it did not happen; see
// StateLog.
func notWritten(err error) bool {
	for _, e := range []error{
		ErrConflict, ledger.ErrConflict, ledger.ErrStale, ledger.ErrUsed, ledger.ErrNotFound, fleet.ErrPart, fleet.ErrRefused, fleet.ErrBehind,
		context.Canceled, context.DeadlineExceeded, // while it waited for its turn, or for gateways
	} {
		if errors.Is(err, e) {
			return !errors.Is(err, fleet.ErrUnknown)
		}
	}
	return false
}

// fill completes a request from the file that it holds, and reads the file's spec.
// What is given twice is refused, even if both agree: it would not be clear which
// was meant to be changed.
func (c *Control) fill(req *api.RolloutRequest) (*rollout.Spec, error) {
	if req.File == nil {
		if req.ManualRollback {
			return &rollout.Spec{HandRollback: true}, nil
		}
		return nil, nil
	}
	if req.Strategy != "" || req.Weight != "" || req.ManualRollback {
		return nil, fmt.Errorf("%w: strategy, weight and manual_rollback stand in the file: give one or the other", ErrInvalid)
	}
	file, errs := policy.ParseRollout(policy.File{Name: req.File.Name, Text: req.File.Text})
	if len(errs) > 0 {
		return nil, errs
	}
	if req.Service != "" && req.Service != file.Service || req.Candidate != "" && req.Candidate != file.Candidate {
		return nil, fmt.Errorf("%w: the file is about %s/%s, the request about %s/%s", ErrInvalid, file.Service, file.Candidate, req.Service, req.Candidate)
	}
	spec := rollout.FromFile(file)
	spec.Source = req.File.Name
	req.Service, req.Candidate, req.Strategy = file.Service, file.Candidate, file.Strategy
	return spec, nil
}

func (c *Control) newRollout(actor, stable string, req api.RolloutRequest, spec *rollout.Spec) (rollout.Rollout, []rollout.Action, error) {
	weight := 0
	if req.Weight != "" {
		var err error
		if weight, err = rollout.ParsePercent(req.Weight); err != nil {
			return rollout.Rollout{}, nil, err
		}
	}
	var salt [16]byte
	if _, err := io.ReadFull(c.cfg.Random, salt[:]); err != nil {
		return rollout.Rollout{}, nil, fmt.Errorf("make a salt: %w", err)
	}
	id, err := c.newID(mintmark.PrefixRollout)
	if err != nil {
		return rollout.Rollout{}, nil, err
	}
	now := c.cfg.Now().UnixMilli()
	r := rollout.Rollout{
		ID: mintmark.RolloutID(id), Service: req.Service, Stable: stable, Candidate: req.Candidate, Strategy: req.Strategy,
		Salt: hex.EncodeToString(salt[:]), Actor: actor, Reason: req.Reason, Started: now, Updated: now, Spec: spec,
	}
	if r.Strategy == "" {
		r.Strategy = rollout.BlueGreen
		if weight > 0 {
			r.Strategy = rollout.Canary
		}
	}
	return rollout.Step(r, rollout.Input{Verb: rollout.VerbStart, Weight: weight, Actor: actor, Reason: req.Reason, Now: now, Freeze: c.freezes(r.Service)})
}

// StepRollout does what a person asks of a rollout. What is so already is a
// success: its receipt is answered again. roles are the actor's, for approve.
func (c *Control) StepRollout(ctx context.Context, actor string, roles []string, id string, verb rollout.Verb, req api.StepRequest) (*api.RolloutAnswer, error) {
	if err := c.checkTimeout(req.Timeout); err != nil {
		return nil, err
	}
	if done := earlier(ctx); done != "" {
		return c.stepped(ctx, done, req.Wait, req.Timeout)
	}
	in := rollout.Input{Verb: verb, Actor: actor, Roles: roles, Reason: req.Reason}
	if verb == rollout.VerbWeight {
		var err error
		if in.Weight, err = rollout.ParsePercent(req.Weight); err != nil {
			return nil, err
		}
	}
	if len(req.Dispositions) > 0 && !verb.TakesBack() {
		return nil, fmt.Errorf("%w: dispositions go with rollback, abort and undo only", ErrInvalid)
	}
	// A service's name means the rollout of this moment, also when it is decided again:
	// the next one is not what its caller has seen.
	meant, _, err := c.find(ctx, id)
	if err != nil {
		return nil, err
	}
	for range maxAttempts {
		var receipt mintmark.ReceiptID
		var r rollout.Rollout
		if r, receipt, err = c.drive(ctx, string(meant.ID), in, req); err == nil {
			return c.answer(ctx, r.ID, receipt, req.Wait, req.Timeout)
		}
		// Somebody else's change came first. What was asked is decided again on top
		// of it; a rollback must not fail because of an unrelated apply.
		if !errors.Is(err, ErrConflict) || errors.Is(err, errMovedOn) || ctx.Err() != nil {
			return nil, err
		}
	}
	return nil, err
}

// errMovedOn: the rollout is not at the version that the caller has seen.
var errMovedOn = errors.New("the rollout moved on")

// drive puts one input to the rollout as it stands and does what comes of it, by
// compare and set: ErrConflict when something else changed meanwhile. The verb is
// empty for the passing of time.
//
// If the process dies before the row, nothing happened and the next tick decides
// anew; if after it, rollout, part and facts are in force together.
func (c *Control) drive(ctx context.Context, id string, in rollout.Input, req api.StepRequest) (rollout.Rollout, mintmark.ReceiptID, error) {
	state, serial, err := c.serial(ctx)
	if err != nil {
		return rollout.Rollout{}, "", err
	}
	r, version, err := c.find(ctx, id)
	if err != nil {
		return r, "", err
	}
	if req.Version != 0 && req.Version != version {
		return r, "", fmt.Errorf("%w: %w: it is at version %d and %s, not at %d", ErrConflict, errMovedOn, version, r.State, req.Version)
	}
	in.Now, in.Freeze = c.cfg.Now().UnixMilli(), c.freezes(r.Service)
	if in.Health == nil {
		in.Health = c.health(ctx, &r)
	}
	next, actions, err := rollout.Step(r, in)
	if err != nil || len(actions) == 0 {
		return r, r.Receipt, err
	}
	actor := in.Actor
	if in.Verb == "" {
		actor = rollout.Actor
	}
	if actions[0].Kind == rollout.Record {
		err = c.record(ctx, next, version, actor)
	} else {
		s := step{r: next, before: version, action: actions[0], actor: actor, reason: actions[0].Reason, state: state, serial: serial}
		next, err = c.row(ctx, r, s, req.Dispositions)
	}
	if err != nil {
		return r, "", err
	}
	c.tell(&next, actions)
	return next, next.Receipt, nil
}

// row commits a step that gateways must hear of.
func (c *Control) row(ctx context.Context, was rollout.Rollout, s step, dispositions map[string]mintmark.Disposition) (rollout.Rollout, error) {
	entry := c.cfg.State.Current().Table.Service(was.Service)
	if entry == nil || was.State.Open() && entry.Split.Rollout != was.ID {
		return was, fmt.Errorf("%w: service %s is not in rollout %s", rollout.ErrIllegal, was.Service, was.ID)
	}
	s.svc = *entry.Service
	if was.State == rollout.Finalised {
		if err := c.undoable(ctx, &s.svc, &was); err != nil {
			return was, err
		}
	}
	var err error
	switch s.action.Kind {
	case rollout.RollBack:
		err = c.takeBack(ctx, &s, dispositions)
	case rollout.Finalise:
		s.r.StablePolicy = rollout.PolicyOf(&s.svc, s.r.Stable)
		fallthrough
	default:
		s.svc, err = rollout.Service(s.svc, s.r)
	}
	if err != nil {
		return was, err
	}
	done, err := c.commitStep(ctx, s)
	if err != nil {
		return was, err
	}
	s.r.Receipt = done.Receipt
	if s.r.State.Open() {
		// The inverse is the same as before unless the part's other content moved.
		if err := c.stage(ctx, s.svc, &s.r); err != nil {
			c.cfg.Log.Warn("inverse not staged; a rollback would take a moment longer", "rollout", was.ID, "error", err)
		}
	} else {
		c.cfg.StateLog.Unstage(string(was.ID))
	}
	return s.r, nil
}

// tell logs what people should know of.
func (c *Control) tell(r *rollout.Rollout, actions []rollout.Action) {
	for _, a := range actions {
		if a.Kind == rollout.Notify {
			c.cfg.Log.Warn("rollout", "rollout", r.ID, "service", r.Service, "candidate", r.Candidate, "state", r.State, "why", a.Reason)
		}
	}
}
