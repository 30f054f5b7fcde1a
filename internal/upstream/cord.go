package upstream

import (
	"context"
	"net/http"
	"sync"
)

// Cord lets somebody else end an exchange, at any time and for a reason: who takes
// its token back, or who sees the client go. It costs an exchange less than a context
// of its own would. The zero value is ready. Safe for concurrent use but for Reset.
type Cord struct {
	mu    sync.Mutex
	cause error                   // why it was pulled; guarded by mu
	wire  *wire                   // the connection it ends; guarded by mu
	peer  context.CancelCauseFunc // the same for one of net/http's; guarded by mu
	end   func()                  // what else it ends; guarded by mu
}

// Pull ends the exchange: when it returns the server's connection is closed, or none
// will be used. The exchange fails with cause, which must not be nil; the first cause
// stays. Before the exchange begins it keeps it from beginning; after its end it does
// nothing but be remembered.
func (c *Cord) Pull(cause error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cause != nil {
		return
	}
	c.cause = cause
	if c.wire != nil {
		c.wire.close()
	}
	if c.peer != nil {
		c.peer(cause)
	}
	if c.end != nil {
		c.end()
	}
}

// Cause returns why the cord was pulled; nil as long as it was not.
func (c *Cord) Cause() error {
	if c == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cause
}

// Also makes Pull call end, at once when it was pulled already; nil calls nothing
// any more. end must neither block nor use the cord, and is not called after Also
// has replaced it.
func (c *Cord) Also(end func()) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.end = end
	if c.cause != nil && end != nil {
		end()
	}
}

// Reset makes the cord ready for another exchange. Nobody may hold it any more.
func (c *Cord) Reset() { c.cause, c.wire, c.peer, c.end = nil, nil, nil, nil }

// hold ties the cord to a connection and returns nil, or why it was pulled.
func (c *Cord) hold(w *wire) error {
	if c == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cause == nil {
		c.wire = w
	}
	return c.cause
}

// cancels ties the cord to an exchange of net/http's, until it is called with nil.
func (c *Cord) cancels(f context.CancelCauseFunc) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.peer = f
	if c.cause != nil && f != nil {
		f(c.cause)
	}
}

// let unties the connection and reports whether the cord was never pulled, so that
// the connection may be kept: a later Pull will not touch it.
func (c *Cord) let() bool {
	if c == nil {
		return true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wire = nil
	return c.cause == nil
}

// over returns why an exchange may not go on; nil as long as it may.
func over(req *http.Request, c *Cord) error {
	if cause := c.Cause(); cause != nil {
		return cause
	}
	if req.Context().Err() != nil {
		return context.Cause(req.Context())
	}
	return nil
}
