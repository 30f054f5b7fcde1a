package health

import (
	"math/bits"

	"github.com/mintmark/mintmark/internal/epoch"
)

const (
	mostWeight = epoch.Cohorts
	maxLevel   = 40
)

// DefaultLimit is how many subjects are followed exactly.
const DefaultLimit = 900_000

// Followed reports whether a subject is followed at a level of sampling: one in
// 2^level is, chosen by a hash of the key that does not depend on its cohort, so
// that both arms are thinned out alike. Who is followed at a level is followed at
// every lower one.
func Followed(key uint64, level uint8) bool {
	return level == 0 || bits.TrailingZeros64(mix(key)) >= int(level)
}

// mix is the finaliser of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014): a
// bijection that spreads each bit of the key over all.
func mix(x uint64) uint64 {
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}

// Cohorts is a set of subjects with, for each, the metrics by which it has failed
// and, for each cohort, how many subjects are exposed and have failed: the share
// of the subjects at risk that a weight gives to the candidate is exact for what
// is followed.
//
// Its memory is bounded: above limit subjects the level of sampling grows by one,
// which forgets half of them, until they fit. Add and Fail are idempotent, and the
// set is the same in whatever order, and in however many pieces, the same things
// were added to it: it is the keys seen that are followed at the lowest level at
// which no more than limit were. Not safe for concurrent use.
type Cohorts struct {
	limit int
	level uint8

	// An open-addressed table with linear probing, a power of two long and at most
	// seven eighths full; key 0 is an empty place, and the subject of key 0 (one in
	// 2^64) is not followed.
	keys []uint64
	bad  []uint32
	n    int

	exposed []uint32         // by cohort
	failed  [Places][]uint32 // by cohort; nil until somebody fails
	fails   [Places]uint64

	// The candidate's share at one weight, kept up while the weight stays.
	weight int
	here   uint64         // exposed below weight
	gone   [Places]uint64 // failed below weight
}

// NewCohorts returns an empty set that follows at most limit subjects; 0 is
// DefaultLimit.
func NewCohorts(limit int) *Cohorts {
	if limit <= 0 {
		limit = DefaultLimit
	}
	return &Cohorts{limit: limit, keys: make([]uint64, 1024), bad: make([]uint32, 1024), exposed: make([]uint32, epoch.Cohorts)}
}

// Level returns the level of sampling.
func (c *Cohorts) Level() uint8 { return c.level }

// Len returns how many subjects are followed.
func (c *Cohorts) Len() int { return c.n }

// Raise raises the level of sampling to at least level.
func (c *Cohorts) Raise(level uint8) {
	if level = min(level, maxLevel); level > c.level {
		c.level = level
		c.rebuild(len(c.keys))
	}
}

// Add notes that a subject was seen, and reports whether it is new.
func (c *Cohorts) Add(key uint64) bool { return c.put(key, 0) != 0 }

// Fail notes that a subject failed by a metric, and reports whether it did so for
// the first time. Who fails was seen.
func (c *Cohorts) Fail(key uint64, place Place) bool {
	return place < Places && c.put(key, 1<<place)&failedNow != 0
}

// What put did.
const (
	addedNow = 1 << iota
	failedNow
)

func (c *Cohorts) put(key uint64, mask uint32) (did int) {
	if key == 0 || !Followed(key, c.level) {
		return 0
	}
	i := c.find(key)
	if c.keys[i] == 0 {
		if c.n >= c.limit {
			for c.n >= c.limit && Followed(key, c.level) && c.level < maxLevel {
				c.level++
				c.rebuild(len(c.keys))
			}
			if c.n >= c.limit || !Followed(key, c.level) {
				return 0
			}
			i = c.find(key)
		} else if 8*(c.n+1) > 7*len(c.keys) {
			c.rebuild(2 * len(c.keys))
			i = c.find(key)
		}
		c.keys[i] = key
		c.n++
		c.count(key, 0)
		did = addedNow
	}
	if more := mask &^ c.bad[i]; more != 0 {
		c.bad[i] |= more
		c.count(key, more)
		did |= failedNow
	}
	return did
}

func (c *Cohorts) find(key uint64) int {
	m := uint64(len(c.keys) - 1)
	i := mix(key) >> 20 & m // the low bits are alike above level 0
	for c.keys[i] != 0 && c.keys[i] != key {
		i = (i + 1) & m
	}
	return int(i)
}

// count counts a subject as exposed (mask 0) or as failed by the metrics of mask.
func (c *Cohorts) count(key uint64, mask uint32) {
	cohort := epoch.CohortOfKey(key)
	candidate := int(cohort) < c.weight
	if mask == 0 {
		c.exposed[cohort]++
		if candidate {
			c.here++
		}
		return
	}
	for ; mask != 0; mask &= mask - 1 {
		p := bits.TrailingZeros32(mask)
		if c.failed[p] == nil {
			c.failed[p] = make([]uint32, epoch.Cohorts)
		}
		c.failed[p][cohort]++
		c.fails[p]++
		if candidate {
			c.gone[p]++
		}
	}
}

// rebuild makes the table anew with that many places, without the subjects that
// the level does not follow.
func (c *Cohorts) rebuild(places int) {
	keys, bad := c.keys, c.bad
	c.keys, c.bad, c.n = make([]uint64, places), make([]uint32, places), 0
	clear(c.exposed)
	for p := range c.failed {
		clear(c.failed[p])
	}
	c.fails, c.gone, c.here = [Places]uint64{}, [Places]uint64{}, 0
	for i, k := range keys {
		if k == 0 || !Followed(k, c.level) {
			continue
		}
		j := c.find(k)
		c.keys[j], c.bad[j] = k, bad[i]
		c.n++
		c.count(k, 0)
		if bad[i] != 0 {
			c.count(k, bad[i])
		}
	}
}

// at makes weight the one whose shares are kept up.
func (c *Cohorts) at(weight int) {
	weight = min(max(weight, 0), mostWeight)
	if weight == c.weight {
		return
	}
	sum := func(counts []uint32) (n uint64) {
		for _, v := range counts[:min(weight, len(counts))] {
			n += uint64(v)
		}
		return n
	}
	c.weight, c.here = weight, sum(c.exposed)
	for p := range c.failed {
		c.gone[p] = sum(c.failed[p])
	}
}

// Exposed counts the subjects followed, by the arm that a weight (in basis points)
// puts them in.
func (c *Cohorts) Exposed(weight int) Arms {
	c.at(weight)
	return Arms{Candidate: c.here, Stable: uint64(c.n) - c.here}
}

// AtRisk counts the subjects followed that have not failed by a metric, likewise.
func (c *Cohorts) AtRisk(place Place, weight int) Arms {
	a := c.Exposed(weight)
	if place < Places {
		a.Candidate -= c.gone[place]
		a.Stable -= c.fails[place] - c.gone[place]
	}
	return a
}

// Merge adds everything that o holds. o is not changed.
func (c *Cohorts) Merge(o *Cohorts) {
	c.Raise(o.level)
	for i, k := range o.keys {
		if k != 0 {
			c.put(k, o.bad[i])
		}
	}
}

// Each calls fn for every subject followed, with the metrics by which it failed as
// bits by place, in no order.
func (c *Cohorts) Each(fn func(key uint64, bad uint32)) {
	for i, k := range c.keys {
		if k != 0 {
			fn(k, c.bad[i])
		}
	}
}
