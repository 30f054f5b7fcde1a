package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/api"
)

// Story is the main job, step by step: what the script plays by itself and the
// keys of the interactive view do one by one.
type Story struct {
	World   *World
	rollout mintmark.RolloutID
	// Receipt is what the rollback returned; nil before.
	Receipt *mintmark.Receipt
	// RollbackTook is from the call to its return, as the caller saw it.
	RollbackTook time.Duration
}

// ErrStory reports that the story can't go on from where it is.
var ErrStory = errors.New("not now")

// StartCanary introduces the candidate to a share of the subjects, in percent.
func (s *Story) StartCanary(ctx context.Context, percent string) error {
	admin, err := s.World.Admin(ctx)
	if err != nil {
		return err
	}
	if s.rollout != "" && s.Receipt == nil {
		return fmt.Errorf("%w: a rollout is already in progress", ErrStory)
	}
	a, err := admin.StartRollout(ctx, api.RolloutRequest{
		Service: service, Candidate: "v2", Strategy: "canary", Weight: percent,
		Reason: "orders v2 is ready", Wait: true, Timeout: "30s",
	})
	if err != nil {
		return fmt.Errorf("start rollout: %w", err)
	}
	s.rollout, s.Receipt = a.Rollout.ID, nil
	s.World.Crowd.Score.cut.Store(0)
	s.World.cfg.Say(fmt.Sprintf("canary: %s %% of the subjects get orders/v2, its inverse is staged on every gateway: %v", percent, a.Rollout.Staged),
		"mintmark rollout start orders v2 --strategy canary --weight "+percent+" --wait")
	return nil
}

// Misbehave makes the candidate turn out bad.
func (s *Story) Misbehave(ctx context.Context, how conduct) error {
	if how == failing {
		s.World.Candidate.Failing.Store(true)
		s.World.cfg.Say("the candidate's servers answer 500 from now on", "")
		return nil
	}
	what := "orders/v2 hands out " + harmScope + " to everybody (a bug in its policy)"
	if how == wrongAudience {
		what = "orders/v2 mints tokens that are also good at " + harmAudience + " (a bug in its policy)"
	}
	_, err := s.World.Apply(ctx, what, how)
	return err
}

// Rollback takes the candidate back, with what it handed out.
func (s *Story) Rollback(ctx context.Context, reason string) error {
	if s.rollout == "" || s.Receipt != nil {
		return fmt.Errorf("%w: no rollout is in progress", ErrStory)
	}
	admin, err := s.World.Admin(ctx)
	if err != nil {
		return err
	}
	begun := time.Now()
	a, err := admin.StepRollout(ctx, s.rollout, "rollback", api.StepRequest{Reason: reason, Wait: true, Timeout: "30s"})
	if err != nil {
		return fmt.Errorf("roll back: %w", err)
	}
	s.RollbackTook = time.Since(begun)
	if a.Receipt == nil {
		return errors.New("roll back: the answer has no receipt")
	}
	if a.Receipt.Outcome == mintmark.OutcomeEffective || a.Receipt.Outcome == mintmark.OutcomeByLease {
		s.World.Crowd.Score.Cut(time.Now())
	}
	s.Receipt = a.Receipt
	s.World.cfg.Say(fmt.Sprintf("rolled back in %s: %s on %d gateways, receipt %s", s.RollbackTook.Round(time.Millisecond), a.Receipt.Outcome, len(a.Receipt.Gateways), a.Receipt.ID),
		fmt.Sprintf("mintmark rollout rollback %s --reason %q --wait", s.rollout, reason))
	s.World.Candidate.Failing.Store(false)
	return nil
}

// Script is the whole story, unattended.
type Script struct {
	Conduct conduct
	Percent string
	// After is how long the crowd goes on after the rollback.
	After time.Duration
}

// Play plays the script and returns nil only if the guarantees held, by the
// clients' own account.
func (s *Story) Play(ctx context.Context, sc Script) error {
	w, score := s.World, s.World.Crowd.Score
	want := w.Crowd.Size() * 9 / 10
	if err := until(ctx, 60*time.Second, "the crowd to obtain its first tokens", func() (bool, string) {
		return w.Crowd.Ready() >= want, fmt.Sprintf("%d of %d have one", w.Crowd.Ready(), w.Crowd.Size())
	}); err != nil {
		return err
	}
	w.cfg.Say(fmt.Sprintf("%d clients hold tokens and call the service", w.Crowd.Ready()), "")
	if err := s.StartCanary(ctx, sc.Percent); err != nil {
		return err
	}
	if err := until(ctx, 60*time.Second, "the canary to mint and serve", func() (bool, string) {
		n := w.Candidate.Served.Load()
		return n >= 50, fmt.Sprintf("it served %d requests", n)
	}); err != nil {
		return err
	}
	if err := s.Misbehave(ctx, sc.Conduct); err != nil {
		return err
	}
	if sc.Conduct == failing {
		if err := until(ctx, 60*time.Second, "clients to meet errors", func() (bool, string) {
			n := score.Upstream.Load()
			return n >= 50, fmt.Sprintf("%d met one", n)
		}); err != nil {
			return err
		}
	} else if err := until(ctx, 60*time.Second, "harmful tokens to get into clients' hands", func() (bool, string) {
		n := score.Harmful.Load()
		return n >= 20, fmt.Sprintf("%d were handed out", n)
	}); err != nil {
		return err
	}
	w.cfg.Say(fmt.Sprintf("%d harmful tokens are in clients' hands, %d event streams are open", score.Harmful.Load(), w.Crowd.Streams()), "")
	if err := s.Rollback(ctx, "orders v2 misbehaves: "+string(sc.Conduct)); err != nil {
		return err
	}
	refused := score.HarmfulRefused.Load()
	if err := sleep(ctx, sc.After); err != nil {
		return err
	}
	w.cfg.Say(fmt.Sprintf("the crowd went on for %s: %d harmful tokens were presented and %d refused", sc.After, score.HarmfulTried.Load(), score.HarmfulRefused.Load()-refused), "")
	return s.judge(sc)
}

// judge asks whether what was promised has happened, and whether the story was
// one at all.
func (s *Story) judge(sc Script) error {
	score := s.World.Crowd.Score
	if err := score.Held(); err != nil {
		return err
	}
	if sc.Conduct != failing && score.HarmfulTried.Load() == 0 {
		return errors.New("nobody presented a harmful token after the rollback: the story proved nothing")
	}
	if o := s.Receipt.Outcome; o != mintmark.OutcomeEffective && o != mintmark.OutcomeByLease {
		return fmt.Errorf("the receipt says %s", o)
	}
	return nil
}

// Verify re-proves the ledger with the product's own command. Control must have
// stopped.
func (s *Story) Verify(ctx context.Context) error {
	out, err := exec.CommandContext(ctx, s.World.cfg.Binary, "verify", "--config", s.World.ControlConfig()).CombinedOutput()
	if err != nil {
		return fmt.Errorf("mintmark verify: %w\n%s", err, out)
	}
	s.World.cfg.Say("the ledger verifies: chain, checkpoint, projections, conservation", "mintmark verify --config control.yaml")
	return nil
}

// ReceiptJSON prints the receipt as it was signed.
func (s *Story) ReceiptJSON() string {
	b, err := json.MarshalIndent(s.Receipt, "", "  ")
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// until polls a condition until it holds; the note says how far it is.
func until(ctx context.Context, patience time.Duration, what string, holds func() (bool, string)) error {
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		ok, note := holds()
		if ok {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("waited %s for %s: %s", patience, what, note)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
