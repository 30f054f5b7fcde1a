package revocation

import "github.com/mintmark/mintmark"

// Find returns the strongest fact that covers t (revoke before suspend), or nil.
// It makes one look-up per dimension in which there are facts at all, so its cost
// does not depend on how many there are; it allocates only when it finds one.
func (s *Set) Find(t *mintmark.Token) *mintmark.Revocation {
	f := finder{st: s.state.Load(), t: t}
	done := f.id(dimToken, string(t.ID)) ||
		len(t.Via) > 0 && f.via(t.Via) ||
		f.id(dimFamily, string(t.Family)) ||
		f.id(dimGrant, string(t.Grant)) ||
		f.value(dimSubject, t.Subject) ||
		f.value(dimKey, t.Mark.Key) ||
		f.value(dimClient, string(t.Client)) ||
		f.value(dimRelease, string(t.Mark.Release)) ||
		f.values(dimScope, t.Scopes) ||
		f.values(dimAudience, t.Audience) ||
		f.value(dimIssuer, t.Issuer) ||
		f.under(dimAny, "")
	_ = done
	return f.best
}

// finder is one look-up. Its steps report whether nothing stronger can be found.
type finder struct {
	st   *state
	t    *mintmark.Token
	best *mintmark.Revocation
}

func (f *finder) take(r *mintmark.Revocation) (done bool) {
	if !Covers(r, f.t) {
		return false
	}
	if f.best == nil || r.Action != mintmark.ActionSuspend {
		f.best = r
	}
	return f.best.Action != mintmark.ActionSuspend
}

func (f *finder) via(ids []mintmark.TokenID) (done bool) {
	for _, id := range ids {
		if f.id(dimToken, string(id)) {
			return true
		}
	}
	return false
}

// id looks among the narrow facts, then the wide ones.
func (f *finder) id(d dim, id string) (done bool) {
	if id == "" {
		return false
	}
	if f.st.in[0][d].Load() > 0 {
		if key, prefix, ok := packID(d, id); ok {
			h := hashKey(&key, prefix)
			b := f.st.narrow.at(h)
			for n, i := b.next(0, h); n != nil; n, i = b.next(i+1, h) {
				if n.key == key && n.prefix == prefix && f.take(n.fact(*f.st.words.Load())) {
					return true
				}
			}
		}
	}
	return f.value(d, id)
}

func (f *finder) value(d dim, v string) (done bool) { return v != "" && f.under(d, v) }

func (f *finder) values(d dim, vs []string) (done bool) {
	for _, v := range vs {
		if f.value(d, v) {
			return true
		}
	}
	return false
}

func (f *finder) under(d dim, v string) (done bool) {
	if f.st.in[1][d].Load() == 0 {
		return false
	}
	h := f.st.hash(d, v)
	b := f.st.wide.at(h)
	for w, i := b.next(0, h); w != nil; w, i = b.next(i+1, h) {
		if w.dim == d && value(&w.fact.Selector, d) == v && f.take(w.fact) {
			return true
		}
	}
	return false
}
