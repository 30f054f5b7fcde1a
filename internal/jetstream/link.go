package jetstream

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// link is where a client's bytes pass, so that it can be cut on purpose.
type link struct {
	inside nats.InProcessConnProvider // nil: TCP

	mu    sync.Mutex
	cut   bool       // guarded by mu
	conns []net.Conn // guarded by mu; open ones, and some that are closed
	// alive ends when the connection breaks; the next one has its own.
	alive context.Context    // guarded by mu
	end   context.CancelFunc // guarded by mu
}

func newLink(inside nats.InProcessConnProvider) *link {
	l := &link{inside: inside}
	l.alive, l.end = context.WithCancel(context.Background())
	return l
}

// broke says that the connection is lost.
func (l *link) broke() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.end()
	l.alive, l.end = context.WithCancel(context.Background())
}

// life is a context that ends with the present connection.
func (l *link) life() context.Context {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.alive
}

var errCut = errors.New("jetstream: link is cut")

// InProcessConn implements nats.InProcessConnProvider.
func (l *link) InProcessConn() (net.Conn, error) {
	return l.take(l.inside.InProcessConn)
}

// Dial implements nats.CustomDialer.
func (l *link) Dial(network, address string) (net.Conn, error) {
	return l.take(func() (net.Conn, error) {
		return (&net.Dialer{Timeout: 2 * time.Second}).Dial(network, address)
	})
}

func (l *link) take(dial func() (net.Conn, error)) (net.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cut {
		return nil, errCut
	}
	c, err := dial()
	if err != nil {
		return nil, err
	}
	l.conns = append(l.conns[:0], c) // a client has one connection at a time
	return c, nil
}

// Cut severs the connection and keeps it severed until Heal: a partition, as the
// demonstration and the tests make it.
func (c *Conn) Cut() {
	c.link.mu.Lock()
	defer c.link.mu.Unlock()
	c.link.cut = true
	for _, conn := range c.link.conns {
		_ = conn.Close()
	}
	c.link.conns = nil
}

// Heal lets the connection come back.
func (c *Conn) Heal() {
	c.link.mu.Lock()
	defer c.link.mu.Unlock()
	c.link.cut = false
}
