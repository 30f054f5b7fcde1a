package federation

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/mintmark/mintmark/internal/epoch"
)

var (
	errEmptySet = errors.New("the key set holds no usable key")
	errCooling  = fmt.Errorf("%w: asked a moment ago", ErrUnavailable)
	errSwapped  = errors.New("a key was swapped under its kid")
)

// source is one issuer and what is known of its keys.
type source struct {
	issuer Issuer // immutable

	mu       sync.Mutex
	keys     []epoch.Key          // last good, sorted by kid; guarded by mu
	fetched  time.Time            // when keys were last confirmed; guarded by mu
	tried    time.Time            // when the last fetch began; guarded by mu
	lastErr  error                // of the last fetch; guarded by mu
	next     time.Time            // when the next one is due; guarded by mu
	failures int                  // in a row; guarded by mu
	negative map[string]time.Time // kids that were not there, and until when; guarded by mu
	flight   *flight              // the fetch under way; guarded by mu
}

// flight is one fetch; err is set before done is closed.
type flight struct {
	done chan struct{}
	err  error
}

// call is a flight as one caller sees it; mine: the caller must perform it.
type call struct {
	*flight
	mine bool
}

func newSource(i Issuer) *source {
	s := &source{issuer: i, negative: map[string]time.Time{}}
	if !s.fetches() {
		s.keys = i.Part.Keys
	}
	return s
}

// fetches reports whether keys come from elsewhere.
func (s *source) fetches() bool { return s.issuer.Discovery || s.issuer.JWKSURI != "" }

// same reports whether keys fetched for one are good for the other.
func (s *source) same(o *source) bool {
	return s.fetches() && s.issuer.Part.Issuer == o.issuer.Part.Issuer && s.issuer.Discovery == o.issuer.Discovery &&
		s.issuer.JWKSURI == o.issuer.JWKSURI && slices.Equal(s.issuer.Algs, o.issuer.Algs)
}

// inherit takes over what old knows. A fetch that old has under way is lost to
// us; the cooldown stays.
func (s *source) inherit(old *source) {
	old.mu.Lock()
	defer old.mu.Unlock()
	s.keys, s.fetched, s.tried, s.next, s.failures, s.lastErr = old.keys, old.fetched, old.tried, old.next, old.failures, old.lastErr
}

// part is the issuer as gateways see it.
func (s *source) part() epoch.Issuer {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.issuer.Part
	p.Keys = s.keys
	p.Fetched = 0
	if s.fetches() && !s.fetched.IsZero() {
		p.Fetched = s.fetched.Unix()
	}
	return p
}

// due returns how long to wait until the next fetch; none is ever due of static
// keys.
func (s *source) due(now time.Time) time.Duration {
	if !s.fetches() {
		return maxTTL
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return max(s.next.Sub(now), s.cooling(now))
}

// cooling is how much of the cooldown is left. A clock that went back ends it:
// better one fetch too many than none for a year.
func (s *source) cooling(now time.Time) time.Duration {
	if s.tried.IsZero() || s.tried.After(now) {
		return 0
	}
	return max(0, Cooldown-now.Sub(s.tried))
}

// begin starts a flight when none is under way and the cooldown is over.
func (s *source) begin(now time.Time) *flight {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.flight != nil || s.cooling(now) > 0 {
		return nil
	}
	return s.start(now)
}

func (s *source) start(now time.Time) *flight {
	s.tried = now
	s.flight = &flight{done: make(chan struct{})}
	return s.flight
}

// want returns the flight that will tell about a kid; nil when nothing new can be
// learnt; ErrUnavailable when it is too soon to ask.
func (s *source) want(now time.Time, kid string) (*call, error) {
	if !s.fetches() {
		return nil, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.has(kid):
		return nil, nil
	case s.flight != nil:
		return &call{s.flight, false}, nil
	case now.Before(s.negative[kid]):
		return nil, nil
	case s.cooling(now) > 0:
		// The kid may have come after the last fetch, as a rotation makes it: nobody
		// knows, and a token is not refused for that.
		return nil, errors.Join(errCooling, s.lastErr)
	}
	return &call{s.start(now), true}, nil
}

func (s *source) has(kid string) bool {
	return slices.ContainsFunc(s.keys, func(k epoch.Key) bool { return k.ID == kid })
}

// finish ends a flight.
func (s *source) finish(f *flight) {
	s.mu.Lock()
	s.flight = nil
	s.lastErr = f.err
	s.mu.Unlock()
	close(f.done)
}

// missed remembers a kid that a fetch did not bring.
func (s *source) missed(now time.Time, kid string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.has(kid) {
		return
	}
	if len(s.negative) >= negativeMax {
		clear(s.negative) // a flood; the cooldown still holds
	}
	s.negative[kid] = now.Add(negativeTTL)
}

// take replaces the keys by a fetched set. An empty one is no information; a kid
// under which another key was known is an attack or a mistake, and believed only
// once the old key's age is past MaxAge.
func (s *source) take(now time.Time, keys []epoch.Key, ttl time.Duration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(keys) == 0 {
		return errEmptySet
	}
	if s.believed(now) {
		for _, k := range keys {
			for _, old := range s.keys {
				if old.ID == k.ID && !bytes.Equal(old.JWK, k.JWK) {
					return fmt.Errorf("%w: %.60q", errSwapped, k.ID)
				}
			}
		}
	}
	for _, old := range s.keys {
		s.negative[old.ID] = now.Add(negativeTTL) // withdrawn, unless it is among keys
	}
	s.keys, s.fetched, s.failures = keys, now, 0
	if limit := time.Duration(s.issuer.Part.MaxAge) * time.Second / 3; limit > 0 {
		ttl = min(ttl, max(limit, Cooldown))
	}
	s.next = now.Add(ttl)
	for _, k := range keys {
		delete(s.negative, k.ID)
	}
	return nil
}

// believed reports whether the keys held are not past their age.
func (s *source) believed(now time.Time) bool {
	age := time.Duration(s.issuer.Part.MaxAge) * time.Second
	return age == 0 || now.Sub(s.fetched) <= age
}

// failed schedules the next try: after 30 s, then twice as long, up to 5 min.
func (s *source) failed(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next = now.Add(min(Cooldown<<min(s.failures, 4), 5*time.Minute))
	s.failures++
}
