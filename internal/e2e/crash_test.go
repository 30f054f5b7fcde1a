//go:build linux

package e2e

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/demo"
	"github.com/mintmark/mintmark/internal/rollout"
)

// deed is something that an operator asks for, and how to see whether it happened.
type deed struct {
	name string
	// prepare makes what the deed will be done to.
	prepare func()
	// do asks for it.
	do func(ctx context.Context, c *api.Client) (*mintmark.Receipt, error)
	// happened says how often it has, by control's account.
	happened func(ctx context.Context, c *api.Client) (int, error)
	// judge checks the gateways, given whether it has happened.
	judge func(happened bool)
}

// TestCrashAtEveryLedgerWriteOfRevoke kills control at each of the writes to the
// ledger that a revocation makes (RB01, I1, G6).
func TestCrashAtEveryLedgerWriteOfRevoke(t *testing.T) {
	w := newWorld(t, worldOptions{Clients: 8})
	var selector, token string
	n := 0
	crashAtEveryWrite(w, deed{
		name: "revoke",
		prepare: func() {
			n++
			token = w.mint(n).Access
			// What covers many tokens is bounded by the number of the newest one.
			selector = []string{
				"token=" + claim(t, token, "jti"),
				"subject=" + claim(t, token, "sub"),
				"client=" + claim(t, token, "client_id"),
				"client=" + claim(t, token, "client_id") + ",scope=" + vaultScope + ",audience=" + vaultAudience,
			}[n%4]
		},
		do: func(ctx context.Context, c *api.Client) (*mintmark.Receipt, error) {
			a, err := c.Revoke(ctx, revocation(selector, ""))
			if err != nil {
				return nil, err
			}
			return a.Receipt, nil
		},
		happened: func(ctx context.Context, c *api.Client) (int, error) { return facts(ctx, c, selector) },
		judge: func(happened bool) {
			want := ""
			if happened {
				want = string(mintmark.CodeRevoked)
			}
			w.everywhere(selector, token, want)
		},
	})
}

// TestCrashAtEveryLedgerWriteOfRollback kills control at each of the writes to the
// ledger that a rollback makes: afterwards it is exactly old or new (I13, G6).
func TestCrashAtEveryLedgerWriteOfRollback(t *testing.T) {
	w := newWorld(t, worldOptions{Clients: 8})
	var id mintmark.RolloutID
	var harmful, harmless string
	n := 0
	crashAtEveryWrite(w, deed{
		name: "rollback",
		prepare: func() {
			id, harmful, harmless = w.canary(n)
			n++
		},
		do: func(ctx context.Context, c *api.Client) (*mintmark.Receipt, error) {
			a, err := c.StepRollout(ctx, id, "rollback", api.StepRequest{Reason: "test", Wait: true, Timeout: "40s"})
			if err != nil {
				return nil, err
			}
			return a.Receipt, nil
		},
		happened: func(ctx context.Context, c *api.Client) (int, error) {
			r, err := c.Rollout(ctx, id)
			if err != nil {
				return 0, err
			}
			switch done := count(r.History, rollout.VerbRollback); {
			case r.State == string(rollout.RolledBack) && done == 1:
				return 1, nil
			case r.State == string(rollout.Paused) && done == 0: // as tryCanary left it
				return 0, nil
			}
			return 0, fmt.Errorf("%w: neither old nor new: %s %v", errFinal, r.State, r.History)
		},
		judge: func(happened bool) {
			w.everywhere("a token minted by the stable release", harmless, "")
			if happened {
				w.everywhere("a tainted token of the candidate", harmful, string(mintmark.CodeRevoked))
			} else {
				w.everywhere("a tainted token of the candidate", harmful, "")
			}
			w.routed(happened, harmless)
		},
	})
}

// TestCrashAtEveryLedgerWriteOfKeyKill kills control at each of the writes with
// which a leaked signing key is taken out of use, and a new one put in its place.
func TestCrashAtEveryLedgerWriteOfKeyKill(t *testing.T) {
	w := newWorld(t, worldOptions{Clients: 8})
	var kid, token string
	n := 0
	crashAtEveryWrite(w, deed{
		name: "key kill",
		prepare: func() {
			n++
			token = w.mint(n).Access
			kid = keyOf(t, token)
		},
		do: func(ctx context.Context, c *api.Client) (*mintmark.Receipt, error) {
			a, err := c.KillKey(ctx, kid, api.KeyRequest{Reason: "leaked", Confirm: kid, Wait: true, Timeout: "40s"})
			if err != nil {
				return nil, err
			}
			return a.Receipt, nil
		},
		happened: func(ctx context.Context, c *api.Client) (int, error) {
			made, err := facts(ctx, c, "key="+kid)
			return min(made, 1), err
		},
		judge: func(happened bool) {
			want := ""
			if happened {
				// Revoked at first, and unknown once the key is published no more.
				want = string(mintmark.CodeRevoked + " " + mintmark.CodeKeyUnknown)
			}
			w.everywhere("signed by "+kid, token, want)
		},
	})
	w.everywhere("signed by the key that took its place", w.mint(1).Access, "")
}

// keyOf reads the key id in a JWT's header.
func keyOf(t testing.TB, token string) string {
	t.Helper()
	head, _, _ := strings.Cut(token, ".")
	raw, err := base64.RawURLEncoding.DecodeString(head)
	must(t, err)
	var h struct {
		KeyID string `json:"kid"`
	}
	must(t, json.Unmarshal(raw, &h))
	return h.KeyID
}

// canary starts a rollout of the vault at 100 % and returns a tainted token that
// the candidate minted, and one that the stable release did before.
func (w *world) canary(n int) (id mintmark.RolloutID, harmful, harmless string) {
	w.t.Helper()
	id, bad, good, err := w.tryCanary(n)
	must(w.t, err)
	return id, bad.Access, good.Access
}

// routed checks where every gateway sends traffic: all of it to the candidate
// before, and to the stable release after a rollback.
func (w *world) routed(back bool, token string) {
	w.t.Helper()
	want := "v2"
	if back {
		want = "v1"
	}
	for g := range w.Entries() {
		for range 4 {
			if s := w.present(w.ctx, g, "/vault/x", token); s.Release != want && !s.unknown() {
				w.t.Errorf("rolled back: %t; %s routes to %q", back, w.Gateways[g].Name, s)
			}
		}
	}
}

// crashAtEveryWrite does a deed again and again, and kills control at the first,
// second, third… write to the ledger that it makes, until it survives. Each time
// what was acknowledged holds, the ledger verifies, and asking again under the
// same idempotency key makes the deed happen, once.
func crashAtEveryWrite(w *world, d deed) {
	t := w.t
	tr := trace(t, w.Control.PID(), w.ledgerDir())
	// Without a kill: how many writes are there?
	d.prepare()
	tr.arm(t, 0)
	must(t, w.insist(newKey(), func(ctx context.Context, c *api.Client) error { _, err := d.do(ctx, c); return err }))
	list, _ := tr.disarm(t)
	d.judge(true)
	points := crashPoints(t, d.name, len(list))
	outcomes := map[string]int{}
	for _, k := range points {
		if t.Failed() {
			return
		}
		outcomes[w.crashAt(&tr, d, k)]++
	}
	t.Logf("%s: %d crashes: %v; after a restart all gateways had caught up within %s", d.name, len(points), outcomes, w.slowest.Round(time.Millisecond))
}

// crashPoints picks the writes to die at: a sample, or all in the long form.
func crashPoints(t testing.TB, name string, total int) []int {
	t.Helper()
	t.Logf("%s makes %d writes", name, total)
	if total < 3 {
		t.Fatalf("the tracer saw %d writes only", total)
	}
	points := []int{1}
	if soak {
		// Beyond the count, because the number varies with what else is written.
		for k := 2; k <= total+20; k++ {
			points = append(points, k)
		}
		return points
	}
	r := rand.New(rand.NewPCG(7, uint64(total)))
	for range 6 {
		points = append(points, 2+r.IntN(total))
	}
	slices.Sort(points)
	return points
}

// during does something and kills control at its k-th write to the ledger; then
// the ledger verifies, and control is there again. at is the write, "" when it
// survived.
func (w *world) during(tr **tracer, k int, do func() error) (at string, err error) {
	w.t.Helper()
	(*tr).arm(w.t, k)
	err = do()
	list, killed := (*tr).disarm(w.t)
	if !killed {
		return "", err
	}
	at = fmt.Sprintf("write %d: %s", k, list[len(list)-1])
	w.Control.Kill()
	(*tr).close()
	if err := w.verify(); err != nil {
		w.t.Errorf("killed at %s: %v", at, err)
	}
	w.restart(w.Control)
	*tr = trace(w.t, w.Control.PID(), w.ledgerDir())
	return at, err
}

// crashAt does a deed once and kills control at its k-th write.
func (w *world) crashAt(tr **tracer, d deed, k int) string {
	t := w.t
	d.prepare()
	key := newKey()
	before := w.account(d)
	admin, err := w.Admin(w.ctx)
	must(t, err)
	var receipt *mintmark.Receipt
	at, err := w.during(tr, k, func() (err error) {
		ctx, cancel := context.WithTimeout(api.WithKey(w.ctx, key), 45*time.Second)
		defer cancel()
		receipt, err = d.do(ctx, admin)
		return err
	})
	acknowledged := err == nil && effective(receipt)
	what := "survived"
	if at != "" {
		what = "old"
		now := w.account(d)
		if now > before {
			what = "new"
		}
		if acknowledged {
			what += ", acknowledged"
			if now == before {
				t.Errorf("%s was acknowledged and is lost: killed at %s", d.name, at)
			}
		}
		restarted := time.Now()
		w.caughtUp()
		w.slowest = max(w.slowest, time.Since(restarted))
		d.judge(now > before)
	} else if err != nil {
		t.Fatalf("%s: %v", d.name, err)
	}
	// Asked again: the same outcome, once.
	must(t, w.insist(key, func(ctx context.Context, c *api.Client) error {
		r, err := d.do(ctx, c)
		if err == nil && !effective(r) {
			err = fmt.Errorf("outcome %+v", r)
		}
		return err
	}))
	d.judge(true)
	if after := w.account(d); after != before+1 {
		t.Errorf("%s killed at write %d (%s) and asked again under its key happened %d times", d.name, k, what, after-before)
	}
	return what
}

// account says how often a deed has happened, by control.
func (w *world) account(d deed) (n int) {
	w.t.Helper()
	must(w.t, w.insist("", func(ctx context.Context, c *api.Client) (err error) {
		n, err = d.happened(ctx, c)
		return err
	}))
	return n
}

// TestCrashAtEveryLedgerWriteOfRefresh kills control while it rotates a refresh
// token. The client that got no answer asks again and goes on: its family neither
// forks nor ends (I9, I5); what it was answered is good.
func TestCrashAtEveryLedgerWriteOfRefresh(t *testing.T) {
	w := newWorld(t, worldOptions{Grace: "5m"})
	keeper := w.keeper()
	tr := trace(t, w.Control.PID(), w.ledgerDir())
	line := w.signIn(keeper)
	tr.arm(t, 0)
	line = w.refresh(line)
	list, _ := tr.disarm(t)
	answered, crashes := 0, 0
	for _, k := range crashPoints(t, "refresh", len(list)) {
		var got demo.Tokens
		at, err := w.during(&tr, k, func() (err error) {
			got, err = w.vault.Refresh(w.ctx, vaultWeb, line.Refresh)
			return err
		})
		if at != "" {
			crashes++
		}
		if err == nil {
			answered++
			w.caughtUp()
			w.everywhere("answered before the crash at "+at, got.Access, "")
		}
		// Asked again with the predecessor: the only successor there is.
		again := w.refresh(line)
		if err == nil && again.Refresh != got.Refresh {
			t.Errorf("%s: the family forked", at)
		}
		w.caughtUp()
		w.everywhere("asked again after the crash at "+at, again.Access, "")
		line = w.refresh(again)
		if t.Failed() {
			return
		}
	}
	t.Logf("refresh: %d crashes, %d answered", crashes, answered)
	if crashes < 3 {
		t.Error("too few crashes to prove anything")
	}
}

// refresh renews, asking again while control is down.
func (w *world) refresh(tok demo.Tokens) (got demo.Tokens) {
	w.t.Helper()
	w.eventually(30*time.Second, "a refreshed token", func() (err error) {
		got, err = w.vault.Refresh(w.ctx, vaultWeb, tok.Refresh)
		var refused *demo.Refused
		if errors.As(err, &refused) && refused.Status < 500 {
			err = fmt.Errorf("%w: %w", errFinal, err)
		}
		return err
	})
	return got
}
