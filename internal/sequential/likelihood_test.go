package sequential_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/mintmark/mintmark/internal/sequential"
)

// one is a configuration with a single metric, "bad".
func one(change func(*sequential.Config)) sequential.Config {
	c := sequential.Config{Metrics: []sequential.Metric{{Name: "bad"}}}
	if change != nil {
		change(&c)
	}
	return c
}

func newAnalysis(t testing.TB, c sequential.Config) *sequential.Analysis {
	t.Helper()
	a, err := sequential.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func observe(t testing.TB, a *sequential.Analysis, metric string, b sequential.Batch) {
	t.Helper()
	if err := a.Observe(metric, b); err != nil {
		t.Fatal(err)
	}
}

// events is a batch of x and y events at the exposure share p.
func events(p float64, x, y int64) sequential.Batch {
	const all = 1e12
	canary := int64(math.Round(p * all))
	return sequential.Batch{ExposedCanary: canary, ExposedBaseline: all - canary, CanaryEvents: x, BaselineEvents: y}
}

// theta is the chance that an event is the canary's.
func theta(p, r float64) float64 { return p * r / (p*r + 1 - p) }

// TestEIsTheMixtureOfLikelihoodRatios multiplies the formula out as it is written,
// for few events, where that neither overflows nor cancels.
func TestEIsTheMixtureOfLikelihoodRatios(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for range 200 {
		null := 1 + rng.Float64()
		a := newAnalysis(t, one(func(c *sequential.Config) { c.Null, c.MaxRatio = null, 2*null }))
		grid := a.Config().Grid
		products := make([]float64, len(grid))
		for k := range products {
			products[k] = 1
		}
		for range 6 {
			p := math.Round(1e6*(0.01+0.98*rng.Float64())) / 1e6
			x, y := rng.Int64N(5), rng.Int64N(5)
			observe(t, a, "bad", events(p, x, y))
			for k, g := range grid {
				r := g.Ratio * null
				products[k] *= math.Pow(theta(p, r)/theta(p, null), float64(x)) *
					math.Pow((1-theta(p, r))/(1-theta(p, null)), float64(y))
			}
		}
		want := 0.0
		for k, g := range grid {
			want += g.Weight * products[k]
		}
		if got := a.Verdict().Reasons[0].E; math.Abs(got/want-1) > 1e-9 {
			t.Fatalf("E is %v, the formula gives %v", got, want)
		}
	}
}

// TestExpectationIsOne: under each null the expected value of E after a batch, summed
// over all outcomes, is 1; below the null it is less, above it is more. This is the
// property that Ville's inequality needs.
func TestExpectationIsOne(t *testing.T) {
	const n = 12
	for _, null := range []float64{1, 1.5} {
		for _, p := range []float64{0.01, 0.05, 0.3, 0.5, 0.95} {
			expect := func(r float64) (fail, reciprocal float64) {
				for x := range int64(n + 1) {
					a := newAnalysis(t, one(func(c *sequential.Config) { c.Null, c.MaxRatio = null, 3 }))
					observe(t, a, "bad", events(p, x, n-x))
					v := a.Verdict()
					chance := binomial(n, x, theta(p, r))
					fail += chance * v.Reasons[0].E
					reciprocal += chance * v.ESafe
				}
				return fail, reciprocal
			}
			at, _ := expect(null)
			below, _ := expect(null / 2)
			above, _ := expect(null * 2)
			if math.Abs(at-1) > 1e-9 || below >= 1 || above <= 1 {
				t.Errorf("null %v, p %v: E[E] is %v at the null (want 1), %v below, %v above", null, p, at, below, above)
			}
		}
	}
}

func binomial(n, k int64, p float64) float64 {
	a, _ := math.Lgamma(float64(n + 1))
	b, _ := math.Lgamma(float64(k + 1))
	c, _ := math.Lgamma(float64(n - k + 1))
	return math.Exp(a - b - c + float64(k)*math.Log(p) + float64(n-k)*math.Log1p(-p))
}

// TestWithoutReplacement: a batch's events are drawn from those at risk without
// replacement. E's expectation is then below 1 (Hoeffding 1963, theorem 4).
func TestWithoutReplacement(t *testing.T) {
	const canary, baseline, n = 6, 14, 10
	sum := 0.0
	for x := int64(0); x <= canary; x++ {
		a := newAnalysis(t, one(nil))
		observe(t, a, "bad", sequential.Batch{ExposedCanary: canary, ExposedBaseline: baseline, CanaryEvents: x, BaselineEvents: n - x})
		sum += choose(canary, x) * choose(baseline, n-x) / choose(canary+baseline, n) * a.Verdict().Reasons[0].E
	}
	if sum > 1 || sum < 0.1 {
		t.Errorf("E[E] is %v: want at most 1, and not nothing", sum)
	}
}

func choose(n, k int64) float64 { return binomial(n, k, 0.5) * math.Exp2(float64(n)) }

// TestEnormousCounts: 10¹² events a batch, exactly as many in each arm as the null
// expects, stay finite and are worth what theory says.
func TestEnormousCounts(t *testing.T) {
	const n = 1_000_000_000_000
	for _, p := range []float64{1e-6, 0.05, 0.5, 1 - 1e-6} {
		a := newAnalysis(t, one(nil))
		x := int64(math.Round(p * n))
		observe(t, a, "bad", sequential.Batch{
			ExposedCanary: x * 100, ExposedBaseline: (n - x) * 100, CanaryEvents: x, BaselineEvents: n - x,
		})
		v := a.Verdict()
		if v.Outcome != sequential.Pass {
			t.Errorf("p %v: outcome %v after 10^12 events as the null expects: want pass", p, v.Outcome)
		}
		if r := v.RateRatio; !(r.Lo <= 1 && r.Hi >= 1) || math.Abs(r.Est-1) > 1e-3 {
			t.Errorf("p %v: ratio %+v: want about 1", p, r)
		}
		// A ten-thousandth more than the null allows is beyond doubt by then.
		worse := newAnalysis(t, one(nil))
		observe(t, worse, "bad", sequential.Batch{
			ExposedCanary: n * 9, ExposedBaseline: n * 9, CanaryEvents: n * 2 / 3, BaselineEvents: n / 3,
		})
		v = worse.Verdict()
		if v.Outcome != sequential.Fail || v.EFail != math.MaxFloat64 || math.IsNaN(v.Reasons[0].E) {
			t.Errorf("twice the rate at 10^12 events: %v, E %v", v.Outcome, v.EFail)
		}
	}
}

// TestNoInformation: nobody exposed in one arm, or no events, changes nothing.
func TestNoInformation(t *testing.T) {
	a := newAnalysis(t, one(nil))
	for _, b := range []sequential.Batch{
		{},
		{ExposedBaseline: 1000, BaselineEvents: 900},
		{ExposedCanary: 1000, CanaryEvents: 900},
		{ExposedCanary: 1000, ExposedBaseline: 1000},
	} {
		observe(t, a, "bad", b)
	}
	v := a.Verdict()
	r := v.Reasons[0]
	if v.Outcome != sequential.Wait || v.EFail != 1 || v.ESafe != 1 || r.E != 1 {
		t.Errorf("verdict %+v: want to wait with E = 1", v)
	}
	if r.Ratio.Events != 0 || r.Ratio.Lo != 0 || !math.IsInf(r.Ratio.Hi, 1) {
		t.Errorf("ratio %+v: want 0 to +Inf", r.Ratio)
	}
	if r.CanaryEvents != 900 || r.BaselineEvents != 900 {
		t.Errorf("events %d and %d: want all counted", r.CanaryEvents, r.BaselineEvents)
	}
	a.Expire()
	if got := a.Outcome(); got != sequential.Inconclusive {
		t.Errorf("time is up without information: %v, want inconclusive", got)
	}
}

// TestIntervalIsSane: with thousands of events at ever changing shares, more than
// there are segments, the interval is narrow and about the truth.
func TestIntervalIsSane(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	for _, r := range []float64{0.5, 1, 2.2, 7} {
		a := newAnalysis(t, one(nil))
		for i := range 20000 {
			p := 0.02 + 0.4*float64(i)/20000 // more different shares than segments
			x := int64(0)
			if rng.Float64() < theta(p, r) {
				x = 1
			}
			observe(t, a, "bad", events(p, x, 1-x))
		}
		got := a.Verdict().RateRatio
		if !(got.Lo < r && r < got.Hi) || got.Hi/got.Lo > 1.25 || math.Abs(got.Est/r-1) > 0.1 {
			t.Errorf("true ratio %v: %+v", r, got)
		}
	}
}

// TestIntervalEndsWhereTheBetIsLost: the ends that Verdict finds are those of the set that
// TestCoverage asks about.
func TestIntervalEndsWhereTheBetIsLost(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 7))
	a := newAnalysis(t, one(nil))
	for range 300 {
		observe(t, a, "bad", events(0.1+0.5*rng.Float64(), rng.Int64N(3), rng.Int64N(3)))
		r := a.Verdict().RateRatio
		for _, end := range []struct {
			at      float64
			inwards float64
		}{{r.Lo, 1.0001}, {r.Hi, 1 / 1.0001}} {
			if end.at == 0 || math.IsInf(end.at, 1) {
				continue
			}
			if !a.Holds(0, end.at*end.inwards) || a.Holds(0, end.at/end.inwards) {
				t.Fatalf("%+v: %v isn't where the bet is lost", r, end.at)
			}
		}
	}
	if r := a.Verdict().RateRatio; r.Lo == 0 || math.IsInf(r.Hi, 1) {
		t.Errorf("%+v: want two ends by now", r)
	}
}
