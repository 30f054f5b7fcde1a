package sequential

import "math"

// interval is the confidence sequence for the rate ratio of one metric.
//
// For every ratio r at once there is a bet against "the ratio is r": the numerator, the
// same for all r, over the likelihood ℓ(r). What has not lost its bet at level
// 1−confidence is in the interval. ℓ depends on every batch's share p; where there
// are more than maxSegments different ones, neighbours are kept together and ℓ is
// bounded from above by the chord, so that the interval can only become wider.
type interval struct {
	// points is the part of the numerator that bets on fixed ratios, plugIn the one
	// that bets on the estimate of the time before the batch; both against r = 1.
	points bet
	plugIn float64
	// canary of events are the informative events; expected is Σ y·p/(1−p), the canary's
	// events at r = 1, given the baseline's y.
	canary, events int64
	expected       float64
	// segments are ordered by share and don't overlap.
	segments []segment
}

// segment is the events that were seen at shares from low to high.
type segment struct {
	Low  float64 `json:"low"`
	High float64 `json:"high"`
	// N is the number of events, SumP that of their shares.
	N    int64   `json:"n"`
	SumP float64 `json:"sum_p"`
}

const (
	maxSegments = 32
	// sameShare is how far apart the odds of two shares may be to be kept
	// together from the start.
	sameShare = 0.01
	// maxLogRatio bounds the search for the ends: beyond e^±28 is infinite or 0.
	maxLogRatio = 28
)

// intervalRatios are the fixed ratios of the numerator, of equal weight.
func intervalRatios() []float64 {
	return []float64{
		1. / 30, 0.1, 0.2, 1. / 3, 0.5, 1 / 1.5, 1 / 1.2, 1,
		1.2, 1.5, 2, 3, 5, 10, 30, 100, 1000,
	}
}

func newInterval() interval {
	ratios := intervalRatios()
	v := interval{
		points:   newBet(1, ratios),
		plugIn:   -math.Ln2,
		segments: make([]segment, 0, maxSegments+1),
	}
	for i := range v.points.wealth {
		v.points.wealth[i] = -math.Log(2 * float64(len(ratios)))
	}
	return v
}

// add takes n events at the share p, x of them the canary's; 0 < p < 1.
func (v *interval) add(p float64, x, n int64) {
	guess := (float64(v.canary) + 0.5) / (v.expected + 0.5)
	guess = min(max(guess, 1e-6), 1e6)
	d := baselineWorth(p, guess, 1)
	v.plugIn += float64(x)*(math.Log(guess)+d) + float64(n-x)*d
	v.points.place(p, float64(x), float64(n))
	v.canary += x
	v.events += n
	v.expected += float64(n-x) * p / (1 - p)
	v.file(p, n)
}

// file puts n events of the share p into their segment.
func (v *interval) file(p float64, n int64) {
	at := 0
	for at < len(v.segments) && v.segments[at].High < p {
		at++
	}
	sum := p * float64(n)
	if at < len(v.segments) && v.segments[at].absorb(p, n, sum) {
		return
	}
	if at > 0 && v.segments[at-1].absorb(p, n, sum) {
		return
	}
	v.segments = append(v.segments, segment{})
	copy(v.segments[at+1:], v.segments[at:])
	v.segments[at] = segment{Low: p, High: p, N: n, SumP: sum}
	if len(v.segments) > maxSegments {
		v.mergeNearest()
	}
}

// absorb takes the events if the segment holds p or is near enough.
func (s *segment) absorb(p float64, n int64, sum float64) bool {
	low, high := min(s.Low, p), max(s.High, p)
	if (low != s.Low || high != s.High) && spread(low, high) > sameShare {
		return false
	}
	s.Low, s.High = low, high
	s.N += n
	s.SumP += sum
	return true
}

// mergeNearest makes one of the two neighbours that are closest together.
func (v *interval) mergeNearest() {
	best, width := 0, math.Inf(1)
	for i := range len(v.segments) - 1 {
		if w := spread(v.segments[i].Low, v.segments[i+1].High); w < width {
			best, width = i, w
		}
	}
	a, b := &v.segments[best], v.segments[best+1]
	a.High, a.N, a.SumP = b.High, a.N+b.N, a.SumP+b.SumP
	v.segments = append(v.segments[:best+1], v.segments[best+2:]...)
}

// spread is the odds of high over those of low, less 1.
func spread(low, high float64) float64 {
	return high*(1-low)/(low*(1-high)) - 1
}

// likelihood is an upper bound of ln of the events' likelihood at the ratio e^rho
// over that at 1, exact when no segment holds different shares; it is concave in
// rho. slope is its derivative.
func (v *interval) likelihood(rho float64) (value, slope float64) {
	value, slope = float64(v.canary)*rho, float64(v.canary)
	over := math.Expm1(rho)
	for i := range v.segments {
		s := &v.segments[i]
		n, part := float64(s.N), 0.0
		if s.High > s.Low {
			part = min(max((s.SumP/n-s.Low)/(s.High-s.Low), 0), 1)
		}
		low, high := s.Low*over, s.High*over
		value -= n * ((1-part)*math.Log1p(low) + part*math.Log1p(high))
		slope -= n * (over + 1) * ((1-part)*s.Low/(1+low) + part*s.High/(1+high))
	}
	return value, slope
}

// bounds inverts the bets.
func (v *interval) bounds(confidence float64) RateRatio {
	out := RateRatio{Hi: math.Inf(1), Events: v.events}
	if v.events == 0 {
		return out
	}
	best := bisect(-maxLogRatio, maxLogRatio, func(rho float64) bool {
		_, slope := v.likelihood(rho)
		return slope > 0
	})
	switch v.canary {
	case 0:
	case v.events:
		out.Est = math.Inf(1)
	default:
		out.Est = math.Exp(best)
	}
	least := logAdd(v.points.logSum(0), v.plugIn) + math.Log1p(-confidence)
	inside := func(rho float64) bool {
		value, _ := v.likelihood(rho)
		return value >= least
	}
	if !inside(best) { // the ratio has changed: no single one explains the events
		out.Lo, out.Hi = out.Est, out.Est
		return out
	}
	if !inside(-maxLogRatio) {
		out.Lo = math.Exp(bisect(-maxLogRatio, best, func(rho float64) bool { return !inside(rho) }))
	}
	if !inside(maxLogRatio) {
		out.Hi = math.Exp(bisect(best, maxLogRatio, inside))
	}
	return out
}

// bisect is where below turns from true to false between lo and hi.
func bisect(lo, hi float64, below func(float64) bool) float64 {
	for range 42 { // to 10⁻¹¹ of the ratio
		if mid := (lo + hi) / 2; below(mid) {
			lo = mid
		} else {
			hi = mid
		}
	}
	return (lo + hi) / 2
}
