package sequential

import "math"

// Holds says whether the interval of the i-th metric holds the ratio now, without
// searching for its ends.
func (a *Analysis) Holds(i int, ratio float64) bool {
	v := &a.metrics[i].ratio
	value, _ := v.likelihood(math.Log(ratio))
	return v.events == 0 || value >= logAdd(v.points.logSum(0), v.plugIn)+math.Log1p(-a.config.Confidence)
}

// Reserve is what the i-th metric has not placed yet.
func (a *Analysis) Reserve(i int) float64 { return a.metrics[i].reserve }

// Segments is how many segments the i-th metric's interval keeps.
func (a *Analysis) Segments(i int) int { return len(a.metrics[i].ratio.segments) }
