package sequential

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
)

// stateVersion is the form written. Evolution: new members are optional and mean
// what their absence meant before, so that an older program reads on and ignores them; what
// an older program must not ignore raises the version, which it then refuses. A member's name
// is never used again for something else. The default grids are spelled out, or fixed
// by the version.
const stateVersion = 1

// maxLogWealth is more than 10¹⁵ events can win or lose.
const maxLogWealth = 1e18

type stateJSON struct {
	Version int          `json:"version"`
	Config  Config       `json:"config"`
	LogE    float64      `json:"log_e"`
	MaxE    float64      `json:"max_log_e"`
	Expired bool         `json:"expired,omitempty"`
	Metrics []seriesJSON `json:"metrics"`
}

type seriesJSON struct {
	Canary   int64     `json:"canary_events"`
	Baseline int64     `json:"baseline_events"`
	Trips    int64     `json:"trips,omitempty"`
	Detail   string    `json:"detail,omitempty"`
	Reserve  float64   `json:"reserve,omitempty"`
	RenewAt  int64     `json:"renew_at,omitempty"`
	LogE     float64   `json:"log_e"`
	MaxE     float64   `json:"max_log_e"`
	MaxSafe  float64   `json:"max_log_safe"`
	Fail     []float64 `json:"fail,omitempty"`
	Safe     []float64 `json:"safe,omitempty"`
	Points   []float64 `json:"points,omitempty"`
	PlugIn   float64   `json:"plug_in"`
	Seen     int64     `json:"informative_canary_events"`
	Events   int64     `json:"informative_events"`
	Expected float64   `json:"expected"`
	Segments []segment `json:"segments,omitempty"`
}

// MarshalJSON is the whole state with its configuration: UnmarshalJSON continues from
// it to the bit, on the same build. Some 2 KB a metric.
func (a *Analysis) MarshalJSON() ([]byte, error) {
	out := stateJSON{
		Version: stateVersion, Config: a.config,
		LogE: a.logE, MaxE: a.maxE, Expired: a.expired,
		Metrics: make([]seriesJSON, len(a.metrics)),
	}
	for i := range a.metrics {
		s := &a.metrics[i]
		out.Metrics[i] = seriesJSON{
			Canary: s.canary, Baseline: s.baseline, Trips: s.trips, Detail: s.detail,
			Reserve: s.reserve, RenewAt: s.renewAt,
			LogE: s.logE, MaxE: s.maxE, MaxSafe: s.maxSafe,
			Fail: s.fail.wealth, Safe: s.safe.wealth,
			Points: s.ratio.points.wealth, PlugIn: s.ratio.plugIn,
			Seen: s.ratio.canary, Events: s.ratio.events, Expected: s.ratio.expected,
			Segments: s.ratio.segments,
		}
	}
	return json.Marshal(out)
}

// UnmarshalJSON restores what MarshalJSON wrote. It refuses what that could not
// have written, and then leaves a as it was.
func (a *Analysis) UnmarshalJSON(data []byte) error {
	var in stateJSON
	if err := json.Unmarshal(data, &in); err != nil {
		return fmt.Errorf("sequential: state: %w", err)
	}
	if in.Version != stateVersion {
		return fmt.Errorf("sequential: state is of version %d: this program reads version %d", in.Version, stateVersion)
	}
	b, err := New(in.Config)
	if err != nil {
		return fmt.Errorf("sequential: state: config: %w", err)
	}
	if len(in.Metrics) != len(b.metrics) {
		return fmt.Errorf("sequential: state has evidence on %d metrics, its configuration names %d", len(in.Metrics), len(b.metrics))
	}
	for i := range b.metrics {
		if err := b.metrics[i].restore(&in.Metrics[i]); err != nil {
			return fmt.Errorf("sequential: state: metric %q: %w", b.metrics[i].metric.Name, err)
		}
		b.tripped = b.tripped || in.Metrics[i].Trips > 0
	}
	if !(in.MaxE >= 0) || math.Abs(in.LogE-b.combine()) > 1e-6*(1+math.Abs(in.LogE)) || in.LogE > in.MaxE {
		return errors.New("sequential: state: log_e and max_log_e don't follow from the metrics")
	}
	b.logE, b.maxE, b.expired = in.LogE, in.MaxE, in.Expired
	*a = *b
	return nil
}

// restore fills a fresh series.
func (s *series) restore(in *seriesJSON) error {
	if err := in.validate(s); err != nil {
		return err
	}
	s.canary, s.baseline, s.trips, s.detail = in.Canary, in.Baseline, in.Trips, in.Detail
	s.reserve, s.renewAt = in.Reserve, in.RenewAt
	s.logE, s.maxE, s.maxSafe = in.LogE, in.MaxE, in.MaxSafe
	if s.metric.Kind == Invariant {
		return nil
	}
	copy(s.fail.wealth, in.Fail)
	copy(s.safe.wealth, in.Safe)
	v := &s.ratio
	copy(v.points.wealth, in.Points)
	v.plugIn, v.canary, v.events, v.expected = in.PlugIn, in.Seen, in.Events, in.Expected
	v.segments = append(v.segments, in.Segments...)
	if e := s.fail.logSum(s.reserve); math.Abs(e-in.LogE) > 1e-6*(1+math.Abs(e)) || in.LogE > in.MaxE {
		return errors.New("log_e and max_log_e don't follow from the bets")
	}
	if s.safe.logSum(0) > in.MaxSafe+1e-6*(1+math.Abs(in.MaxSafe)) {
		return errors.New("max_log_safe is less than the bets are worth")
	}
	return nil
}

// validate checks one metric's state against its fresh series.
func (in *seriesJSON) validate(fresh *series) error {
	invariant := fresh.metric.Kind == Invariant
	switch {
	case in.Canary < 0 || in.Baseline < 0 || in.Canary > maxCount || in.Baseline > maxCount || in.Canary+in.Baseline > maxCount:
		return errors.New("numbers of events out of range")
	case in.Trips < 0 || in.Trips > maxCount || len(in.Detail) > maxDetail:
		return errors.New("trips or detail out of range")
	case !invariant && in.Trips != 0, in.Trips == 0 && in.Detail != "":
		return errors.New("trips without an invariant, or a detail without a trip")
	case in.Seen < 0 || in.Seen > in.Canary || in.Events < in.Seen || in.Events-in.Seen > in.Baseline:
		return errors.New("more informative events than events")
	case len(in.Fail) != len(fresh.fail.wealth) || len(in.Safe) != len(fresh.safe.wealth) || len(in.Points) != len(fresh.ratio.points.wealth):
		return errors.New("as many bets as the grid has points are wanted")
	case in.Reserve < 0 || in.Reserve > fresh.reserve || in.RenewAt < firstRenewal || in.RenewAt > 4*maxCount:
		return errors.New("reserve or renew_at out of range")
	case in.MaxE < 0 || in.MaxSafe < 0:
		return errors.New("max_log_e and max_log_safe are never negative")
	case in.Expected < 0 || in.Expected > maxCount*maxCount:
		return errors.New("expected is out of range")
	case invariant && (in.Canary != 0 || in.Baseline != 0 || in.LogE != 0 || in.MaxE != 0 || in.MaxSafe != 0 || len(in.Segments) != 0):
		return errors.New("an invariant has no evidence but its trips")
	}
	for _, bets := range [...][]float64{in.Fail, in.Safe, in.Points, {in.PlugIn, in.LogE, in.MaxE, in.MaxSafe}} {
		for _, w := range bets {
			if math.Abs(w) > maxLogWealth {
				return fmt.Errorf("a bet is worth e^%v: out of range", w)
			}
		}
	}
	return in.validateSegments()
}

func (in *seriesJSON) validateSegments() error {
	if len(in.Segments) > maxSegments {
		return fmt.Errorf("%d segments: at most %d", len(in.Segments), maxSegments)
	}
	sum, last := int64(0), 0.0
	for i, s := range in.Segments {
		if !(s.Low > last && s.High >= s.Low && s.High < 1) || s.N <= 0 || s.N > in.Events-sum {
			return fmt.Errorf("segments[%d]: out of range or order", i)
		}
		if n := float64(s.N); s.SumP < n*s.Low*(1-1e-6) || s.SumP > n*s.High*(1+1e-6) {
			return fmt.Errorf("segments[%d]: the mean share lies outside", i)
		}
		sum, last = sum+s.N, s.High
	}
	if sum != in.Events {
		return fmt.Errorf("segments hold %d events of %d", sum, in.Events)
	}
	return nil
}
