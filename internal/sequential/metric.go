package sequential

import (
	"fmt"
	"strconv"
)

// Kind says where a metric's events come from. The mathematics of Count and
// Latency is the same; the kind travels so that a reason can be explained.
type Kind uint8

const (
	// Count is a bad event of a subject: a refusal, a 5xx, a failed refresh, or
	// whatever a user's own expression says. Only a subject's first one counts.
	Count Kind = iota
	// Latency is a subject's first request slower than a frozen quantile of the
	// baseline. Metric.Level names the quantile; the caller froze the threshold.
	Latency
	// Invariant must never happen at all: one occurrence fails the candidate, by
	// Trip. It has no weight and takes no batches.
	Invariant
)

// kinds are the names of the kinds in text and JSON.
var kinds = [...]string{Count: "count", Latency: "latency", Invariant: "invariant"}

// String is the kind's name: count, latency, invariant.
func (k Kind) String() string {
	if int(k) < len(kinds) {
		return kinds[k]
	}
	return "kind(" + strconv.Itoa(int(k)) + ")"
}

// MarshalText is String.
func (k Kind) MarshalText() ([]byte, error) {
	if int(k) >= len(kinds) {
		return nil, fmt.Errorf("sequential: no such kind of metric: %d", k)
	}
	return []byte(kinds[k]), nil
}

// UnmarshalText is the inverse of MarshalText; an unknown name is an error.
func (k *Kind) UnmarshalText(text []byte) error {
	for i, name := range kinds {
		if name == string(text) {
			*k = Kind(i)
			return nil
		}
	}
	return fmt.Errorf("sequential: kind of metric %q: want count, latency or invariant", text)
}

// Metric is one thing watched in both arms.
type Metric struct {
	// Name identifies the metric within its analysis: 1 to 128 bytes, unique.
	Name string `json:"name"`
	// Kind: the zero value is Count.
	Kind Kind `json:"kind"`
	// Weight is the metric's part of α, 0 to 1. The weights of all metrics that are
	// no invariants sum to 1; when all are 0 they are equal. One metric of weight 0 among others
	// is watched: it is reported and, unless FailOnly, needed for a pass, but never
	// fails. An invariant's is 0.
	Weight float64 `json:"weight,omitempty"`
	// Level is the quantile of a Latency metric, 0 < Level < 1; else 0.
	Level float64 `json:"level,omitempty"`
	// Null and MaxRatio take the place of Config's for this metric; 0 keeps those.
	Null     float64 `json:"null,omitempty"`
	MaxRatio float64 `json:"max_ratio,omitempty"`
	// FailOnly: the metric may fail the candidate, but is not needed to pass it.
	// For events so rare that no rollout sees enough of them to prove anything:
	// otherwise silence on this metric makes the verdict inconclusive.
	FailOnly bool `json:"fail_only,omitempty"`
}

// Batch is what was seen of one metric since the last batch.
//
// The two exposures are the subjects at risk: exposed to their arm and without an
// earlier event of this metric, counted before the batch's own events are taken
// off. They must not depend on the batch's events. The events are subjects whose first
// event of this metric fell into the batch, so an arm's events are never more
// than its exposure. Where the exposures are not counted but the share p is known by
// design, any two numbers in that proportion serve (p·10¹², (1−p)·10¹²).
//
// All are counts from 0 to 10¹⁵. A batch without events, or with nobody exposed in one
// arm, carries no information and changes nothing.
type Batch struct {
	ExposedCanary   int64 `json:"exposed_canary"`
	ExposedBaseline int64 `json:"exposed_baseline"`
	CanaryEvents    int64 `json:"canary_events"`
	BaselineEvents  int64 `json:"baseline_events"`
}

// maxCount bounds a batch's numbers, and a metric's events over all batches, so
// that sums of logarithms keep three decimals.
const maxCount = 1e15

func (b Batch) validate() error {
	for _, f := range [...]struct {
		name string
		n    int64
	}{
		{"exposed_canary", b.ExposedCanary},
		{"exposed_baseline", b.ExposedBaseline},
		{"canary_events", b.CanaryEvents},
		{"baseline_events", b.BaselineEvents},
	} {
		if f.n < 0 || f.n > maxCount {
			return fmt.Errorf("%s is %d: want 0 to 10^15", f.name, f.n)
		}
	}
	if b.CanaryEvents > b.ExposedCanary {
		return fmt.Errorf("canary_events %d of only %d subjects at risk: count a subject's first event only, and its exposure before its event",
			b.CanaryEvents, b.ExposedCanary)
	}
	if b.BaselineEvents > b.ExposedBaseline {
		return fmt.Errorf("baseline_events %d of only %d subjects at risk: count a subject's first event only, and its exposure before its event",
			b.BaselineEvents, b.ExposedBaseline)
	}
	return nil
}

// Share is p, the canary's share of the subjects at risk; 0 when there are none.
func (b Batch) Share() float64 {
	if b.ExposedCanary <= 0 {
		return 0
	}
	return float64(b.ExposedCanary) / (float64(b.ExposedCanary) + float64(b.ExposedBaseline))
}
