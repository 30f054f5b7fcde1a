package e2e

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/api"
)

// overScoping is the plain world with a candidate that hands out what nobody
// should have.
func overScoping() string {
	return strings.Replace(plain, "name: orders-v2\nextends: orders-v1\n", "name: orders-v2\nextends: orders-v1\nforced_scopes: [orders.admin]\n", 1)
}

// load is clients with harmless tokens that go on calling all gateways, and keep
// their own account.
type load struct {
	r        *rig
	requests atomic.Int64
	refused  atomic.Int64 // 401 or 403 of a harmless token: never
	unknown  atomic.Int64 // 503 and no answer
	done     chan struct{}
	wg       sync.WaitGroup

	mu     sync.Mutex
	what   []string                  // guarded by mu; the first refusals
	routed map[string]map[string]int // guarded by mu; by epoch, by release
	late   []answer                  // guarded by mu; of the candidate, newest last
}

func underLoad(r *rig, clients int, c *credential) *load {
	l := &load{r: r, done: make(chan struct{}), routed: map[string]map[string]int{}}
	for i := range clients {
		l.wg.Go(func() {
			rnd := rand.New(rand.NewPCG(11, uint64(i)))
			tick := time.NewTicker(10 * time.Millisecond)
			defer tick.Stop()
			for {
				l.count(r.present(r.gates[rnd.IntN(len(r.gates))], "/orders/1", c))
				select {
				case <-l.done:
					return
				case <-tick.C:
				}
			}
		})
	}
	return l
}

func (l *load) count(a answer) {
	l.requests.Add(1)
	switch a.status {
	case http.StatusUnauthorized, http.StatusForbidden:
		l.refused.Add(1)
		l.mu.Lock()
		defer l.mu.Unlock()
		if len(l.what) < 5 {
			l.what = append(l.what, a.String())
		}
	case http.StatusOK:
		epoch := a.told.Header.Get("Mintmark-Token-Epoch")
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.routed[epoch] == nil {
			l.routed[epoch] = map[string]int{}
		}
		l.routed[epoch][a.told.Release]++
		if a.told.Release == "v2" {
			l.late = append(l.late, a)
		}
	default:
		l.unknown.Add(1)
	}
}

// meets returns how many requests that began after a moment met the candidate, and
// forgets them.
func (l *load) meets(after time.Time) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, a := range l.late {
		if a.began.After(after) {
			n++
		}
	}
	l.late = nil
	return n
}

func (l *load) stop() {
	close(l.done)
	l.wg.Wait()
}

// takeBack starts a rollout to the over-scoping candidate, lets it mint, and
// returns the harmful token and the receipt of the rollback, which a person asks
// for or Mintmark makes by itself. after is the moment from which it binds.
func takeBack(r *rig, byHand bool) (bad *credential, rec *mintmark.Receipt, after time.Time) {
	r.t.Helper()
	ro, err := r.api().StartRollout(r.t.Context(), api.RolloutRequest{
		Service: "orders", Candidate: "v2", Strategy: "canary", Weight: "100", Reason: "test", ManualRollback: byHand, Wait: true, Timeout: "20s",
	})
	must(r.t, err)
	r.eventually(15*time.Second, "the candidate mints", func() (bool, string) {
		bad = r.machine("machine", ordersAudience, "orders.read")
		release := claim(r.t, bad.value, "mintmark", "release")
		return release == "orders/v2", release
	})
	if byHand {
		r.admits(r.gates[0], "/orders/1", bad)
		a, err := r.api().StepRollout(r.t.Context(), ro.Rollout.ID, "rollback", api.StepRequest{Reason: "test", Wait: true, Timeout: "20s"})
		must(r.t, err)
		return bad, a.Receipt, time.Now()
	}
	r.eventually(30*time.Second, "Mintmark takes the candidate back", func() (bool, string) {
		got, err := r.api().Rollout(r.t.Context(), ro.Rollout.ID)
		if err != nil || got.State != "rolled_back" || got.Receipt == "" {
			return false, fmt.Sprint(err, got)
		}
		rec, err = r.api().Receipt(r.t.Context(), got.Receipt)
		return err == nil && rec.Outcome != mintmark.OutcomePending, fmt.Sprint(err, rec)
	})
	return bad, rec, rec.Returned
}

// TestRollbacksUnderLoad takes an over-scoping candidate back again and again (200
// times in a soak), by a person's command and by Mintmark itself, while clients go
// on: no harmful token is admitted after the return, nobody meets the candidate, no
// harmless token is refused, and no request is decided by two epochs.
func TestRollbacksUnderLoad(t *testing.T) {
	rounds := 6
	if soak {
		rounds = 200
	}
	r := newRig(t, rigConfig{gateways: 3, resources: overScoping()})
	good := r.machine("machine", ordersAudience, "orders.read")
	for _, g := range r.gates {
		r.admits(g, "/orders/1", good)
	}
	l := underLoad(r, 12, good)
	var spent []time.Duration
	tried, admitted, met := 0, 0, 0
	for round := range rounds {
		bad, rec, after := takeBack(r, round%2 == 0)
		if rec == nil || rec.Outcome != mintmark.OutcomeEffective {
			t.Fatalf("round %d: %+v", round, rec)
		}
		spent = append(spent, rec.Elapsed)
		for range 3 {
			for _, g := range r.gates {
				tried++
				if a := r.present(g, "/orders/1", bad); a.status != http.StatusUnauthorized {
					admitted++
					t.Errorf("round %d: a harmful token at %s, %s after the rollback: %s", round, g.id, a.began.Sub(after), a)
				}
			}
		}
		met += l.meets(after)
	}
	l.stop()
	if met > 0 {
		t.Errorf("%d requests met the candidate after its rollback had returned", met)
	}
	if n := l.refused.Load(); n > 0 {
		t.Errorf("%d requests with a harmless token were refused: %v", n, l.what)
	}
	for epoch, by := range l.routed {
		if len(by) != 1 {
			t.Errorf("epoch %s routed to %v", epoch, by)
		}
	}
	if l.requests.Load() < int64(50*rounds) {
		t.Errorf("%d requests in %d rounds are no load", l.requests.Load(), rounds)
	}
	t.Logf("%d rollbacks: %d requests meanwhile, %d told to come back; harmful tokens presented after: %d, admitted: %d; commit to all 3 applied: p50 %s, p99 %s",
		rounds, l.requests.Load(), l.unknown.Load(), tried, admitted, quantile(spent, 50), quantile(spent, 99))
	r.verify()
}

// quantile sorts.
func quantile(d []time.Duration, percent int) time.Duration {
	slices.Sort(d)
	return d[min(len(d)*percent/100, len(d)-1)].Round(10 * time.Microsecond)
}
