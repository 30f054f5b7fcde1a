package follower

import "github.com/mintmark/mintmark"

// horizon is a row's Forget, and how many of the facts being added are of that row
// or earlier ones.
type horizon struct {
	facts int
	until int64
}

// forgotten returns the facts that rows drop because nothing can meet them any
// more: of those in force, and of those that the same rows add. Which they are does
// not depend on how rows come together. Call with work held.
func (f *Follower) forgotten(add []mintmark.Revocation, over []horizon) (drop []mintmark.RevocationID) {
	if len(over) == 0 {
		return nil
	}
	var last int64
	for _, h := range over {
		last = max(last, h.until)
	}
	for fact := range f.set.All() {
		if fact.Forget != 0 && fact.Forget < last {
			drop = append(drop, fact.ID)
		}
	}
	for i := range add {
		for _, h := range over {
			if i < h.facts && add[i].Forget != 0 && add[i].Forget < h.until {
				drop = append(drop, add[i].ID)
				break
			}
		}
	}
	return drop
}
