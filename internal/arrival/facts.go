package arrival

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/netip"

	"github.com/mintmark/mintmark/internal/forwarded"
	"github.com/mintmark/mintmark/internal/oauth"
)

// Facts is what does not change during a connection, save where proxies stand in
// front: see Behind. It is immutable.
type Facts struct {
	Peer    netip.Addr // the client's, as far as it is known
	Address string     // Peer, as text
	Scheme  string     // http or https, as the client sees it
	X5T     string     // thumbprint of the client's certificate (RFC 8705 §3.1); "" without one

	conn *strictConn // nil when another server than ours reads it, or net/http's HTTP/2
}

type connKey struct{}

func newFacts(c net.Conn, state *tls.ConnectionState) *Facts {
	f := &Facts{Scheme: "http"}
	f.from(forwarded.Peer(c.RemoteAddr().String()))
	f.secure(state)
	return f
}

func (f *Facts) from(a netip.Addr) {
	if a.IsValid() {
		f.Peer, f.Address = a, a.String()
	}
}

// Behind returns the facts of a request with header h: those of its connection,
// unless that is a trusted proxy's, who says for whom it speaks.
func (f *Facts) Behind(trusted forwarded.Trust, h http.Header) *Facts {
	if len(trusted) == 0 || !trusted.Has(f.Peer) {
		return f
	}
	s := trusted.Source(f.Peer, h)
	told := *f
	told.from(s.Client)
	if s.Scheme != "" {
		told.Scheme = s.Scheme
	}
	return &told
}

func (f *Facts) secure(state *tls.ConnectionState) {
	if state == nil {
		return
	}
	f.Scheme = "https"
	// Only a chain that was verified binds: a self-made certificate proves a key,
	// which is what RFC 8705 §3 wants too, so any presented leaf counts.
	if len(state.PeerCertificates) > 0 {
		f.X5T = oauth.X5T(state.PeerCertificates[0].Raw)
	}
}

// withFacts is http.Server.ConnContext.
func withFacts(ctx context.Context, c net.Conn) context.Context {
	if s, ok := c.(*strictConn); ok {
		return context.WithValue(ctx, connKey{}, s.facts)
	}
	if t, ok := c.(*tls.Conn); ok {
		// The handshake is over: see Server.
		state := t.ConnectionState()
		return context.WithValue(ctx, connKey{}, newFacts(c, &state))
	}
	return ctx
}

// Of returns the facts of a request's connection, also when another server
// than ours accepted it.
func Of(r *http.Request) *Facts {
	if f, ok := r.Context().Value(connKey{}).(*Facts); ok {
		return f
	}
	f := &Facts{Scheme: "http"}
	f.from(forwarded.Peer(r.RemoteAddr))
	f.secure(r.TLS)
	return f
}

// Watched reports whether the connection itself finds out that the client is gone: it
// is HTTP/1 that this server reads. Otherwise the request's context tells.
func (f *Facts) Watched(r *http.Request) bool { return f.conn != nil && r.ProtoMajor == 1 }

// Watch has c pulled, with ErrGone, when the client of a watched request is gone, at
// once when it is already; nil ends the watch, and once it returns nobody will pull.
func (f *Facts) Watch(c Cord) { f.conn.watch(c) }
