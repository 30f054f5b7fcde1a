package upstream

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/mintmark/mintmark/internal/epoch"
)

// checker performs the active checks of a Set. Owned by Set.Run but for what the
// started checks touch.
type checker struct {
	set   *Set
	slots chan struct{} // bounds concurrent checks
	wait  sync.WaitGroup
	state map[*target]*checkState
}

type checkState struct {
	next    time.Time // owned by Run
	mu      sync.Mutex
	busy    bool // guarded by mu
	streak  int  // of equal verdicts; guarded by mu
	healthy bool // last verdict; guarded by mu
}

func (c *checker) round(ctx context.Context, now time.Time) {
	seen := make(map[*target]bool, len(c.state))
	c.set.each(func(p *Pool) {
		if p.health == nil {
			return
		}
		for _, t := range p.targets {
			seen[t] = true
			st := c.state[t]
			if st == nil {
				st = &checkState{}
				c.state[t] = st
			}
			if !now.Before(st.next) && st.take() {
				interval := time.Duration(p.health.IntervalMS) * time.Millisecond
				if interval <= 0 {
					interval = 2 * time.Second
				}
				st.next = now.Add(interval)
				c.start(ctx, p, t, st, min(interval, dialTimeout))
			}
		}
	})
	for t := range c.state {
		if !seen[t] {
			delete(c.state, t)
		}
	}
}

func (s *checkState) take() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	was := s.busy
	s.busy = true
	return !was
}

func (c *checker) start(ctx context.Context, p *Pool, t *target, st *checkState, timeout time.Duration) {
	c.wait.Go(func() {
		select {
		case c.slots <- struct{}{}:
			defer func() { <-c.slots }()
		case <-ctx.Done():
			return
		}
		ok := check(ctx, p.health, t, timeout)
		if ctx.Err() != nil {
			return
		}
		st.mu.Lock()
		defer st.mu.Unlock()
		st.busy = false
		if ok != st.healthy {
			st.streak, st.healthy = 0, ok
		}
		st.streak++
		need := max(p.health.Healthy, 1)
		if !ok {
			need = p.health.Unhealthy
			if need <= 0 {
				need = 2
			}
		}
		if st.streak >= need && t.down.Swap(!ok) == ok && c.set.cfg.Check != nil {
			c.set.cfg.Check(p.release, t.addr, ok)
		}
	})
}

// check asks one server once; any status below 400 is healthy.
func check(ctx context.Context, h *epoch.Health, t *target, timeout time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	u, err := url.ParseRequestURI(h.Path)
	if err != nil {
		return false
	}
	u.Scheme, u.Host = t.scheme, t.addr
	if u.Scheme == "h2c" {
		u.Scheme = "http"
	}
	req := (&http.Request{
		Method: http.MethodGet, URL: u, Host: t.addr, ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"User-Agent": {"mintmark-health"}}, Body: http.NoBody,
	}).WithContext(ctx)
	resp, err := t.exchange(req, &Options{Timeout: timeout}, true)
	if err != nil {
		return false
	}
	t.inFlight.Add(1) // the body's end takes it back
	_, err = io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<20))
	resp.Body.Close()
	return err == nil && resp.StatusCode < 400
}
