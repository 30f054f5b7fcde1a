// Package jetstream is the bus's engine: an embedded NATS server, and clients of
// it in the same process or over TCP with TLS. It answers the question "how do
// the bytes of a bus message get there, and who may send and hear which".
//
// The state log, leases and requests go by core NATS, which keeps nothing; records
// go by one JetStream work queue, which survives a restart of the process. Neither
// is the truth: what they lose is healed from the ledger on one side and from the
// gateways' spools on the other.
//
// A gateway may publish only to control subjects that end in its own id and hear
// only the state log and its own subjects, so that one stolen credential can
// neither speak for another gateway nor listen to it.
package jetstream

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/bus"
)

// ErrListen: the address to listen on can't be had.
var ErrListen = errors.New("jetstream: cannot listen")

// Options configure a Server.
type Options struct {
	// Dir is where the record queue is kept; made when missing.
	Dir string
	// Listen is the host:port for separate gateways; port 0 takes any. Empty
	// listens nowhere: the server is reached in-process only.
	Listen string
	// TLS is required with Listen.
	TLS *tls.Config
	// Member tells which gateway owns a public NKEY. It is asked at each connect,
	// concurrently; nil admits no separate gateway.
	Member func(nkey string) (mintmark.GatewayID, bool)
	// MaxBytes bounds the record queue on disk; 0 is 1 GiB. When it is full,
	// gateways keep their records.
	MaxBytes int64
	// Random is the source of the in-process credentials; required.
	Random io.Reader
	// Log takes the server's warnings and errors; nil discards them.
	Log *slog.Logger
}

// Server is an embedded NATS server. It is safe for concurrent use.
type Server struct {
	nats *server.Server
	auth *authenticator
	max  int64
}

const startWait = 10 * time.Second

// Open starts a server; Close stops it. On return it takes connections.
func Open(o Options) (*Server, error) {
	if o.Listen != "" && o.TLS == nil {
		return nil, errors.New("jetstream: listening on an address needs TLS")
	}
	if o.MaxBytes == 0 {
		o.MaxBytes = 1 << 30
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	so := &server.Options{
		ServerName:                 "mintmark",
		DontListen:                 o.Listen == "",
		NoSigs:                     true,
		NoLog:                      true,
		NoSystemAccount:            true,
		JetStream:                  true,
		StoreDir:                   o.Dir,
		JetStreamMaxStore:          o.MaxBytes + o.MaxBytes/8,
		JetStreamMaxMemory:         16 << 20,
		MaxPayload:                 bus.MaxMessage + 64<<10,
		AlwaysEnableNonce:          true,
		PingInterval:               5 * time.Second,
		MaxPingsOut:                2,
		TLSConfig:                  o.TLS,
		TLS:                        o.TLS != nil,
		TLSTimeout:                 5,
		AuthTimeout:                5,
		LameDuckDuration:           time.Second,
		LameDuckGracePeriod:        time.Millisecond,
		DisableShortFirstPing:      true,
		NoFastProducerStall:        true,
		CustomClientAuthentication: nil,
	}
	if o.Listen != "" {
		if err := listenOptions(so, o.Listen); err != nil {
			return nil, err
		}
	}
	auth, err := newAuthenticator(o.Random, o.Member)
	if err != nil {
		return nil, err
	}
	so.CustomClientAuthentication = auth
	ns, err := server.NewServer(so)
	if err != nil {
		return nil, fmt.Errorf("configure bus: %w", err)
	}
	auth.alive = func(id uint64) bool { return ns.GetClient(id) != nil }
	ns.SetLoggerV2(&logger{o.Log}, false, false, false)
	s := &Server{nats: ns, auth: auth, max: o.MaxBytes}
	ns.Start()
	if !ns.ReadyForConnections(startWait) {
		s.Close()
		return nil, fmt.Errorf("start bus in %s: not ready after %s", o.Dir, startWait)
	}
	if !ns.JetStreamEnabled() {
		s.Close()
		return nil, fmt.Errorf("start bus in %s: its record queue did not start; is the folder writable?", o.Dir)
	}
	return s, nil
}

// listenOptions sets the address after trying it: the server itself would only
// log that the port is taken.
func listenOptions(so *server.Options, address string) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("%w on %s for the bus: %w", ErrListen, address, err)
	}
	host, port, err := net.SplitHostPort(l.Addr().String())
	if err = errors.Join(err, l.Close()); err != nil {
		return fmt.Errorf("%w on %s for the bus: %w", ErrListen, address, err)
	}
	so.Host = host
	so.Port, err = strconv.Atoi(port)
	return err
}

// Addr returns the host:port that separate gateways connect to; empty when the
// server listens nowhere.
func (s *Server) Addr() string {
	if a, ok := s.nats.Addr().(*net.TCPAddr); ok && a != nil {
		return a.String()
	}
	return ""
}

// Close stops the server and waits for it. Connections to it are cut.
func (s *Server) Close() {
	s.nats.Shutdown()
	s.nats.WaitForShutdown()
}

// Expel cuts the connections that a gateway made with an NKEY, or all of its own
// when nkey is empty. New ones are refused as soon as Member no longer knows the
// key.
func (s *Server) Expel(gateway mintmark.GatewayID, nkey string) {
	for _, id := range s.auth.clients(gateway, nkey) {
		// Gone already is as good as expelled.
		_ = s.nats.DisconnectClientByID(id)
	}
}

// Control returns an in-process connection that may use every subject.
func (s *Server) Control(ctx context.Context) (*Conn, error) {
	secret, err := s.auth.internal("")
	if err != nil {
		return nil, err
	}
	return connect(ctx, connectOptions{provider: s.nats, user: secret.user, password: secret.password, maxStore: s.max})
}

// Gateway returns an in-process connection with the permissions of a gateway.
func (s *Server) Gateway(ctx context.Context, id mintmark.GatewayID) (*Conn, error) {
	if err := mintmark.CheckGatewayID(id); err != nil {
		return nil, err
	}
	secret, err := s.auth.internal(id)
	if err != nil {
		return nil, err
	}
	return connect(ctx, connectOptions{provider: s.nats, user: secret.user, password: secret.password, gateway: id})
}

// logger passes the server's complaints on; the rest is noise to an operator.
type logger struct{ log *slog.Logger }

func (l *logger) Noticef(string, ...any) {}
func (l *logger) Debugf(string, ...any)  {}
func (l *logger) Tracef(string, ...any)  {}
func (l *logger) Warnf(format string, v ...any) {
	l.log.Warn("bus", "detail", fmt.Sprintf(format, v...))
}

func (l *logger) Errorf(format string, v ...any) {
	l.log.Error("bus", "detail", fmt.Sprintf(format, v...))
}

func (l *logger) Fatalf(format string, v ...any) {
	l.log.Error("bus", "detail", fmt.Sprintf(format, v...))
}
