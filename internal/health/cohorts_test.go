package health

import (
	"math/rand/v2"
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"github.com/mintmark/mintmark/internal/epoch"
)

// contents is everything that a set knows, in a form to compare.
func contents(c *Cohorts) map[uint64]uint32 {
	out := map[uint64]uint32{}
	c.Each(func(k uint64, bad uint32) { out[k] = bad })
	return out
}

// same reports whether two sets know the same and count alike.
func same(a, b *Cohorts) bool {
	if a.Level() != b.Level() || a.Len() != b.Len() || !reflect.DeepEqual(contents(a), contents(b)) {
		return false
	}
	for _, w := range []int{0, 1, 500, 7777, epoch.Cohorts} {
		for _, p := range []Place{PlaceServerError, PlaceLatencyP50, PlaceUser} {
			if a.AtRisk(p, w) != b.AtRisk(p, w) || a.Exposed(w) != b.Exposed(w) {
				return false
			}
		}
	}
	return true
}

type seen struct {
	Key   uint64
	Place Place
	Fails bool
}

func cohortsOf(limit int, list []seen) *Cohorts {
	c := NewCohorts(limit)
	for _, s := range list {
		if s.Fails {
			c.Fail(s.Key, s.Place)
		} else {
			c.Add(s.Key)
		}
	}
	return c
}

func TestMergeHasNoOrder(t *testing.T) {
	one := rapid.Custom(func(t *rapid.T) seen {
		return seen{rapid.Uint64Range(1, 300).Draw(t, "key") * 0x9e3779b97f4a7c15, rapid.SampledFrom([]Place{PlaceServerError, PlaceUser}).Draw(t, "place"), rapid.Bool().Draw(t, "fails")}
	})
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.IntRange(1, 200).Draw(t, "limit")
		x, y, z := rapid.SliceOf(one).Draw(t, "x"), rapid.SliceOf(one).Draw(t, "y"), rapid.SliceOf(one).Draw(t, "z")
		set := func(lists ...[]seen) *Cohorts {
			var all []seen
			for _, l := range lists {
				all = append(all, l...)
			}
			return cohortsOf(limit, all)
		}
		merged := func(sets ...*Cohorts) *Cohorts {
			c := NewCohorts(limit)
			for _, s := range sets {
				c.Merge(s)
			}
			return c
		}
		whole := set(x, y, z)
		for name, c := range map[string]*Cohorts{
			"commutative": merged(set(z), set(x), set(y)),
			"associative": merged(merged(set(x), set(y)), set(z)),
			"the other":   merged(set(x), merged(set(y), set(z))),
			"idempotent":  merged(set(x), set(y), set(x), set(z), whole, set(y)),
			"in sequence": set(z, y, x, y),
		} {
			if !same(whole, c) {
				t.Fatalf("%s: level %d with %d, want %d with %d", name, c.Level(), c.Len(), whole.Level(), whole.Len())
			}
		}
		if whole.Len() > limit {
			t.Fatalf("%d subjects, limit %d", whole.Len(), limit)
		}
	})
}

// TestCountsAreExact holds the kept-up counts against counting anew.
func TestCountsAreExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := NewCohorts(rapid.IntRange(10, 2000).Draw(t, "limit"))
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		for range rapid.IntRange(1, 3000).Draw(t, "steps") {
			switch k := rng.Uint64N(1500) * 0x2545f4914f6cdd1d; rng.IntN(4) {
			case 0:
				c.Fail(k, PlaceServerError)
			case 1:
				c.Exposed(rng.IntN(epoch.Cohorts + 1))
			default:
				c.Add(k)
			}
		}
		w := rng.IntN(epoch.Cohorts + 1)
		var exposed, risk Arms
		for k, bad := range contents(c) {
			e, r := &exposed.Stable, &risk.Stable
			if int(epoch.CohortOfKey(k)) < w {
				e, r = &exposed.Candidate, &risk.Candidate
			}
			*e++
			if bad&(1<<PlaceServerError) == 0 {
				*r++
			}
		}
		if got := c.Exposed(w); got != exposed {
			t.Fatalf("exposed %+v, want %+v", got, exposed)
		}
		if got := c.AtRisk(PlaceServerError, w); got != risk {
			t.Fatalf("at risk %+v, want %+v", got, risk)
		}
	})
}

// TestThinningIsAlikeInBothArms: the share of the candidate among those followed is
// that among all, to within chance.
func TestThinningIsAlikeInBothArms(t *testing.T) {
	c := NewCohorts(20_000)
	rng := rand.New(rand.NewPCG(3, 3))
	for range 1_000_000 {
		c.Add(rng.Uint64())
	}
	if c.Level() != 6 || c.Len() > 20_000 || c.Len() < 14_000 {
		t.Errorf("level %d with %d", c.Level(), c.Len())
	}
	share := float64(c.Exposed(1000).Candidate) / float64(c.Len())
	if share < 0.09 || share > 0.11 {
		t.Errorf("candidate's share %.4f, want 0.1", share)
	}
}

func BenchmarkMerge(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 1))
	keys := make([]uint64, 800_000)
	for i := range keys {
		keys[i] = rng.Uint64()
	}
	b.Run("new", func(b *testing.B) {
		var c *Cohorts
		for i := range b.N {
			if i%len(keys) == 0 {
				b.StopTimer()
				c = NewCohorts(0)
				b.StartTimer()
			}
			c.Add(keys[i%len(keys)])
		}
	})
	b.Run("known", func(b *testing.B) {
		c := NewCohorts(0)
		for _, k := range keys {
			c.Add(k)
		}
		b.ReportMetric(float64(12*len(c.keys))/float64(c.Len()), "B/subject")
		b.ResetTimer()
		for i := range b.N {
			c.Add(keys[i%len(keys)])
		}
	})
}
