package sequential

// Histogram counts durations in buckets whose bounds grow geometrically: bucket
// i holds values in (bound(i−1), bound(i)] with bound(i) = 1 µs · 2^(i/8), so that any
// quantile is told within 9 %. The zero value is empty and ready. Not safe for
// concurrent use.
type Histogram struct {
	counts [histogramBuckets]int64
}

const histogramBuckets = 8*32 + 1

// Record counts one value, in seconds; what is negative or not a number counts as 0, what is longer than
// the last bound, 71 minutes, in the last bucket.
func (h *Histogram) Record(seconds float64) {}

// Merge adds another histogram's counts, in any order with the same result.
func (h *Histogram) Merge(o *Histogram) {}

// Count is the number of values.
func (h *Histogram) Count() int64 { return 0 }

// Baseline is a frozen set of latency thresholds: quantiles of the baseline,
// taken before the candidate is exposed and never after.
type Baseline struct {
	// Levels rise strictly, between 0 and 1.
	Levels []float64 `json:"levels"`
	// Seconds[i] is the threshold of Levels[i]: a request exceeds the level when it takes
	// longer.
	Seconds []float64 `json:"seconds"`
	// Count is how many values the thresholds rest on.
	Count int64 `json:"count"`
}

// Freeze takes the thresholds. It refuses levels that don't rise between 0 and 1, and
// levels for which there are fewer than ten values beyond.
func (h *Histogram) Freeze(levels ...float64) (Baseline, error) { return Baseline{}, nil }

// Exceeded is how many of the levels a request of that length exceeds: those of
// Levels[:n].
func (b Baseline) Exceeded(seconds float64) (n int) { return 0 }
