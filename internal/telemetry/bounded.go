package telemetry

import "sync"

// Other is the label value that stands for all values beyond a bound.
const Other = "other"

// Bounded limits how many distinct values a label takes: the first max are kept,
// the rest become Other, so that no stream of made-up names can fill memory here
// or in the metrics store. It never forgets a value: counters must not move from
// one label to another.
type Bounded struct {
	max  int
	mu   sync.RWMutex
	seen map[string]struct{} // guarded by mu
}

// NewBounded returns a limiter for max distinct values.
func NewBounded(max int) *Bounded { return &Bounded{max: max, seen: make(map[string]struct{}, max)} }

// Label returns value, or Other when the bound is reached. The empty value is
// "none". Values are cut to 128 bytes.
func (b *Bounded) Label(value string) string {
	if value == "" {
		return "none"
	}
	if len(value) > 128 {
		return Other
	}
	b.mu.RLock()
	_, ok := b.seen[value]
	full := len(b.seen) >= b.max
	b.mu.RUnlock()
	switch {
	case ok:
		return value
	case full:
		return Other
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, ok := b.seen[value]; !ok {
		if len(b.seen) >= b.max {
			return Other
		}
		b.seen[value] = struct{}{}
	}
	return value
}

// Labels bounds the three dimensions that all token metrics share.
type Labels struct{ release, client, issuer *Bounded }

// NewLabels returns the bounds: 200 releases, 500 clients, 50 issuers.
func NewLabels() *Labels {
	return &Labels{NewBounded(200), NewBounded(500), NewBounded(50)}
}

// values returns the label values in the order of tokenLabels.
func (l *Labels) values(release, client, issuer string) []string {
	return []string{l.release.Label(release), l.client.Label(client), l.issuer.Label(issuer)}
}
