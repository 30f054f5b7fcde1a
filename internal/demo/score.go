package demo

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// Score is the clients' own account of what happened to them. Safe for
// concurrent use.
type Score struct {
	Requests    atomic.Int64
	OK          atomic.Int64
	Unknown     atomic.Int64 // 503 with a token: "come back", never "log in"
	Upstream    atomic.Int64 // 5xx of the service itself
	Unreachable atomic.Int64 // connection refused or reset: a process was down
	Issued      atomic.Int64
	Refreshed   atomic.Int64
	Canary      atomic.Int64 // tokens minted by the candidate, in the clients' hands
	Harmful     atomic.Int64 // harmful tokens handed out, ever
	StreamsCut  atomic.Int64 // open streams of harmful tokens that ended
	MintFailed  atomic.Int64 // the authority did not answer with a token

	// HarmfulRefused counts harmful tokens refused: the cure at work.
	HarmfulRefused atomic.Int64
	// HarmfulTried counts harmful tokens presented after the cut: without any the
	// story would prove nothing.
	HarmfulTried atomic.Int64
	// HarmfulAccepted counts harmful tokens admitted by a request that *started*
	// after the cut. Must be 0.
	HarmfulAccepted atomic.Int64
	// Harmless401 counts live harmless tokens that were answered 401 or 403. Must
	// be 0, always.
	Harmless401 atomic.Int64

	cut atomic.Int64 // Unix nanoseconds after which harmful tokens must be refused; 0 not yet

	mu         sync.Mutex
	violations []string // guarded by mu; bounded
}

// Cut says that the command taking back harmful tokens has returned, now.
func (s *Score) Cut(now time.Time) { s.cut.Store(now.UnixNano()) }

// after reports whether a request started at t is bound by the cut.
func (s *Score) after(t time.Time) bool {
	c := s.cut.Load()
	return c != 0 && t.UnixNano() > c
}

// violate keeps the first violations for the report.
func (s *Score) violate(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.violations) < 10 {
		s.violations = append(s.violations, fmt.Sprintf(format, args...))
	}
}

// Violations returns the first few violations, in the clients' words.
func (s *Score) Violations() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.violations...)
}

// Held reports whether the guarantees held so far, and why not.
func (s *Score) Held() error {
	if n := s.HarmfulAccepted.Load(); n > 0 {
		return fmt.Errorf("%d harmful tokens were accepted after the rollback had returned", n)
	}
	if n := s.Harmless401.Load(); n > 0 {
		return fmt.Errorf("%d harmless tokens were refused with 401 or 403", n)
	}
	return nil
}
