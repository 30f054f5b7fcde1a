package sequential_test

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"sort"
	"strings"
	"testing"

	"github.com/mintmark/mintmark/internal/sequential"
)

// TestFrozenQuantiles: merged from parts in any order, thresholds lie at or above the
// true quantile, by at most a bucket; the baseline itself exceeds them no more than it
// should.
func TestFrozenQuantiles(t *testing.T) {
	rng := rand.New(rand.NewPCG(6, 6))
	parts := make([]sequential.Histogram, 5)
	all := make([]float64, 20000)
	for i := range all {
		all[i] = math.Exp(-4 + rng.NormFloat64())
		parts[rng.IntN(len(parts))].Record(all[i])
	}
	sort.Float64s(all)
	var up, down sequential.Histogram
	for i := range parts {
		up.Merge(&parts[i])
		down.Merge(&parts[len(parts)-1-i])
	}
	if up != down || up.Count() != int64(len(all)) {
		t.Fatal("the order of merging makes a difference")
	}
	levels := []float64{0.5, 0.9, 0.99, 0.999}
	b, err := up.Freeze(levels...)
	if err != nil {
		t.Fatal(err)
	}
	beyond := make([]int, len(levels))
	for _, v := range all {
		for i := range b.Exceeded(v) {
			beyond[i]++
		}
	}
	for i, level := range levels {
		exact := all[int(math.Ceil(level*float64(len(all))))-1]
		if q := b.Seconds[i] / exact; q < 1 || q > math.Exp2(1.0/8) {
			t.Errorf("level %v: threshold is %v times the quantile", level, q)
		}
		if share := float64(beyond[i]) / float64(len(all)); share > 1-level {
			t.Errorf("level %v: %v of the baseline exceeds it", level, share)
		}
	}
}

func TestRecordsExtremes(t *testing.T) {
	var h sequential.Histogram
	for _, v := range []float64{math.NaN(), -1, 0, 1e-9, 1e-6, math.Inf(1), 1e9, 0.25} {
		h.Record(v)
	}
	if h.Count() != 8 {
		t.Errorf("%d of 8 counted", h.Count())
	}
	// A bound belongs to the bucket it closes.
	for i := range 257 {
		var h sequential.Histogram
		v := 1e-6 * math.Exp2(float64(i)/8)
		for range 20 {
			h.Record(v)
		}
		if b, err := h.Freeze(0.5); err != nil || b.Seconds[0] != v {
			t.Fatalf("bound %d, %v s: threshold %v, %v", i, v, b.Seconds, err)
		}
	}
}

func TestFreezeRefused(t *testing.T) {
	var h sequential.Histogram
	for range 100 {
		h.Record(0.1)
	}
	for _, test := range []struct {
		levels []float64
		want   string
	}{
		{nil, "no quantile"},
		{[]float64{0.5, 0.5}, "rising"},
		{[]float64{0}, "rising"},
		{[]float64{1}, "rising"},
		{[]float64{math.NaN()}, "rising"},
		{[]float64{0.5, 0.99}, "want 1000"},
	} {
		if _, err := h.Freeze(test.levels...); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("levels %v: error %v: want %q", test.levels, err, test.want)
		}
	}
}

func FuzzHistogram(f *testing.F) {
	f.Add([]byte(`{"buckets":{"0":1,"256":3}}`))
	f.Add([]byte(`{"buckets":{"257":1}}`))
	f.Add([]byte(`{"buckets":{"3":-1}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var h, again sequential.Histogram
		if json.Unmarshal(data, &h) != nil {
			return
		}
		text := mustMarshal(t, &h)
		if err := json.Unmarshal(text, &again); err != nil || again != h {
			t.Fatalf("%s became %v, %v", text, again, err)
		}
		if b, err := h.Freeze(0.5); err == nil && !(b.Seconds[0] > 0) {
			t.Fatalf("threshold %v", b.Seconds)
		}
	})
}
