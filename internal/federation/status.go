package federation

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/mintmark/mintmark/internal/epoch"
	"github.com/mintmark/mintmark/internal/jose"
	"github.com/mintmark/mintmark/internal/statuslist"
)

// Bounds of status lists of other issuers.
const (
	// statusArray is the largest list read, in bytes after unpacking: a million
	// statuses of two bits.
	statusArray = 256 << 10
	// statusLists bounds how many are kept, over all issuers.
	statusLists = 256
	// A list is asked for again after its ttl, within these; defaultStatusTTL is
	// when it says nothing.
	minStatusTTL     = 30 * time.Second
	maxStatusTTL     = time.Hour
	defaultStatusTTL = 5 * time.Minute
	// statusGrace is how long past its ttl a list is still believed when its issuer
	// gives no new one, unless its own exp ends it sooner.
	statusGrace = 5 * time.Minute
	// statusPatience is how long an answer waits for a new list while the old one is
	// still believed.
	statusPatience = 2 * time.Second
	// askAgain bounds what a gateway is told to remember an answer for, in time:
	// the staleness of a list is that of its answers.
	askAgain = time.Minute
)

// statuses are the status lists that tokens referred to.
type statuses struct {
	mu   sync.Mutex
	kept map[listName]*statusEntry // guarded by mu
}

type listName struct{ issuer, uri string }

// statusEntry is one list: last good, and the fetch under way.
type statusEntry struct {
	mu     sync.Mutex
	list   *statuslist.List // nil: never had; guarded by mu
	due    time.Time        // when it is to be asked for again; guarded by mu
	until  time.Time        // when it is no longer believed; guarded by mu
	tried  time.Time        // when the last fetch began; guarded by mu
	err    error            // of the last fetch; guarded by mu
	flight chan struct{}    // closed when the fetch under way ends; guarded by mu
	used   time.Time        // guarded by statuses.mu
}

// Status returns the status of a token of the named issuer by its place in a list
// that the issuer signs, and how long the answer may be remembered. ErrUnavailable
// when there is no list that can be believed: the status is not known, which is not
// a refusal. Lists are fetched once for all who ask, at most once per Cooldown, and
// kept by their ttl.
func (f *Federation) Status(ctx context.Context, issuer string, ref statuslist.Reference) (statuslist.Status, time.Duration, error) {
	s := f.source(issuer)
	if s == nil || !s.issuer.Part.StatusList {
		return 0, 0, ErrUnknownIssuer
	}
	if err := s.issuer.checkURL(ref.URI); err != nil {
		return 0, 0, fmt.Errorf("%w: status list: %w", ErrUnavailable, err)
	}
	e := f.statusEntry(listName{issuer, ref.URI})
	now := f.c.Now()
	if flight := e.begin(now); flight != nil {
		if !f.spawn(ctx, func(ctx context.Context) { e.settle(f.fetchStatus(ctx, s, ref.URI)) }) {
			e.settle(fetched{err: errEnded, now: now})
		}
	}
	if err := e.wait(ctx, now); err != nil {
		return 0, 0, err
	}
	return e.status(ref.Index, f.c.Now())
}

func (f *Federation) statusEntry(n listName) *statusEntry {
	st, now := &f.statuses, f.c.Now()
	st.mu.Lock()
	defer st.mu.Unlock()
	e := st.kept[n]
	if e == nil {
		if len(st.kept) >= statusLists {
			var oldest listName
			for name, x := range st.kept {
				if o := st.kept[oldest]; o == nil || x.used.Before(o.used) {
					oldest = name
				}
			}
			delete(st.kept, oldest)
		}
		e = &statusEntry{}
		st.kept[n] = e
	}
	e.used = now
	return e
}

// begin starts a flight when the list is due, none is under way, and the last one
// was not a moment ago.
func (e *statusEntry) begin(now time.Time) chan struct{} {
	e.mu.Lock()
	defer e.mu.Unlock()
	cooling := !e.tried.IsZero() && !e.tried.After(now) && now.Sub(e.tried) < Cooldown
	if e.flight != nil || cooling || e.list != nil && now.Before(e.due) {
		return nil
	}
	e.flight, e.tried = make(chan struct{}), now
	return e.flight
}

// wait waits for the flight under way: not at all for a list that is not due, and
// not for long for one that can still be believed.
func (e *statusEntry) wait(ctx context.Context, now time.Time) error {
	e.mu.Lock()
	flight, good, believed := e.flight, e.list != nil && now.Before(e.due), e.list != nil && now.Before(e.until)
	e.mu.Unlock()
	if flight == nil || good {
		return nil
	}
	patience := fetchTime
	if believed {
		patience = statusPatience
	}
	t := time.NewTimer(patience)
	defer t.Stop()
	select {
	case <-flight:
		return nil
	case <-t.C:
		return nil // what is there decides
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", ErrUnavailable, ctx.Err())
	}
}

// status reads an index from the list, if it can be believed now.
func (e *statusEntry) status(index uint64, now time.Time) (statuslist.Status, time.Duration, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.list == nil || !now.Before(e.until) {
		return 0, 0, fmt.Errorf("%w: status list: %w", ErrUnavailable, errors.Join(errNoList, e.err))
	}
	s, err := e.list.Get(index)
	if err != nil {
		// Draft §8.3: no statement can be made. A list that was cut short must not
		// sign everybody out.
		return 0, 0, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return s, min(max(e.due.Sub(now), 5*time.Second), askAgain, e.until.Sub(now)), nil
}

var errNoList = errors.New("none that can be believed")

// fetched is what a fetch brought.
type fetched struct {
	list       *statuslist.List
	due, until time.Time
	now        time.Time
	err        error
}

// settle ends a flight. A failure leaves what was there; it is tried again after
// the Cooldown.
func (e *statusEntry) settle(r fetched) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.err = r.err; r.err == nil {
		e.list, e.due, e.until = r.list, r.due, r.until
	}
	close(e.flight)
	e.flight = nil
}

// fetchStatus downloads and verifies one list.
func (f *Federation) fetchStatus(ctx context.Context, s *source, uri string) fetched {
	tok, err := f.downloadStatus(ctx, s, uri)
	now := f.c.Now()
	if err != nil {
		f.c.Log.WarnContext(ctx, "status list of an issuer not fetched; the last good one stays for a while", "issuer", s.issuer.Part.Name, "uri", uri, "error", err)
		return fetched{err: err, now: now}
	}
	ttl := defaultStatusTTL
	if tok.TTL > 0 {
		ttl = time.Duration(min(tok.TTL, int64(maxStatusTTL/time.Second))) * time.Second
	}
	ttl = max(ttl, minStatusTTL)
	r := fetched{list: tok.List, now: now, due: now.Add(ttl), until: now.Add(ttl + statusGrace)}
	if exp := time.Unix(tok.Expires, 0).Add(s.skew()); tok.Expires != 0 && exp.Before(r.until) {
		r.until = exp
		if exp.Before(r.due) {
			r.due = exp
		}
	}
	return r
}

func (s *source) skew() time.Duration { return time.Duration(s.issuer.Part.SkewSeconds) * time.Second }

func (f *Federation) downloadStatus(ctx context.Context, s *source, uri string) (*statuslist.Token, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, uri, nil)
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	r.Header.Set("Accept", statuslist.MediaType)
	a, err := f.c.Egress.Do(ctx, r)
	if err != nil {
		return nil, err
	}
	if a.Status != http.StatusOK {
		return nil, fmt.Errorf("get %.200s: status %d", uri, a.Status)
	}
	check := statuslist.Check{
		Subject: uri, Issuer: s.issuer.Part.Issuer, Now: f.c.Now().Unix(), Skew: int64(s.issuer.Part.SkewSeconds), Limit: statusArray,
	}
	missing := ""
	check.Key = func(kid string) *jose.Key {
		k := s.key(kid, f.c.Now())
		if k == nil {
			missing = kid
		}
		return k
	}
	tok, err := statuslist.Parse(a.Body, check)
	if missing != "" && errors.Is(err, statuslist.ErrSignature) {
		// The issuer may sign with a key that came after ours were fetched.
		if err := f.Refresh(ctx, s.issuer.Part.Name, missing); err != nil {
			return nil, fmt.Errorf("key of a status list: %w", err)
		}
		return statuslist.Parse(a.Body, check)
	}
	return tok, err
}

// key returns a key of the issuer's that is still believed, or nil.
func (s *source) key(kid string, now time.Time) *jose.Key {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fetches() && !s.believed(now) {
		return nil
	}
	for _, k := range s.keys {
		if k.ID == kid {
			if key, err := jose.ParseKey(k.JWK, k.Alg); err == nil {
				return key
			}
		}
	}
	return nil
}

// required is what a gateway must understand to obey the issuers.
func required(issuers []epoch.Issuer) []string {
	for _, i := range issuers {
		if i.StatusList {
			return []string{epoch.FeatureStatusList}
		}
	}
	return nil
}
