package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/api"
)

// Story is the main job, step by step: what the script plays by itself and the
// keys of the interactive view do one by one. Its steps are called one at a time;
// Told may be called at any time.
type Story struct {
	World *World
	// ByHand leaves taking the candidate back to a person.
	ByHand bool

	mu   sync.Mutex
	told Told // guarded by mu
}

// Told is how far a story has come.
type Told struct {
	Rollout mintmark.RolloutID // "" before the first
	// Fault is how the candidate misbehaves, since Since; healthy before.
	Fault fault
	Since time.Time
	// Receipt is what the rollback returned; nil before.
	Receipt *mintmark.Receipt
	// Noticed is from the fault's beginning to Mintmark's decision, 0 when a person
	// decided; Took is from the decision to the receipt, as the caller saw it when
	// there was one.
	Noticed, Took time.Duration
	// Explanation is what `mintmark rollout explain` says of it.
	Explanation []string
	// Promoted says that the candidate was found good.
	Promoted bool
}

// over reports that no rollout is in progress.
func (t *Told) over() bool { return t.Rollout == "" || t.Receipt != nil || t.Promoted }

// ErrStory reports that the story can't go on from where it is.
var ErrStory = errors.New("not now")

// Told returns how far the story has come.
func (s *Story) Told() Told {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.told
}

func (s *Story) tell(change func(t *Told)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.told)
}

// rolloutFile is the rollout as a person would write it.
func rolloutFile(percent string, byHand bool) string {
	text := fmt.Sprintf(`apiVersion: mintmark/v1
kind: Rollout
name: orders-v2
service: %s
candidate: %s
strategy: canary
steps:
- set_weight: %s
analysis: {}
promote: manual
`, service, candidate, percent)
	if byHand {
		text += "rollback: manual\n"
	}
	return text
}

// StartCanary introduces the candidate to a share of the subjects, in percent.
func (s *Story) StartCanary(ctx context.Context, percent string) error {
	if t := s.Told(); !t.over() {
		return fmt.Errorf("%w: a rollout is already in progress", ErrStory)
	}
	admin, err := s.World.Admin(ctx)
	if err != nil {
		return err
	}
	if t := s.Told(); t.Fault != healthy && t.Fault != "" {
		if err := s.mend(ctx); err != nil {
			return err
		}
	}
	file := api.File{Name: "rollout.yaml", Text: rolloutFile(percent, s.ByHand)}
	if err := writeFile(filepath.Join(s.World.cfg.Dir, file.Name), file.Text); err != nil {
		return err
	}
	s.World.Crowd.Score.Reopen()
	a, err := admin.StartRollout(ctx, api.RolloutRequest{File: &file, Reason: "orders v2 is ready", Wait: true, Timeout: "30s"})
	if err != nil {
		return fmt.Errorf("start rollout: %w", err)
	}
	s.tell(func(t *Told) { *t = Told{Rollout: a.Rollout.ID, Fault: healthy} })
	s.World.cfg.Say(fmt.Sprintf("canary: %s %% of the subjects get orders/v2; how to take it back lies ready on every gateway: %v", percent, a.Rollout.Staged),
		"mintmark rollout start -f rollout.yaml --wait")
	return nil
}

// Misbehave makes the candidate turn out bad. Of a rollout that is over, it is the
// next candidate's business.
func (s *Story) Misbehave(ctx context.Context, f fault) error {
	t := troubleOf(f)
	if t == nil {
		return fmt.Errorf("%w: %s is no fault", ErrStory, f)
	}
	if now := s.Told(); now.over() {
		return fmt.Errorf("%w: start a canary first", ErrStory)
	}
	began := time.Now() // before it: it may be noticed before the command returns
	s.tell(func(t *Told) { t.Fault, t.Since = f, began })
	if t.policy {
		if _, err := s.World.Apply(ctx, t.what, f); err != nil {
			return err
		}
	} else {
		s.World.Candidate.misbehave(f)
		s.World.cfg.Say(t.what, "")
	}
	return nil
}

// mend makes the candidate as good as it was meant to be.
func (s *Story) mend(ctx context.Context) error {
	s.World.Candidate.misbehave(healthy)
	if t := troubleOf(s.Told().Fault); t != nil && t.policy {
		if _, err := s.World.Apply(ctx, "orders/v2 is mended", healthy); err != nil {
			return err
		}
	}
	s.tell(func(t *Told) { t.Fault = healthy })
	return nil
}

// Await waits until Mintmark has taken the candidate back by itself, and no gateway
// admits what it handed out any more.
func (s *Story) Await(ctx context.Context, patience time.Duration) error {
	return s.await(ctx, patience, func() bool { return false })
}

// await is Await that gives up, without an error, once never holds.
func (s *Story) await(ctx context.Context, patience time.Duration, never func() bool) error {
	var r *api.Rollout
	var rec *mintmark.Receipt
	if err := until(ctx, patience, "Mintmark to take the candidate back", func() (bool, string) {
		if never() {
			return true, ""
		}
		admin, err := s.World.Admin(ctx)
		if err == nil {
			r, err = admin.Rollout(ctx, s.Told().Rollout)
		}
		if err == nil && r.State == "rolled_back" && r.Receipt != "" {
			rec, err = admin.Receipt(ctx, r.Receipt)
		}
		switch {
		case err != nil:
			return false, err.Error()
		case rec == nil:
			return false, "it is " + r.State
		}
		return rec.Outcome != mintmark.OutcomePending, string(rec.Outcome)
	}); err != nil {
		return err
	}
	if rec == nil || never() {
		return nil
	}
	s.World.Crowd.Score.Cut(rec.Returned)
	var noticed time.Duration
	if since := s.Told().Since; !since.IsZero() {
		noticed = rec.Committed.Sub(since)
	}
	why := ""
	if rec.Evidence != nil {
		why = " by " + rec.Evidence.Metric
	}
	s.tell(func(t *Told) { t.Receipt, t.Noticed, t.Took = rec, noticed, rec.Elapsed })
	s.World.cfg.Say(fmt.Sprintf("Mintmark noticed%s, and took orders/v2 back by itself %s after it went wrong", why, noticed.Round(10*time.Millisecond)), "")
	s.World.cfg.Say(fmt.Sprintf("%s on %d gateways %s after the commit, receipt %s", rec.Outcome, len(rec.Gateways), rec.Elapsed.Round(100*time.Microsecond), rec.ID), "")
	return s.explain(ctx)
}

// explain asks the product's own command why the candidate was taken back.
func (s *Story) explain(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	out, err := s.run(ctx, "rollout", "explain", string(s.Told().Rollout))
	if err != nil {
		return err
	}
	s.tell(func(t *Told) { t.Explanation = strings.Split(strings.TrimRight(out, "\n"), "\n") })
	s.World.cfg.Say("why:", "mintmark rollout explain "+service)
	for _, l := range s.Told().Explanation {
		s.World.cfg.Say(l, "")
	}
	return nil
}

// run runs a command of the product as the operator, in plain text.
func (s *Story) run(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, s.World.cfg.Binary, args...)
	cmd.Env = append(os.Environ(), "MINTMARK_CONFIG="+s.World.ControlConfig(), "MINTMARK_OUTPUT=table", "NO_COLOR=1", "HOME="+s.World.cfg.Dir, "XDG_CONFIG_HOME="+s.World.cfg.Dir)
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			err = fmt.Errorf("%w: %s", err, exit.Stderr)
		}
		return "", fmt.Errorf("mintmark %s: %w", strings.Join(args, " "), err)
	}
	return string(out), nil
}

// Rollback takes the candidate back by a person's command, with what it handed out.
func (s *Story) Rollback(ctx context.Context, reason string) error {
	now := s.Told()
	if now.over() {
		return fmt.Errorf("%w: no rollout is in progress", ErrStory)
	}
	admin, err := s.World.Admin(ctx)
	if err != nil {
		return err
	}
	begun := time.Now()
	a, err := admin.StepRollout(ctx, now.Rollout, "rollback", api.StepRequest{Reason: reason, Wait: true, Timeout: "30s"})
	if err != nil {
		return fmt.Errorf("roll back: %w", err)
	}
	took := time.Since(begun)
	if a.Receipt == nil {
		return errors.New("roll back: the answer has no receipt")
	}
	if a.Receipt.Outcome == mintmark.OutcomeEffective || a.Receipt.Outcome == mintmark.OutcomeByLease {
		s.World.Crowd.Score.Cut(time.Now())
	}
	s.tell(func(t *Told) { t.Receipt, t.Took = a.Receipt, took })
	s.World.cfg.Say(fmt.Sprintf("rolled back in %s: %s on %d gateways, receipt %s", took.Round(time.Millisecond), a.Receipt.Outcome, len(a.Receipt.Gateways), a.Receipt.ID),
		fmt.Sprintf("mintmark rollout rollback %s --reason %q --wait", service, reason))
	return nil
}

// Promote gives a candidate that was found good everything.
func (s *Story) Promote(ctx context.Context) error {
	now := s.Told()
	if now.over() {
		return fmt.Errorf("%w: no rollout is in progress", ErrStory)
	}
	admin, err := s.World.Admin(ctx)
	if err != nil {
		return err
	}
	if _, err := admin.StepRollout(ctx, now.Rollout, "promote", api.StepRequest{Reason: "orders v2 is good", Wait: true, Timeout: "30s"}); err != nil {
		return fmt.Errorf("promote: %w", err)
	}
	s.World.cfg.Say("orders/v2 has all subjects; it can still be taken back", "mintmark rollout promote "+service+" --reason \"orders v2 is good\" --wait")
	if _, err := admin.StepRollout(ctx, now.Rollout, "finalise", api.StepRequest{Reason: "orders v2 is good", Wait: true, Timeout: "30s"}); err != nil {
		return fmt.Errorf("finalise: %w", err)
	}
	s.tell(func(t *Told) { t.Promoted = true })
	s.World.cfg.Say("the rollout is over: orders/v2 is the stable release", "mintmark rollout finalise "+service)
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
	b, err := json.MarshalIndent(s.Told().Receipt, "", "  ")
	if err != nil {
		return err.Error()
	}
	return string(b)
}
