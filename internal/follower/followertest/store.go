// Package followertest holds a gateway's store in memory, for tests of the
// follower and of those who build on it.
package followertest

import (
	"context"
	"maps"
	"slices"
	"sync"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/bus"
	"github.com/mintmark/mintmark/internal/epoch"
)

// Store implements follower.Store. The zero value is empty and ready.
type Store struct {
	mu      sync.Mutex
	applied bus.Applied
	facts   map[mintmark.RevocationID]mintmark.Revocation
	bodies  map[epoch.Hash][]byte
	fail    error
}

// Fail makes every write fail until it is called with nil.
func (s *Store) Fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail = err
}

// Reset empties the store, as a lost disk does.
func (s *Store) Reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.applied, s.facts, s.bodies = bus.Applied{}, nil, nil
}

// Applied returns what was persisted.
func (s *Store) Applied() bus.Applied {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.applied
}

// Load implements follower.Store.
func (s *Store) Load(context.Context) (bus.Applied, []mintmark.Revocation, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.applied, slices.Collect(maps.Values(s.facts)), nil
}

// Apply implements follower.Store.
func (s *Store) Apply(_ context.Context, a bus.Applied, add []mintmark.Revocation, drop []mintmark.RevocationID, reset bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		return s.fail
	}
	if s.facts == nil || reset {
		s.facts = map[mintmark.RevocationID]mintmark.Revocation{}
	}
	s.applied = a
	for _, r := range add {
		s.facts[r.ID] = r
	}
	for _, id := range drop {
		delete(s.facts, id)
	}
	return nil
}

// Bodies implements follower.Store.
func (s *Store) Bodies(_ context.Context, hashes []epoch.Hash) (map[epoch.Hash][]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := map[epoch.Hash][]byte{}
	for _, h := range hashes {
		if b, ok := s.bodies[h]; ok {
			out[h] = b
		}
	}
	return out, nil
}

// PutBodies implements follower.Store.
func (s *Store) PutBodies(_ context.Context, bodies map[epoch.Hash][]byte, keep []epoch.Hash) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		return s.fail
	}
	if s.bodies == nil {
		s.bodies = map[epoch.Hash][]byte{}
	}
	if keep != nil {
		maps.DeleteFunc(s.bodies, func(h epoch.Hash, _ []byte) bool { return !slices.Contains(keep, h) })
	}
	maps.Copy(s.bodies, bodies)
	return nil
}
