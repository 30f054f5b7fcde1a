package gateway

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"

	"github.com/mintmark/mintmark/internal/forwarded"
	"github.com/mintmark/mintmark/internal/web"
)

// connFacts is what does not change during a connection, save where proxies stand
// in front: see behind.
type connFacts struct {
	peer    netip.Addr // the client's, as far as it is known
	address string     // peer, as text
	scheme  string     // http or https, as the client sees it
	x5t     string     // of the client's certificate
	tls     *tls.ConnectionState
	conn    *strictConn // nil when another server than ours reads it, or net/http's HTTP/2
}

type connKey struct{}

func newConnFacts(c net.Conn, state *tls.ConnectionState) *connFacts {
	f := &connFacts{scheme: "http"}
	f.from(forwarded.Peer(c.RemoteAddr().String()))
	f.secure(state)
	return f
}

func (f *connFacts) from(a netip.Addr) {
	if a.IsValid() {
		f.peer, f.address = a, a.String()
	}
}

// behind returns the facts of a request with header h: those of its connection,
// unless that is a trusted proxy's, who says for whom it speaks.
func (f *connFacts) behind(trusted forwarded.Trust, h http.Header) *connFacts {
	if len(trusted) == 0 || !trusted.Has(f.peer) {
		return f
	}
	s := trusted.Source(f.peer, h)
	told := *f
	told.from(s.Client)
	if s.Scheme != "" {
		told.scheme = s.Scheme
	}
	return &told
}

func (f *connFacts) secure(state *tls.ConnectionState) {
	if state == nil {
		return
	}
	f.tls, f.scheme = state, "https"
	// Only a chain that was verified binds: a self-made certificate proves a key,
	// which is what RFC 8705 §3 wants too, so any presented leaf counts.
	if len(state.PeerCertificates) > 0 {
		f.x5t = thumbprint(state.PeerCertificates[0])
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
		return context.WithValue(ctx, connKey{}, newConnFacts(c, &state))
	}
	return ctx
}

// factsOf returns the facts of a request's connection, also when another server
// than ours accepted it.
func factsOf(r *http.Request) *connFacts {
	if f, ok := r.Context().Value(connKey{}).(*connFacts); ok {
		return f
	}
	f := &connFacts{scheme: "http"}
	f.from(forwarded.Peer(r.RemoteAddr))
	f.secure(r.TLS)
	return f
}

// traceOf returns the client's W3C trace context when it is well-formed, else a
// new one that is not sampled.
func traceOf(h http.Header) string {
	if v := h["Traceparent"]; len(v) == 1 && web.ValidTraceparent(v[0]) {
		return v[0]
	}
	// Identifiers, not secrets: speed matters more than unpredictability.
	var b [24]byte
	binary.BigEndian.PutUint64(b[0:], rand.Uint64())
	binary.BigEndian.PutUint64(b[8:], rand.Uint64())
	binary.BigEndian.PutUint64(b[16:], rand.Uint64()|1)
	var out [55]byte
	copy(out[:], "00-")
	hex.Encode(out[3:], b[:16])
	out[35] = '-'
	hex.Encode(out[36:], b[16:])
	copy(out[52:], "-00")
	return string(out[:])
}

func traceID(traceparent string) string {
	if len(traceparent) < 35 {
		return ""
	}
	return traceparent[3:35]
}
