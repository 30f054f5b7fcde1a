package arrival

import (
	"crypto/tls"
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"

	"github.com/mintmark/mintmark/internal/framing"
)

// errFraming makes net/http answer 400 and close: it is neither an end of file
// nor a network error.
var errFraming = errors.New("arrival: ambiguous HTTP/1 framing")

// ErrGone is why a cord is pulled whose client went away.
var ErrGone = errors.New("arrival: client went away")

// Cord ends what is done for a client; see upstream.Cord.
type Cord interface{ Pull(cause error) }

// TakeOver ends the watch over the framing of a connection that was hijacked for
// another protocol, and returns the connection underneath, which can be closed one
// way. That a client asked for a protocol is not enough: its next request would go
// unseen.
func TakeOver(c net.Conn) net.Conn {
	if s, ok := c.(*strictConn); ok {
		s.raw.Store(true)
		return s.Conn
	}
	return c
}

// Sever closes a connection that TakeOver returned, at once: Close of TLS says goodbye
// first, and waits for seconds for a client that does not read.
func Sever(c net.Conn) {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	c.Close()
}

// strictConn is a connection whose HTTP/1 framing is checked as it is read.
type strictConn struct {
	net.Conn
	facts *Facts
	f     framing.Stream // owned by the reader
	// raw is set once the connection was taken over for another protocol. That a
	// client asked for one is not enough: its next request would go unseen.
	raw  atomic.Bool
	open *atomic.Int64
	once atomic.Bool

	mu   sync.Mutex
	cord Cord // of the request in hand; guarded by mu
	gone bool // the client is; guarded by mu
}

// watch has c pulled when the client is found gone, at once when it is already; nil
// ends the watch, and nobody will pull the cord after that. net/http reads from the
// connection while a request is in hand, so that it is found.
func (c *strictConn) watch(cord Cord) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cord = cord
	if c.gone && cord != nil {
		cord.Pull(ErrGone)
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
		c.cord.Pull(ErrGone)
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
