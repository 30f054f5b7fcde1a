package control

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/epoch"
	"github.com/mintmark/mintmark/internal/ledger"
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
	if !plan.Safe && !req.Unsafe {
		return nil, fmt.Errorf("%w: %s", ErrNotSafe, plan.Reasons[0])
	}
	r, err := c.newRollout(actor, svc.Split.Stable, req)
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
	if err := c.stage(ctx, svc, &r); err != nil {
		return nil, err
	}
	done, err := c.commitStep(ctx, step{r: r, svc: svc, kind: "rollout", verb: rollout.VerbStart, actor: actor, reason: req.Reason, state: state, serial: version})
	if err != nil {
		c.cfg.StateLog.Unstage(string(r.ID))
		return nil, err
	}
	return c.answer(ctx, r.ID, done.Receipt, req.Wait, req.Timeout)
}

func (c *Control) newRollout(actor, stable string, req api.RolloutRequest) (rollout.Rollout, error) {
	weight := 0
	if req.Weight != "" {
		var err error
		if weight, err = rollout.ParsePercent(req.Weight); err != nil {
			return rollout.Rollout{}, err
		}
	}
	var salt [16]byte
	if _, err := io.ReadFull(c.cfg.Random, salt[:]); err != nil {
		return rollout.Rollout{}, fmt.Errorf("make a salt: %w", err)
	}
	id, err := c.newID(mintmark.PrefixRollout)
	if err != nil {
		return rollout.Rollout{}, err
	}
	now := c.cfg.Now().UnixMilli()
	r := rollout.Rollout{
		ID: mintmark.RolloutID(id), Service: req.Service, Stable: stable, Candidate: req.Candidate, Strategy: req.Strategy,
		Salt: hex.EncodeToString(salt[:]), Actor: actor, Reason: req.Reason, Started: now, Updated: now,
	}
	if r.Strategy == "" {
		r.Strategy = rollout.BlueGreen
		if weight > 0 {
			r.Strategy = rollout.Canary
		}
	}
	r, _, err = rollout.Step(r, rollout.VerbStart, weight)
	return r, err
}

// StepRollout does weight, promote, rollback or finalise. What is so already is a
// success: its receipt is answered again.
func (c *Control) StepRollout(ctx context.Context, actor, id string, verb rollout.Verb, req api.StepRequest) (*api.RolloutAnswer, error) {
	if err := c.checkTimeout(req.Timeout); err != nil {
		return nil, err
	}
	if done := earlier(ctx); done != "" {
		return c.stepped(ctx, done, req.Wait, req.Timeout)
	}
	weight := 0
	if verb == rollout.VerbWeight {
		var err error
		if weight, err = rollout.ParsePercent(req.Weight); err != nil {
			return nil, err
		}
	}
	if len(req.Dispositions) > 0 && verb != rollout.VerbRollback {
		return nil, fmt.Errorf("%w: dispositions go with rollback only", ErrInvalid)
	}
	var err error
	for range maxAttempts {
		var receipt mintmark.ReceiptID
		var r rollout.Rollout
		if r, receipt, err = c.tryStep(ctx, actor, id, verb, weight, req); err == nil {
			return c.answer(ctx, r.ID, receipt, req.Wait, req.Timeout)
		}
		// Somebody else's change came first. What was asked is decided again on top
		// of it; a rollback must not fail because of an unrelated apply.
		if !errors.Is(err, ErrConflict) || ctx.Err() != nil {
			return nil, err
		}
	}
	return nil, err
}

func (c *Control) tryStep(ctx context.Context, actor, id string, verb rollout.Verb, weight int, req api.StepRequest) (rollout.Rollout, mintmark.ReceiptID, error) {
	state, serial, err := c.serial(ctx)
	if err != nil {
		return rollout.Rollout{}, "", err
	}
	r, version, err := c.find(ctx, id)
	if err != nil {
		return r, "", err
	}
	next, changed, err := rollout.Step(r, verb, weight)
	if err != nil || !changed {
		return r, r.Receipt, err
	}
	entry := c.cfg.State.Current().Table.Service(r.Service)
	if entry == nil || entry.Split.Rollout != r.ID {
		return r, "", fmt.Errorf("%w: service %s is not in rollout %s", rollout.ErrIllegal, r.Service, r.ID)
	}
	s := step{r: next, before: version, svc: *entry.Service, kind: "rollout", verb: verb, actor: actor, reason: req.Reason, state: state, serial: serial}
	if verb == rollout.VerbRollback {
		s.kind = "rollback"
		if err := c.takeBack(ctx, &s, req.Dispositions); err != nil {
			return r, "", err
		}
	} else {
		if verb != rollout.VerbWeight {
			s.kind = "promote"
		}
		if s.svc, err = rollout.Service(s.svc, next); err != nil {
			return r, "", err
		}
	}
	done, err := c.commitStep(ctx, s)
	if err != nil {
		return r, "", err
	}
	if next.State.Open() {
		// The inverse is the same as before unless the part's other content moved.
		if err := c.stage(ctx, s.svc, &next); err != nil {
			c.cfg.Log.Warn("inverse not staged; a rollback would take a moment longer", "rollout", r.ID, "error", err)
		}
	} else {
		c.cfg.StateLog.Unstage(string(r.ID))
	}
	return next, done.Receipt, nil
}

// step is one step about to be committed.
type step struct {
	r      rollout.Rollout // after it
	before uint64          // version of its document
	svc    epoch.Service   // the part after it
	kind   string
	verb   rollout.Verb
	actor  string
	reason string
	state  serial
	serial uint64

	facts  []mintmark.Revocation
	counts []mintmark.DispositionCount
	tokens int64
}

// takeBack decides a rollback: the inverse, and the facts that go into its row.
func (c *Control) takeBack(ctx context.Context, s *step, override map[string]mintmark.Disposition) error {
	o := rollout.Options{Override: override, Now: c.cfg.Now().Unix(), Window: int64(c.cfg.Spread / time.Second), Grace: int64(c.cfg.Grace / time.Second)}
	rules, err := rollout.Rules(&s.svc, s.r.Stable, s.r.Candidate, o)
	if err != nil {
		return err
	}
	for _, sel := range rollout.Selectors(&s.svc, s.r.Stable, s.r.Candidate, rules) {
		// The fleet bounds each by the row's own issuance number.
		s.facts = append(s.facts, mintmark.Revocation{
			Action: mintmark.ActionRevoke, Selector: sel, Reason: "rollback of " + string(mintmark.NewReleaseID(s.r.Service, s.r.Candidate)),
			Actor: s.actor, Rollout: s.r.ID,
		})
	}
	release := mintmark.NewReleaseID(s.r.Service, s.r.Candidate)
	// Counting is for the receipt: it must not keep a bad release in place.
	counts, err := c.classes(ctx, release, rules)
	if err != nil {
		c.cfg.Log.Warn("tokens not counted", "rollout", s.r.ID, "error", err)
	}
	for _, rule := range rules {
		s.counts = append(s.counts, mintmark.DispositionCount{Release: release, Class: rule.Class, Disposition: rule.Disposition, Tokens: counts[rule.Class]})
		s.tokens += counts[rule.Class]
	}
	s.svc, err = rollout.Inverse(s.svc, s.r, o)
	return err
}

// commitStep writes the part, the facts and the rollout's document as one row. If
// the process dies right after, the document lacks the row's numbers and nothing
// else.
func (c *Control) commitStep(ctx context.Context, s step) (Committed, error) {
	body, hash, err := epoch.Encode(&s.svc)
	if err != nil {
		return Committed{}, fmt.Errorf("encode service %s: %w", s.svc.Name, err)
	}
	name := epoch.ServicePartName(s.svc.Name)
	ch := Change{
		Kind: s.kind, Rollout: s.r.ID, Revocations: s.facts, Actor: s.actor, Reason: s.reason,
		Tokens: s.tokens, Dispositions: s.counts, Parts: map[epoch.PartName][]byte{name: body},
	}
	if have, ok := c.cfg.State.Current().Manifest.Find(name); ok && have == hash {
		ch.Parts = nil // promote of what has all traffic already, say
	}
	if s.verb == rollout.VerbRollback {
		ch.Release = mintmark.NewReleaseID(s.r.Service, s.r.Candidate)
	}
	// Known before the row, so that the document names the receipt of its last step
	// even if the process dies right after: who asks again must wait for that one.
	id, err := c.newID(mintmark.PrefixReceipt)
	if err != nil {
		return Committed{}, err
	}
	ch.Receipt = mintmark.ReceiptID(id)
	now := c.cfg.Now().UnixMilli()
	s.r.Updated, s.r.Receipt = now, ch.Receipt
	s.r.History = append(slices.Clone(s.r.History), rollout.Done{At: now, Verb: s.verb, Weight: s.r.Weight, Actor: s.actor, Reason: s.reason, Receipt: ch.Receipt})
	e, err := put(ledger.DocRollout, string(s.r.ID), s.actor, s.r)
	if err != nil {
		return Committed{}, err
	}
	e.Release = mintmark.NewReleaseID(s.r.Service, s.r.Candidate)
	ch.Also.Events = append(ch.Also.Events, e)
	ch.Also.Expect = append(ch.Also.Expect, ledger.Expect{Stream: e.Stream, Version: s.before})
	if err := s.state.with(&ch.Also, s.serial, s.actor); err != nil {
		return Committed{}, err
	}
	done, err := c.write(ctx, ch)
	if err != nil {
		return Committed{}, conflict(err)
	}
	c.note(context.WithoutCancel(ctx), s.r, s.before+1, done)
	return done, nil
}

// note writes the row's numbers into the rollout's document afterwards. Should it
// fail, the state log has them all the same.
func (c *Control) note(ctx context.Context, r rollout.Rollout, version uint64, done Committed) {
	r.Epoch, r.Receipt = done.Epoch, done.Receipt
	if r.State == rollout.RolledBack {
		r.Cutoff = done.Issued
	}
	last := &r.History[len(r.History)-1]
	last.Epoch, last.Seq, last.Receipt = done.Epoch, done.Seq, done.Receipt
	e, err := put(ledger.DocRollout, string(r.ID), "system:control", r)
	if err == nil {
		_, err = c.cfg.Ledger.Append(ctx, ledger.Batch{Events: []mintmark.Event{e}, Expect: []ledger.Expect{{Stream: e.Stream, Version: version}}})
	}
	if err != nil {
		c.cfg.Log.Warn("rollout's numbers not noted", "rollout", r.ID, "error", err)
	}
}

// stage makes the inverse of svc ready at every live gateway.
func (c *Control) stage(ctx context.Context, svc epoch.Service, r *rollout.Rollout) error {
	inverse, err := rollout.Inverse(svc, *r, rollout.Options{})
	if err != nil {
		return err
	}
	body, _, err := epoch.Encode(&inverse)
	if err != nil {
		return fmt.Errorf("encode the inverse: %w", err)
	}
	err = c.cfg.StateLog.Stage(ctx, string(r.ID), map[epoch.PartName][]byte{epoch.ServicePartName(svc.Name): body})
	if err != nil {
		return fmt.Errorf("stage the inverse: %w", err)
	}
	r.Staged = true
	return nil
}

// restage computes the inverses of open rollouts again after parts changed.
func (c *Control) restage(ctx context.Context) {
	for _, e := range c.cfg.State.Current().Table.Services() {
		if e.Split.Rollout == "" {
			continue
		}
		r, _, err := c.find(ctx, string(e.Split.Rollout))
		if err == nil {
			err = c.stage(ctx, *e.Service, &r)
		}
		if err != nil {
			c.cfg.Log.Warn("inverse not staged; a rollback would take a moment longer", "rollout", e.Split.Rollout, "error", err)
		}
	}
}

// Resume stages the inverses of open rollouts again: they are forgotten at a
// restart.
func (c *Control) Resume(ctx context.Context) { c.restage(ctx) }

// find reads a rollout by id; a service's name finds its open one, else its
// newest.
func (c *Control) find(ctx context.Context, id string) (rollout.Rollout, uint64, error) {
	var r rollout.Rollout
	version, ok, err := c.document(ctx, ledger.DocRollout, id, &r)
	if err != nil || ok {
		return r, version, err
	}
	var best rollout.Rollout
	var bestVersion uint64
	err = documents(ctx, c.cfg.Store, ledger.DocRollout, func(d ledger.Document, r rollout.Rollout) error {
		if r.Service == id && (best.ID == "" || r.State.Open() || (!best.State.Open() && r.ID > best.ID)) {
			best, bestVersion = r, d.Version
		}
		return nil
	})
	if err == nil && best.ID == "" {
		err = fmt.Errorf("%w: there is no rollout %.70q", ErrNotFound, id)
	}
	return best, bestVersion, err
}

// stepped answers from the receipt of a step that is durable.
func (c *Control) stepped(ctx context.Context, receipt mintmark.ReceiptID, wait bool, timeout string) (*api.RolloutAnswer, error) {
	r, err := c.Receipt(ctx, receipt)
	if err != nil {
		return nil, err
	}
	return c.answer(ctx, r.Rollout, receipt, wait, timeout)
}

func (c *Control) answer(ctx context.Context, id mintmark.RolloutID, receipt mintmark.ReceiptID, wait bool, timeout string) (*api.RolloutAnswer, error) {
	rec, err := c.receipt(ctx, receipt, wait, timeout)
	if err != nil {
		return nil, err
	}
	r, err := c.Rollout(context.WithoutCancel(ctx), string(id))
	if err != nil {
		return nil, err
	}
	return &api.RolloutAnswer{Rollout: *r, Receipt: rec}, nil
}
