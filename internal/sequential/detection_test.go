package sequential_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"sort"
	"testing"

	"github.com/mintmark/mintmark/internal/sequential"
)

// divergence is KL(θ(r) ‖ θ(1)): what one event is worth on average, at best, when
// the ratio is r.
func divergence(p, r float64) float64 {
	a, b := theta(p, r), p
	kl := a * math.Log(a/b)
	if a < 1 {
		kl += (1 - a) * math.Log((1-a)/(1-b))
	}
	return kl
}

// TestDetectionDelay: the median number of events to a verdict is within 1.25 times
// what the sequential probability ratio test against the known ratio would need on average
// with the grid point's weight, and one event, which can't be had in parts.
func TestDetectionDelay(t *testing.T) {
	t.Parallel()
	grid := sequential.DefaultGrid()
	for _, base := range []float64{0.0001, 0.001, 0.01} {
		for _, p := range []float64{0.01, 0.05, 0.1, 0.25, 0.5} {
			for _, ratio := range []float64{2, 5, 10, 1 / base} {
				name := fmt.Sprintf("base %v, canary %v, ratio %v", base, p, ratio)
				n := runs(61)
				delays := make([]int, n)
				for run := range n {
					rng := rand.New(rand.NewPCG(21, uint64(run)))
					delays[run] = detect(t, rng, newAnalysis(t, one(never)), p, ratio)
				}
				sort.Ints(delays)
				median := float64(delays[n/2])
				weight := grid[0].Weight // all are equal
				budget := 1.25*(math.Log(1/0.01)+math.Log(1/weight))/divergence(p, ratio) + 1
				if median > budget {
					t.Errorf("%s: median delay %v events: want at most %.1f", name, median, budget)
				}
				if base == 0.001 {
					// The events' rate per request, to tell time.
					rate := base * (1 - p + p*ratio)
					t.Logf("%s: median %v events (budget %.1f), %.0f requests", name, median, budget, median/rate)
				}
			}
		}
	}
}

// detect is the number of events to a verdict of fail.
func detect(t testing.TB, rng *rand.Rand, a *sequential.Analysis, p, ratio float64) int {
	for i := 1; ; i++ {
		observeOne(t, rng, a, p, ratio)
		if a.Outcome() == sequential.Fail {
			return i
		}
		if i > 1_000_000 {
			t.Fatal("no verdict in a million events")
		}
	}
}

// observeOne shows the analysis the next event of an endless population.
func observeOne(t testing.TB, rng *rand.Rand, a *sequential.Analysis, p, ratio float64) {
	if rng.Float64() < theta(p, ratio) {
		observe(t, a, "bad", events(p, 1, 0))
	} else {
		observe(t, a, "bad", events(p, 0, 1))
	}
}

// TestLateOnset: a reserve shortens the delay of a regression that begins after a long
// healthy time.
func TestLateOnset(t *testing.T) {
	t.Parallel()
	median := func(reserve float64) int {
		n := runs(41)
		delays := make([]int, n)
		for run := range n {
			rng := rand.New(rand.NewPCG(22, uint64(run)))
			config := one(never)
			config.Reserve = reserve
			a := newAnalysis(t, config)
			for range 1000 {
				observeOne(t, rng, a, 0.05, 1)
			}
			a.Renew()
			delays[run] = detect(t, rng, a, 0.05, 10)
		}
		sort.Ints(delays)
		return delays[n/2]
	}
	with, without := median(0.2), median(0)
	t.Logf("ratio 10 after 1000 healthy events: median %d events with a reserve of 0.2, %d without", with, without)
	if 2*with > without {
		t.Errorf("median delay %d events with a reserve, %d without: want half", with, without)
	}
}

// TestFalsePasses: a candidate at MaxRatio is passed as seldom as Beta allows, also when
// the weight changes, when the ratio is greater at times, and when the frail fail first;
// an equal one is passed, in the time that theory says.
func TestFalsePasses(t *testing.T) {
	t.Parallel()
	n := runs(300)
	config := one(func(c *sequential.Config) { c.Alpha = 1e-12 }) // so that nothing but a pass ends a run
	for _, p := range []float64{0.05, 0.5} {
		passes, shifting, equal := 0, 0, 0
		// Twice what theory asks: ln(1/β) + ln(1/weight) over the divergence.
		a1, a2 := theta(p, 1), theta(p, 2)
		enough := int(2 * (math.Log(20) + math.Log(2)) / (a1*math.Log(a1/a2) + (1-a1)*math.Log((1-a1)/(1-a2))))
		for run := range n {
			rng := rand.New(rand.NewPCG(23, uint64(run)))
			a, b, c := newAnalysis(t, config), newAnalysis(t, config), newAnalysis(t, config)
			for i := range 600 {
				observeOne(t, rng, a, p, 2)
				observeOne(t, rng, b, p*(1-0.5*float64(i)/600), 2+3*math.Max(0, math.Sin(float64(i)/50)))
				if i < enough {
					observeOne(t, rng, c, p, 1)
				}
			}
			passes += count(a, sequential.Pass)
			shifting += count(b, sequential.Pass)
			equal += count(c, sequential.Pass)
		}
		bounded(t, fmt.Sprintf("canary %v, ratio 2: false passes", p), passes, n, 0.05)
		bounded(t, fmt.Sprintf("canary %v, ratio 2 to 5, falling share: false passes", p), shifting, n, 0.05)
		exceeded(t, fmt.Sprintf("canary %v, ratio 1, %d events: passes", p, enough), equal, n, 0.8)
	}
	passes := 0
	for run := range n {
		p := newPopulation(rand.New(rand.NewPCG(24, uint64(run))), 20000, 0.2)
		p.ratio = 2
		if watch(t, p, newAnalysis(t, config), nil) == sequential.Pass {
			passes++
		}
	}
	bounded(t, "subjects of differing frailty, ratio 2: false passes", passes, n, 0.05)
}

func count(a *sequential.Analysis, want sequential.Outcome) int {
	if a.Outcome() == want {
		return 1
	}
	return 0
}

// TestCoverage: the interval holds the true ratio at every event of a run at once, at
// shares that change, in all but one run in ten, while the usual interval at
// the same level, looked at as often, loses it in far more.
func TestCoverage(t *testing.T) {
	t.Parallel()
	const level = 0.9
	config := one(func(c *sequential.Config) { c.Confidence = level })
	for _, ratio := range []float64{0.4, 1, 1.7, 8} {
		n, misses, usual := runs(200), 0, 0
		for run := range n {
			rng := rand.New(rand.NewPCG(25, uint64(run)))
			a := newAnalysis(t, config)
			missed, missedUsual := false, false
			x, expected, variance := 0.0, 0.0, 0.0
			for i := range 400 {
				p := []float64{0.05, 0.1, 0.3, 0.5}[i/100] * (1 + 0.1*rng.Float64())
				hit := rng.Float64() < theta(p, ratio)
				b := events(p, 0, 1)
				if hit {
					b = events(p, 1, 0)
					x++
				}
				observe(t, a, "bad", b)
				missed = missed || !a.Holds(0, ratio)
				th := theta(p, ratio)
				expected += th
				variance += th * (1 - th)
				missedUsual = missedUsual || i >= 30 && math.Abs(x-expected) > 1.645*math.Sqrt(variance)
			}
			if missed {
				misses++
			}
			if missedUsual {
				usual++
			}
		}
		bounded(t, fmt.Sprintf("ratio %v: runs in which the interval ever lost it", ratio), misses, n, 1-level)
		exceeded(t, fmt.Sprintf("ratio %v: the same of the usual interval", ratio), usual, n, 0.3)
	}
}
