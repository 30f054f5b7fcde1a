package admission

import (
	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/epoch"
	"github.com/mintmark/mintmark/internal/revocation"
)

// Memo remembers what was found out about one token against state that seldom
// changes, keyed by that state's version. The zero value remembers nothing. It
// belongs to one request at a time; Home keeps it between requests.
type Memo struct {
	Revoked uint64 // version of the revocation set at which no fact covered the token
	Cohort  uint64 // salt tag (upper 48 bits) and cohort (lower 16)
	// Kin is the same number, not 0, for tokens that differ in nothing but ID,
	// Subject, Grant, Family, Mark.Seq, Binding, Actor, Claims and times; what one
	// of them met is in Passes. 0 or nil, and nothing is remembered there.
	Kin    uint64
	Passes *Passes
	// Home is told of what is learnt; may be nil.
	Home Learner
}

// Learner keeps what a request learnt, for the next request with the same token
// and for no other token.
type Learner interface{ Learn(m *Memo) }

func (m *Memo) learnt() {
	if m.Home != nil {
		m.Home.Learn(m)
	}
}

// find is Set.Find, or nothing at all when the set has not changed since the
// token was last found uncovered.
func (m *Memo) find(set *revocation.Set, t *mintmark.Token) *mintmark.Revocation {
	if m == nil {
		return set.Find(t)
	}
	v := set.Version() // before the look-up: a change during it must be seen again
	if m.Revoked == v {
		return nil
	}
	r := set.Find(t)
	if r == nil {
		m.Revoked = v
		m.learnt()
	}
	return r
}

// arm is ServiceEntry.Arm with the cohort remembered.
func (m *Memo) arm(s *epoch.ServiceEntry, subject string) *epoch.ReleaseEntry {
	if m == nil || s.Candidate == nil || s.Split.Weight == 0 {
		return s.Arm(subject)
	}
	if m.Cohort>>16 == s.SaltTag() {
		return s.ArmOf(uint16(m.Cohort))
	}
	c := s.Cohort(subject)
	m.Cohort = s.SaltTag()<<16 | uint64(c)
	m.learnt()
	return s.ArmOf(c)
}
