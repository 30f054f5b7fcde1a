package main

import (
	"fmt"
	"math"
	"sort"

	"github.com/mintmark/mintmark/internal/sequential"
)

// second is what both arms did in one second: subjects who came, those who failed, and
// the failing retries of these.
type second struct {
	canary, baseline               int64
	canaryFailed, baselineFailed   int64
	canaryRetries, baselineRetries int64
}

// canaryRate and baselineRate are the failure rates that a counter of requests shows.
func (s second) canaryRate() float64 {
	return rate(s.canaryFailed+s.canaryRetries, s.canary+s.canaryRetries)
}

func (s second) baselineRate() float64 {
	return rate(s.baselineFailed+s.baselineRetries, s.baseline+s.baselineRetries)
}

// judge looks at each second and says once that the canary is bad.
type judge interface {
	// look is called for every second in turn; true is an alarm.
	look(second) bool
}

// eProcess is package sequential with its defaults, looked at every second. It counts
// subjects; the other judges count requests, as metrics stores do.
type eProcess struct{ analysis *sequential.Analysis }

func newEProcess() judge {
	a, err := sequential.New(sequential.Config{Metrics: []sequential.Metric{{Name: "failed"}}})
	if err != nil {
		panic(err) // a constant configuration
	}
	return &eProcess{a}
}

func (j *eProcess) look(s second) bool {
	err := j.analysis.Observe("failed", sequential.Batch{
		ExposedCanary: s.canary, ExposedBaseline: s.baseline,
		CanaryEvents: s.canaryFailed, BaselineEvents: s.baselineFailed,
	})
	if err != nil {
		panic(fmt.Sprintf("the simulation made an impossible second: %v", err))
	}
	return j.analysis.Outcome() == sequential.Fail
}

// minute sums up seconds; full says that one minute is complete.
type minute struct {
	sum     second
	seconds int
}

func (m *minute) add(s second) (whole second, full bool) {
	m.sum.canary += s.canary
	m.sum.baseline += s.baseline
	m.sum.canaryFailed += s.canaryFailed
	m.sum.baselineFailed += s.baselineFailed
	m.sum.canaryRetries += s.canaryRetries
	m.sum.baselineRetries += s.baselineRetries
	if m.seconds++; m.seconds < 60 {
		return second{}, false
	}
	whole, *m = m.sum, minute{}
	return whole, true
}

// threshold alarms when bad holds for a minute, times minutes in a row: the rule of
// controllers that query a metrics store once an interval.
type threshold struct {
	minute minute
	bad    func(second) bool
	times  int
	inRow  int
}

func (j *threshold) look(s second) bool {
	m, full := j.minute.add(s)
	if !full {
		return false
	}
	if !j.bad(m) {
		j.inRow = 0
		return false
	}
	j.inRow++
	return j.inRow >= j.times
}

func rate(failed, all int64) float64 { return float64(failed) / float64(max(all, 1)) }

// absolute is a limit on the canary's own failure rate.
func absolute(limit float64, times int) func() judge {
	return func() judge {
		return &threshold{times: times, bad: func(m second) bool { return m.canaryRate() > limit }}
	}
}

// relative is a limit on the canary's failure rate as a multiple of the baseline's.
func relative(ratio float64, times int) func() judge {
	return func() judge {
		return &threshold{times: times, bad: func(m second) bool {
			return m.canaryRate() > ratio*m.baselineRate()
		}}
	}
}

// mannWhitney is Kayenta's rule on one-minute points of the failure rate: an alarm when
// the lower confidence limit of the shift from baseline to canary, at the level
// 0.98, lies above a quarter of the shift's Hodges-Lehmann estimate. It is asked after every of
// the minutes that ask names.
type mannWhitney struct {
	minute           minute
	canary, baseline []float64
	ask              func(minutes int) bool
}

const (
	mannWhitneyZ         = 2.3263478740408408 // of 0.99: two-sided 0.98
	mannWhitneyTolerance = 0.25
)

func newMannWhitney(ask func(minutes int) bool) func() judge {
	return func() judge { return &mannWhitney{ask: ask} }
}

func (j *mannWhitney) look(s second) bool {
	m, full := j.minute.add(s)
	if !full {
		return false
	}
	j.canary = append(j.canary, m.canaryRate())
	j.baseline = append(j.baseline, m.baselineRate())
	if !j.ask(len(j.canary)) {
		return false
	}
	estimate, lower := shift(j.canary, j.baseline)
	return lower > mannWhitneyTolerance*math.Abs(estimate)
}

// shift is the Hodges-Lehmann estimate of how far x lies above y, the median of all
// pairs' differences, and its lower confidence limit, the difference whose rank
// the normal approximation of the Mann-Whitney statistic gives.
func shift(x, y []float64) (estimate, lower float64) {
	diffs := make([]float64, 0, len(x)*len(y))
	for _, a := range x {
		for _, b := range y {
			diffs = append(diffs, a-b)
		}
	}
	sort.Float64s(diffs)
	pairs := float64(len(diffs))
	rank := int(math.Floor(pairs/2 - mannWhitneyZ*math.Sqrt(pairs*float64(len(x)+len(y)+1)/12)))
	middle := len(diffs) / 2
	estimate = diffs[middle]
	if len(diffs)%2 == 0 {
		estimate = (diffs[middle-1] + diffs[middle]) / 2
	}
	return estimate, diffs[max(rank, 1)-1]
}
