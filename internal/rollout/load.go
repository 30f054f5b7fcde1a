package rollout

import "math"

// Load is the expected course of the reissues that a rollback causes.
type Load struct {
	Tokens, Window int64 // Window in seconds
	// Peak is the rate per second that one second in a thousand exceeds.
	Peak int64
	// Curve is the expected rate in thousandths of a token per second, in equal parts
	// of the window.
	Curve []int64
}

// loadParts is how many parts a curve has at most.
const loadParts = 60

// LoadOf returns the load of tokens whose turns are spread evenly over a window of
// seconds that begins now. left is each token's remaining life in seconds, negative
// for one without end; a token that is over before its turn needs none. A token
// stands for scale of its like, so that a sample will do. A window of 0 is one
// second: everything at once.
func LoadOf(left []int64, scale float64, window int64) Load {
	window = max(window, 1)
	parts := min(window, loadParts)
	l := Load{Tokens: int64(math.Round(float64(len(left)) * scale)), Window: window, Curve: make([]int64, parts)}
	most := 0.0
	for i := range parts {
		middle := (float64(i) + 0.5) * float64(window) / float64(parts)
		alive := 0
		for _, s := range left {
			if s < 0 || float64(s) > middle {
				alive++
			}
		}
		rate := float64(alive) * scale / float64(window)
		l.Curve[i] = int64(math.Round(rate * 1e3))
		most = max(most, rate)
	}
	// Turns in a second are close to Poisson: 3.1 deviations leave one in a thousand.
	l.Peak = min(l.Tokens, int64(math.Ceil(most+3.1*math.Sqrt(most))))
	return l
}
