package e2e

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mintmark/mintmark/api"
)

// TestCandidateThatFailsIsTakenBack: two gateways, a canary that answers 500 from
// some moment on, control killed in between; nobody does anything, and it is taken
// back.
func TestCandidateThatFailsIsTakenBack(t *testing.T) {
	var bad atomic.Bool
	candidate := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if bad.Load() {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		fmt.Fprint(w, `{"release":"v2"}`)
	}))
	defer candidate.Close()
	const clients = 40
	text := strings.ReplaceAll(plain, "$V2", candidate.URL)
	for i := range clients {
		text += fmt.Sprintf("\n---\napiVersion: mintmark/v1\nkind: Client\nname: judged-%d\ngrants: [client_credentials]\nauth: client_secret_basic\nscopes: [orders.read]\n", i)
	}
	r := newRig(t, rigConfig{gateways: 2, resources: text})
	var tokens []*credential
	for i := range clients {
		tokens = append(tokens, r.machine(fmt.Sprintf("judged-%d", i), ordersAudience, "orders.read"))
	}
	ro, err := r.api().StartRollout(t.Context(), api.RolloutRequest{Service: "orders", Candidate: "v2", Strategy: "canary", Weight: "50", Reason: "test", Wait: true, Timeout: "20s"})
	must(t, err)
	round := func() {
		for i, c := range tokens {
			r.present(r.gates[i%2], "/orders/1", c)
		}
	}
	round()
	got, err := r.api().Rollout(t.Context(), ro.Rollout.ID)
	must(t, err)
	if got.State != "progressing" {
		t.Fatalf("a healthy canary is %s", got.State)
	}
	r.control.Kill()
	r.start(r.control)
	bad.Store(true)
	r.eventually(30*time.Second, "the failing candidate is taken back", func() (bool, string) {
		round()
		got, err := r.api().Rollout(t.Context(), ro.Rollout.ID)
		if err != nil {
			return false, err.Error()
		}
		return got.State == "rolled_back", string(got.State)
	})
	for i, c := range tokens {
		if a := r.present(r.gates[i%2], "/orders/1", c); a.status != http.StatusOK || a.told.Release != "v1" {
			t.Errorf("after it was taken back: %s by %s", a, a.told.Release)
		}
	}
	r.verify()
}
