package sequential_test

import (
	"fmt"
	"testing"

	"github.com/mintmark/mintmark/internal/sequential"
)

// twelve is the usual number of metrics.
func twelve(tb testing.TB) *sequential.Analysis {
	c := sequential.Config{Reserve: 0.2}
	for i := range 12 {
		c.Metrics = append(c.Metrics, sequential.Metric{Name: fmt.Sprintf("metric %d", i)})
	}
	return newAnalysis(tb, c)
}

// BenchmarkObserve: one batch of one metric among twelve, its share never the same twice.
func BenchmarkObserve(b *testing.B) {
	a := twelve(b)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		batch := sequential.Batch{
			ExposedCanary: int64(1000 + i%977), ExposedBaseline: 20000,
			CanaryEvents: int64(i % 20 / 19), BaselineEvents: 1,
		}
		if err := a.Observe("metric 7", batch); err != nil {
			b.Fatal(err)
		}
		_ = a.Outcome()
	}
}

// BenchmarkVerdict: the whole verdict with twelve intervals.
func BenchmarkVerdict(b *testing.B) {
	a := twelve(b)
	for m := range 12 {
		for i := range 200 {
			observe(b, a, fmt.Sprintf("metric %d", m), events(0.05+0.002*float64(i), int64(i%2), 1))
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		_ = a.Verdict()
	}
}

// TestObserveAllocatesNothing is the budget of the call that is made for every delta.
func TestObserveAllocatesNothing(t *testing.T) {
	a, i := twelve(t), int64(0)
	got := testing.AllocsPerRun(2000, func() {
		i++
		observe(t, a, "metric 7", sequential.Batch{ExposedCanary: 1000 + i, ExposedBaseline: 30000 - 7*i, CanaryEvents: i % 2, BaselineEvents: 3})
		_ = a.Outcome()
	})
	if got != 0 {
		t.Errorf("%v allocations per batch: want 0", got)
	}
}
