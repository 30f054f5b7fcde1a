package control_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/control"
	"github.com/mintmark/mintmark/internal/control/controltest"
	"github.com/mintmark/mintmark/internal/fleet"
	"github.com/mintmark/mintmark/internal/health"
	"github.com/mintmark/mintmark/internal/rollout"
)

// An apply in the middle of a rollout may change how well the stable release reads
// the candidate's tokens. The rollout's dispositions were declared for what was: they
// must not keep a failing candidate in place.
func TestFailAfterApplyChangedClasses(t *testing.T) {
	w, a := judged(t, health.Wait)
	id := startFile(t, w, canary+"dispositions: {native: reissue}\n").Rollout.ID
	apply(t, w, strings.Replace(controltest.Shop, "accept: [v2]\n", "", 1))
	a.say(health.Fail)
	if err := w.Control.TickRollout(t.Context(), string(id)); err != nil {
		t.Fatal(err)
	}
	if r, err := w.Control.Rollout(t.Context(), string(id)); err != nil || r.State != string(rollout.RolledBack) {
		t.Errorf("a failing candidate is %s, %v", r.State, err)
	}
}

// A class that the candidate's tokens can't be of is refused at the start, before
// anything is judged or staged.
func TestDispositionsChecked(t *testing.T) {
	w, a := judged(t, health.Wait)
	_, err := w.Control.StartRollout(t.Context(), op, api.RolloutRequest{File: &api.File{Name: "r.yaml", Text: canary + "dispositions: {lossy: reissue}\n"}})
	if !errors.Is(err, rollout.ErrInvalid) || a.watching() != 0 {
		t.Errorf("%v, %d judged", err, a.watching())
	}
}

// unsure is a state log that does what it is told and says that it does not know, or
// that nothing was written.
type unsure struct {
	control.StateLog
	err    error // says so; nil goes through
	before bool  // nothing is written
}

// Commit implements control.StateLog.
func (u *unsure) Commit(ctx context.Context, c control.Change) (control.Committed, error) {
	if u.err == nil || u.before {
		if u.err != nil {
			return control.Committed{}, u.err
		}
		return u.StateLog.Commit(ctx, c)
	}
	if _, err := u.StateLog.Commit(ctx, c); err != nil {
		return control.Committed{}, err
	}
	return control.Committed{}, u.err
}

// A start whose outcome was not known and that did happen is judged all the same: its
// candidate is taken back when it fails.
func TestUnknownStartIsJudged(t *testing.T) {
	log := &unsure{}
	a := &analyst{outcome: health.Wait, open: openings{}}
	w := controltest.New(t, func(c *control.Config) { log.StateLog, c.StateLog, c.Analyst = c.StateLog, log, a })
	apply(t, w, controltest.Shop)
	start := func() error {
		_, err := w.Control.StartRollout(t.Context(), op, api.RolloutRequest{Service: "shop", Candidate: "v2", Strategy: rollout.Canary, Weight: "5"})
		return err
	}
	log.err, log.before = fmt.Errorf("no: %w", fleet.ErrRefused), true
	if err := start(); !errors.Is(err, fleet.ErrRefused) || a.watching() != 0 {
		t.Errorf("refused: %v, %d judged", err, a.watching())
	}
	log.err, log.before = fmt.Errorf("%w: disk", fleet.ErrUnknown), false
	if err := start(); !errors.Is(err, fleet.ErrUnknown) {
		t.Fatal(err)
	}
	log.err = nil
	if a.watching() != 1 {
		t.Fatalf("%d judged, want the one that may have begun", a.watching())
	}
	a.say(health.Fail)
	id := w.Fleet.Current().Table.Service("shop").Split.Rollout
	if err := w.Control.TickRollout(t.Context(), string(id)); err != nil {
		t.Fatal(err)
	}
	if r, err := w.Control.Rollout(t.Context(), string(id)); err != nil || r.State != string(rollout.RolledBack) {
		t.Errorf("%s, %v", r.State, err)
	}
}

// What was judged when the process died, and has ended or never began, is closed at
// the next start; what is open goes on.
func TestResumeClosesWhatIsOver(t *testing.T) {
	w, a := judged(t, health.Wait)
	over := startFile(t, w, canary).Rollout.ID
	if _, err := w.Control.StepRollout(t.Context(), op, nil, string(over), rollout.VerbRollback, api.StepRequest{}); err != nil {
		t.Fatal(err)
	}
	open := startFile(t, w, canary).Rollout.ID
	if err := a.Open(t.Context(), health.Opening{Rollout: "rol_never"}); err != nil {
		t.Fatal(err)
	}
	w.Again().Resume(t.Context())
	if _, ok := a.Health(open); !ok || a.watching() != 1 {
		t.Errorf("%d judged, the open one %v", a.watching(), ok)
	}
}

// conflicting lets something else happen before the first row that is asked for.
type conflicting struct {
	control.StateLog
	first func()
}

// Commit implements control.StateLog.
func (c *conflicting) Commit(ctx context.Context, ch control.Change) (control.Committed, error) {
	if f := c.first; f != nil {
		c.first = nil
		f()
	}
	return c.StateLog.Commit(ctx, ch)
}

// A verb that names the service means the rollout that is open when it comes, and not
// one that begins meanwhile.
func TestVerbKeepsItsRollout(t *testing.T) {
	log := &conflicting{}
	w := controltest.New(t, func(c *control.Config) { log.StateLog, c.StateLog = c.StateLog, log })
	apply(t, w, controltest.Shop)
	start := func() (*api.RolloutAnswer, error) {
		return w.Control.StartRollout(t.Context(), op, api.RolloutRequest{Service: "shop", Candidate: "v2", Strategy: rollout.Canary, Weight: "5"})
	}
	one, err := start()
	if err != nil {
		t.Fatal(err)
	}
	log.first = func() {
		if _, err := w.Control.StepRollout(t.Context(), "user:b", nil, string(one.Rollout.ID), rollout.VerbRollback, api.StepRequest{}); err != nil {
			t.Error(err)
		}
		if _, err := start(); err != nil {
			t.Error(err)
		}
	}
	_, err = w.Control.StepRollout(t.Context(), op, nil, "shop", rollout.VerbPromote, api.StepRequest{})
	if split := w.Fleet.Current().Table.Service("shop").Split; err == nil || split.Weight != 500 {
		t.Errorf("the other rollout was promoted: %+v, %v", split, err)
	}
}

// An approval whose answer was lost is not given again to the next step that wants one,
// nor a revocation that waits asked for twice.
func TestLostAnswersAreNotRepeated(t *testing.T) {
	w, _ := judged(t, health.Wait)
	id := startFile(t, w, `apiVersion: mintmark/v1
kind: Rollout
name: shop-v2
service: shop
candidate: v2
strategy: canary
steps:
  - set_weight: 5
  - pause: {until: approved}
  - set_weight: 25
  - pause: {until: approved}
  - set_weight: 50
approvals: {roles: [security]}
`).Rollout.ID
	died := errors.New("died before the answer was stored")
	approve := func(ctx context.Context) (*api.RolloutAnswer, error) {
		if _, err := w.Control.StepRollout(ctx, "user:sec", []string{"security"}, string(id), rollout.VerbApprove, api.StepRequest{}); err != nil {
			return nil, err
		}
		return nil, died
	}
	guard(t, w, "second_person: always\n")
	sel := "token=" + string(w.Issue("shop/v1"))
	revoke := func(ctx context.Context) (*api.RevokeAnswer, error) {
		if a, err := w.Control.Revoke(ctx, op, api.RevokeRequest{Selector: sel, Reason: "leaked"}); err != nil || a.Pending == nil {
			return nil, fmt.Errorf("not pending: %w", err)
		}
		return nil, died
	}
	for range 2 {
		_, _ = control.Once(t.Context(), w.Control, "user:sec", "key", "approve", "", approve)
		_, _ = control.Once(t.Context(), w.Control, op, "key", "revoke", "", revoke)
	}
	r, err := w.Control.Rollout(t.Context(), string(id))
	if err != nil || r.Percent != "25" || r.State != string(rollout.Waiting) {
		t.Errorf("approved by one word: %s at %s%%, %v", r.State, r.Percent, err)
	}
	p, err := w.Control.PendingRevocations(t.Context())
	if err != nil || len(p.Pending) != 1 {
		t.Errorf("%d pending, want 1: %v", len(p.Pending), err)
	}
}

// Approving a share is a row, and recording one approval of two is none: either uses
// its key up.
func TestRecordedApprovalUsesItsKey(t *testing.T) {
	w, _ := judged(t, health.Pass)
	id := startFile(t, w, strings.Replace(canary, "distinct: true", "distinct: true, count: 2", 1)).Rollout.ID
	if err := w.Control.TickRollout(t.Context(), string(id)); err != nil {
		t.Fatal(err)
	}
	died := errors.New("died before the answer was stored")
	n := 0
	for range 2 {
		_, _ = control.Once(t.Context(), w.Control, "user:sec", "key", "approve", "", func(ctx context.Context) (*api.RolloutAnswer, error) {
			n++
			_, err := w.Control.StepRollout(ctx, "user:sec", []string{"security"}, string(id), rollout.VerbApprove, api.StepRequest{})
			return nil, errors.Join(err, died)
		})
	}
	if n != 1 {
		t.Errorf("asked %d times", n)
	}
}
