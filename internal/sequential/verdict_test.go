package sequential_test

import (
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/mintmark/mintmark/internal/sequential"
)

func TestFailLatches(t *testing.T) {
	a := newAnalysis(t, one(nil))
	observe(t, a, "bad", events(0.1, 12, 5))
	if got := a.Outcome(); got != sequential.Fail {
		t.Fatalf("12 of 17 events at a tenth of the exposure: %v, want fail", got)
	}
	high := a.Verdict().EFail
	observe(t, a, "bad", events(0.1, 0, 500))
	v := a.Verdict()
	if v.Outcome != sequential.Fail || v.EFail != high || v.Reasons[0].E >= high || v.Reasons[0].EMax != high {
		t.Errorf("after healthy events: %+v: want still fail, by the greatest E", v)
	}
}

// TestFailOverridesPass: evidence of a regression that begins after the pass counts.
func TestFailOverridesPass(t *testing.T) {
	a := newAnalysis(t, one(func(c *sequential.Config) { c.Reserve = 0.2 }))
	observe(t, a, "bad", events(0.5, 100, 100))
	if got := a.Outcome(); got != sequential.Pass {
		t.Fatalf("100 events in each arm: %v, want pass", got)
	}
	a.Expire()
	if got := a.Outcome(); got != sequential.Pass {
		t.Errorf("passed, and time is up: %v, want pass", got)
	}
	a.Renew()
	observe(t, a, "bad", events(0.5, 200, 20))
	if got := a.Outcome(); got != sequential.Fail {
		t.Errorf("then ten times the rate: %v, want fail", got)
	}
}

// TestPassNeedsEveryMetric: one metric's silence keeps the verdict from passing,
// unless the metric can only fail.
func TestPassNeedsEveryMetric(t *testing.T) {
	for i, failOnly := range []bool{false, true, false, true} {
		metrics := []sequential.Metric{{Name: "frequent"}, {Name: "rare", FailOnly: failOnly}}
		if i >= 2 {
			metrics[0], metrics[1] = metrics[1], metrics[0]
		}
		a := newAnalysis(t, sequential.Config{Metrics: metrics})
		observe(t, a, "frequent", events(0.5, 200, 200))
		want := map[bool]sequential.Outcome{false: sequential.Wait, true: sequential.Pass}[failOnly]
		if got := a.Outcome(); got != want {
			t.Errorf("fail-only %v: %v, want %v", failOnly, got, want)
		}
	}
	none := newAnalysis(t, sequential.Config{Metrics: []sequential.Metric{{Name: "i", Kind: sequential.Invariant}}})
	if v := none.Verdict(); v.Outcome != sequential.Wait || v.ESafe != 0 || v.EFail != 1 {
		t.Errorf("nothing but an invariant, never tripped: %+v: want to wait: nothing was shown", v)
	}
}

func TestInvariantTripsAtOnce(t *testing.T) {
	a := newAnalysis(t, several())
	if err := a.Trip("stranded", "token \xff7: "+strings.Repeat("x", 5000)); err != nil {
		t.Fatal(err)
	}
	if err := a.Trip("stranded", "another"); err != nil {
		t.Fatal(err)
	}
	v := a.Verdict()
	r := v.Reasons[0]
	if v.Outcome != sequential.Fail || r.Metric != "stranded" || r.Trips != 2 || r.Share != 1 || !r.Failed {
		t.Errorf("%v, %+v: want fail by the invariant", v.Outcome, r)
	}
	if !strings.HasPrefix(r.Detail, "token 7: xxx") || len(r.Detail) > 1024 {
		t.Errorf("detail of %d bytes: %.20q", len(r.Detail), r.Detail)
	}
	if err := a.Trip("refused", ""); !errors.Is(err, sequential.ErrUnknownMetric) {
		t.Errorf("tripping a count: %v", err)
	}
}

// TestSharesExplain: the shares sum to 1, and the metric that got worse has most.
func TestSharesExplain(t *testing.T) {
	a := newAnalysis(t, several())
	observe(t, a, "refused", events(0.1, 3, 27))
	observe(t, a, "latency.p99", events(0.1, 20, 10))
	v := a.Verdict()
	if v.Outcome != sequential.Fail || v.Reasons[0].Metric != "latency.p99" || v.Reasons[0].Share < 0.99 || v.Reasons[0].Level != 0.99 {
		t.Errorf("%+v", v)
	}
	sum := 0.0
	for _, r := range v.Reasons {
		sum += r.Share
	}
	if math.Abs(sum-1) > 1e-9 {
		t.Errorf("shares sum to %v", sum)
	}
	if v.RateRatio != v.Reasons[0].Ratio || v.RateRatio.Lo <= 1 {
		t.Errorf("ratio %+v: want that of latency.p99, above 1", v.RateRatio)
	}
}

// TestWatchedNeverFails: a metric without weight is reported, no more.
func TestWatchedNeverFails(t *testing.T) {
	a := newAnalysis(t, several())
	observe(t, a, "watched", events(0.1, 100, 0))
	r := map[string]sequential.Reason{}
	for _, x := range a.Verdict().Reasons {
		r[x.Metric] = x
	}
	if w := r["watched"]; a.Outcome() == sequential.Fail || w.E < 1e9 || w.Failed || w.Share != 0 {
		t.Errorf("%v, %+v", a.Outcome(), w)
	}
}

func TestBatchRefused(t *testing.T) {
	a := newAnalysis(t, several())
	before := string(mustMarshal(t, a))
	for _, b := range []sequential.Batch{
		{ExposedCanary: -1},
		{ExposedBaseline: 1e15 + 1},
		{ExposedCanary: 3, ExposedBaseline: 3, CanaryEvents: 4},
		{ExposedCanary: 3, ExposedBaseline: 3, BaselineEvents: 4},
		{ExposedCanary: 3, ExposedBaseline: 3, BaselineEvents: -4},
		{ExposedCanary: math.MaxInt64, ExposedBaseline: math.MaxInt64},
	} {
		err := a.Observe("refused", b)
		if !errors.Is(err, sequential.ErrBatch) || !strings.Contains(err.Error(), `"refused"`) {
			t.Errorf("%+v: %v", b, err)
		}
	}
	for _, name := range []string{"nothing", "", "stranded"} {
		if err := a.Observe(name, sequential.Batch{}); !errors.Is(err, sequential.ErrUnknownMetric) || !strings.Contains(err.Error(), "latency.p99") {
			t.Errorf("metric %q: %v", name, err)
		}
	}
	if after := string(mustMarshal(t, a)); after != before {
		t.Error("a refused batch changed the state")
	}
	full := sequential.Batch{ExposedCanary: 1e15, ExposedBaseline: 1e15, CanaryEvents: 5e14, BaselineEvents: 5e14}
	observe(t, a, "refused", full)
	if err := a.Observe("refused", full); !errors.Is(err, sequential.ErrBatch) {
		t.Errorf("more than 10^15 events in all: %v", err)
	}
}

func TestConfigRefused(t *testing.T) {
	for _, test := range []struct {
		change func(*sequential.Config)
		want   string
	}{
		{func(c *sequential.Config) { c.Alpha = 0.7 }, "alpha"},
		{func(c *sequential.Config) { c.Alpha = math.NaN() }, "alpha"},
		{func(c *sequential.Config) { c.Beta = -1 }, "beta"},
		{func(c *sequential.Config) { c.Null = 0.5 }, "null"},
		{func(c *sequential.Config) { c.Null = math.Inf(1) }, "null"},
		{func(c *sequential.Config) { c.Null, c.MaxRatio = 3, 2 }, "max_ratio"},
		{func(c *sequential.Config) { c.Confidence = 1 }, "confidence"},
		{func(c *sequential.Config) { c.Reserve = 1 }, "reserve"},
		{func(c *sequential.Config) { c.Grid = []sequential.Point{} }, "grid has 0 points"},
		{func(c *sequential.Config) { c.Grid = []sequential.Point{{Ratio: 1, Weight: 1}} }, "grid[0]: ratio"},
		{func(c *sequential.Config) { c.Grid = []sequential.Point{{Ratio: 2, Weight: 0.5}} }, "sum to 0.5"},
		{func(c *sequential.Config) { c.Metrics = nil }, "0 metrics"},
		{func(c *sequential.Config) { c.Metrics[0].Name = "" }, "name"},
		{func(c *sequential.Config) { c.Metrics = append(c.Metrics, c.Metrics[0]) }, "second metric"},
		{func(c *sequential.Config) { c.Metrics[0].Weight = 0.4 }, "weights sum to 0.4"},
		{func(c *sequential.Config) { c.Metrics[0].Weight = math.NaN() }, "weight"},
		{func(c *sequential.Config) { c.Metrics[0].Kind = 9 }, "no such kind"},
		{func(c *sequential.Config) { c.Metrics[0].Kind = sequential.Latency }, "level"},
		{func(c *sequential.Config) { c.Metrics[0].Level = 0.5 }, "level"},
		{func(c *sequential.Config) {
			c.Metrics = append(c.Metrics, sequential.Metric{Name: "i", Kind: sequential.Invariant, Weight: 0.5})
		}, "invariant"},
	} {
		c := one(test.change)
		if _, err := sequential.New(c); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%+v: error %v: want one about %q", c, err, test.want)
		}
	}
}

func TestVerdictAsJSON(t *testing.T) {
	a := newAnalysis(t, several())
	observe(t, a, "refused", events(0.1, 3, 0))
	var back sequential.Verdict
	text := mustMarshal(t, a.Verdict())
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	if again := mustMarshal(t, back); string(again) != string(text) {
		t.Errorf("%s became %s", text, again)
	}
	for _, r := range back.Reasons {
		if r.Metric == "refused" && (!math.IsInf(r.Ratio.Hi, 1) || !math.IsInf(r.Ratio.Est, 1) || r.Ratio.Lo <= 0) {
			t.Errorf("only the canary has events: %+v", r.Ratio)
		}
	}
	var o sequential.Outcome
	if o.UnmarshalText([]byte("maybe")) == nil {
		t.Error("outcome maybe was read")
	}
}
