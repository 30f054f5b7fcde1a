package sequential

import (
	"encoding/json"
	"fmt"
	"math"
	"sort"
)

// Histogram counts durations in buckets whose bounds grow geometrically: bucket i
// holds what is longer than bound(i−1) and no longer than bound(i) = 1 µs · 2^(i/8).
// A quantile read from it is a bound: at most 9.1 % above the true one, never below.
// It takes 2 KiB. The zero value is empty and ready. Not safe for concurrent use.
type Histogram struct {
	counts [histogramBuckets]int64
}

const (
	histogramBuckets = perDoubling*32 + 1
	perDoubling      = 8
	firstBound       = 1e-6
)

// bound is the upper bound of bucket i, in seconds.
func bound(i int) float64 { return firstBound * math.Exp2(float64(i)/perDoubling) }

// Record counts one duration, in seconds. What is negative or not a number counts
// as 0; what is longer than the last bound, 71 minutes, counts in the last bucket.
func (h *Histogram) Record(seconds float64) {
	h.counts[bucket(seconds)]++
}

func bucket(seconds float64) int {
	if !(seconds > firstBound) {
		return 0
	}
	i := int(min(math.Ceil(perDoubling*math.Log2(seconds/firstBound)), histogramBuckets-1))
	// A logarithm may be off by its last bit where the duration is a bound itself.
	if i > 0 && seconds <= bound(i-1) {
		i--
	} else if i < histogramBuckets-1 && seconds > bound(i) {
		i++
	}
	return i
}

// Merge adds the other's counts. The order of merging makes no difference.
func (h *Histogram) Merge(o *Histogram) {
	for i, n := range o.counts {
		h.counts[i] += n
	}
}

// Count is the number of durations.
func (h *Histogram) Count() int64 {
	sum := int64(0)
	for _, n := range h.counts {
		sum += n
	}
	return sum
}

// histogramJSON is a histogram's form on the wire: only buckets that hold something,
// by their index. The bounds are fixed for good.
type histogramJSON struct {
	Buckets map[int]int64 `json:"buckets"`
}

// MarshalJSON writes the buckets that hold something.
func (h *Histogram) MarshalJSON() ([]byte, error) {
	out := histogramJSON{Buckets: make(map[int]int64)}
	for i, n := range h.counts {
		if n != 0 {
			out.Buckets[i] = n
		}
	}
	return json.Marshal(out)
}

// UnmarshalJSON is the inverse of MarshalJSON; it refuses unknown buckets, and counts
// below 0 or above 10¹⁵.
func (h *Histogram) UnmarshalJSON(data []byte) error {
	var in histogramJSON
	if err := json.Unmarshal(data, &in); err != nil {
		return fmt.Errorf("sequential: histogram: %w", err)
	}
	var out Histogram
	for i, n := range in.Buckets {
		if i < 0 || i >= histogramBuckets || n < 0 || n > maxCount {
			return fmt.Errorf("sequential: histogram: bucket %d holds %d: want bucket 0 to %d, 0 to 10^15", i, n, histogramBuckets-1)
		}
		out.counts[i] = n
	}
	*h = out
	return nil
}

// Baseline is a frozen set of latency thresholds: quantiles of the baseline, taken
// before the candidate is exposed and never after. Whoever moved them later would let the
// events depend on the arms.
type Baseline struct {
	// Levels rise strictly, between 0 and 1.
	Levels []float64 `json:"levels"`
	// Seconds[i] is the threshold of Levels[i]: a request exceeds the level when it
	// takes longer.
	Seconds []float64 `json:"seconds"`
	// Count is how many durations the thresholds rest on.
	Count int64 `json:"count"`
}

// minBeyond is how many of the baseline's durations must lie beyond a level: with
// fewer, the threshold is a guess and its exceedances are too rare to learn from.
const minBeyond = 10

// Freeze takes the thresholds: each the upper bound of the bucket in which its
// quantile lies, so that at most a part 1−level of the recorded durations exceeds it. It refuses levels that
// don't rise between 0 and 1, and levels beyond which fewer than ten durations lie.
func (h *Histogram) Freeze(levels ...float64) (Baseline, error) {
	count := h.Count()
	b := Baseline{Levels: append([]float64(nil), levels...), Seconds: make([]float64, len(levels)), Count: count}
	if len(levels) == 0 {
		return Baseline{}, fmt.Errorf("sequential: baseline: no quantile level given: want, say, 0.5 and 0.99")
	}
	last := 0.0
	for i, level := range levels {
		if !(level > last && level < 1) {
			return Baseline{}, fmt.Errorf("sequential: baseline: levels[%d] is %v: want levels rising between 0 and 1", i, level)
		}
		if beyond := (1 - level) * float64(count); beyond < minBeyond-1e-9 {
			return Baseline{}, fmt.Errorf("sequential: baseline: %d durations are too few for level %v: want %.0f, so that %d lie beyond it",
				count, level, math.Ceil(minBeyond/(1-level)-1e-6), minBeyond)
		}
		last = level
		b.Seconds[i] = h.quantile(level * float64(count))
	}
	return b, nil
}

// quantile is the upper bound of the bucket that holds the duration of that rank.
func (h *Histogram) quantile(rank float64) float64 {
	sum := 0.0
	for i, n := range h.counts {
		sum += float64(n)
		if n > 0 && sum >= rank {
			return bound(i)
		}
	}
	return bound(histogramBuckets - 1)
}

// Exceeded is how many of the levels a request of that length exceeds: those of
// Levels[:n].
func (b Baseline) Exceeded(seconds float64) (n int) {
	return sort.Search(len(b.Seconds), func(i int) bool { return !(seconds > b.Seconds[i]) })
}
