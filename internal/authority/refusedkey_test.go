package authority_test

import (
	"context"
	"net/url"
	"testing"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/ledger"
)

// Revoking or suspending the signing key as a whole must not lock everybody out:
// another key takes its place without anybody asking, as asking takes a token.
func TestARefusedKeyIsReplaced(t *testing.T) {
	w := newWorld(t)
	secret := w.client(machine())
	mints := func() bool {
		status, _ := w.post("/token", url.Values{"grant_type": {"client_credentials"}, "scope": {"orders:read"}, "basic": {"machine:" + secret}})
		return status == 200
	}
	if !mints() {
		t.Fatal("no token to begin with")
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); _ = w.auth.Run(ctx) }()
	defer func() { cancel(); <-done }()
	for _, action := range []mintmark.Action{mintmark.ActionRevoke, mintmark.ActionSuspend} {
		keys, err := w.auth.Keys(t.Context())
		must(t, err)
		active := ""
		for _, k := range keys {
			if k.State == "active" {
				active = k.ID
			}
		}
		_, err = w.state.Revoke(t.Context(), []mintmark.Revocation{{
			ID: mintmark.RevocationID("rev_" + active), Action: action, Selector: mintmark.Selector{Key: active}, Actor: "user:root",
		}}, ledger.Batch{})
		must(t, err)
		// Unless it was replaced already: that takes a second at the most.
		if mints() && stillActive(t, w, active) {
			t.Errorf("%s: a token was minted under a refused key", action)
		}
		deadline := time.Now().Add(10 * time.Second)
		for !mints() {
			if time.Now().After(deadline) {
				t.Fatalf("%s: no other key took its place", action)
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
}

func stillActive(t *testing.T, w *world, kid string) bool {
	t.Helper()
	keys, err := w.auth.Keys(t.Context())
	must(t, err)
	for _, k := range keys {
		if k.ID == kid {
			return k.State == "active"
		}
	}
	return false
}
