package demo

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/mintmark/mintmark"
)

// Script is the whole story, unattended.
type Script struct {
	Fault   fault
	Percent string
	// After is how long the crowd goes on after the rollback.
	After time.Duration
}

const (
	// baseline is how long the stable release answers before a rollout that is to be
	// judged by latency: gateways tell of their answers every ten seconds.
	baseline = 12 * time.Second
	// patience is how long Mintmark has to notice.
	patience = 30 * time.Second
	// trial is how long a healthy candidate is watched.
	trial = 8 * time.Second
)

// Play plays the script and returns nil only if the guarantees held, by the
// clients' own account, and Mintmark noticed what it should have.
func (s *Story) Play(ctx context.Context, sc Script) error {
	w := s.World
	want := w.Crowd.Size() * 9 / 10
	if err := until(ctx, 60*time.Second, "the crowd to obtain its first tokens", func() (bool, string) {
		return w.Crowd.Ready() >= want, fmt.Sprintf("%d of %d have one", w.Crowd.Ready(), w.Crowd.Size())
	}); err != nil {
		return err
	}
	w.cfg.Say(fmt.Sprintf("%d clients hold tokens and call the service", w.Crowd.Ready()), "")
	if sc.Fault == slow {
		w.cfg.Say(fmt.Sprintf("%s of answers of orders/v1 are what the candidate's will be held against", baseline), "")
		if err := s.measure(ctx); err != nil {
			return err
		}
	}
	if err := s.StartCanary(ctx, sc.Percent); err != nil {
		return err
	}
	if err := until(ctx, 60*time.Second, "the canary to serve", func() (bool, string) {
		n := w.Candidate.Served.Load()
		return n >= 50, fmt.Sprintf("it served %d requests", n)
	}); err != nil {
		return err
	}
	if sc.Fault == healthy {
		return s.playHealthy(ctx)
	}
	if err := s.Misbehave(ctx, sc.Fault); err != nil {
		return err
	}
	if s.ByHand {
		if err := s.harm(ctx, sc.Fault); err != nil {
			return err
		}
		if err := s.Rollback(ctx, "orders v2 misbehaves: "+string(sc.Fault)); err != nil {
			return err
		}
	} else if err := s.Await(ctx, patience); err != nil {
		return err
	}
	if err := sleep(ctx, sc.After); err != nil {
		return err
	}
	w.cfg.Say(fmt.Sprintf("the crowd went on for %s: %d harmful tokens were presented, %d of them admitted; %d requests met orders/v2",
		sc.After, w.Crowd.Score.HarmfulTried.Load(), w.Crowd.Score.HarmfulAccepted.Load(), w.Crowd.Score.CandidateAfter.Load()), "")
	return s.judge(sc)
}

// measure lets the stable release give enough answers to freeze a baseline.
func (s *Story) measure(ctx context.Context) error {
	from := s.World.Stable.Served.Load()
	if err := sleep(ctx, baseline); err != nil {
		return err
	}
	return until(ctx, 60*time.Second, "the stable release's answers", func() (bool, string) {
		n := s.World.Stable.Served.Load() - from
		return n >= 2000, fmt.Sprintf("%d of 2000", n)
	})
}

// harm waits until the fault has met clients.
func (s *Story) harm(ctx context.Context, f fault) error {
	score := s.World.Crowd.Score
	met := score.Harmful.Load
	switch f {
	case serverErrors, upstream401:
		met = score.Upstream.Load
	case slow:
		served := s.World.Candidate.Served.Load()
		met = func() int64 { return s.World.Candidate.Served.Load() - served }
	}
	if err := until(ctx, 60*time.Second, "clients to meet the fault", func() (bool, string) {
		return met() >= 20, fmt.Sprintf("%d did", met())
	}); err != nil {
		return err
	}
	s.World.cfg.Say(fmt.Sprintf("%d harmful tokens are in clients' hands, %d event streams are open", score.Harmful.Load(), s.World.Crowd.Streams()), "")
	return nil
}

// playHealthy watches a candidate that does nothing wrong, and promotes it.
func (s *Story) playHealthy(ctx context.Context) error {
	if err := sleep(ctx, trial); err != nil {
		return err
	}
	admin, err := s.World.Admin(ctx)
	if err != nil {
		return err
	}
	g, err := admin.RolloutGate(ctx, s.Told().Rollout, 0)
	if err != nil {
		return err
	}
	s.World.cfg.Say(fmt.Sprintf("orders/v2 does nothing wrong: after %s the verdict is %s, the evidence against it E = %.2g of %.0f", trial, g.Verdict, g.EFail, 1/max(g.Alpha, 1e-6)), "mintmark rollout status "+service)
	if g.Verdict == "fail" || g.State == "rolled_back" {
		return fmt.Errorf("a candidate that did nothing wrong was found bad: %v", g.Reasons)
	}
	if err := s.Promote(ctx); err != nil {
		return err
	}
	return s.World.Crowd.Score.Held()
}

// judge asks whether what was promised has happened, and whether the story was
// one at all.
func (s *Story) judge(sc Script) error {
	score, t := s.World.Crowd.Score, troubleOf(sc.Fault)
	if err := score.Held(); err != nil {
		return err
	}
	if t.policy && score.HarmfulTried.Load() == 0 {
		return errors.New("nobody presented a harmful token after the rollback: the story proved nothing")
	}
	r := s.Told().Receipt
	if r.Outcome != mintmark.OutcomeEffective && r.Outcome != mintmark.OutcomeByLease {
		return fmt.Errorf("the receipt says %s", r.Outcome)
	}
	switch e := r.Evidence; {
	case s.ByHand:
	case e == nil:
		return errors.New("the receipt has no evidence: Mintmark did not decide by itself")
	case !t.noticedBy(e.Metric):
		return fmt.Errorf("%s was noticed by %s, want %v", sc.Fault, e.Metric, t.metrics)
	}
	return nil
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
