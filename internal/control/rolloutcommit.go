package control

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/epoch"
	"github.com/mintmark/mintmark/internal/ledger"
	"github.com/mintmark/mintmark/internal/rollout"
)

// step is one step about to be committed.
type step struct {
	r      rollout.Rollout // after it
	before uint64          // version of its document
	svc    epoch.Service   // the part after it
	action rollout.Action
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
	o := rollout.Options{Override: override, Declared: declared(&s.r), Now: c.cfg.Now().Unix(), Window: int64(c.cfg.Spread / time.Second), Grace: int64(c.cfg.Grace / time.Second)}
	rules, err := rollout.Rules(&s.svc, s.r.Stable, s.r.Candidate, o)
	if err != nil {
		return err
	}
	taken := rollout.Selectors(&s.svc, s.r.Stable, s.r.Candidate, rules)
	for _, sel := range taken {
		// The fleet bounds each by the row's own issuance number.
		s.facts = append(s.facts, mintmark.Revocation{
			Action: mintmark.ActionRevoke, Selector: sel, Reason: "rollback of " + string(mintmark.NewReleaseID(s.r.Service, s.r.Candidate)),
			Actor: s.actor, Rollout: s.r.ID,
		})
	}
	release := mintmark.NewReleaseID(s.r.Service, s.r.Candidate)
	// Counting is for the receipt: it must not keep a bad release in place.
	counts, err := c.classes(ctx, release, rules, taken)
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

// declared are the dispositions of the rollout's spec.
func declared(r *rollout.Rollout) map[string]mintmark.Disposition {
	if r.Spec == nil {
		return nil
	}
	return r.Spec.Dispositions
}

// rowKinds are the kinds of row that actions make.
var rowKinds = map[rollout.ActionKind]string{
	rollout.SetWeight: "rollout", rollout.Promote: "promote", rollout.Finalise: "promote", rollout.RollBack: "rollback",
}

// record writes the rollout's document alone: what it does changes nothing for
// gateways.
func (c *Control) record(ctx context.Context, r rollout.Rollout, before uint64, actor string) error {
	e, err := put(ledger.DocRollout, string(r.ID), actor, r)
	if err != nil {
		return err
	}
	e.Release = mintmark.NewReleaseID(r.Service, r.Candidate)
	b := ledger.Batch{Events: []mintmark.Event{e}, Expect: []ledger.Expect{{Stream: e.Stream, Version: before}}}
	_, err = c.cfg.Ledger.Append(ctx, b.With(ctx))
	return conflict(err)
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
		Kind: rowKinds[s.action.Kind], Rollout: s.r.ID, Evidence: s.action.Why, Revocations: s.facts, Actor: s.actor, Reason: s.reason,
		Tokens: s.tokens, Dispositions: s.counts, Parts: map[epoch.PartName][]byte{name: body},
	}
	if have, ok := c.cfg.State.Current().Manifest.Find(name); ok && have == hash {
		ch.Parts = nil // promote of what has all traffic already, say
	}
	if s.action.Kind == rollout.RollBack {
		ch.Release = mintmark.NewReleaseID(s.r.Service, s.r.Candidate)
	}
	// Known before the row, so that the document names the receipt of its last step
	// even if the process dies right after: who asks again must wait for that one.
	id, err := c.newID(mintmark.PrefixReceipt)
	if err != nil {
		return Committed{}, err
	}
	ch.Receipt = mintmark.ReceiptID(id)
	s.r.Receipt = ch.Receipt
	s.r.History = slices.Clone(s.r.History)
	s.r.History[len(s.r.History)-1].Receipt = ch.Receipt
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
	inverse, err := rollout.Inverse(svc, *r, rollout.Options{Declared: declared(r)})
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

// Resume stages the inverses of open rollouts again, and reads freeze windows: both
// are forgotten at a restart. What is judged and is no open rollout is closed: the
// process died between the two. Nothing may start a rollout before it returns.
func (c *Control) Resume(ctx context.Context) {
	c.readFreezes(ctx)
	c.restage(ctx)
	if c.cfg.Analyst == nil {
		return
	}
	open := map[mintmark.RolloutID]bool{}
	for _, e := range c.cfg.State.Current().Table.Services() {
		open[e.Split.Rollout] = true
	}
	for _, h := range c.cfg.Analyst.Reports() {
		if !open[h.Rollout] {
			c.unwatch(ctx, h.Rollout)
		}
	}
}

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
