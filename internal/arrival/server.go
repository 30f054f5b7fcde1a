// Package arrival answers: who asks, and over what kind of connection?
//
// Its Server takes requests in for a gateway, with framing that no two parsers read
// differently, with bounds on time, size and number, and tells a handler the facts of
// each request's connection (Of). All is safe for concurrent use; New starts nothing.
package arrival

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mintmark/mintmark/internal/framing"
)

// ServerConfig says how requests arrive. The zero value of a bound is its default.
type ServerConfig struct {
	Handler http.Handler // required
	// TLS, when not nil, serves TLS; see web.Certificates for one that reloads.
	// Ask for client certificates here for mutual TLS.
	TLS *tls.Config
	// H2C accepts HTTP/2 without TLS by prior knowledge (gRPC inside a cluster).
	H2C bool
	Log *slog.Logger
	// MaxHeader bounds a request's head; 0 is 64 KiB.
	MaxHeader int
	// MaxConns bounds open connections; 0 is 32,768. Those beyond are closed.
	MaxConns int
	// Drain is how long Run waits for exchanges once its context is over; 0 is
	// 10 s. Tunnels are ended at once.
	Drain time.Duration
}

// Server serves a gateway's clients with strict framing. HTTP/1.1 connections,
// with and without TLS, are watched by framing; HTTP/2 has its own.
type Server struct {
	cfg  ServerConfig
	open atomic.Int64
}

// NewServer returns a server that has not started.
func NewServer(c ServerConfig) *Server {
	if c.MaxHeader <= 0 {
		c.MaxHeader = 64 << 10
	}
	if c.MaxConns <= 0 {
		c.MaxConns = 32768
	}
	if c.Drain <= 0 {
		c.Drain = 10 * time.Second
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &Server{cfg: c}
}

const (
	handshakeTimeout = 10 * time.Second
	maxHandshakes    = 1024
)

// Run serves l until ctx is over, then refuses new connections, waits for
// exchanges in progress, and closes the rest. It returns when its goroutines
// have; nil after an orderly stop.
func (s *Server) Run(ctx context.Context, l net.Listener) error {
	defer l.Close()
	one, two := newQueue(l.Addr()), newQueue(l.Addr())
	h1 := s.server(func(p *http.Protocols) {
		p.SetHTTP1(true)
		p.SetUnencryptedHTTP2(s.cfg.H2C && s.cfg.TLS == nil)
	})
	h2 := s.server(func(p *http.Protocols) { p.SetHTTP2(true); p.SetHTTP1(true) })
	var wg sync.WaitGroup
	serve := func(srv *http.Server, q *queue) {
		wg.Go(func() { srv.Serve(q) }) // returns when q is closed
	}
	serve(h1, one)
	serve(h2, two)
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	err := s.accept(ctx, l, one, two, &wg)
	drain, cancel := context.WithTimeout(context.Background(), s.cfg.Drain)
	defer cancel()
	for _, srv := range []*http.Server{h1, h2} {
		if srv.Shutdown(drain) != nil {
			srv.Close()
		}
	}
	one.Close()
	two.Close()
	wg.Wait()
	if ctx.Err() != nil {
		return nil
	}
	return err
}

func (s *Server) server(set func(*http.Protocols)) *http.Server {
	p := new(http.Protocols)
	set(p)
	return &http.Server{
		Handler: s.cfg.Handler, Protocols: p, ConnContext: withFacts,
		ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 90 * time.Second,
		MaxHeaderBytes: s.cfg.MaxHeader,
		HTTP2:          &http.HTTP2Config{MaxConcurrentStreams: 256},
		ErrorLog:       slog.NewLogLogger(s.cfg.Log.Handler(), slog.LevelDebug),
	}
}

// accept hands each connection to the server of its protocol.
func (s *Server) accept(ctx context.Context, l net.Listener, one, two *queue, wg *sync.WaitGroup) error {
	slots := make(chan struct{}, maxHandshakes)
	for {
		c, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return err
			}
			var ne net.Error
			if errors.As(err, &ne) && ne.Timeout() {
				continue
			}
			// Out of descriptors, most likely: give connections time to end.
			s.cfg.Log.Warn("connection could not be accepted", "error", err)
			select {
			case <-time.After(50 * time.Millisecond):
				continue
			case <-ctx.Done():
				return nil
			}
		}
		if s.open.Add(1) > int64(s.cfg.MaxConns) {
			s.open.Add(-1)
			c.Close()
			continue
		}
		if s.cfg.TLS == nil {
			one.put(s.strict(c, nil))
			continue
		}
		select {
		case slots <- struct{}{}:
		default: // a flood of handshakes: shed, do not queue
			s.open.Add(-1)
			c.Close()
			continue
		}
		wg.Go(func() {
			defer func() { <-slots }()
			s.handshake(ctx, c, one, two)
		})
	}
}

func (s *Server) strict(c net.Conn, state *tls.ConnectionState) *strictConn {
	sc := &strictConn{Conn: c, facts: newFacts(c, state), open: &s.open, f: framing.New(s.cfg.H2C && state == nil)}
	sc.facts.conn = sc
	return sc
}

func (s *Server) handshake(ctx context.Context, c net.Conn, one, two *queue) {
	// net/http knows HTTP/2 by the type of the connection: what counts it is put
	// below TLS.
	below := &countedConn{Conn: c, open: &s.open}
	t := tls.Server(below, withProtocols(s.cfg.TLS))
	hctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	if err := t.HandshakeContext(hctx); err != nil {
		below.Close()
		return
	}
	state := t.ConnectionState()
	if state.NegotiatedProtocol == "h2" {
		two.put(t)
		return
	}
	h1 := s.strict(t, &state)
	h1.open = nil // counted below
	one.put(h1)
}

// countedConn counts itself out when it is closed.
type countedConn struct {
	net.Conn
	open *atomic.Int64
	once sync.Once
}

// Close implements net.Conn.
func (c *countedConn) Close() error {
	c.once.Do(func() { c.open.Add(-1) })
	return c.Conn.Close()
}

// withProtocols offers h2 before HTTP/1.1, also where the configuration is chosen
// per connection.
func withProtocols(c *tls.Config) *tls.Config {
	c = c.Clone()
	c.NextProtos = []string{"h2", "http/1.1"}
	if per := c.GetConfigForClient; per != nil {
		c.GetConfigForClient = func(h *tls.ClientHelloInfo) (*tls.Config, error) {
			chosen, err := per(h)
			if chosen == nil || err != nil {
				return chosen, err
			}
			chosen = chosen.Clone()
			chosen.NextProtos = []string{"h2", "http/1.1"}
			return chosen, nil
		}
	}
	return c
}

// queue is a net.Listener fed by hand.
type queue struct {
	addr net.Addr
	c    chan net.Conn
	done chan struct{}
	once sync.Once
}

func newQueue(a net.Addr) *queue {
	return &queue{addr: a, c: make(chan net.Conn), done: make(chan struct{})}
}

func (q *queue) put(c net.Conn) {
	select {
	case q.c <- c:
	case <-q.done:
		c.Close()
	}
}

// Accept implements net.Listener.
func (q *queue) Accept() (net.Conn, error) {
	select {
	case c := <-q.c:
		return c, nil
	case <-q.done:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (q *queue) Close() error { q.once.Do(func() { close(q.done) }); return nil }

// Addr implements net.Listener.
func (q *queue) Addr() net.Addr { return q.addr }
