package epoch

import (
	"slices"

	"github.com/mintmark/mintmark"
)

// Classes of tokens that no retired rule names.
const (
	ClassNative    = "native"    // of the release itself, or of one it accepts
	ClassMapped    = "mapped"    // readable by a map that loses nothing
	ClassLossy     = "lossy"     // readable by a map that loses something
	ClassUnmapped  = "unmapped"  // not readable
	ClassUnmarked  = "unmarked"  // of no release
	ClassElsewhere = "elsewhere" // of another service's release
)

// Fate is what becomes of a token at a release.
type Fate struct {
	Disposition mintmark.Disposition
	// Class names the condition that decided: a retired rule's class, or one of
	// the constants above.
	Class string
	// Map is how the token's claims become readable, or nil. With Reissue it is
	// what a gateway falls back on until the internal token is there.
	Map *ShapeMap
	// Renew says that the client had better renew: the token is accepted for now
	// but belongs to a release that was taken back.
	Renew bool
}

// Dispose says what becomes of a token when release serving meets it at now (Unix
// seconds). A token without a mark is kept. It does not allocate.
func (t *Table) Dispose(tok *mintmark.Token, serving *ReleaseEntry, now int64) Fate {
	mark := tok.Mark.Release
	if mark == "" {
		return Fate{Class: ClassUnmarked}
	}
	fate := serving.compat(mark)
	for _, r := range t.retired[mark] {
		if !t.concerns(r, tok) {
			continue
		}
		for i := range r.Rules {
			if r.Rules[i].holds(tok) {
				return t.rule(r, &r.Rules[i], tok, fate, now)
			}
		}
		return retiredByDefault(tok, r, fate, now)
	}
	return fate
}

// Lasting reports whether what Dispose says of tokens with this mark, whichever
// release serves, depends on no more than the mark: no rule looks at the token or
// the time.
func (t *Table) Lasting(mark mintmark.ReleaseID) bool { return len(t.retired[mark]) == 0 }

// DisposeByArm is Dispose with the release in whose cohort the token's subject
// is, at the service that marked it.
func (t *Table) DisposeByArm(tok *mintmark.Token, now int64) Fate {
	s := t.byName[tok.Mark.Release.Service()]
	if s == nil {
		return Fate{Class: ClassUnmarked}
	}
	subject := tok.Subject
	if subject == "" {
		subject = string(tok.Client)
	}
	return t.Dispose(tok, s.Arm(subject), now)
}

// compat says how a release reads tokens of another, before any rule.
func (e *ReleaseEntry) compat(mark mintmark.ReleaseID) Fate {
	switch {
	case mark == e.ID, e.accept[mark]:
		return Fate{Class: ClassNative}
	case mark.Service() != e.Service.Name:
		return Fate{Class: ClassElsewhere}
	}
	if m := e.maps[mark]; m != nil {
		if m.Lossy {
			return Fate{Disposition: mintmark.Map, Class: ClassLossy, Map: m}
		}
		return Fate{Disposition: mintmark.Map, Class: ClassMapped, Map: m}
	}
	if e.acceptAll {
		return Fate{Class: ClassNative}
	}
	return Fate{Disposition: mintmark.Revoke, Class: ClassUnmapped}
}

// concerns reports whether a token was minted before its release was taken back.
// A foreign token does not say (its mark has no number): it is concerned unless
// the release is in force again.
func (t *Table) concerns(r *Retired, tok *mintmark.Token) bool {
	if tok.Own() {
		return tok.Mark.Seq <= r.CutoffSeq
	}
	e := t.releases[tok.Mark.Release]
	return e == nil || e != e.Service.Stable && e != e.Service.Candidate
}

func (d *DispositionRule) holds(tok *mintmark.Token) bool {
	return (d.ScopesBeyond == nil || beyond(tok.Scopes, d.ScopesBeyond)) &&
		(d.AudienceBeyond == nil || beyond(tok.Audience, d.AudienceBeyond)) &&
		(d.Scope == "" || tok.HasScope(d.Scope))
}

func beyond(values, allowed []string) bool {
	return slices.ContainsFunc(values, func(v string) bool { return !slices.Contains(allowed, v) })
}

// rule applies a retired rule; fate is what the serving release would say without
// it.
func (t *Table) rule(r *Retired, d *DispositionRule, tok *mintmark.Token, fate Fate, now int64) Fate {
	readable := fate.Disposition != mintmark.Revoke
	fate.Class, fate.Renew = d.Class, true
	switch d.Disposition {
	case mintmark.Keep:
		if !readable {
			fate.Disposition = mintmark.Keep // the rule's author knows better
		}
	case mintmark.Map:
		if !readable {
			fate.Disposition = mintmark.Reissue
		}
	case mintmark.Reissue:
		if !readable || r.turn(tok) <= now {
			fate.Disposition = mintmark.Reissue
		}
	case mintmark.Revoke:
		if d.GraceUntil == 0 || now >= d.GraceUntil {
			return Fate{Disposition: mintmark.Revoke, Class: d.Class}
		}
		if !readable {
			fate.Disposition = mintmark.Keep
		}
	}
	return fate
}

// retiredByDefault is the table of default dispositions for a retired release
// none of whose rules holds.
func retiredByDefault(tok *mintmark.Token, r *Retired, fate Fate, now int64) Fate {
	if fate.Class == ClassLossy && r.turn(tok) <= now {
		fate.Disposition = mintmark.Reissue
	}
	fate.Renew = fate.Disposition != mintmark.Revoke
	return fate
}

// turn is the Unix second from which a token is reissued: spread over the window,
// so that they do not come all at once, and the same on every gateway.
func (r *Retired) turn(tok *mintmark.Token) int64 {
	if r.Window <= 0 {
		return r.Start
	}
	h := uint64(14695981039346656037) // FNV-1a
	for i := range len(tok.ID) {
		h = (h ^ uint64(tok.ID[i])) * 1099511628211
	}
	return r.Start + int64(h%uint64(r.Window))
}
