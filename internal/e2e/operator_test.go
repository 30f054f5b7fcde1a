package e2e

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/demo"
	"github.com/mintmark/mintmark/internal/rollout"
)

// insist calls the admin API under one idempotency key until it answers for good,
// over any number of restarts: a success, or a refusal of what was asked.
func (w *world) insist(key string, do func(ctx context.Context, c *api.Client) error) error {
	return w.try(90*time.Second, func() error {
		ctx, cancel := context.WithTimeout(api.WithKey(w.ctx, key), 45*time.Second)
		defer cancel()
		admin, err := w.Admin(ctx)
		if err != nil {
			return err
		}
		err = do(ctx, admin)
		var p *api.Problem
		if err == nil || !errors.As(err, &p) {
			return err
		}
		switch p.Code {
		case api.CodeUnauthorized: // its key was killed, say
			w.SignOut()
			return err
		case api.CodeUnreachable, api.CodeOutcome, api.CodeUnavailable, api.CodeInternal, api.CodeInterrupted:
			return err
		}
		return fmt.Errorf("%w: %w", errFinal, err)
	})
}

// newKey is an idempotency key.
func newKey() string { return rand.Text() }

// revoke revokes (or suspends) and returns the answer, insisting.
func (w *world) revoke(selector, action string) (*api.RevokeAnswer, error) {
	var a *api.RevokeAnswer
	err := w.insist(newKey(), func(ctx context.Context, c *api.Client) (err error) {
		a, err = c.Revoke(ctx, revocation(selector, action))
		return err
	})
	return a, err
}

func revocation(selector, action string) api.RevokeRequest {
	return api.RevokeRequest{Selector: selector, Action: action, Reason: "test", Wait: true, Timeout: "40s", Confirm: confirm(selector)}
}

// confirm repeats a selector that is so broad that it must be confirmed.
func confirm(selector string) string {
	if s, err := mintmark.ParseSelector(selector); err == nil && s.Broad() {
		return s.String()
	}
	return ""
}

// effective reports whether an answer acknowledges: from then on no gateway that
// it lists may admit what was taken back.
func effective(r *mintmark.Receipt) bool {
	return r != nil && (r.Outcome == mintmark.OutcomeEffective || r.Outcome == mintmark.OutcomeByLease)
}

// cli runs a command as the first operator and returns what it printed as JSON,
// and its exit code.
func (w *world) cli(args ...string) ([]byte, int) {
	w.t.Helper()
	run := func(args ...string) ([]byte, int) {
		cmd := exec.CommandContext(w.ctx, binary, args...)
		cmd.Env = append(cmd.Environ(), "HOME="+w.dir, "XDG_CONFIG_HOME="+w.dir)
		out, err := cmd.Output()
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			w.t.Logf("mintmark %v: exit %d: %s", args, exit.ExitCode(), exit.Stderr)
		} else {
			must(w.t, err)
		}
		return out, cmd.ProcessState.ExitCode()
	}
	if _, exit := run("login", "--credential", filepath.Join(w.ledgerDir(), "operator.json")); exit != 0 {
		w.t.Fatal("the first operator can't log in")
	}
	return run(append(args, "-o", "json")...)
}

// tryCanary starts a rollout of the vault at 100 % and returns a tainted token
// that the candidate minted, and one that the stable release did before. It asks
// again while control is down.
func (w *world) tryCanary(client int) (id mintmark.RolloutID, bad, good demo.Tokens, err error) {
	if good, err = w.tryMint(client); err != nil {
		return id, bad, good, err
	}
	if good.Release != "vault/v1" {
		return id, bad, good, fmt.Errorf("before the rollout %s mints", good.Release)
	}
	if err = w.insist(newKey(), func(ctx context.Context, c *api.Client) error {
		a, err := c.StartRollout(ctx, api.RolloutRequest{
			Service: "vault", Candidate: "v2", Strategy: "canary", Weight: "100", Reason: "test", Unsafe: true, Wait: true, Timeout: "40s",
			ManualRollback: true, // what it mints would have it taken back at once
		})
		if err == nil {
			id = a.Rollout.ID
		}
		return err
	}); err != nil {
		return id, bad, good, fmt.Errorf("start rollout: %w", err)
	}
	// Nothing is minted in the new shape before all gateways accept it.
	err = w.try(60*time.Second, func() (err error) {
		if bad, err = w.tryMint(client); err == nil && (bad.Release != "vault/v2" || !slices.Contains(bad.Scopes, vaultHarm)) {
			err = fmt.Errorf("minted by %s with %v", bad.Release, bad.Scopes)
		}
		return err
	})
	if err != nil {
		return id, bad, good, err
	}
	// That it mints what it must not has been noticed: nothing is written meanwhile.
	err = w.try(60*time.Second, func() error {
		ctx, cancel := context.WithTimeout(w.ctx, 10*time.Second)
		defer cancel()
		c, err := w.Admin(ctx)
		if err != nil {
			return err
		}
		r, err := c.Rollout(ctx, id)
		if err == nil && r.State != "paused" {
			err = fmt.Errorf("the rollout is %s, and mints %v", r.State, bad.Scopes)
		}
		return err
	})
	return id, bad, good, err
}

// rollback rolls back and returns the receipt, insisting.
func (w *world) rollback(id mintmark.RolloutID) (*mintmark.Receipt, error) {
	var r *mintmark.Receipt
	err := w.insist(newKey(), func(ctx context.Context, c *api.Client) error {
		a, err := c.StepRollout(ctx, id, "rollback", api.StepRequest{Reason: "test", Wait: true, Timeout: "40s"})
		if err == nil {
			r = a.Receipt
		}
		return err
	})
	return r, err
}

// facts counts the revocations in force that have exactly this selector.
func facts(ctx context.Context, c *api.Client, selector string) (int, error) {
	n := 0
	for after := mintmark.RevocationID(""); ; {
		page, err := c.Revocations(ctx, api.RevocationQuery{After: after})
		if err != nil {
			return 0, err
		}
		for _, r := range page.Revocations {
			if r.Selector.String() == selector {
				n++
			}
		}
		if after = page.Next; after == "" {
			return n, nil
		}
	}
}

// count says how often a verb was done to a rollout.
func count(h []api.RolloutStep, verb rollout.Verb) int {
	n := 0
	for _, s := range h {
		if s.Verb == string(verb) {
			n++
		}
	}
	return n
}
