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
	// CandidateAfter counts requests that started after the cut and met the release
	// that was taken back. Must be 0.
	CandidateAfter atomic.Int64
	// Harmless401 counts live harmless tokens that were answered 401 or 403. Must
	// be 0, always.
	Harmless401 atomic.Int64

	mu         sync.Mutex
	cut        int64       // guarded by mu; see Cut; 0 not yet
	met        []metCanary // guarded by mu; before the cut is known; bounded
	violations []string    // guarded by mu; bounded
}

// metCanary is a request whose token was harmful or that the candidate served: what
// may not happen after the cut.
type metCanary struct {
	started int64 // Unix nanoseconds
	what    string
	harmful bool
	served  bool
}

// maxMet bounds what is remembered until the cut is known: the newest.
const maxMet = 1 << 16

// Cut says that the rollback was effective at a moment, which may have passed: what
// was seen since is counted now.
func (s *Score) Cut(at time.Time) {
	s.mu.Lock()
	met := s.met
	s.cut, s.met = at.UnixNano(), nil
	s.mu.Unlock()
	for _, m := range met {
		s.admitted(m)
	}
}

// Reopen forgets the cut: the next rollout begins.
func (s *Score) Reopen() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cut, s.met = 0, nil
}

// after reports whether a request started at t is bound by the cut.
func (s *Score) after(t time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cut != 0 && t.UnixNano() > s.cut
}

// admitted counts a request that was let through, now or once the cut is known.
func (s *Score) admitted(m metCanary) {
	s.mu.Lock()
	cut := s.cut
	if cut == 0 {
		if len(s.met) >= maxMet {
			s.met = append(s.met[:0], s.met[maxMet/2:]...)
		}
		s.met = append(s.met, m)
	}
	s.mu.Unlock()
	if cut == 0 || m.started <= cut {
		return
	}
	late := time.Duration(m.started - cut).Round(time.Microsecond)
	if m.harmful {
		s.HarmfulAccepted.Add(1)
		s.violate("%s: a harmful token was admitted %s after the rollback", m.what, late)
	}
	if m.served {
		s.CandidateAfter.Add(1)
		s.violate("%s: served by the release that was taken back, %s after the rollback", m.what, late)
	}
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
	if n := s.CandidateAfter.Load(); n > 0 {
		return fmt.Errorf("%d requests met the candidate after the rollback had returned", n)
	}
	if n := s.Harmless401.Load(); n > 0 {
		return fmt.Errorf("%d harmless tokens were refused with 401 or 403", n)
	}
	return nil
}
