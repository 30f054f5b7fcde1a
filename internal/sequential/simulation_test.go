package sequential_test

import (
	"math"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/mintmark/mintmark/internal/sequential"
)

// runs is how often a simulation is repeated: enough in the normal run to see a
// guarantee broken by half, twenty times as often with MINTMARK_TEST_SOAK=1, and a quarter of it
// with -short and under the race detector.
func runs(n int) int {
	switch {
	case os.Getenv("MINTMARK_TEST_SOAK") != "":
		return 20 * n
	case testing.Short(), raced:
		return n / 4
	}
	return n
}

// bounded fails the test when hits of n are more than a chance of level allows, by
// three standard errors.
func bounded(t *testing.T, what string, hits, n int, level float64) {
	t.Helper()
	share, limit := float64(hits)/float64(n), level+3*math.Sqrt(level*(1-level)/float64(n))
	t.Logf("%s: %d of %d = %.4f (nominal %v, limit %.4f)", what, hits, n, share, level, limit)
	if share > limit {
		t.Errorf("%s: %.4f of the runs: want at most %.4f", what, share, limit)
	}
}

// exceeded fails the test when hits of n are so few that the simulation could not
// have told a bad judge from a good one.
func exceeded(t *testing.T, what string, hits, n int, least float64) {
	t.Helper()
	share := float64(hits) / float64(n)
	t.Logf("%s: %d of %d = %.4f", what, hits, n, share)
	if share < least {
		t.Errorf("%s: %.4f of the runs: want at least %v, else this simulation can't tell", what, share, least)
	}
}

// population is a service's subjects in front of two releases. Some ask far more often
// than others; some fail far more often than others; those whose request failed
// try again and again at once.
type population struct {
	rng      *rand.Rand
	subjects []subject
	weight   float64
	// ratio multiplies the canary's chance of failure.
	ratio float64
	// base is the baseline's chance of failure of request number i.
	base func(i int) float64
	// retries is the mean number of failing retries after a failure.
	retries float64
	// canary and baseline are the subjects at risk: seen, not failed.
	canary, baseline int64
}

type subject struct {
	place        float64 // in the canary when below its weight
	frailty      float64
	seen, failed bool
}

func newPopulation(rng *rand.Rand, n int, weight float64) *population {
	p := &population{rng: rng, subjects: make([]subject, n), weight: weight, ratio: 1, base: func(int) float64 { return 0.01 }}
	for i := range p.subjects {
		p.subjects[i].place = rng.Float64()
		p.subjects[i].frailty = rng.ExpFloat64() // mean 1, and many near 0
	}
	return p
}

// step lets a subject make request number i. happened: it failed; first: for the
// first time; raw: how many failures a counter of requests would see.
func (p *population) step(i int) (canary, first bool, raw int64) {
	u := p.rng.Float64()
	s := &p.subjects[int(u*u*float64(len(p.subjects)))] // the early ones are busier
	canary = s.place < p.weight
	if !s.seen {
		s.seen = true
		p.count(canary, 1)
	}
	chance := p.base(i) * s.frailty
	if canary {
		chance *= p.ratio
	}
	if p.rng.Float64() >= chance {
		return canary, false, 0
	}
	raw = 1
	if p.retries > 0 {
		raw += int64(p.rng.ExpFloat64() * p.retries)
	}
	first = !s.failed
	s.failed = true
	return canary, first, raw
}

func (p *population) count(canary bool, n int64) {
	if canary {
		p.canary += n
	} else {
		p.baseline += n
	}
}

// batch is the one first event of the arm; afterwards its subject is no longer at risk.
func (p *population) batch(canary bool) sequential.Batch {
	b := sequential.Batch{ExposedCanary: p.canary, ExposedBaseline: p.baseline}
	if canary {
		b.CanaryEvents = 1
	} else {
		b.BaselineEvents = 1
	}
	p.count(canary, -1)
	return b
}

// reweigh steps the canary's weight: everybody who was seen and didn't fail is at risk in
// the arm that is now theirs, at once and not when they happen to come again.
func (p *population) reweigh(weight float64) {
	p.weight, p.canary, p.baseline = weight, 0, 0
	for i := range p.subjects {
		if s := &p.subjects[i]; s.seen && !s.failed {
			p.count(s.place < weight, 1)
		}
	}
}

const requests = 12_000

// watch lets the population make its requests and shows the judge every first event.
// It stops at a verdict of fail or pass. before is called before each request, and may
// return another analysis to go on with.
func watch(t testing.TB, p *population, a *sequential.Analysis, before func(i int, a *sequential.Analysis) *sequential.Analysis) sequential.Outcome {
	for i := range requests {
		if before != nil {
			a = before(i, a)
		}
		canary, first, _ := p.step(i)
		if !first {
			continue
		}
		observe(t, a, "bad", p.batch(canary))
		if o := a.Outcome(); o == sequential.Fail || o == sequential.Pass {
			return o
		}
	}
	a.Expire()
	return a.Outcome()
}

// never makes a pass impossible, so that a run is watched for alarms to its end.
func never(c *sequential.Config) { c.Beta = 1e-12 }

func TestFalseAlarmsOfAnEqualCandidate(t *testing.T) {
	t.Parallel()
	steps := map[int]float64{0: 0.01, 2000: 0.05, 5000: 0.25, 8000: 0.5}
	for _, test := range []struct {
		name  string
		setup func(*population)
		null  float64
		move  func(t testing.TB, p *population, i int, a *sequential.Analysis) *sequential.Analysis
	}{
		{name: "steady"},
		{name: "retry storms", setup: func(p *population) { p.retries = 20 }},
		{name: "drift of the base rate", setup: func(p *population) {
			p.base = func(i int) float64 { return 0.01 * (1 + 0.95*math.Sin(float64(i)/700)) * (0.3 + float64(i)/requests) }
		}},
		{name: "changing weights", move: func(_ testing.TB, p *population, i int, a *sequential.Analysis) *sequential.Analysis {
			if w, ok := steps[i]; ok {
				p.reweigh(w)
				a.Renew()
			}
			return a
		}},
		{name: "restarts", move: func(t testing.TB, p *population, _ int, a *sequential.Analysis) *sequential.Analysis {
			if p.rng.Float64() < 0.0005 {
				return restart(t, a)
			}
			return a
		}},
		{name: "null 1.5, true ratio 1.5", null: 1.5, setup: func(p *population) { p.ratio = 1.5 }},
	} {
		t.Run(test.name, func(t *testing.T) {
			n, alarms := runs(400), 0
			config := one(never)
			config.Alpha, config.Reserve, config.Null = 0.05, 0.2, test.null
			for run := range n {
				p := newPopulation(rand.New(rand.NewPCG(11, uint64(run))), 4000, 0.1)
				if test.setup != nil {
					test.setup(p)
				}
				before := func(i int, a *sequential.Analysis) *sequential.Analysis {
					if test.move != nil {
						return test.move(t, p, i, a)
					}
					return a
				}
				if watch(t, p, newAnalysis(t, config), before) == sequential.Fail {
					alarms++
				}
			}
			bounded(t, "false alarms", alarms, n, config.Alpha)
		})
	}
}

// TestRawCountsWithRetriesRaiseFalseAlarms: the same population, but every failed request
// is fed instead of every failed subject. One unlucky subject's retries then look like
// evidence. This also shows that the test above can fail.
func TestRawCountsWithRetriesRaiseFalseAlarms(t *testing.T) {
	t.Parallel()
	n, raw, first := runs(250), 0, 0
	config := one(never) // α = 0.01
	for run := range n {
		p := newPopulation(rand.New(rand.NewPCG(12, uint64(run))), 4000, 0.1)
		p.retries = 20
		a, b := newAnalysis(t, config), newAnalysis(t, config)
		for i := range requests {
			canary, isFirst, failures := p.step(i)
			if isFirst {
				observe(t, a, "bad", p.batch(canary))
			}
			if failures > 0 {
				x, y := int64(0), failures
				if canary {
					x, y = y, x
				}
				observe(t, b, "bad", events(p.weight, x, y))
			}
		}
		if a.Outcome() == sequential.Fail {
			first++
		}
		if b.Outcome() == sequential.Fail {
			raw++
		}
	}
	bounded(t, "first event per subject", first, n, 0.01)
	exceeded(t, "every request", raw, n, 0.3)
}

// TestFalseAlarmsOfRelatedMetrics: the subjects that fail one metric fail the others too, some
// time later, in another order. The weighted mean keeps its promise over all of them;
// adding the E-values up, as if each had α to itself, does not.
func TestFalseAlarmsOfRelatedMetrics(t *testing.T) {
	t.Parallel()
	names := []string{"a", "b", "c", "d", "e", "f"}
	n, alarms, added := runs(500), 0, 0
	config := sequential.Config{Alpha: 0.05, Beta: 1e-12}
	for _, name := range names {
		config.Metrics = append(config.Metrics, sequential.Metric{Name: name})
	}
	for run := range n {
		rng := rand.New(rand.NewPCG(13, uint64(run)))
		const subjects, p = 50, 0.1
		arm := make([]bool, subjects)
		for i := range arm {
			arm[i] = rng.Float64() < p
		}
		order := make([][]int, len(names))
		for m := range order {
			order[m] = rng.Perm(subjects)
		}
		a, single := newAnalysis(t, config), false
		for i := range subjects * len(names) {
			m := i % len(names)
			b := events(p, 0, 1)
			if arm[order[m][i/len(names)]] {
				b = events(p, 1, 0)
			}
			observe(t, a, names[m], b)
			if i%25 == 24 && !single {
				for _, r := range a.Verdict().Reasons {
					single = single || r.EMax >= 1/config.Alpha
				}
			}
		}
		if a.Outcome() == sequential.Fail {
			alarms++
		}
		if single {
			added++
		}
	}
	bounded(t, "weighted mean of six metrics", alarms, n, config.Alpha)
	if added <= alarms {
		t.Errorf("each metric at α by itself: %d alarms, the mean has %d: the metrics say nothing new", added, alarms)
	}
}

// TestPeekingAtAFixedTest: what these simulations do to a test made for one look, the usual
// comparison of two proportions at the 5 % level.
func TestPeekingAtAFixedTest(t *testing.T) {
	t.Parallel()
	n, alarms := runs(400), 0
	for run := range n {
		p := newPopulation(rand.New(rand.NewPCG(11, uint64(run))), 4000, 0.1)
		x, all := 0.0, 0.0
		for i := range requests {
			canary, first, _ := p.step(i)
			if !first {
				continue
			}
			p.batch(canary)
			all++
			if canary {
				x++
			}
			if all >= 10 && (x-all*p.weight)/math.Sqrt(all*p.weight*(1-p.weight)) > 1.645 {
				alarms++
				break
			}
		}
	}
	exceeded(t, "false alarms of a one-sided test at 0.05, looked at after every event", alarms, n, 0.15)
}
