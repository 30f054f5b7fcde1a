package upstream

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync/atomic"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/epoch"
)

// Pool is the servers of one release. Make it with Set.Pool.
type Pool struct {
	release mintmark.ReleaseID
	key     string
	targets []*target
	total   uint64 // sum of weights
	health  *epoch.Health
	turn    atomic.Uint64
}

func newPool(s *Set, release mintmark.ReleaseID, key string, r *epoch.Release) (*Pool, error) {
	p := &Pool{release: release, key: key, health: r.Health}
	for i, u := range r.Upstreams {
		addr, err := url.Parse(u.URL)
		if err != nil || addr.Host == "" {
			return nil, fmt.Errorf("release %s: upstream %d: %.200q is not a URL with a host", release, i, u.URL)
		}
		if addr.Path != "" && addr.Path != "/" || addr.RawQuery != "" || addr.User != nil {
			return nil, fmt.Errorf("release %s: upstream %d: %.200q: want scheme://host:port only", release, i, u.URL)
		}
		t := &target{set: s, scheme: addr.Scheme, addr: addr.Host, weight: uint64(max(u.Weight, 1))}
		if err := t.init(); err != nil {
			return nil, fmt.Errorf("release %s: upstream %d: %w", release, i, err)
		}
		p.targets = append(p.targets, t)
		p.total += t.weight
	}
	return p, nil
}

// Release returns whose pool it is.
func (p *Pool) Release() mintmark.ReleaseID { return p.release }

// Healthy returns how many servers may be tried, of how many.
func (p *Pool) Healthy() (healthy, all int) {
	for _, t := range p.targets {
		if t.usable() {
			healthy++
		}
	}
	return healthy, len(p.targets)
}

// pick chooses a server by weight among the usable ones that were not tried. When
// none is usable all are: a wrong verdict of the checks must not turn a service
// off that may be up.
func (p *Pool) pick(tried uint64) (int, *target) {
	if len(p.targets) == 1 {
		if tried&1 != 0 {
			return 0, nil
		}
		return 0, p.targets[0]
	}
	var total uint64
	for i, t := range p.targets {
		if tried&(1<<(i&63)) == 0 && t.usable() {
			total += t.weight
		}
	}
	desperate := total == 0
	if desperate {
		for i, t := range p.targets {
			if tried&(1<<(i&63)) == 0 {
				total += t.weight
			}
		}
	}
	if total == 0 {
		return 0, nil
	}
	// A Weyl sequence visits the weights evenly without a lock or randomness.
	x := p.turn.Add(1) * 0x9e3779b97f4a7c15 >> 11 % total
	for i, t := range p.targets {
		if tried&(1<<(i&63)) != 0 || (!desperate && !t.usable()) {
			continue
		}
		if x < t.weight {
			return i, t
		}
		x -= t.weight
	}
	return 0, nil
}

// Do sends the request to a server of the release and returns its answer once
// the head has come. The caller closes the body. The request's header must hold
// no hop-by-hop fields but Upgrade, is not modified, and must not change until
// the answer's body was closed. A 101 answer's body is an io.ReadWriteCloser.
//
// A server that is lost before it answers costs an idempotent request without
// body nothing as long as Options.Retries and other servers last; a kept
// connection that turns out dead is replaced without counting.
func (p *Pool) Do(req *http.Request, o *Options) (*http.Response, error) {
	var tried uint64
	again := replayable(req)
	for try := 0; ; try++ {
		i, t := p.pick(tried)
		if t == nil {
			if try == 0 {
				return nil, ErrNoServer
			}
			// Every server was tried once: start over.
			tried = 0
			if i, t = p.pick(0); t == nil {
				return nil, ErrNoServer
			}
		}
		resp, err := t.do(req, o, again)
		if err == nil {
			return resp, nil
		}
		var f *failure
		if !errors.As(err, &f) {
			return nil, err
		}
		if !f.connection || !again || try >= o.Retries || over(req, o.Cord) != nil {
			return nil, f.err
		}
		tried |= 1 << (i & 63)
	}
}
