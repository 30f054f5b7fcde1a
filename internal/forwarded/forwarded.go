// Package forwarded answers: where does a request come from, when proxies stand in
// front of us?
//
// What a peer says about others (X-Forwarded-For, Forwarded of RFC 7239) counts
// only when the peer is a proxy that the configuration trusts, and then as far as
// trust reaches: the chain is read from its near end, and the first address that is
// no trusted proxy is the client. Everything beyond was written by that client, who
// may write what it likes. Whatever cannot be read, or is told in two ways that
// contradict each other, ends the reading at the nearest address that is certain:
// an address may come out too near, never forged.
//
// All is pure and safe for concurrent use.
package forwarded

import (
	"net/netip"
	"strings"
)

// Trust is the networks of the proxies in front. Nil trusts nobody. IPv4 networks
// are written as such, not as IPv4-mapped IPv6.
type Trust []netip.Prefix

// Source is where a request comes from.
type Source struct {
	// Client is its address, unmapped and without zone; invalid when not even the
	// peer's was known.
	Client netip.Addr
	// Scheme is http or https if a trusted proxy told it, else "": then the
	// connection's own counts.
	Scheme string
}

// Has reports whether a is a trusted proxy's address.
func (t Trust) Has(a netip.Addr) bool {
	for _, p := range t {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// Source reads where a request with header h comes from that peer sent. h has
// canonical names (net/http.Header); peer is plain, see Peer.
func (t Trust) Source(peer netip.Addr, h map[string][]string) Source {
	s := Source{Client: peer}
	if len(t) == 0 || !t.Has(peer) {
		return s
	}
	x, f := h["X-Forwarded-For"], h["Forwarded"]
	proto := scheme(last(h["X-Forwarded-Proto"]))
	switch {
	case len(f) == 0:
		s.Client, s.Scheme = t.walk(peer, addresses(x)), proto
		return s
	case len(x) == 0:
		s = t.elements(peer, f)
	default:
		// A proxy writes one of them and may pass the other on as the client sent
		// it: which is which we can't know, so only what both say counts.
		s = t.elements(peer, f)
		if s.Client != t.walk(peer, addresses(x)) {
			return Source{Client: peer}
		}
	}
	if proto != "" && s.Scheme != proto {
		if s.Scheme != "" {
			proto = ""
		}
		s.Scheme = proto
	}
	return s
}

// Told returns the client's address as peer tells it, who is trusted because only
// gateways that ask reach us at all. It reads X-Forwarded-For alone: gateways pass
// on every other header as their client sent it.
func (t Trust) Told(peer netip.Addr, h map[string][]string) netip.Addr {
	return t.walk(peer, addresses(h["X-Forwarded-For"]))
}

// walk goes from the peer along the hops, nearest first, to the first address that
// is not trusted, or the last that is known.
func (t Trust) walk(peer netip.Addr, next func() (string, bool)) netip.Addr {
	at := peer
	for {
		text, ok := next()
		if !ok {
			return at
		}
		a, ok := address(text)
		if !ok {
			return at
		}
		if at = a; !t.Has(a) {
			return at
		}
	}
}

// addresses reads X-Forwarded-For, several fields of which are one list (RFC 9110
// §5.3), from its end.
func addresses(fields []string) func() (string, bool) {
	i := len(fields) - 1
	rest := ""
	if i >= 0 {
		rest = fields[i]
	}
	return func() (string, bool) {
		if i < 0 {
			return "", false
		}
		var one string
		if k := strings.LastIndexByte(rest, ','); k >= 0 {
			one, rest = rest[k+1:], rest[:k]
		} else {
			one = rest
			if i--; i >= 0 {
				rest = fields[i]
			}
		}
		return strings.Trim(one, " \t"), true
	}
}

// last is the last element of a list: what the nearest proxy said.
func last(fields []string) string {
	one, _ := addresses(fields)()
	return one
}

func scheme(s string) string {
	switch {
	case strings.EqualFold(s, "https"), strings.EqualFold(s, "wss"):
		return "https"
	case strings.EqualFold(s, "http"), strings.EqualFold(s, "ws"):
		return "http"
	}
	return ""
}

// address reads an address, with or without a port, IPv6 with or without brackets.
func address(s string) (netip.Addr, bool) {
	if a, err := netip.ParseAddr(s); err == nil {
		return plain(a), true
	}
	if a, err := netip.ParseAddrPort(s); err == nil {
		return plain(a.Addr()), true
	}
	if len(s) > 2 && s[0] == '[' && s[len(s)-1] == ']' {
		if a, err := netip.ParseAddr(s[1 : len(s)-1]); err == nil && a.Is6() {
			return plain(a), true
		}
	}
	return netip.Addr{}, false
}

func plain(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }

// Peer reads the address of net/http.Request.RemoteAddr; invalid when it is none.
func Peer(remote string) netip.Addr {
	a, _ := address(remote)
	return a
}

// Place is what is counted together under an address: the address itself, for IPv6
// its /64, because one host has all of it. "" when the address is invalid.
func Place(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	if a.Is6() && !a.Is4In6() {
		if p, err := a.WithZone("").Prefix(64); err == nil {
			return p.Addr().String()
		}
	}
	return a.Unmap().String()
}
