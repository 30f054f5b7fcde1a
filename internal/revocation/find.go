package revocation

import "github.com/mintmark/mintmark"

// Find returns the strongest fact that covers t (revoke before suspend), or nil.
// It makes one look-up per dimension in which there are facts at all, for t and for
// each that it was exchanged from, so its cost does not depend on how many facts
// there are; it allocates only when it finds one.
func (s *Set) Find(t *mintmark.Token) *mintmark.Revocation {
	f := finder{st: s.state.Load()}
	done := f.token(t)
	for i := 0; i < len(t.Via) && !done; i++ {
		origin := t.Ancestor(i)
		done = f.token(&origin)
	}
	return f.best
}

// finder is one look-up. Its steps report whether nothing stronger can be found.
// The token is an argument of each and not a field: with best in the same struct, a
// field would send the origins to the heap.
type finder struct {
	st   *state
	best *mintmark.Revocation
}

// token asks about one token, without regard to where it came from.
func (f *finder) token(t *mintmark.Token) (done bool) {
	return f.id(t, dimToken, string(t.ID)) ||
		f.id(t, dimFamily, string(t.Family)) ||
		f.id(t, dimGrant, string(t.Grant)) ||
		f.value(t, dimSubject, t.Subject) ||
		f.value(t, dimKey, t.Mark.Key) ||
		f.value(t, dimClient, string(t.Client)) ||
		f.value(t, dimRelease, string(t.Mark.Release)) ||
		f.values(t, dimScope, t.Scopes) ||
		f.values(t, dimAudience, t.Audience) ||
		f.value(t, dimIssuer, t.Issuer) ||
		f.under(t, dimAny, "")
}

func (f *finder) take(t *mintmark.Token, r *mintmark.Revocation) (done bool) {
	if !covers(r, t) {
		return false
	}
	if f.best == nil || r.Action != mintmark.ActionSuspend {
		f.best = r
	}
	return f.best.Action != mintmark.ActionSuspend
}

// id looks among the narrow facts, then the wide ones.
func (f *finder) id(t *mintmark.Token, d dim, id string) (done bool) {
	if id == "" {
		return false
	}
	if f.st.in[0][d].Load() > 0 {
		if key, prefix, ok := packID(d, id); ok {
			h := hashKey(&key, prefix)
			b := f.st.narrow.at(h)
			for n, i := b.next(0, h); n != nil; n, i = b.next(i+1, h) {
				if n.key == key && n.prefix == prefix && f.take(t, n.fact(*f.st.words.Load())) {
					return true
				}
			}
		}
	}
	return f.value(t, d, id)
}

func (f *finder) value(t *mintmark.Token, d dim, v string) (done bool) {
	return v != "" && f.under(t, d, v)
}

func (f *finder) values(t *mintmark.Token, d dim, vs []string) (done bool) {
	for _, v := range vs {
		if f.value(t, d, v) {
			return true
		}
	}
	return false
}

func (f *finder) under(t *mintmark.Token, d dim, v string) (done bool) {
	if f.st.in[1][d].Load() == 0 {
		return false
	}
	h := f.st.hash(d, v)
	b := f.st.wide.at(h)
	for w, i := b.next(0, h); w != nil; w, i = b.next(i+1, h) {
		if w.dim == d && value(&w.fact.Selector, d) == v && f.take(t, w.fact) {
			return true
		}
	}
	return false
}
