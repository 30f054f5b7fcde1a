package revocation

import (
	"iter"
	"sync"

	"github.com/mintmark/mintmark"
)

// Set is the facts in force. Use NewSet.
type Set struct {
	mu sync.Mutex
}

// NewSet returns an empty set. Its first version is random, so that what was
// remembered against one set is never taken for checked against another.
func NewSet() *Set { return nil }

// Apply puts facts in force. A fact whose id is already there is left as it is,
// so that a row delivered twice changes nothing.
func (s *Set) Apply(facts ...mintmark.Revocation) {}

// Restore lifts facts by id and says how many were in force.
func (s *Set) Restore(ids ...mintmark.RevocationID) int { return 0 }

// Load replaces the whole content, as from a snapshot.
func (s *Set) Load(facts iter.Seq[mintmark.Revocation]) {}

// Find returns the strongest fact that covers t (revoke before suspend), or nil.
func (s *Set) Find(t *mintmark.Token) *mintmark.Revocation { return nil }

// Version changes with every change that can alter an answer of Find. Read it
// before Find: an answer may be remembered together with it. It is never 0.
func (s *Set) Version() uint64 { return 0 }

// Len is the number of facts in force.
func (s *Set) Len() int { return 0 }

// All yields the facts in force in no particular order.
func (s *Set) All() iter.Seq[mintmark.Revocation] { return nil }

// Forget drops facts that no live token can meet any more at now (Unix seconds)
// and says how many.
func (s *Set) Forget(now int64) int { return 0 }
