package web

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// Bounds of every server. Reading a body has no limit here: handlers bound it,
// and long streams are legitimate.
const (
	readHeaderTimeout = 10 * time.Second
	idleTimeout       = 120 * time.Second
	maxHeaderBytes    = 64 << 10
	drainTimeout      = 10 * time.Second
)

// ServerConfig says what to serve and how.
type ServerConfig struct {
	Handler http.Handler
	// TLS is nil for plain HTTP.
	TLS *tls.Config
	Log *slog.Logger
	// Drain is how long Run waits for requests in progress once its context is
	// over; 0 is 10 s.
	Drain time.Duration
	// WriteTimeout bounds a whole response; 0 is none, for streams.
	WriteTimeout time.Duration
	// MaxHeader bounds a request's header, in bytes; 0 is 64 KiB.
	MaxHeader int
	// H2C accepts HTTP/2 without TLS, by prior knowledge.
	H2C bool
}

// Server serves one handler with bounds on time and header size.
type Server struct {
	http  *http.Server
	drain time.Duration
}

// NewServer returns a server that has not started.
func NewServer(c ServerConfig) *Server {
	s := &Server{drain: c.Drain}
	if s.drain == 0 {
		s.drain = drainTimeout
	}
	if c.MaxHeader == 0 {
		c.MaxHeader = maxHeaderBytes
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(c.H2C)
	s.http = &http.Server{
		Handler:           c.Handler,
		TLSConfig:         c.TLS,
		ReadHeaderTimeout: readHeaderTimeout,
		IdleTimeout:       idleTimeout,
		WriteTimeout:      c.WriteTimeout,
		MaxHeaderBytes:    c.MaxHeader,
		Protocols:         protocols,
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: 250},
	}
	if c.Log != nil {
		s.http.ErrorLog = slog.NewLogLogger(c.Log.Handler(), slog.LevelDebug)
	}
	return s
}

// Listen opens a TCP listener at address; the error says what to do when the
// port is taken.
func Listen(ctx context.Context, address string) (net.Listener, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", address, err)
	}
	return l, nil
}

// Run serves on l until ctx is over, then refuses new connections and waits for
// requests in progress up to the drain time before it cuts them. It closes l and
// returns when its goroutines have; nil after an orderly stop.
func (s *Server) Run(ctx context.Context, l net.Listener) error {
	failed := make(chan error, 1)
	go func() {
		if s.http.TLSConfig != nil {
			failed <- s.http.ServeTLS(l, "", "")
			return
		}
		failed <- s.http.Serve(l)
	}()
	select {
	case err := <-failed:
		return fmt.Errorf("serve %s: %w", l.Addr(), err)
	case <-ctx.Done():
	}
	// The context that ended must not end the drain as well.
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.drain)
	defer cancel()
	if err := s.http.Shutdown(drain); err != nil {
		_ = s.http.Close() // cut what would not end; Serve returns all the same
	}
	if err := <-failed; err != nil && !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve %s: %w", l.Addr(), err)
	}
	return nil
}
