//go:build linux

package e2e

import (
	"context"
	"fmt"
	"testing"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/rollout"
)

// steady is a rollout of the vault that people move: nothing is minted under the
// candidate, so that nothing is noticed about it.
type steady struct {
	w  *world
	id mintmark.RolloutID
}

// over takes back what is open, so that the next rollout can begin.
func (s *steady) over() {
	if s.id == "" {
		return
	}
	must(s.w.t, s.w.insist(newKey(), func(ctx context.Context, c *api.Client) error {
		r, err := c.Rollout(ctx, s.id)
		if err != nil || r.State == string(rollout.RolledBack) {
			return err
		}
		_, err = c.StepRollout(ctx, s.id, "rollback", api.StepRequest{Reason: "next", Wait: true, Timeout: "40s"})
		return err
	}))
	s.id = ""
}

// start begins a rollout at a share and returns its receipt.
func (s *steady) start(ctx context.Context, c *api.Client, percent string) (*mintmark.Receipt, error) {
	a, err := c.StartRollout(ctx, api.RolloutRequest{
		Service: "vault", Candidate: "v2", Strategy: "canary", Weight: percent, Reason: "test", ManualRollback: true, Unsafe: true, Wait: true, Timeout: "40s",
	})
	if err != nil {
		return nil, err
	}
	s.id = a.Rollout.ID
	return a.Receipt, nil
}

// begun starts a rollout that a deed is done to.
func (s *steady) begun(percent string) {
	s.over()
	must(s.w.t, s.w.insist(newKey(), func(ctx context.Context, c *api.Client) error {
		_, err := s.start(ctx, c, percent)
		return err
	}))
}

// step is a verb of the rollout.
func (s *steady) step(ctx context.Context, c *api.Client, verb string, q api.StepRequest) (*mintmark.Receipt, error) {
	q.Reason, q.Wait, q.Timeout = "test", true, "40s"
	a, err := c.StepRollout(ctx, s.id, verb, q)
	if err != nil {
		return nil, err
	}
	return a.Receipt, nil
}

// at counts how often a step was done, and checks that the rollout is exactly as
// before or as after it.
func (s *steady) at(ctx context.Context, c *api.Client, verb rollout.Verb, before, after string) (int, error) {
	r, err := c.Rollout(ctx, s.id)
	if err != nil {
		return 0, err
	}
	now := r.State + " " + r.Percent
	switch done := count(r.History, verb); {
	case now == after && done == 1:
		return 1, nil
	case now == before && done == 0:
		return 0, nil
	default:
		return 0, fmt.Errorf("%w: neither old nor new: %s after %d", errFinal, now, done)
	}
}

// crashes is a rollout in a world of its own, and a judge of where gateways send a
// token that the stable release minted: want says to which release, "" for either.
func crashes(t *testing.T) (s *steady, judge func(want func(happened bool) string) func(bool)) {
	w := newWorld(t, worldOptions{Clients: 8})
	good := w.mint(1).Access
	return &steady{w: w}, func(want func(bool) string) func(bool) {
		return func(happened bool) {
			w.everywhere("a token minted by the stable release", good, "")
			if release := want(happened); release != "" {
				w.routed(release == "v1", good)
			}
		}
	}
}

// TestCrashAtEveryLedgerWriteOfStart kills control at each of the writes to the
// ledger that starting a rollout makes: afterwards there is one, or none, and
// gateways follow without anybody's help.
func TestCrashAtEveryLedgerWriteOfStart(t *testing.T) {
	s, judge := crashes(t)
	crashAtEveryWrite(s.w, deed{
		name:    "start",
		prepare: s.over,
		do:      func(ctx context.Context, c *api.Client) (*mintmark.Receipt, error) { return s.start(ctx, c, "100") },
		happened: func(ctx context.Context, c *api.Client) (n int, err error) {
			all, err := c.Rollouts(ctx)
			if err != nil {
				return 0, err
			}
			for _, r := range all.Rollouts {
				if r.Service != "vault" {
					continue
				}
				n++
				if r.State != string(rollout.RolledBack) {
					s.id = r.ID // its answer may have been lost
				}
			}
			return n, nil
		},
		judge: judge(func(happened bool) string {
			if happened {
				return "v2"
			}
			return "v1"
		}),
	})
}

// TestCrashAtEveryLedgerWriteOfWeight does the same while the candidate is given
// more weight.
func TestCrashAtEveryLedgerWriteOfWeight(t *testing.T) {
	s, judge := crashes(t)
	crashAtEveryWrite(s.w, deed{
		name:    "weight",
		prepare: func() { s.begun("10") },
		do: func(ctx context.Context, c *api.Client) (*mintmark.Receipt, error) {
			return s.step(ctx, c, "weight", api.StepRequest{Weight: "60"})
		},
		happened: func(ctx context.Context, c *api.Client) (int, error) {
			return s.at(ctx, c, rollout.VerbWeight, "progressing 10", "progressing 60")
		},
		judge: judge(func(bool) string { return "" }),
	})
}

// TestCrashAtEveryLedgerWriteOfPromote does the same while it is promoted.
func TestCrashAtEveryLedgerWriteOfPromote(t *testing.T) {
	s, judge := crashes(t)
	crashAtEveryWrite(s.w, deed{
		name:    "promote",
		prepare: func() { s.begun("10") },
		do: func(ctx context.Context, c *api.Client) (*mintmark.Receipt, error) {
			return s.step(ctx, c, "promote", api.StepRequest{})
		},
		happened: func(ctx context.Context, c *api.Client) (int, error) {
			return s.at(ctx, c, rollout.VerbPromote, "progressing 10", "promoted 100")
		},
		judge: judge(func(happened bool) string {
			if happened {
				return "v2"
			}
			return ""
		}),
	})
}
