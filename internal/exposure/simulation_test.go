package exposure

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/mintmark/mintmark/internal/bus"
	"github.com/mintmark/mintmark/internal/epoch"
	"github.com/mintmark/mintmark/internal/health"
)

// soak plays the long simulations in full.
var soak = os.Getenv("MINTMARK_TEST_SOAK") != ""

// traffic plays clients of a service in a rollout, seeded: subjects come at random,
// and each of their requests fails with a probability; what the gateways' meters
// see goes packed to the judge.
type traffic struct {
	t        testing.TB
	rng      *rand.Rand
	subjects []string
	base     float64 // probability of a 5xx
	times    float64 // as many times as that for the candidate
	retries  int     // who fails tries again that often
	judge    *health.Judge
	meters   []*Meter
	snap     *epoch.Snapshot
	now      time.Time
	seq      uint64
	bytes    int // on the wire
}

func newTraffic(t testing.TB, seed uint64, subjects []string, base, times float64) *traffic {
	t.Helper()
	w := &traffic{t: t, rng: rand.New(rand.NewPCG(seed, 42)), subjects: subjects, base: base, times: times, now: at}
	var err error
	if w.judge, err = health.NewJudge(health.Opening{Rollout: "ro_1", Service: "shop", Stable: "v1", Candidate: "v2"}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		w.meters = append(w.meters, New(Config{Now: func() time.Time { return w.now }}))
	}
	w.weigh(500, fmt.Sprint("pepper-", seed))
	return w
}

// weigh puts a weight in force, under a salt of the seed's.
func (w *traffic) weigh(weight int, salt string) {
	up := []epoch.Upstream{{URL: "http://127.0.0.1:9001"}}
	m, bodies, err := epoch.Build(&epoch.Service{
		Name: "shop", Audience: []string{"https://shop.example"}, Hosts: []string{"shop.example"}, Routes: []epoch.Route{{Name: "all", Path: "/*"}},
		Releases: []epoch.Release{{Name: "v1", Upstreams: up}, {Name: "v2", Upstreams: up}},
		Split:    epoch.Split{Stable: "v1", Candidate: "v2", Weight: weight, Salt: salt, Rollout: "ro_1"},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	table, err := epoch.Compile(m, bodies)
	if err != nil {
		w.t.Fatal(err)
	}
	w.snap = &epoch.Snapshot{Epoch: 1, Table: table}
}

// second plays a second with so many requests.
func (w *traffic) second(requests int) {
	o := observed(w.snap, "shop", "", 200)
	s := w.snap.Table.Service("shop")
	o.Now = w.now
	for range requests {
		o.Token.Subject = w.subjects[w.rng.IntN(len(w.subjects))]
		o.Served, o.Upstream = s.Arm(o.Token.Subject), 200
		p := w.base
		if o.Served == s.Candidate {
			p *= w.times
		}
		m := w.meters[w.rng.IntN(len(w.meters))]
		if w.rng.Float64() < p {
			o.Upstream = 500
			for range w.retries {
				w.meters[w.rng.IntN(len(w.meters))].Observe(o)
			}
		}
		m.Observe(o)
	}
	w.now = w.now.Add(time.Second)
	w.flush()
}

func (w *traffic) flush() {
	for i, m := range w.meters {
		var b bus.RecordBatch
		m.Drain(&b)
		for _, packed := range b.Health {
			w.bytes += len(packed)
			d, err := health.DecodeDelta(packed)
			if err != nil {
				w.t.Fatal(err)
			}
			w.seq++
			if err := w.judge.Fold(w.seq, w.now.UnixMilli(), fmt.Sprint("gateway:", i), d); err != nil {
				w.t.Fatal(err)
			}
		}
	}
}

func crowd(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprint("user-", i)
	}
	return out
}

// TestFalseAlarms: in rollouts of a candidate like the stable release, with failing
// clients that try again, the share that ever fails is at most α and chance.
func TestFalseAlarms(t *testing.T) {
	rollouts, seconds := 15, 30
	if soak {
		rollouts, seconds = 400, 120
	}
	subjects := crowd(50_000)
	alarms, events := 0, uint64(0)
	for seed := range uint64(rollouts) {
		w := newTraffic(t, seed, subjects, 0.01, 1)
		w.retries = 4
		for s := range seconds {
			if s == seconds/2 {
				w.weigh(2000, fmt.Sprint("pepper-", seed))
			}
			w.second(1000)
			if w.judge.Report().Outcome == health.Fail {
				alarms++
				break
			}
		}
		for _, m := range w.judge.Report().Metrics {
			events += m.Events.Stable + m.Events.Candidate
		}
	}
	const alpha = 0.01
	share := float64(alarms) / float64(rollouts)
	t.Logf("%d rollouts of %d s: %d false alarms, %d first failures", rollouts, seconds, alarms, events)
	if share > alpha+3*math.Sqrt(alpha*(1-alpha)/float64(rollouts)) {
		t.Errorf("false alarms in %.3f of the rollouts, at most %v is promised", share, alpha)
	}
}

// TestDelay: how long it takes to see a regression at 5 % canary, 1,000 requests a
// second, a base rate of 0.1 %, with all metrics of the catalogue watched.
func TestDelay(t *testing.T) {
	subjects := crowd(200_000)
	seeds := uint64(11)
	if soak {
		seeds = 101
	}
	for _, c := range []struct {
		times float64
		most  int // seconds, at the median
	}{{10, 25}, {1000, 3}} {
		var delays []int
		for seed := range seeds {
			w := newTraffic(t, seed, subjects, 0.001, c.times)
			s := 0
			for w.judge.Report().Outcome != health.Fail && s < 300 {
				w.second(1000)
				s++
			}
			delays = append(delays, s)
			if r := w.judge.Report(); r.Outcome == health.Fail && r.Tripped != health.ServerError {
				t.Errorf("seed %d: tripped %q", seed, r.Tripped)
			}
		}
		slices.Sort(delays)
		median := delays[len(delays)/2]
		t.Logf("%v-fold: %v s, median %d s", c.times, delays, median)
		if median > c.most {
			t.Errorf("%v-fold: median %d s, want at most %d", c.times, median, c.most)
		}
	}
}

// TestMillion: a million subjects through meters, deltas, cohorts and judge, and
// what that takes.
func TestMillion(t *testing.T) {
	if testing.Short() {
		t.Skip("a million subjects")
	}
	subjects := crowd(1_000_000)
	heap := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := heap()
	w := newTraffic(t, 1, subjects, 0.001, 1)
	o := observed(w.snap, "shop", "", 200)
	s := w.snap.Table.Service("shop")
	start := time.Now()
	for i, name := range subjects {
		o.Token.Subject = name
		o.Served, o.Upstream = s.Arm(name), 200
		if w.rng.Float64() < w.base {
			o.Upstream = 500
		}
		w.meters[i%2].Observe(o)
		if i%5000 == 0 {
			w.now = w.now.Add(time.Second)
			w.flush()
		}
	}
	w.flush()
	took := time.Since(start)
	r := w.judge.Report()
	all := heap() - before
	w.meters = nil
	judge := heap() - before
	t.Logf("1,000,000 subjects: %v a subject in all, %.1f bytes each on the wire, judge %.1f MiB, two meters %.1f MiB; level %d with %+v",
		took/1_000_000, float64(w.bytes)/1e6, float64(judge)/(1<<20), float64(all-judge)/(1<<20), r.Level, r.Exposed)
	if judge > 32<<20 || all-judge > 80<<20 {
		t.Errorf("judge %d bytes, meters %d", judge, all-judge)
	}
	if n := float64(r.Exposed.Stable+r.Exposed.Candidate) * math.Pow(2, float64(r.Level)); n < 0.99e6 || n > 1.01e6 {
		t.Errorf("%.0f subjects by estimate, want 1,000,000", n)
	}
	if r.Outcome == health.Fail {
		t.Errorf("false alarm: %v", r.Reasons)
	}
	runtime.KeepAlive(w)
}
