package gateway

import (
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"

	"github.com/mintmark/mintmark/internal/framing"
	"github.com/mintmark/mintmark/internal/upstream"
)

// errFraming makes net/http answer 400 and close: it is neither an end of file
// nor a network error.
var errFraming = errors.New("gateway: ambiguous HTTP/1 framing")

// strictConn is a connection whose HTTP/1 framing is checked as it is read.
type strictConn struct {
	net.Conn
	facts *connFacts
	f     framing.Stream // owned by the reader
	// raw is set once the connection was taken over for another protocol. That a
	// client asked for one is not enough: its next request would go unseen.
	raw  atomic.Bool
	open *atomic.Int64
	once atomic.Bool

	mu   sync.Mutex
	cord *upstream.Cord // of the request in hand; guarded by mu
	gone bool           // the client is; guarded by mu
}

// watch has c pulled when the client is found gone, at once when it is already; nil
// ends the watch, and nobody will pull the cord after that. net/http reads from the
// connection while a request is in hand, so that it is found.
func (c *strictConn) watch(cord *upstream.Cord) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cord = cord
	if c.gone && cord != nil {
		cord.Pull(errClientGone)
	}
}

// lost notes that the client cannot be read from. That net/http has stopped reading
// says nothing about the client.
func (c *strictConn) lost(err error) {
	if errors.Is(err, os.ErrDeadlineExceeded) || c.raw.Load() {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gone = true
	if c.cord != nil {
		c.cord.Pull(errClientGone)
	}
}

// Read implements net.Conn.
func (c *strictConn) Read(p []byte) (int, error) {
	if c.f.Broken() {
		c.lost(errFraming)
		return 0, errFraming
	}
	n, err := c.Conn.Read(p)
	if err != nil {
		c.lost(err)
	}
	if n > 0 && !c.f.Raw() && !c.raw.Load() {
		if ok := c.f.Feed(p[:n]); ok < n || c.f.Broken() {
			if ok == 0 {
				c.lost(errFraming)
				return 0, errFraming
			}
			return ok, nil
		}
	}
	return n, err
}

// Close implements net.Conn.
func (c *strictConn) Close() error {
	if c.once.CompareAndSwap(false, true) && c.open != nil {
		c.open.Add(-1)
	}
	return c.Conn.Close()
}
