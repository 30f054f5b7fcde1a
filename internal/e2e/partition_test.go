package e2e

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/api"
)

// bound is G2: how long after the commit a strict route of a silent gateway is
// provably over, L(1+2ρ)+δ.
func bound(lease time.Duration) time.Duration { return lease + lease/5 + 50*time.Millisecond }

// receiptOf reads the receipt that a command printed.
func receiptOf(t *testing.T, out string) *mintmark.Receipt {
	t.Helper()
	var a struct {
		Receipt *mintmark.Receipt `json:"receipt"`
	}
	if err := json.Unmarshal([]byte(out), &a); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	if a.Receipt == nil {
		a.Receipt = new(mintmark.Receipt)
		must(t, json.Unmarshal([]byte(out), a.Receipt))
	}
	return a.Receipt
}

// reaches says how far a receipt's fact came at each gateway.
func reaches(r *mintmark.Receipt) map[mintmark.GatewayID]mintmark.Reach {
	out := map[mintmark.GatewayID]mintmark.Reach{}
	for _, g := range r.Gateways {
		out[g.Gateway] = g.Reach
	}
	return out
}

func wantReach(t *testing.T, r *mintmark.Receipt, outcome mintmark.Outcome, want map[mintmark.GatewayID]mintmark.Reach) {
	t.Helper()
	got := reaches(r)
	if r.Outcome != outcome {
		t.Errorf("the receipt says %s, want %s", r.Outcome, outcome)
	}
	for id, reach := range want {
		if got[id] != reach {
			t.Errorf("the receipt says %s of %s, want %s", got[id], id, reach)
		}
	}
}

// judge holds a gateway's answers against what it may say while it knows
// nothing: 200 before taken, 503 with Retry-After any time, 401 never. It returns
// when it admitted last.
func judge(t *testing.T, what string, answers []answer, taken time.Time) (last time.Time) {
	t.Helper()
	for _, a := range answers {
		switch {
		case a.status == http.StatusOK && a.began.After(taken):
			t.Errorf("%s: admitted %s after the command returned", what, a.began.Sub(taken))
			return last
		case a.status == http.StatusOK:
			last = a.done
		case a.status == http.StatusServiceUnavailable:
			if n, err := strconv.Atoi(a.retry); err != nil || n < 1 {
				t.Errorf("%s: 503 with Retry-After %q", what, a.retry)
				return last
			}
		default:
			t.Errorf("%s: %s", what, a)
			return last
		}
	}
	return last
}

// RB11, I3, G1, G2: a gateway that is cut off from control stops accepting what
// was taken back within its budget, however often the token is presented; says
// 503 and never 401 for what it can't know; and catches up when it is reached
// again. Once with the wire cut, once with a wire that swallows everything.
func TestRB11CutOffGateway(t *testing.T) {
	for _, how := range []string{"cut", "frozen"} {
		t.Run(how, func(t *testing.T) {
			r := newRig(t, rigConfig{gateways: 2, lease: time.Second})
			a, b := r.gates[0], r.gates[1]
			bad, good := r.machine("machine", ordersAudience, "orders.read"), r.machine("other", ordersAudience, "orders.read")
			badShop, goodShop := r.machine("machine", shopAudience, "shop.read"), r.machine("other", shopAudience, "shop.read")
			key := r.apiKey("partner-1", ordersAudience, "orders.read")
			opaque := r.machine("machine", opaqueAudience, "vault.read")
			for _, g := range r.gates {
				for _, c := range []*credential{bad, good, key} {
					r.admits(g, "/orders/1", c)
				}
				for _, c := range []*credential{badShop, goodShop} {
					r.admits(g, "/shop/1", c)
				}
				r.admits(g, "/vault/1", opaque)
			}
			// Each is hammered at both gateways from before the cut on.
			hammers := map[string]*hammering{}
			for name, h := range map[string]struct {
				path string
				c    *credential
			}{
				"revoked, strict": {"/orders/1", bad}, "harmless, strict": {"/orders/1", good}, "key, strict": {"/orders/1", key},
				"revoked, finite": {"/shop/1", badShop}, "harmless, finite": {"/shop/1", goodShop}, "revoked opaque, strict": {"/vault/1", opaque},
			} {
				hammers[name] = hammer(r, h.path, h.c, 15*time.Millisecond)
			}
			cut := time.Now()
			if how == "cut" {
				b.wire.Cut()
			} else {
				b.wire.Freeze()
			}
			exit, out := r.cli("token", "revoke", "--client", "machine", "--reason", "leaked", "-y", "--timeout", "20s")
			returned := time.Now()
			if exit != api.ExitFenced {
				t.Errorf("revoke: exit %d, want %d: %s", exit, api.ExitFenced, out)
			}
			rec := receiptOf(t, out)
			wantReach(t, rec, mintmark.OutcomeByLease, map[mintmark.GatewayID]mintmark.Reach{a.id: mintmark.ReachApplied, b.id: mintmark.ReachFenced})
			// The longest affected budget is the shop's four seconds.
			if limit := 4*time.Second*12/10 + 50*time.Millisecond + 500*time.Millisecond; rec.Elapsed > limit {
				t.Errorf("revoke took %s, more than %s", rec.Elapsed, limit)
			}
			for _, h := range hammers {
				h.after(t, returned)
			}
			for name, h := range hammers {
				each := h.each()
				last := judge(t, name+" at the cut-off gateway", each[b.id], returned)
				budget := bound(r.lease)
				if name == "revoked, finite" || name == "harmless, finite" {
					budget = 4 * time.Second
					if last.Before(cut.Add(budget / 2)) {
						t.Errorf("%s: given up after %s of a budget of %s", name, last.Sub(cut), budget)
					}
				}
				if over := last.Sub(cut); over > budget {
					t.Errorf("%s: admitted for %s after the cut, the budget is %s", name, over, budget)
				}
				code := mintmark.CodeRevoked
				if !strings.HasPrefix(name, "revoked") {
					code = mintmark.CodeNone
				}
				for _, x := range each[a.id] {
					if x.began.After(returned) && x.status != http.StatusServiceUnavailable && x.code != string(code) {
						t.Errorf("%s at the gateway that is reached: %s", name, x)
					}
				}
			}
			b.wire.Heal()
			r.admits(b, "/orders/1", good)
			for path, c := range map[string]*credential{"/orders/1": bad, "/shop/1": badShop, "/vault/1": opaque} {
				if got := r.present(b, path, c); got.code != string(mintmark.CodeRevoked) {
					t.Errorf("revoked token at %s after the wire healed: %s", path, got)
				}
			}
			r.admits(b, "/shop/1", goodShop)
		})
	}
}

// G1, G2, G3 for a rollback: within the lease a cut-off gateway no longer routes
// to the bad release, whatever the budgets of other services are, and its tokens
// are kept: nobody is logged out.
func TestRollbackOfACutOffGateway(t *testing.T) {
	r := newRig(t, rigConfig{gateways: 3, lease: time.Second})
	b := r.gates[1]
	c := r.machine("machine", ordersAudience, "orders.read")
	ro, err := r.api().StartRollout(t.Context(), api.RolloutRequest{Service: "orders", Candidate: "v2", Strategy: "canary", Weight: "100", Reason: "test", ManualRollback: true, Wait: true, Timeout: "20s"})
	must(t, err)
	minted := r.machine("machine", ordersAudience, "orders.read")
	for _, g := range r.gates {
		if a := r.present(g, "/orders/1", minted); a.told.Release != "v2" {
			t.Fatalf("the candidate does not serve at %s: %s %s", g.id, a, a.told.Release)
		}
	}
	h := hammer(r, "/orders/1", minted, 5*time.Millisecond)
	hk := hammer(r, "/orders/1", c, 5*time.Millisecond)
	h.after(t, time.Time{})
	b.wire.Cut()
	exit, out := r.cli("rollout", "rollback", string(ro.Rollout.ID), "--reason", "bad", "-y", "--timeout", "20s")
	returned := time.Now()
	if exit != api.ExitFenced {
		t.Errorf("rollback: exit %d: %s", exit, out)
	}
	rec := receiptOf(t, out)
	wantReach(t, rec, mintmark.OutcomeByLease, map[mintmark.GatewayID]mintmark.Reach{
		r.gates[0].id: mintmark.ReachApplied, b.id: mintmark.ReachFenced, r.gates[2].id: mintmark.ReachApplied,
	})
	// Half a second for two busy cores; the bound itself is tested at lease level.
	if limit := bound(r.lease) + 500*time.Millisecond; rec.Elapsed > limit {
		t.Errorf("rollback took %s, more than %s", rec.Elapsed, limit)
	}
	h.after(t, returned)
	hk.after(t, returned)
	for _, answers := range []map[mintmark.GatewayID][]answer{h.each(), hk.each()} {
		for id, list := range answers {
			for _, a := range list {
				switch {
				case a.status == http.StatusOK && a.told.Release == "v2" && a.began.After(returned):
					t.Errorf("%s routed to the bad release %s after the rollback returned", id, a.began.Sub(returned))
				case a.status == http.StatusServiceUnavailable && id == b.id, a.status == http.StatusOK:
				default:
					t.Errorf("%s: %s", id, a)
				}
			}
		}
	}
	b.wire.Heal()
	for _, token := range []*credential{c, minted} {
		r.admits(b, "/orders/1", token)
		if a := r.present(b, "/orders/1", token); a.told.Release != "v1" {
			t.Errorf("after the wire healed %s serves", a.told.Release)
		}
	}
	r.verify()
}

// G1 with the network failing at any moment of a revocation or a rollback, in
// either direction: whatever the receipt says of a gateway is true from then on.
func TestG1NetworkFailsMeanwhile(t *testing.T) {
	// All strict, so that a round is over in a lease.
	r := newRig(t, rigConfig{gateways: 2, lease: time.Second, resources: strings.Replace(plain, "staleness: 4s", "staleness: strict", 1)})
	a, b := r.gates[0], r.gates[1]
	rounds := 8
	if soak {
		rounds = 200
	}
	rnd := rand.New(rand.NewPCG(1, 1))
	failures := []struct {
		name string
		fail func()
	}{
		{"cut", b.wire.Cut},
		{"frozen", b.wire.Freeze},
		{"frozen toward the gateway", func() { b.wire.FreezeOneWay(true, false) }},
		{"frozen toward control", func() { b.wire.FreezeOneWay(false, true) }},
	}
	outcomes := map[mintmark.Reach]int{}
	for round := range rounds {
		f := failures[round%len(failures)]
		good := r.machine("other", ordersAudience, "orders.read")
		rollback := rnd.IntN(2) == 0
		var ro *api.RolloutAnswer
		var err error
		if rollback {
			ro, err = r.api().StartRollout(t.Context(), api.RolloutRequest{Service: "orders", Candidate: "v2", Strategy: "canary", Weight: "100", Reason: "test", ManualRollback: true, Wait: true, Timeout: "20s"})
			must(t, err)
		}
		bad := r.machine("machine", ordersAudience, "orders.read")
		for _, g := range r.gates {
			r.admits(g, "/orders/1", bad)
			r.admits(g, "/orders/1", good)
		}
		hb, hg := hammer(r, "/orders/1", bad, 5*time.Millisecond), hammer(r, "/orders/1", good, 5*time.Millisecond)
		b.wire.Slow(time.Duration(rnd.Int64N(int64(15 * time.Millisecond))))
		moment := time.AfterFunc(time.Duration(rnd.Int64N(int64(40*time.Millisecond))), f.fail)
		var rec *mintmark.Receipt
		if rollback {
			var s *api.RolloutAnswer
			if s, err = r.api().StepRollout(t.Context(), ro.Rollout.ID, "rollback", api.StepRequest{Reason: "test", Wait: true, Timeout: "20s"}); err == nil {
				rec = s.Receipt
			}
		} else {
			var v *api.RevokeAnswer
			if v, err = r.api().Revoke(t.Context(), api.RevokeRequest{Selector: "client=machine", Reason: "test", Wait: true, Timeout: "20s", Confirm: "client=machine"}); err == nil {
				rec = v.Receipt
			}
		}
		returned := time.Now()
		must(t, err)
		hb.after(t, returned)
		hg.after(t, returned)
		moment.Stop()
		reach := reaches(rec)
		outcomes[reach[b.id]]++
		if reach[a.id] != mintmark.ReachApplied || reach[b.id] != mintmark.ReachApplied && reach[b.id] != mintmark.ReachFenced {
			t.Errorf("round %d, %s: %v", round, f.name, reach)
		}
		still := func(x answer) bool {
			return x.status == http.StatusOK && x.began.After(returned) && (!rollback || x.told.Release == "v2")
		}
		for id, list := range hb.each() {
			for _, x := range list {
				if still(x) {
					t.Fatalf("round %d, %s, rollback %v: %s, which the receipt calls %s, let it through %s after the return", round, f.name, rollback, id, reach[id], x.began.Sub(returned))
				}
			}
		}
		for id, list := range hg.each() {
			for _, x := range list {
				if rollback && still(x) || x.status != http.StatusOK && x.status != http.StatusServiceUnavailable {
					t.Fatalf("round %d, %s, rollback %v: harmless token at %s: %s from %s", round, f.name, rollback, id, x, x.told.Release)
				}
			}
		}
		b.wire.Heal()
		r.admits(b, "/orders/1", good)
	}
	t.Logf("the gateway with the failing wire: %v", outcomes)
	r.verify()
}

// A static route is listed and excepted, with an exit code of its own; a caller
// that can't wait is told pending, and the receipt completes by itself.
func TestStaticAndPending(t *testing.T) {
	r := newRig(t, rigConfig{gateways: 2, lease: time.Second})
	b := r.gates[1]
	c := r.machine("machine", ordersAudience, "orders.read")
	for _, g := range r.gates {
		r.admits(g, "/orders/1", c)
	}
	b.wire.Cut()
	exit, out := r.cli("token", "revoke", "--client", "machine", "--reason", "leaked", "-y", "--timeout", "200ms")
	rec := receiptOf(t, out)
	if exit != api.ExitPending || rec.Outcome != mintmark.OutcomePending {
		t.Fatalf("revoke within 200 ms: exit %d, %s", exit, rec.Outcome)
	}
	if a := r.present(r.gates[0], "/orders/1", c); a.code != string(mintmark.CodeRevoked) {
		t.Errorf("a pending revocation at the gateway that is reached: %s", a)
	}
	r.eventually(20*time.Second, "the pending receipt completes by itself", func() (bool, string) {
		exit, out = r.cli("receipt", "get", string(rec.ID))
		return exit == api.ExitFenced, fmt.Sprint(exit, out)
	})
	wantReach(t, receiptOf(t, out), mintmark.OutcomeByLease, map[mintmark.GatewayID]mintmark.Reach{b.id: mintmark.ReachFenced})
	b.wire.Heal()
	other := r.machine("other", ordersAudience, "orders.read")
	r.admits(b, "/orders/1", other)

	r.secrets = merged(r.secrets, r.apply(plain+static))
	for _, g := range r.gates {
		r.admits(g, "/archive/1", other)
	}
	b.wire.Cut()
	exit, out = r.cli("token", "revoke", "--client", "other", "--reason", "leaked", "-y", "--timeout", "20s")
	rec = receiptOf(t, out)
	if exit != api.ExitStatic {
		t.Errorf("revoke with a static route cut off: exit %d, want %d", exit, api.ExitStatic)
	}
	wantReach(t, rec, mintmark.OutcomeStatic, map[mintmark.GatewayID]mintmark.Reach{b.id: mintmark.ReachStatic, r.gates[0].id: mintmark.ReachApplied})
	for _, g := range rec.Gateways {
		if g.Gateway == b.id && !slices.Equal(g.Static, []string{"archive/read"}) {
			t.Errorf("static routes listed: %v", g.Static)
		}
	}
	if a := r.present(b, "/archive/1", other); a.status != http.StatusOK {
		t.Errorf("a static route without control: %s", a)
	}
	if a := r.present(b, "/orders/1", other); a.status != http.StatusServiceUnavailable {
		t.Errorf("a strict route beside it: %s", a)
	}
	b.wire.Heal()
	r.eventually(10*time.Second, "the static route learns of the revocation", func() (bool, string) {
		a := r.present(b, "/archive/1", other)
		return a.code == string(mintmark.CodeRevoked), a.String()
	})
}

func merged(a, b map[string]string) map[string]string {
	out := map[string]string{}
	for _, m := range []map[string]string{a, b} {
		for k, v := range m {
			out[k] = v
		}
	}
	return out
}
