package admission

import (
	"sync/atomic"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/epoch"
)

// Passes remembers what tokens of a kin met at a route: that the service takes
// them, that they have the scopes and the authentication which the route demands,
// and what becomes of them at the release that serves. Only what no time, no
// revocation and nothing of a single token could change is remembered, and for the
// epoch's table that it was found by; a refusal never is.
//
// The zero value remembers nothing. It is safe for concurrent use and bounded:
// what it has no room for is found out anew.
type Passes struct {
	entries [passes]atomic.Pointer[pass]
	clashes atomic.Uint32
}

const (
	passes = 4096
	// spared is how many clashes with an entry in force are let go before one
	// replaces it, so that too many pairs cost time but no memory.
	spared = 64
)

// pass is immutable.
type pass struct {
	kin     uint64
	table   *epoch.Table
	route   *epoch.RouteEntry
	asked   *epoch.ReleaseEntry // by the token's cohort
	release *epoch.ReleaseEntry // that serves
	fate    epoch.Fate
}

func (ps *Passes) entry(kin uint64, route *epoch.RouteEntry, asked *epoch.ReleaseEntry) *atomic.Pointer[pass] {
	h := kin<<20 ^ uint64(route.Index)<<1
	if asked == route.Service.Candidate {
		h ^= 1
	}
	return &ps.entries[h*0x9e3779b97f4a7c15>>52%passes]
}

// pass returns what is remembered, or nil.
func (m *Memo) pass(r *Request, route *epoch.RouteEntry, asked *epoch.ReleaseEntry) *pass {
	if m == nil || m.Passes == nil || m.Kin == 0 {
		return nil
	}
	p := m.Passes.entry(m.Kin, route, asked).Load()
	if p == nil || p.kin != m.Kin || p.table != r.Snapshot.Table || p.route != route || p.asked != asked {
		return nil
	}
	return p
}

// passed remembers an admission whose reasons last as long as the table.
func (m *Memo) passed(r *Request, v *Verdict, asked *epoch.ReleaseEntry) {
	if m == nil || m.Passes == nil || m.Kin == 0 || !r.Snapshot.Table.Lasting(r.Token.Mark.Release) {
		return
	}
	e := m.Passes.entry(m.Kin, v.Route, asked)
	if o := e.Load(); o != nil && o.table == r.Snapshot.Table && m.Passes.clashes.Add(1)%spared != 0 {
		return
	}
	e.Store(&pass{m.Kin, r.Snapshot.Table, v.Route, asked, v.Release, v.Fate})
}

// accepted judges whether the service takes the token and what becomes of it at
// the release asked for, or at the other one.
func accepted(r *Request, v *Verdict, asked *epoch.ReleaseEntry) mintmark.Code {
	t, s := r.Token, v.Route.Service
	if !v.Route.Takes(t.Kind) {
		return mintmark.CodePolicyRefused
	}
	issuer := ""
	if !t.Own() {
		i := r.Snapshot.Table.Issuer(t.Issuer)
		if i == nil {
			return mintmark.CodeIssuerUnknown
		}
		issuer = i.Name
	}
	if !s.Accepts(t.Own(), issuer) {
		return mintmark.CodeIssuerUnknown
	}
	if !s.AnswersTo(t.Audience) {
		return mintmark.CodeAudience
	}
	v.Release = asked
	now := r.Now.Unix()
	v.Fate = r.Snapshot.Table.Dispose(t, asked, now)
	if v.Fate.Disposition == mintmark.Revoke && s.Candidate != nil && v.Fate.Class == epoch.ClassUnmapped {
		// The cohort's release cannot read the token; the other one may.
		other := s.Stable
		if asked == s.Stable && s.Split.Weight > 0 {
			other = s.Candidate
		}
		if f := r.Snapshot.Table.Dispose(t, other, now); f.Disposition != mintmark.Revoke {
			v.Release, v.Fate = other, f
		}
	}
	if v.Fate.Disposition == mintmark.Revoke {
		return mintmark.CodeReleaseRetired
	}
	return mintmark.CodeNone
}
