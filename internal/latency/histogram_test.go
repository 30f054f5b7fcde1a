package latency

import (
	"math"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// TestHistogramBucketsAreWherePrometheusPutsThem compares with client_golang's own
// histogram of the same schema, duration by duration.
func TestHistogramBucketsAreWherePrometheusPutsThem(t *testing.T) {
	for d := 1100 * time.Nanosecond; d < 15*time.Second; d += d/37 + 1 {
		ours := NewHistogram("x_seconds", "x")
		ours.Observe(d)
		theirs := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "x_seconds", NativeHistogramBucketFactor: 1.1})
		theirs.Observe(d.Seconds())
		a, b := written(t, ours), written(t, theirs)
		if *a.Schema != *b.Schema || len(a.PositiveSpan) != 1 || *a.PositiveSpan[0].Offset != *b.PositiveSpan[0].Offset || *a.PositiveSpan[0].Length != 1 {
			// On a bucket's very bound the two may round differently.
			if e := math.Mod(math.Log2(d.Seconds())*perOctave+1e4, 1); e > 1e-6 && e < 1-1e-6 {
				t.Fatalf("%v: %v, want %v", d, a, b)
			}
		}
	}
}

func TestHistogramCountsAll(t *testing.T) {
	h := NewHistogram("x_seconds", "x")
	var sum time.Duration
	n := 0
	for _, d := range []time.Duration{-5, 0, 1, 900, 1000, 2 * time.Microsecond, 2 * time.Microsecond, 40 * time.Microsecond, time.Second, 16 * time.Second, time.Hour, math.MaxInt64 / 8} {
		h.Observe(d)
		sum += max(d, 0)
		n++
	}
	got := written(t, h)
	if *got.SampleCount != uint64(n) || math.Abs(*got.SampleSum-sum.Seconds()) > 1e-6*sum.Seconds() {
		t.Errorf("count %d, sum %v; want %d, %v", *got.SampleCount, *got.SampleSum, n, sum.Seconds())
	}
	native, count := *got.ZeroCount, int64(0)
	for _, d := range got.PositiveDelta {
		count += d
		native += uint64(count)
	}
	if native != uint64(n) {
		t.Errorf("the native buckets hold %d of %d", native, n)
	}
	for i, b := range got.Bucket {
		var want uint64
		for _, d := range []float64{0, 0, 1e-9, 900e-9, 1e-6, 2e-6, 2e-6, 40e-6, 1, 16, 3600, 1e9} {
			// Below the zero threshold all count as zero.
			if d <= max(*b.UpperBound, math.Exp2(lowest)) {
				want++
			}
		}
		if *b.CumulativeCount != want {
			t.Errorf("bucket %d (%v s) holds %d, want %d", i, *b.UpperBound, *b.CumulativeCount, want)
		}
	}
}

func TestHistogramObservesWithoutAllocating(t *testing.T) {
	h := NewHistogram("x_seconds", "x")
	if n := testing.AllocsPerRun(100, func() { h.Observe(40 * time.Microsecond) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func written(t *testing.T, m prometheus.Metric) *dto.Histogram {
	t.Helper()
	var out dto.Metric
	if err := m.Write(&out); err != nil {
		t.Fatal(err)
	}
	return out.Histogram
}

func BenchmarkHistogram(b *testing.B) {
	h := NewHistogram("x_seconds", "x")
	b.ReportAllocs()
	for b.Loop() {
		h.Observe(41 * time.Microsecond)
	}
}
