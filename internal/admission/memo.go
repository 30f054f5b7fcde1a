package admission

import (
	"sync/atomic"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/epoch"
	"github.com/mintmark/mintmark/internal/revocation"
)

// Memo remembers, with a cached token, what was found out about it against state
// that seldom changes, keyed by that state's version. The zero value remembers
// nothing. It is safe for concurrent use; it must belong to one token only.
type Memo struct {
	revoked atomic.Uint64 // version of the revocation set at which no fact covered it
	cohort  atomic.Uint64 // salt tag (upper 48 bits) and cohort (lower 16)
}

// find is Set.Find, or nothing at all when the set has not changed since the
// token was last found uncovered.
func (m *Memo) find(set *revocation.Set, t *mintmark.Token) *mintmark.Revocation {
	if m == nil {
		return set.Find(t)
	}
	v := set.Version() // before the look-up: a change during it must be seen again
	if m.revoked.Load() == v {
		return nil
	}
	r := set.Find(t)
	if r == nil {
		m.revoked.Store(v)
	}
	return r
}

// arm is ServiceEntry.Arm with the cohort remembered.
func (m *Memo) arm(s *epoch.ServiceEntry, subject string) *epoch.ReleaseEntry {
	if m == nil || s.Candidate == nil || s.Split.Weight == 0 {
		return s.Arm(subject)
	}
	if c := m.cohort.Load(); c>>16 == s.SaltTag() {
		return s.ArmOf(uint16(c))
	}
	c := s.Cohort(subject)
	m.cohort.Store(s.SaltTag()<<16 | uint64(c))
	return s.ArmOf(c)
}
