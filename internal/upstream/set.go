package upstream

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/epoch"
)

// Config is what a Set is made of. The zero value is usable.
type Config struct {
	// TLS is used toward https servers: roots, client certificate. nil is the
	// system's roots.
	TLS *tls.Config
	// Check, if not nil, hears each change of an active check's verdict.
	Check func(release mintmark.ReleaseID, server string, healthy bool)
}

// Set holds the pools of all releases a gateway knows.
type Set struct {
	cfg    Config
	secure *http.Transport
	clear  *http.Transport

	mu    sync.Mutex
	pools map[string]*Pool // by release and configuration; guarded by mu
}

// New returns an empty set.
func New(cfg Config) *Set {
	s := &Set{cfg: cfg, pools: map[string]*Pool{}}
	make := func() *http.Transport {
		return &http.Transport{
			DisableCompression:     true, // bytes pass as they are
			ExpectContinueTimeout:  0,
			MaxResponseHeaderBytes: maxHead,
			TLSHandshakeTimeout:    dialTimeout,
			TLSClientConfig:        cfg.TLS,
			WriteBufferSize:        4 << 10,
			ReadBufferSize:         4 << 10,
			Protocols:              new(http.Protocols),
		}
	}
	s.secure, s.clear = make(), make()
	s.secure.Protocols.SetHTTP1(true)
	s.secure.Protocols.SetHTTP2(true)
	s.clear.Protocols.SetUnencryptedHTTP2(true)
	return s
}

func (s *Set) transport(scheme string) *http.Transport {
	if scheme == "https" {
		return s.secure
	}
	return s.clear
}

// Pool returns the pool of a release with this configuration, making it when
// there is none. Two epochs that say the same of a release share its pool, so
// that a rollback meets warm connections.
func (s *Set) Pool(id mintmark.ReleaseID, r *epoch.Release) (*Pool, error) {
	k, err := json.Marshal(struct {
		ID mintmark.ReleaseID
		U  []epoch.Upstream
		H  *epoch.Health
	}{id, r.Upstreams, r.Health})
	if err != nil {
		return nil, fmt.Errorf("key of a pool: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if p, ok := s.pools[string(k)]; ok {
		return p, nil
	}
	p, err := newPool(s, id, string(k), r)
	if err != nil {
		return nil, err
	}
	s.pools[string(k)] = p
	return p, nil
}

// Retain forgets all pools but these. A forgotten pool still serves the requests
// that hold it.
func (s *Set) Retain(keep []*Pool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	kept := make(map[string]*Pool, len(keep))
	for _, p := range keep {
		kept[p.key] = p
	}
	for k, p := range s.pools {
		if kept[k] == nil {
			for _, t := range p.targets {
				t.reap(time.Now(), true)
			}
		}
	}
	s.pools = kept
}

func (s *Set) each(f func(*Pool)) {
	s.mu.Lock()
	all := make([]*Pool, 0, len(s.pools))
	for _, p := range s.pools {
		all = append(all, p)
	}
	s.mu.Unlock()
	for _, p := range all {
		f(p)
	}
}

// Run performs the active checks and closes connections that idle too long. It
// returns when ctx is done and every check has ended; kept connections are
// closed.
func (s *Set) Run(ctx context.Context) {
	c := checker{set: s, state: map[*target]*checkState{}, slots: make(chan struct{}, 16)}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			c.wait.Wait()
			s.each(func(p *Pool) {
				for _, t := range p.targets {
					t.reap(time.Now(), true)
				}
			})
			return
		case now := <-tick.C:
			c.round(ctx, now)
			if n%50 == 0 {
				s.each(func(p *Pool) {
					for _, t := range p.targets {
						t.reap(now, false)
					}
				})
			}
		}
	}
}
