package verifier

import (
	"math/rand/v2"
	"testing"
)

// TestTokensComeHome: of a table as full as it gets, most tokens are in the slot
// that their digest names, none is given up, and each is found as itself.
func TestTokensComeHome(t *testing.T) {
	const sets = 320
	random := rand.New(rand.NewPCG(1, 2))
	table := newTable(sets)
	var all []record
	for len(all) < sets*ways*slackOf/slack {
		r := record{digest: digest{random.Uint64(), random.Uint64()}, about: &about{}, seq: uint64(len(all))}
		i := table.room(&r.digest)
		if i < 0 {
			t.Fatalf("no room for token %d of %d slots", len(all), sets*ways)
		}
		table.put(i, &r)
		all = append(all, r)
	}
	homes := 0
	for n := range all {
		var r record
		i, _, ok := table.find(&all[n].digest, &r)
		if !ok || r.seq != all[n].seq {
			t.Fatalf("token %d: found %v, as %d", n, ok, r.seq)
		}
		if s, _ := table.places(&all[n].digest); home(&all[n].digest, &s) == uint64(i) {
			homes++
		}
	}
	if homes*20 < len(all)*11 {
		t.Errorf("%d of %d tokens are at home", homes, len(all))
	}
	if _, _, ok := table.find(&digest{1, 2}, &record{}); ok {
		t.Error("found what is not there")
	}
}
