package sequential

import (
	"errors"
	"fmt"
	"math"
)

// Config is fixed before the first subject is exposed: changing it after a look at
// the numbers voids both guarantees.
type Config struct {
	// Alpha bounds the chance that a harmless candidate is ever failed by its
	// metrics; 0 means 0.01.
	Alpha float64 `json:"alpha"`
	// Beta bounds the chance that a candidate whose rate of any needed metric is
	// MaxRatio times the baseline's or more is ever passed; 0 means 0.05.
	Beta float64 `json:"beta"`
	// Null is r₀, the greatest rate ratio that counts as harmless; 0 means 1.
	// At 1 the first guarantee is exact, above 1 it is shown by simulation.
	Null float64 `json:"null"`
	// MaxRatio is r_max, the rate ratio that a pass must exclude; above Null. 0
	// means 2·Null.
	MaxRatio float64 `json:"max_ratio"`
	// Confidence is the level of the rate ratios' intervals; 0 means 0.95.
	Confidence float64 `json:"confidence"`
	// Reserve is the part of the first bet that is kept back for regressions
	// that begin late, 0 ≤ Reserve ≤ 0.9; see Renew. The zero value keeps none.
	Reserve float64 `json:"reserve"`
	// Grid are the alternatives to Null that the fail process bets on, as
	// multiples of Null above 1, with weights that sum to 1; nil means DefaultGrid.
	Grid []Point `json:"grid"`
	// Metrics: at least one, at most 256.
	Metrics []Metric `json:"metrics"`
}

// Point is a rate ratio and the part of the bet that is placed on it.
type Point struct {
	Ratio  float64 `json:"ratio"`
	Weight float64 `json:"weight"`
}

// DefaultGrid reaches from a regression by half to one in which whatever rarely
// failed always fails, about evenly in the logarithm and with equal weights: no
// true ratio between 1.25 and 10,000 is far from a point, at the price of
// ln 8 ≈ 2.1 in the logarithm of E.
func DefaultGrid() []Point {
	ratios := [...]float64{1.5, 2, 3, 5, 10, 30, 100, 1000}
	grid := make([]Point, len(ratios))
	for i, r := range ratios {
		grid[i] = Point{Ratio: r, Weight: 1.0 / float64(len(ratios))}
	}
	return grid
}

const (
	maxMetrics = 256
	maxGrid    = 64
	maxRatio   = 1e9
	sumSlack   = 1e-9
)

// withDefaults fills in what was left out. It copies the slices: the caller's stay
// the caller's.
func (c Config) withDefaults() Config {
	setDefault(&c.Alpha, 0.01)
	setDefault(&c.Beta, 0.05)
	setDefault(&c.Null, 1)
	setDefault(&c.MaxRatio, 2*c.Null)
	setDefault(&c.Confidence, 0.95)
	if c.Grid == nil {
		c.Grid = DefaultGrid()
	} else {
		c.Grid = append([]Point(nil), c.Grid...)
	}
	c.Metrics = append([]Metric(nil), c.Metrics...)
	weighted, given := 0, false
	for _, m := range c.Metrics {
		if m.Kind != Invariant {
			weighted++
			given = given || m.Weight != 0
		}
	}
	for i := range c.Metrics {
		m := &c.Metrics[i]
		if m.Kind == Invariant {
			continue
		}
		if !given {
			m.Weight = 1 / float64(weighted)
		}
		setDefault(&m.Null, c.Null)
		setDefault(&m.MaxRatio, c.MaxRatio)
	}
	return c
}

func setDefault(field *float64, value float64) {
	if *field == 0 {
		*field = value
	}
}

// validate reports everything that is wrong, one line a fault. The receiver has
// its defaults.
func (c Config) validate() error {
	var faults []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			faults = append(faults, fmt.Errorf("sequential: "+format, args...))
		}
	}
	check(c.Alpha >= 1e-12 && c.Alpha <= 0.5, "alpha is %v: want 1e-12 to 0.5", c.Alpha)
	check(c.Beta >= 1e-12 && c.Beta <= 0.5, "beta is %v: want 1e-12 to 0.5", c.Beta)
	check(c.Confidence >= 0.5 && c.Confidence < 1, "confidence is %v: want 0.5 up to, without, 1", c.Confidence)
	check(c.Reserve >= 0 && c.Reserve <= 0.9, "reserve is %v: want 0 to 0.9", c.Reserve)
	check(c.Null >= 1 && c.Null <= maxRatio, "null is %v: want a rate ratio of 1 or more", c.Null)
	check(c.MaxRatio > c.Null && c.MaxRatio <= maxRatio, "max_ratio is %v: want more than null, %v", c.MaxRatio, c.Null)
	check(len(c.Grid) > 0 && len(c.Grid) <= maxGrid, "grid has %d points: want 1 to %d", len(c.Grid), maxGrid)
	sum := 0.0
	for i, p := range c.Grid {
		check(p.Ratio > 1 && p.Ratio <= maxRatio, "grid[%d]: ratio is %v: want a multiple of null above 1", i, p.Ratio)
		check(p.Weight > 0 && p.Weight <= 1, "grid[%d]: weight is %v: want above 0, up to 1", i, p.Weight)
		sum += p.Weight
	}
	check(math.Abs(sum-1) <= sumSlack, "the grid's weights sum to %v: want 1", sum)
	return errors.Join(append(faults, c.validateMetrics()...)...)
}

func (c Config) validateMetrics() (faults []error) {
	check := func(ok bool, format string, args ...any) {
		if !ok {
			faults = append(faults, fmt.Errorf("sequential: "+format, args...))
		}
	}
	check(len(c.Metrics) > 0 && len(c.Metrics) <= maxMetrics, "%d metrics: want 1 to %d", len(c.Metrics), maxMetrics)
	seen := make(map[string]bool, len(c.Metrics))
	sum, weighted := 0.0, 0
	for i, m := range c.Metrics {
		check(len(m.Name) > 0 && len(m.Name) <= 128, "metrics[%d]: name has %d bytes: want 1 to 128", i, len(m.Name))
		check(!seen[m.Name], "metrics[%d]: a second metric named %q", i, m.Name)
		seen[m.Name] = true
		if int(m.Kind) >= len(kinds) {
			check(false, "metric %q: no such kind: %d", m.Name, m.Kind)
			continue
		}
		if m.Kind == Invariant {
			check(m.Weight == 0 && m.Null == 0 && m.MaxRatio == 0 && m.Level == 0 && !m.FailOnly,
				"metric %q: an invariant has a name and nothing else: it trips at one occurrence", m.Name)
			continue
		}
		weighted++
		sum += m.Weight
		check(m.Weight >= 0 && m.Weight <= 1, "metric %q: weight is %v: want 0 to 1", m.Name, m.Weight)
		check(m.Null >= 1 && m.Null <= maxRatio, "metric %q: null is %v: want a rate ratio of 1 or more", m.Name, m.Null)
		check(m.MaxRatio > m.Null && m.MaxRatio <= maxRatio, "metric %q: max_ratio is %v: want more than its null, %v", m.Name, m.MaxRatio, m.Null)
		if m.Kind == Latency {
			check(m.Level > 0 && m.Level < 1, "metric %q: level is %v: want a quantile between 0 and 1", m.Name, m.Level)
		} else {
			check(m.Level == 0, "metric %q: level is for metrics of kind latency", m.Name)
		}
	}
	check(weighted == 0 || math.Abs(sum-1) <= sumSlack, "the metrics' weights sum to %v: want 1", sum)
	return faults
}
