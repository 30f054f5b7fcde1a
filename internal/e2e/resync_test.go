package e2e

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/api"
)

// RB08: however often and wherever the sync of a new gateway is cut, it comes to
// the whole state, refuses no valid token on the way, and admits nothing revoked.
func TestRB08InterruptedSync(t *testing.T) {
	r := newRig(t, rigConfig{gateways: 1, lease: time.Second})
	g := r.gates[0]
	valid := map[string]*credential{}
	for path, audience := range map[string]string{"/orders/1": ordersAudience, "/shop/1": shopAudience, "/vault/1": opaqueAudience} {
		valid[path] = r.machine("machine", audience, strings.Split(path, "/")[1]+".read")
	}
	key := r.apiKey("partner-1", ordersAudience, "orders.read")
	revoked := r.person("bob", ordersAudience, "orders.read")
	r.admits(g, "/orders/1", revoked)
	r.revoke("subject=bob")
	for i := range 300 { // a state log worth interrupting
		must(t, r.fact(fmt.Sprintf("subject=nobody-%03d", i)))
	}
	whole := r.resync(g, nil)
	if whole < 10_000 {
		t.Fatalf("the whole sync is %d bytes: nothing to cut", whole)
	}
	rounds := 6
	if soak {
		rounds = 200
	}
	rnd := rand.New(rand.NewPCG(8, 8))
	for round := range rounds {
		// The first connections die at random offsets, the handshake's bytes
		// included; then the wire is whole.
		cuts := 2 + rnd.IntN(4)
		var mu sync.Mutex
		budget := func() int64 {
			mu.Lock()
			defer mu.Unlock()
			if cuts--; cuts < 0 {
				return -1
			}
			return 1 + rnd.Int64N(whole)
		}
		stop := make(chan struct{})
		var wg sync.WaitGroup
		check := func(what, path string, c *credential, ok bool) {
			wg.Go(func() {
				for {
					switch a := r.present(g, path, c); {
					case a.status == 0, a.status == http.StatusServiceUnavailable, ok && a.status == http.StatusOK, !ok && a.code == string(mintmark.CodeRevoked):
					case ok && a.code == string(mintmark.CodeNoRoute):
						// Without any state there are no routes: the process is not ready, and
						// says so to what would send it traffic.
					default:
						t.Errorf("round %d: %s: %s", round, what, a)
						return
					}
					select {
					case <-stop:
						return
					case <-time.After(10 * time.Millisecond):
					}
				}
			})
		}
		for path, c := range valid {
			check("valid token at "+path, path, c, true)
		}
		check("valid API key", "/orders/1", key, true)
		r.resync(g, budget)
		for path, c := range valid {
			r.admits(g, path, c)
		}
		r.admits(g, "/orders/1", key)
		if a := r.present(g, "/orders/1", revoked); a.code != string(mintmark.CodeRevoked) {
			t.Errorf("round %d: a revoked token after the sync: %s", round, a)
		}
		close(stop)
		wg.Wait()
		if t.Failed() {
			return
		}
	}
}

// fact commits a revocation without waiting.
func (r *rig) fact(selector string) error {
	_, err := r.api().Revoke(r.t.Context(), api.RevokeRequest{Selector: selector, Reason: "test"})
	return err
}

// resync kills a gateway, takes away all its state but its identity, starts it
// with a wire rationed by budget, and waits until it is ready. It returns how many
// bytes came to it.
func (r *rig) resync(g *gate, budget func() int64) int64 {
	r.t.Helper()
	g.Kill()
	entries, err := os.ReadDir(g.data)
	must(r.t, err)
	for _, e := range entries {
		if e.Name() != "identity.json" {
			must(r.t, os.RemoveAll(filepath.Join(g.data, e.Name())))
		}
	}
	before := g.wire.Passed()
	g.wire.Ration(budget)
	r.start(g.Process)
	return g.wire.Passed() - before
}

// RB09: a control that comes back without its state, with an older state, or not
// at all revokes nothing: gateways keep what they know, answer 503 for the rest,
// and go on when the true one is back.
func TestRB09ControlComesBackEmptyOrOld(t *testing.T) {
	r := newRig(t, rigConfig{gateways: 2, lease: time.Second})
	good, bad := r.machine("other", ordersAudience, "orders.read"), r.machine("machine", ordersAudience, "orders.read")
	data, old, now := filepath.Join(r.dir, "control"), filepath.Join(r.dir, "old"), filepath.Join(r.dir, "now")
	for _, g := range r.gates {
		r.admits(g, "/orders/1", good)
		r.admits(g, "/orders/1", bad)
	}
	r.control.Stop()
	copyDir(t, data, old)
	r.start(r.control)
	r.revoke("client=machine")
	r.control.Stop()
	must(t, os.Rename(data, now))

	holds := func(when string) {
		t.Helper()
		seen := map[int]int{}
		until := time.Now().Add(bound(r.lease) + time.Second)
		for time.Now().Before(until) {
			for _, g := range r.gates {
				a := r.present(g, "/orders/1", good)
				seen[a.status]++
				if a.status != http.StatusOK && a.status != http.StatusServiceUnavailable {
					t.Fatalf("%s: a valid token at %s: %s", when, g.id, a)
				}
				if a := r.present(g, "/orders/1", bad); a.code != string(mintmark.CodeRevoked) {
					t.Fatalf("%s: a revoked token at %s: %s", when, g.id, a)
				}
			}
			time.Sleep(20 * time.Millisecond)
		}
		if seen[http.StatusServiceUnavailable] == 0 {
			t.Errorf("%s: nobody was told to come back: %v", when, seen)
		}
	}
	holds("control gone")

	// An empty one under the same address: another ledger, other keys.
	r.run("init", "--config", filepath.Join(r.dir, "control.yaml"))
	r.start(r.control)
	holds("control empty")
	r.control.Stop()
	must(t, os.RemoveAll(data))

	// A backup from before the revocation: it must notice that gateways have seen
	// more, and not lead.
	must(t, os.Rename(old, data))
	r.start(r.control)
	holds("control restored from an older backup")
	if err := r.fact("subject=nobody"); err == nil {
		t.Error("control restored from an older backup takes orders, which gateways can't follow")
	}
	r.control.Stop()
	must(t, os.RemoveAll(data))

	must(t, os.Rename(now, data))
	r.start(r.control)
	for _, g := range r.gates {
		r.admits(g, "/orders/1", good)
		if a := r.present(g, "/orders/1", bad); a.code != string(mintmark.CodeRevoked) {
			t.Errorf("the true control is back: a revoked token at %s: %s", g.id, a)
		}
	}
	r.verify()
}

func copyDir(t *testing.T, from, to string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), "cp", "-a", from, to).CombinedOutput(); err != nil {
		t.Fatalf("copy %s: %v %s", from, err, out)
	}
}

// G5: a gateway that was killed comes back with what it had acknowledged, also
// when control can't be reached: what was revoked stays revoked, on static routes
// too, which are the only ones that it may decide.
func TestG5KilledGatewayCutOff(t *testing.T) {
	r := newRig(t, rigConfig{gateways: 1, resources: plain + static})
	g := r.gates[0]
	good, bad := r.machine("other", ordersAudience, "orders.read"), r.machine("machine", ordersAudience, "orders.read")
	for _, c := range []*credential{good, bad} {
		r.admits(g, "/archive/1", c)
		r.admits(g, "/orders/1", c)
	}
	r.revoke("client=machine")
	g.Kill()
	g.wire.Cut()
	go func() { _ = g.Start(t.Context()) }() // never ready: it has no lease
	r.admits(g, "/archive/1", good)
	for range 50 {
		if a := r.present(g, "/archive/1", bad); a.code != string(mintmark.CodeRevoked) {
			t.Fatalf("revoked token on a static route: %s", a)
		}
		if a := r.present(g, "/orders/1", bad); a.code != string(mintmark.CodeRevoked) && a.status != http.StatusServiceUnavailable {
			t.Fatalf("revoked token on a strict route: %s", a)
		}
		if a := r.present(g, "/orders/1", good); a.status != http.StatusServiceUnavailable {
			t.Fatalf("a gateway without a lease decides a strict route: %s", a)
		}
	}
	g.wire.Heal()
	r.admits(g, "/orders/1", good)
}

// G7: tokens minted under an epoch that a slow gateway has not yet are never
// refused there: it catches up or says 503. So are those signed with a new key.
func TestG7TokenNewerThanTheGateway(t *testing.T) {
	r := newRig(t, rigConfig{gateways: 2})
	slow := r.gates[1]
	slow.wire.Slow(120 * time.Millisecond)
	rounds := 6
	if soak {
		rounds = 100
	}
	served := 0
	for i := range rounds {
		narrow := plain
		if i%2 == 0 {
			narrow = strings.Replace(plain, "access: 10m", "access: 9m", 1)
		}
		done := make(chan error, 1)
		go func() {
			text := strings.NewReplacer("$V1", r.v1, "$V2", r.v2).Replace(narrow)
			_, err := r.api().Apply(t.Context(), api.ApplyRequest{Files: []api.File{{Name: "rig.yaml", Text: text}}, Reason: "another epoch"})
			if err == nil && i%3 == 0 {
				_, err = r.api().RotateKey(t.Context(), api.KeyRequest{Reason: "test"})
			}
			done <- err
		}()
		for over := false; !over; {
			c := r.machine("machine", ordersAudience, "orders.read")
			o := r.machine("machine", opaqueAudience, "vault.read")
			for path, c := range map[string]*credential{"/orders/1": c, "/vault/1": o} {
				switch a := r.present(slow, path, c); a.status {
				case http.StatusOK:
					served++
				case http.StatusServiceUnavailable:
				default:
					t.Fatalf("a fresh token at the slow gateway: %s", a)
				}
			}
			select {
			case err := <-done:
				must(t, err)
				over = true
			default:
			}
		}
	}
	if served == 0 {
		t.Error("no fresh token was admitted at all")
	}
}
