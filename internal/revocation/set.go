package revocation

import (
	"hash/maphash"
	"iter"
	"sync"
	"sync/atomic"

	"github.com/mintmark/mintmark"
)

// Set is the facts in force. Use NewSet.
type Set struct {
	mu      sync.Mutex // held by the writer
	state   atomic.Pointer[state]
	version atomic.Uint64
	seed    maphash.Seed
}

// state is one generation of the content; Load replaces it whole.
type state struct {
	narrow *table[narrow]
	wide   *table[wide]
	// in counts facts per dimension: an empty dimension costs a reader one load.
	in    [2][dims]atomic.Int64 // narrow, wide
	words atomic.Pointer[[]string]
	place map[string]uint16 // of words; guarded by Set.mu
	seed  maphash.Seed
}

// wide is a fact of any shape.
type wide struct {
	dim  dim
	fact *mintmark.Revocation
}

// maxWords bounds the reasons and actors that narrow facts share; facts with
// further ones are kept wide.
const maxWords = 4096

// NewSet returns an empty set. Its first version is random, so that what was
// remembered against one set is never taken for checked against another.
func NewSet() *Set {
	s := &Set{seed: maphash.MakeSeed()}
	s.state.Store(newState(s.seed))
	s.version.Store(maphash.String(s.seed, "first version")&^(1<<24-1) | 1)
	return s
}

func newState(seed maphash.Seed) *state {
	st := &state{narrow: newTable(hashNarrow), place: map[string]uint16{"": 0}, seed: seed}
	st.wide = newTable(func(w *wide) uint64 { return st.hash(w.dim, value(&w.fact.Selector, w.dim)) })
	st.words.Store(&[]string{""})
	return st
}

func (st *state) hash(d dim, v string) uint64 {
	return maphash.String(st.seed, v) ^ uint64(d)*0x9e3779b97f4a7c15
}

// value returns a selector's condition in a dimension.
func value(s *mintmark.Selector, d dim) string {
	switch d {
	case dimToken:
		return string(s.Token)
	case dimFamily:
		return string(s.Family)
	case dimGrant:
		return string(s.Grant)
	case dimSubject:
		return s.Subject
	case dimKey:
		return s.Key
	case dimClient:
		return string(s.Client)
	case dimRelease:
		return string(s.Release)
	case dimScope:
		return s.Scope
	case dimAudience:
		return s.Audience
	case dimIssuer:
		return s.Issuer
	}
	return ""
}

// dimOf returns the most specific dimension that a selector restricts.
func dimOf(s *mintmark.Selector) dim {
	for d := dimToken; d < dimAny; d++ {
		if value(s, d) != "" {
			return d
		}
	}
	return dimAny
}

// Apply puts facts in force. A fact whose id is already there is left as it is,
// so that a row delivered twice changes nothing.
func (s *Set) Apply(facts ...mintmark.Revocation) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.state.Load()
	for i := range facts {
		st.add(&facts[i], false)
	}
	if len(facts) > 0 {
		s.version.Add(1) // only now: a reader that saw less must look again
	}
}

// add is called with the set's mu held, or before the state is published.
func (st *state) add(r *mintmark.Revocation, private bool) {
	if r.Selector.IsZero() {
		return // covers nothing
	}
	if n, ok := narrowOf(r, func(w string) (uint16, bool) { return st.word(w) }); ok {
		h := hashNarrow(&n)
		b := st.narrow.at(h)
		for e, i := b.next(0, h); e != nil; e, i = b.next(i+1, h) {
			if e.id == n.id {
				return
			}
		}
		st.narrow.put(n, private)
		st.in[0][prefixes[n.prefix].dim].Add(1)
		return
	}
	d := dimOf(&r.Selector)
	h := st.hash(d, value(&r.Selector, d))
	b := st.wide.at(h)
	for e, i := b.next(0, h); e != nil; e, i = b.next(i+1, h) {
		if e.fact.ID == r.ID {
			return
		}
	}
	fact := *r
	st.wide.put(wide{d, &fact}, private)
	st.in[1][d].Add(1)
}

func (st *state) word(w string) (uint16, bool) {
	if i, ok := st.place[w]; ok {
		return i, true
	}
	old := *st.words.Load()
	if len(old) >= maxWords {
		return 0, false
	}
	words := append(old[:len(old):len(old)], w) // readers keep the old slice
	st.words.Store(&words)
	i := uint16(len(old))
	st.place[w] = i
	return i, true
}

// Restore lifts facts by id and says how many were in force.
func (s *Set) Restore(ids ...mintmark.RevocationID) int {
	if len(ids) == 0 {
		return 0
	}
	want := make(map[mintmark.RevocationID]bool, len(ids))
	packed := make(map[[16]byte]bool, len(ids))
	for _, id := range ids {
		want[id] = true
		if len(id) > len(revPrefix) && string(id[:len(revPrefix)]) == revPrefix {
			if k, ok := pack(string(id[len(revPrefix):])); ok {
				packed[k] = true
			}
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.state.Load().drop(
		func(n *narrow) bool { return packed[n.id] },
		func(w *wide) bool { return want[w.fact.ID] })
	s.version.Add(1)
	return n
}

func (st *state) drop(dropNarrow func(*narrow) bool, dropWide func(*wide) bool) int {
	total := 0
	st.narrow.remove(func(n *narrow) bool {
		if !dropNarrow(n) {
			return false
		}
		st.in[0][prefixes[n.prefix].dim].Add(-1)
		total++
		return true
	})
	st.wide.remove(func(w *wide) bool {
		if !dropWide(w) {
			return false
		}
		st.in[1][w.dim].Add(-1)
		total++
		return true
	})
	return total
}

// Ending returns the suspensions that were to end by themselves at now (Unix
// seconds) or before.
func (s *Set) Ending(now int64) []mintmark.Revocation {
	var out []mintmark.Revocation
	// A fact with an end is never packed narrow: these are the few.
	s.state.Load().wide.each(func(_ uint64, b *bucket[wide]) bool {
		for i := range b.entries {
			if f := b.entries[i].fact; f.Until != 0 && f.Until <= now && f.Action == mintmark.ActionSuspend {
				out = append(out, *f)
			}
		}
		return true
	})
	return out
}

// Load replaces the whole content, as from a snapshot.
func (s *Set) Load(facts iter.Seq[mintmark.Revocation]) {
	st := newState(s.seed)
	for r := range facts {
		st.add(&r, true)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state.Store(st)
	s.version.Add(1)
}

// Version changes with every change that can alter an answer of Find. Read it
// before Find: an answer may be remembered together with it. It is never 0.
func (s *Set) Version() uint64 { return s.version.Load() }

// Len is the number of facts in force.
func (s *Set) Len() int {
	st := s.state.Load()
	n := int64(0)
	for d := range dims {
		n += st.in[0][d].Load() + st.in[1][d].Load()
	}
	return int(n)
}

// All yields the facts in force in no particular order.
func (s *Set) All() iter.Seq[mintmark.Revocation] {
	return func(yield func(mintmark.Revocation) bool) {
		st := s.state.Load()
		more := true
		st.narrow.each(func(_ uint64, b *bucket[narrow]) bool {
			for i := range b.entries {
				if more = yield(*b.entries[i].fact(*st.words.Load())); !more {
					return false
				}
			}
			return true
		})
		if !more {
			return
		}
		st.wide.each(func(_ uint64, b *bucket[wide]) bool {
			for i := range b.entries {
				if !yield(*b.entries[i].fact) {
					return false
				}
			}
			return true
		})
	}
}

// Forget drops facts that no live token can meet any more at now (Unix seconds)
// and says how many. What a token meets does not change by it, so Version stays.
func (s *Set) Forget(now int64) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state.Load().drop(
		func(n *narrow) bool { return n.forget != 0 && int64(n.forget) < now },
		func(w *wide) bool { return w.fact.Forget != 0 && w.fact.Forget < now })
}
