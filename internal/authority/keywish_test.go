package authority_test

import (
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/authority"
	"github.com/mintmark/mintmark/internal/ledger"
)

// keyState is a key's state, and whether somebody wants it retired.
func keyState(t *testing.T, w *world, kid string) (state string, wished bool) {
	t.Helper()
	keys, err := w.auth.Keys(t.Context())
	must(t, err)
	for _, k := range keys {
		if k.ID == kid {
			return k.State, k.WhenSafe != nil
		}
	}
	t.Fatalf("no key %s", kid)
	return "", false
}

// rotated is a world with a token under a key that was replaced.
func rotated(t *testing.T) (w *world, kid string, again func() (*authority.Authority, error)) {
	t.Helper()
	w = newWorld(t, func(c *authority.Config, d *authority.Deps) {
		again = func() (*authority.Authority, error) { return authority.New(*c, *d) }
	})
	secret := w.client(machine())
	status, _ := w.post("/token", url.Values{"grant_type": {"client_credentials"}, "scope": {"orders:read"}, "basic": {"machine:" + secret}})
	if status != 200 {
		t.Fatalf("no token: %d", status)
	}
	keys, err := w.auth.Keys(t.Context())
	must(t, err)
	kid = keys[0].ID
	if err := w.auth.RetireWhenSafe(t.Context(), kid, "user:root", "old"); !errors.Is(err, authority.ErrRequest) {
		t.Errorf("an active key: %v", err)
	}
	_, err = w.auth.Rotate(t.Context(), "ES256", "user:root", "test")
	must(t, err)
	return w, kid, again
}

// A wish to retire a key waits for its last token, over a restart, and is carried
// out by whoever tends the keys.
func TestRetireWhenSafe(t *testing.T) {
	w, kid, again := rotated(t)
	err := w.auth.Retire(t.Context(), kid, "user:root", "test", false)
	if !errors.Is(err, authority.ErrInUse) || !strings.Contains(err.Error(), "1 live tokens") || !strings.Contains(err.Error(), "over at 20") {
		t.Errorf("refusal: %v", err)
	}
	must(t, w.auth.RetireWhenSafe(t.Context(), kid, "user:ada", "rotation"))
	must(t, w.auth.RetireWhenSafe(t.Context(), kid, "user:eve", "again"))
	if state, wished := keyState(t, w, kid); state != authority.KeyVerifying || !wished {
		t.Fatalf("key is %s, wished %v", state, wished)
	}
	w.auth, err = again() // nothing is in memory
	must(t, err)
	w.clock.advance(9 * time.Minute) // the token lived for five, and five more are slack
	must(t, w.auth.Tend(t.Context()))
	if state, wished := keyState(t, w, kid); state != authority.KeyVerifying || !wished {
		t.Fatalf("too early: key is %s, wished %v", state, wished)
	}
	w.clock.advance(2 * time.Minute)
	must(t, w.auth.Tend(t.Context()))
	if state, wished := keyState(t, w, kid); state != authority.KeyRetired || wished {
		t.Fatalf("key is %s, wished %v", state, wished)
	}
	keys, err := w.auth.Keys(t.Context())
	must(t, err)
	for _, k := range keys {
		if k.ID == kid && k.Reason != "rotation" {
			t.Errorf("retired for %q, want the first wish", k.Reason)
		}
	}
	if err := w.auth.KeepKey(t.Context(), kid, "user:ada"); !errors.Is(err, ledger.ErrNotFound) {
		t.Errorf("keep a retired key: %v", err)
	}
}

// A suspended token may come back: its key stays.
func TestRetireWhenSafeMindsSuspendedTokens(t *testing.T) {
	w, kid, _ := rotated(t)
	rows, err := w.store.Tokens(t.Context(), ledger.TokenFilter{Selector: mintmark.Selector{Key: kid}, Now: w.clock.now(), Limit: 10})
	must(t, err)
	_, err = w.state.Revoke(t.Context(), []mintmark.Revocation{{
		ID: "rev_s", Action: mintmark.ActionSuspend, Selector: mintmark.Selector{Token: rows[0].ID}, Actor: "user:root",
	}}, ledger.Batch{})
	must(t, err)
	if err := w.auth.Retire(t.Context(), kid, "user:root", "test", false); !errors.Is(err, authority.ErrInUse) {
		t.Errorf("retired under a suspended token: %v", err)
	}
	must(t, w.auth.RetireWhenSafe(t.Context(), kid, "user:ada", "rotation"))
	if state, _ := keyState(t, w, kid); state != authority.KeyVerifying {
		t.Errorf("key is %s", state)
	}
}

func TestKeepKey(t *testing.T) {
	w, kid, _ := rotated(t)
	if err := w.auth.KeepKey(t.Context(), kid, "user:ada"); !errors.Is(err, authority.ErrRequest) {
		t.Errorf("without a wish: %v", err)
	}
	must(t, w.auth.RetireWhenSafe(t.Context(), kid, "user:ada", "rotation"))
	must(t, w.auth.KeepKey(t.Context(), kid, "user:bob"))
	w.clock.advance(time.Hour)
	must(t, w.auth.Tend(t.Context()))
	if state, wished := keyState(t, w, kid); state != authority.KeyVerifying || wished {
		t.Errorf("key is %s, wished %v", state, wished)
	}
	must(t, w.auth.RetireWhenSafe(t.Context(), kid, "user:ada", "rotation"))
	if state, _ := keyState(t, w, kid); state != authority.KeyRetired {
		t.Errorf("nothing needs it, but it is %s", state)
	}
}
