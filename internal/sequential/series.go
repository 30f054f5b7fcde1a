package sequential

import "math"

// series is the evidence on one metric: two bets, against Null and against MaxRatio,
// and what the interval for the ratio needs. An invariant has only trips and detail.
type series struct {
	metric Metric
	fail   bet
	safe   bet
	ratio  interval
	// reserve is the part of the fail bet that is not placed on any ratio, in
	// units of the first bet; renewAt is the number of informative events at which a
	// part of it is placed next.
	reserve float64
	renewAt int64
	// grid is what a renewal is spread over; Config's.
	grid []Point
	// logE is the logarithm of E now; maxE and maxSafe are the greatest so far of
	// log E against Null and against MaxRatio, from 0 = log 1 on.
	logE, maxE, maxSafe float64
	// canary and baseline are all events, informative or not.
	canary, baseline int64
	trips            int64
	detail           string
}

// firstRenewal is the number of informative events at which the first part of the reserve is placed.
const firstRenewal = 64

// newSeries is the state before the first batch. The metric has its defaults.
func newSeries(m Metric, c *Config) series {
	s := series{metric: m, grid: c.Grid, reserve: c.Reserve, renewAt: firstRenewal}
	if m.Kind == Invariant {
		return s
	}
	ratios := make([]float64, len(c.Grid))
	for i, p := range c.Grid {
		ratios[i] = p.Ratio * m.Null
	}
	s.fail = newBet(m.Null, ratios)
	for i, p := range c.Grid {
		s.fail.wealth[i] = math.Log(p.Weight * (1 - c.Reserve))
	}
	harmless := safeGrid(m.Null, m.MaxRatio)
	s.safe = newBet(m.MaxRatio, []float64{harmless[0].Ratio, harmless[1].Ratio, harmless[2].Ratio})
	for i, p := range harmless {
		s.safe.wealth[i] = math.Log(p.Weight)
	}
	s.ratio = newInterval()
	return s
}

// safeGrid are the harmless ratios that the safe process bets on: most on a
// candidate that is just like the baseline, the rest on one halfway to what must be
// excluded and on one that mends things.
func safeGrid(null, ceiling float64) [3]Point {
	return [3]Point{
		{Ratio: 1, Weight: 0.5},
		{Ratio: math.Sqrt(null * ceiling), Weight: 0.25},
		{Ratio: 0.5, Weight: 0.25},
	}
}

// observe adds a valid batch; it says whether anything was learnt from it.
func (s *series) observe(b Batch) bool {
	s.canary += b.CanaryEvents
	s.baseline += b.BaselineEvents
	p, n := b.Share(), b.CanaryEvents+b.BaselineEvents
	if n == 0 || b.ExposedCanary == 0 || b.ExposedBaseline == 0 || p <= 0 || p >= 1 {
		return false
	}
	x := float64(b.CanaryEvents)
	s.fail.place(p, x, float64(n))
	s.safe.place(p, x, float64(n))
	s.ratio.add(p, b.CanaryEvents, n)
	s.logE = s.fail.logSum(s.reserve)
	s.maxE = max(s.maxE, s.logE)
	s.maxSafe = max(s.maxSafe, s.safe.logSum(0))
	if s.ratio.events >= s.renewAt {
		s.renewAt = 2 * s.ratio.events
		s.renew()
	}
	return true
}

// renew places a quarter of what the reserve still holds on the grid. E does not
// change: the bet is only spread anew, before the next batch is known.
func (s *series) renew() {
	if s.reserve == 0 || s.metric.Kind == Invariant {
		return
	}
	part := s.reserve / 4
	s.reserve -= part
	for i, p := range s.grid {
		s.fail.wealth[i] = logAdd(s.fail.wealth[i], math.Log(part*p.Weight))
	}
}

// bet is a mixture of likelihood ratios: wealth[k] is the logarithm of the weight of
// ratios[k] times the likelihood of all events under it, over that under null.
type bet struct {
	null   float64
	ratios []float64
	wealth []float64
	// logs[k] is ln(ratios[k]/null), worth[k] what an event of the baseline's is worth at share.
	logs, worth []float64
	share       float64
}

func newBet(null float64, ratios []float64) bet {
	b := bet{
		null: null, ratios: ratios, wealth: make([]float64, len(ratios)),
		logs: make([]float64, len(ratios)), worth: make([]float64, len(ratios)),
	}
	for k, r := range ratios {
		b.logs[k] = math.Log(r / null)
	}
	return b
}

// place multiplies the wealth on every ratio by what n events, x of them the
// canary's, are worth at the exposure share p, 0 < p < 1.
func (b *bet) place(p, x, n float64) {
	if p != b.share {
		b.share = p
		for k, r := range b.ratios {
			b.worth[k] = baselineWorth(p, r, b.null)
		}
	}
	for k, d := range b.worth {
		b.wealth[k] += x*(b.logs[k]+d) + (n-x)*d
	}
}

// logSum is the logarithm of the whole wealth, with rest, which is not a logarithm.
func (b *bet) logSum(rest float64) float64 {
	top := b.wealth[0]
	for _, w := range b.wealth[1:] {
		top = max(top, w)
	}
	if rest > 0 {
		top = max(top, math.Log(rest))
	}
	sum := rest * math.Exp(-top)
	if rest == 0 {
		sum = 0
	}
	for _, w := range b.wealth {
		sum += math.Exp(w - top)
	}
	return top + math.Log(sum)
}

// baselineWorth is d = ln (1−θ(r))/(1−θ(r₀)), θ(r) = pr/(pr+1−p). The other factor,
// ln θ(r)/θ(r₀), is ln(r/r₀)+d. So no difference of nearly equal numbers is taken but that between what
// the events of one arm and of the other say.
func baselineWorth(p, r, null float64) float64 {
	return -math.Log1p(p * (r - null) / (1 + p*(null-1)))
}

// logAdd is ln(eᵃ + eᵇ).
func logAdd(a, b float64) float64 {
	hi, lo := max(a, b), min(a, b)
	return hi + math.Log1p(math.Exp(lo-hi))
}
