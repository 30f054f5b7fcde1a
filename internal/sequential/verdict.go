package sequential

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
)

// Outcome is what the evidence says so far.
type Outcome uint8

const (
	// Wait: neither bad nor shown safe yet. It is the zero value: nothing seen
	// is never healthy.
	Wait Outcome = iota
	// Pass: every metric that is needed has excluded its MaxRatio. A later Fail overrides it.
	Pass
	// Fail: the candidate is worse than Null allows, or an invariant tripped. For good.
	Fail
	// Inconclusive: the caller's time is up (Expire) with neither shown.
	Inconclusive
)

var outcomes = [...]string{Wait: "wait", Pass: "pass", Fail: "fail", Inconclusive: "inconclusive"}

// String is the outcome's name: wait, pass, fail, inconclusive.
func (o Outcome) String() string {
	if int(o) < len(outcomes) {
		return outcomes[o]
	}
	return "outcome(" + strconv.Itoa(int(o)) + ")"
}

// MarshalText is String.
func (o Outcome) MarshalText() ([]byte, error) {
	if int(o) >= len(outcomes) {
		return nil, fmt.Errorf("sequential: no such outcome: %d", o)
	}
	return []byte(outcomes[o]), nil
}

// UnmarshalText is the inverse of MarshalText; an unknown name is an error.
func (o *Outcome) UnmarshalText(text []byte) error {
	for i, name := range outcomes {
		if name == string(text) {
			*o = Outcome(i)
			return nil
		}
	}
	return fmt.Errorf("sequential: outcome %q: want wait, pass, fail or inconclusive", text)
}

// Verdict is the outcome with its evidence, as of the last batch.
type Verdict struct {
	Outcome Outcome `json:"outcome"`
	// EFail is the greatest evidence so far that the candidate is worse than Null:
	// Fail from 1/Alpha on. At most math.MaxFloat64, so that it can be printed as JSON.
	EFail float64 `json:"e_fail"`
	// ESafe is the evidence that every needed metric is below its MaxRatio, the
	// least of theirs: Pass from 1/Beta on. 0 when no metric is needed.
	ESafe float64 `json:"e_safe"`
	Alpha float64 `json:"alpha"`
	Beta  float64 `json:"beta"`
	// RateRatio is that of the metric with the greatest share of EFail.
	RateRatio RateRatio `json:"rate_ratio"`
	// Reasons: tripped invariants first, then every metric by falling share.
	Reasons []Reason `json:"reasons"`
}

// Reason is what one metric contributes.
type Reason struct {
	Metric string  `json:"metric"`
	Kind   Kind    `json:"kind"`
	Level  float64 `json:"level,omitempty"`
	// E is the metric's own evidence against Null, now; EMax the greatest so far.
	E    float64 `json:"e"`
	EMax float64 `json:"e_max"`
	// ESafe is its greatest evidence so far against MaxRatio.
	ESafe float64 `json:"e_safe"`
	// Share is its part of the weighted mean of all metrics' E, 0 to 1. A
	// tripped invariant's is 1.
	Share float64 `json:"share"`
	// Ratio is its rate ratio, canary to baseline, with bounds.
	Ratio RateRatio `json:"ratio"`
	// CanaryEvents and BaselineEvents are all events so far, also those of
	// batches that carried no information.
	CanaryEvents   int64 `json:"canary_events"`
	BaselineEvents int64 `json:"baseline_events"`
	// Trips counts an invariant's occurrences; Detail is the first one's.
	Trips  int64  `json:"trips,omitempty"`
	Detail string `json:"detail,omitempty"`
	// Needed: a pass waits for this metric. Failed, Passed: it did its part.
	Needed bool `json:"needed"`
	Failed bool `json:"failed"`
	Passed bool `json:"passed"`
}

// RateRatio is the canary's rate of first events over the baseline's, with the
// bounds of a confidence sequence: with probability Config.Confidence they hold the
// true ratio at every look at once.
//
// Without information Events is 0, Lo is 0, Hi is +Inf and Est means nothing (it is
// 0). In JSON, est without information and an infinite end are null.
type RateRatio struct {
	// Est is the maximum-likelihood estimate; +Inf when only the canary has events.
	Est float64
	// Lo ≥ 0 and Hi ≤ +Inf bound the ratio.
	Lo, Hi float64
	// Events are those that carried information.
	Events int64
}

type rateRatioJSON struct {
	Est    *float64 `json:"est"`
	Lo     float64  `json:"lo"`
	Hi     *float64 `json:"hi"`
	Events int64    `json:"events"`
}

// MarshalJSON writes what JSON has no number for as null.
func (r RateRatio) MarshalJSON() ([]byte, error) {
	out := rateRatioJSON{Lo: r.Lo, Events: r.Events}
	if r.Events > 0 && !math.IsInf(r.Est, 1) {
		out.Est = &r.Est
	}
	if !math.IsInf(r.Hi, 1) {
		out.Hi = &r.Hi
	}
	return json.Marshal(out)
}

// UnmarshalJSON is the inverse of MarshalJSON.
func (r *RateRatio) UnmarshalJSON(data []byte) error {
	var in rateRatioJSON
	if err := json.Unmarshal(data, &in); err != nil {
		return fmt.Errorf("sequential: rate ratio: %w", err)
	}
	*r = RateRatio{Lo: in.Lo, Hi: math.Inf(1), Events: in.Events}
	if in.Hi != nil {
		r.Hi = *in.Hi
	}
	switch {
	case in.Est != nil:
		r.Est = *in.Est
	case in.Events > 0:
		r.Est = math.Inf(1)
	}
	return nil
}
