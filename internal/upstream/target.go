package upstream

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

const (
	maxIdle     = 512              // kept connections a server
	idleAge     = 50 * time.Second // a kept connection older than this is not used
	maxInFlight = 16384            // requests in flight a server
	dialTimeout = 5 * time.Second
	ejectAfter  = 2 // connection failures in a row
	ejectMax    = 30 * time.Second
)

// target is one server of a release.
type target struct {
	set    *Set
	scheme string // http, https, h2c
	addr   string // host:port
	weight uint64

	inFlight atomic.Int64
	// down is set by active checks.
	down atomic.Bool
	// until is the Unix nanosecond up to which passive ejection keeps it out;
	// fails counts connection failures in a row.
	until atomic.Int64
	fails atomic.Int32

	mu     sync.Mutex
	idle   []*wire // newest last; guarded by mu
	peers  []*peer // guarded by mu
	closed bool    // guarded by mu
}

func (t *target) init() error {
	port := "80"
	switch t.scheme {
	case "http", "h2c":
	case "https":
		port = "443"
	default:
		return fmt.Errorf("scheme %.20q: want http, https or h2c", t.scheme)
	}
	if _, _, err := net.SplitHostPort(t.addr); err != nil {
		t.addr = net.JoinHostPort(trimBrackets(t.addr), port)
	}
	return nil
}

func trimBrackets(host string) string {
	if len(host) > 1 && host[0] == '[' && host[len(host)-1] == ']' {
		return host[1 : len(host)-1]
	}
	return host
}

func (t *target) usable() bool {
	if t.down.Load() {
		return false
	}
	u := t.until.Load()
	return u == 0 || time.Now().UnixNano() >= u
}

// failed counts a connection failure and ejects the server when there were
// several in a row, each time for longer.
func (t *target) failed() {
	n := t.fails.Add(1)
	if n < ejectAfter {
		return
	}
	d := min(time.Second<<min(n-ejectAfter, 10), ejectMax)
	t.until.Store(time.Now().Add(d).UnixNano())
}

func (t *target) succeeded() {
	if t.fails.Load() != 0 {
		t.fails.Store(0)
		t.until.Store(0)
	}
}

func (t *target) do(req *http.Request, o *Options, again bool) (*http.Response, error) {
	if t.inFlight.Add(1) > maxInFlight {
		t.inFlight.Add(-1)
		return nil, ErrBusy
	}
	resp, err := t.exchange(req, o, again)
	if err != nil {
		t.inFlight.Add(-1)
		var f *failure
		if errors.As(err, &f) && f.connection && over(req, o.Cord) == nil {
			t.failed()
		}
		return nil, err
	}
	t.succeeded()
	return resp, nil
}

// release is called exactly once when an exchange that do returned is over.
func (t *target) release() { t.inFlight.Add(-1) }

func (t *target) exchange(req *http.Request, o *Options, again bool) (*http.Response, error) {
	if t.scheme != "http" {
		return t.peerExchange(req, o)
	}
	for {
		w := t.takeIdle()
		kept := w != nil
		if w == nil {
			var err error
			if w, err = t.dial(req); err != nil {
				return nil, &failure{err: err, connection: true}
			}
		}
		resp, err := w.roundTrip(req, o)
		if err == nil {
			return resp, nil
		}
		var f *failure
		if kept && again && errors.As(err, &f) && f.stale && over(req, o.Cord) == nil {
			continue // ends at the latest when no kept connection is left
		}
		return nil, err
	}
}

func (t *target) dial(req *http.Request) (*wire, error) {
	d := net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second}
	nc, err := d.DialContext(req.Context(), "tcp", t.addr)
	if err != nil {
		return nil, fmt.Errorf("connect to upstream: %w", err)
	}
	return newWire(t, nc), nil
}

// takeIdle returns the youngest kept connection that is still silent and open.
func (t *target) takeIdle() *wire {
	for {
		t.mu.Lock()
		n := len(t.idle)
		if n == 0 {
			t.mu.Unlock()
			return nil
		}
		w := t.idle[n-1]
		t.idle[n-1] = nil
		t.idle = t.idle[:n-1]
		t.mu.Unlock()
		if time.Since(w.since) < idleAge && w.quiet() {
			return w
		}
		w.close()
	}
}

func (t *target) putIdle(w *wire) {
	w.since = time.Now()
	t.mu.Lock()
	keep := !t.closed && len(t.idle) < maxIdle
	if keep {
		t.idle = append(t.idle, w)
	}
	t.mu.Unlock()
	if !keep {
		w.close()
	}
}

// reap closes kept connections that grew too old, or all when last is set.
func (t *target) reap(now time.Time, last bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if last {
		t.closed = true
	}
	n := 0
	for n < len(t.idle) && (last || now.Sub(t.idle[n].since) >= idleAge) {
		t.idle[n].close()
		n++
	}
	t.idle = append(t.idle[:0], t.idle[n:]...)
	kept := t.peers[:0]
	for _, p := range t.peers {
		if p.cc.Err() != nil || (p.cc.InFlight() == 0 && (last || now.Sub(p.used) >= idleAge)) {
			p.cc.Close()
			continue
		}
		kept = append(kept, p)
	}
	clear(t.peers[len(kept):])
	t.peers = kept
}
