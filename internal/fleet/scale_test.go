//go:build unix

package fleet_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/boottime"
	"github.com/mintmark/mintmark/internal/fleet"
	"github.com/mintmark/mintmark/internal/fleet/fleettest"
	"github.com/mintmark/mintmark/internal/follower"
	"github.com/mintmark/mintmark/internal/follower/followertest"
	"github.com/mintmark/mintmark/internal/jetstream"
	"github.com/mintmark/mintmark/internal/ledger"
)

// scaleLease keeps renewals from being all that a small machine does: 1,000
// gateways renew a hundred times a second.
const scaleLease = 30 * time.Second

// newScale is a cluster of n gateways in this process, each with the real follower
// and a connection of its own to a real bus; their stores and the ledger are in
// memory. It returns how long they took to join, one after the other, until all
// held a lease.
func newScale(b *testing.B, n int) (*cluster, time.Duration) {
	b.Helper()
	s, err := jetstream.Open(jetstream.Options{Dir: b.TempDir(), Random: rand.Reader})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(s.Close)
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	c := &cluster{t: b, server: s, ledger: fleettest.New(), key: key, gates: map[mintmark.GatewayID]*gate{}}
	if c.conn, err = s.Control(b.Context()); err != nil {
		b.Fatal(err)
	}
	c.fleet = fleet.New(fleet.Config{
		Ledger: c.ledger, Store: c.ledger, Bus: c.conn, Key: key, KeyID: "state-1", Clock: boottime.Now, Now: time.Now,
		Random: rand.Reader, Lease: scaleLease, PrepareWait: scaleLease,
	})
	if err := c.fleet.Open(b.Context()); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(run(c.fleet.Run))
	c.commit(fleet.Change{Kind: "apply", Parts: service(b, "orders", mintmark.Strict)})
	began := time.Now()
	for i := range n {
		id := mintmark.GatewayID(fmt.Sprintf("gw-%04d", i))
		if err := c.fleet.Admit(b.Context(), id, "", ledger.Batch{}); err != nil {
			b.Fatal(err)
		}
		g := &gate{store: &followertest.Store{}}
		if g.conn, err = s.Gateway(b.Context(), id); err != nil {
			b.Fatal(err)
		}
		b.Cleanup(g.conn.Close)
		g.Follower = follower.New(follower.Config{
			Gateway: id, Boot: mintmark.BootID("boot_" + fmt.Sprint(i)), Bus: g.conn, Store: g.store,
			StateKey: c.stateKey, Clock: boottime.Now, Random: rand.Reader, Lease: scaleLease, Wait: scaleLease,
		})
		if err := g.Open(b.Context()); err != nil {
			b.Fatal(err)
		}
		c.gates[id] = g
		b.Cleanup(run(g.Run))
	}
	for deadline := time.Now().Add(5 * time.Minute); ; time.Sleep(5 * time.Millisecond) {
		leased := 0
		for _, g := range c.gates {
			if g.Freshness().Leased {
				leased++
			}
		}
		if leased == n {
			return c, time.Since(began)
		}
		if time.Now().After(deadline) {
			b.Fatalf("%d of %d gateways have a lease", leased, n)
		}
	}
}

// BenchmarkScale measures what a fleet costs: joining, and from the commit of a
// revocation, and of a rollback whose inverse is staged, until every gateway has
// acknowledged it. Memory and processor time are of this whole process, bus and
// control and all gateways together, by gateway.
func BenchmarkScale(b *testing.B) {
	for _, n := range []int{3, 10, 50, 200, 1000} {
		b.Run(fmt.Sprintf("gateways=%d", n), func(b *testing.B) {
			before := memory()
			c, joined := newScale(b, n)
			held := memory() - before
			var revoked, rolled []time.Duration
			inverse := service(b, "orders", mintmark.Staleness{Budget: 5 * time.Second})
			current := service(b, "orders", mintmark.Strict)
			cpu := processor()
			rounds := 0
			for b.Loop() {
				r := c.commit(revoke(fmt.Sprint("subject-", rounds)))
				revoked = append(revoked, c.applied(r.Receipt, n))
				if _, err := c.fleet.Stage(b.Context(), "rol_1", inverse); err != nil {
					b.Fatal(err)
				}
				r = c.commit(fleet.Change{Kind: "rollback", Rollout: "rol_1", Parts: inverse, Receipt: &fleet.ReceiptRequest{}})
				rolled = append(rolled, c.applied(r.Receipt, n))
				inverse, current = current, inverse
				rounds++
			}
			spent := processor() - cpu
			b.ReportMetric(float64(joined.Microseconds())/1e3/float64(n), "join-ms/gw")
			b.ReportMetric(float64(held)/1024/float64(n), "KiB/gw")
			b.ReportMetric(float64(spent.Microseconds())/float64(rounds)/float64(n), "cpu-µs/gw")
			for name, list := range map[string][]time.Duration{"revoke": revoked, "rollback": rolled} {
				slices.Sort(list)
				b.ReportMetric(float64(list[len(list)/2].Microseconds())/1e3, name+"-p50-ms")
				b.ReportMetric(float64(list[len(list)*99/100].Microseconds())/1e3, name+"-p99-ms")
			}
		})
	}
}

// applied waits for a receipt and returns how long after the commit the last of n
// gateways had applied the row.
func (c *cluster) applied(id mintmark.ReceiptID, n int) time.Duration {
	c.t.Helper()
	r := c.wait(id, time.Minute)
	if r.Outcome != mintmark.OutcomeEffective || len(r.Gateways) != n {
		c.t.Fatalf("%s at %d of %d gateways", r.Outcome, len(r.Gateways), n)
	}
	var last time.Duration
	for _, g := range r.Gateways {
		last = max(last, g.Applied)
	}
	return last
}

// memory is what lives on the heap and on stacks, in bytes.
func memory() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

// processor is the processor time that this process has used.
func processor() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
