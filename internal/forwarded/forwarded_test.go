package forwarded

import (
	"net/http"
	"net/netip"
	"testing"
)

var trust = Trust{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8"), netip.MustParsePrefix("127.0.0.1/32")}

func header(fields ...string) http.Header {
	h := http.Header{}
	for i := 0; i+1 < len(fields); i += 2 {
		h.Add(fields[i], fields[i+1])
	}
	return h
}

func TestSource(t *testing.T) {
	const xff, fwd, proto = "X-Forwarded-For", "Forwarded", "X-Forwarded-Proto"
	for _, c := range []struct {
		what, peer string
		h          http.Header
		want       string
		scheme     string
	}{
		{"nobody in front", "10.0.0.1", header(), "10.0.0.1", ""},
		{"a stranger forges", "203.0.113.9", header(xff, "192.0.2.1", fwd, "for=192.0.2.1", proto, "https"), "203.0.113.9", ""},
		{"one proxy", "10.0.0.1", header(xff, "203.0.113.9", proto, "https"), "203.0.113.9", "https"},
		{"the client forges a hop", "10.0.0.1", header(xff, "192.0.2.1, 203.0.113.9"), "203.0.113.9", ""},
		{"the client forges a trusted hop", "10.0.0.1", header(xff, "192.0.2.1, 10.0.0.3, 203.0.113.9"), "203.0.113.9", ""},
		{"two proxies", "10.0.0.1", header(xff, "192.0.2.1, 203.0.113.9, 10.9.9.9"), "203.0.113.9", ""},
		{"several fields are one list", "10.0.0.1", header(xff, "192.0.2.1", xff, "203.0.113.9", xff, "10.9.9.9"), "203.0.113.9", ""},
		{"inside only", "10.0.0.1", header(xff, "10.3.0.1,10.2.0.1"), "10.3.0.1", ""},
		{"garbage beyond a proxy", "10.0.0.1", header(xff, "203.0.113.9, unknown, 10.2.0.1"), "10.2.0.1", ""},
		{"garbage at once", "10.0.0.1", header(xff, "203.0.113.9, <script>"), "10.0.0.1", ""},
		{"empty element", "10.0.0.1", header(xff, "203.0.113.9,"), "10.0.0.1", ""},
		{"empty field", "10.0.0.1", header(xff, ""), "10.0.0.1", ""},
		{"with a port", "10.0.0.1", header(xff, "203.0.113.9:4711"), "203.0.113.9", ""},
		{"IPv6", "fd00::1", header(xff, "2001:db8::7"), "2001:db8::7", ""},
		{"IPv6 with a port", "fd00::1", header(xff, "[2001:db8::7]:443"), "2001:db8::7", ""},
		{"IPv6 in brackets", "fd00::1", header(xff, "[2001:db8::7]"), "2001:db8::7", ""},
		{"mapped is trusted as IPv4", "10.0.0.1", header(xff, "203.0.113.9, ::ffff:10.0.0.7"), "203.0.113.9", ""},
		{"a zone is not part of it", "10.0.0.1", header(xff, "fe80::1%eth0"), "fe80::1", ""},
		{"scheme of a list is the nearest", "10.0.0.1", header(xff, "203.0.113.9", proto, "https, http"), "203.0.113.9", "http"},
		{"no scheme", "10.0.0.1", header(xff, "203.0.113.9", proto, "gopher"), "203.0.113.9", ""},
		{"websocket scheme", "10.0.0.1", header(xff, "203.0.113.9", proto, "wss"), "203.0.113.9", "https"},

		{"RFC 7239", "10.0.0.1", header(fwd, `for=203.0.113.9;proto=https;by=10.0.0.1`), "203.0.113.9", "https"},
		{"RFC 7239 §4, capitals and quotes", "10.0.0.1", header(fwd, `For="[2001:db8:cafe::17]:4711"`), "2001:db8:cafe::17", ""},
		{"elements from the end", "10.0.0.1", header(fwd, `for=192.0.2.1;proto=http, for=203.0.113.9;proto=https, for=10.0.0.5;proto=http`), "203.0.113.9", "https"},
		{"elements in fields", "10.0.0.1", header(fwd, `for=192.0.2.1`, fwd, `for="203.0.113.9:80"`), "203.0.113.9", ""},
		{"a comma in quotes", "10.0.0.1", header(fwd, `for=192.0.2.1;by="a,b", for=203.0.113.9`), "203.0.113.9", ""},
		{"hidden", "10.0.0.1", header(fwd, `for=_hidden`), "10.0.0.1", ""},
		{"unknown beyond a proxy", "10.0.0.1", header(fwd, `for=unknown, for=10.0.0.9;proto=https`), "10.0.0.9", "https"},
		{"an element without for", "10.0.0.1", header(fwd, `for=203.0.113.9, by=10.0.0.1`), "10.0.0.1", ""},
		{"an open quote swallows nothing", "10.0.0.1", header(fwd, `for="192.0.2.1, for=203.0.113.9`), "10.0.0.1", ""},
		{"a quote into the proxy's element", "10.0.0.1", header(fwd, `for=192.0.2.1;by=", for="203.0.113.9"`), "10.0.0.1", ""},
		{"for twice", "10.0.0.1", header(fwd, `for=203.0.113.9;for=192.0.2.1`), "10.0.0.1", ""},
		{"empty elements", "10.0.0.1", header(fwd, `, for=203.0.113.9, ,`), "203.0.113.9", ""},
		{"an escape", "10.0.0.1", header(fwd, `for="203.0.113\.9"`), "203.0.113.9", ""},

		{"both agree", "10.0.0.1", header(fwd, `for=203.0.113.9;proto=https`, xff, "203.0.113.9"), "203.0.113.9", "https"},
		{"both agree, schemes don't", "10.0.0.1", header(fwd, `for=203.0.113.9;proto=https`, xff, "203.0.113.9", proto, "http"), "203.0.113.9", ""},
		{"both disagree", "10.0.0.1", header(fwd, `for=192.0.2.1`, xff, "203.0.113.9", proto, "https"), "10.0.0.1", ""},
		{"Forwarded, scheme beside it", "10.0.0.1", header(fwd, `for=203.0.113.9`, proto, "https"), "203.0.113.9", "https"},
	} {
		got := trust.Source(netip.MustParseAddr(c.peer), c.h)
		if got.Client.String() != c.want || got.Scheme != c.scheme {
			t.Errorf("%s: %v %q, want %s %q", c.what, got.Client, got.Scheme, c.want, c.scheme)
		}
	}
	if got := Trust(nil).Source(netip.MustParseAddr("10.0.0.1"), header(xff, "203.0.113.9")); got.Client.String() != "10.0.0.1" {
		t.Errorf("nobody is trusted, and %v was taken", got.Client)
	}
}

func TestTold(t *testing.T) {
	peer := netip.MustParseAddr("192.0.2.50")
	for _, c := range []struct {
		h    http.Header
		want string
	}{
		{header(), "192.0.2.50"},
		{header("X-Forwarded-For", "198.51.100.7, 203.0.113.9"), "203.0.113.9"},
		{header("X-Forwarded-For", "198.51.100.7, 203.0.113.9, 10.0.0.4"), "203.0.113.9"},
		{header("X-Forwarded-For", "203.0.113.9", "Forwarded", "for=198.51.100.7"), "203.0.113.9"},
		{header("X-Forwarded-For", "x"), "192.0.2.50"},
	} {
		if got := trust.Told(peer, c.h); got.String() != c.want {
			t.Errorf("%v: %v, want %s", c.h, got, c.want)
		}
	}
}

func TestPeerAndPlace(t *testing.T) {
	for remote, want := range map[string]string{
		"203.0.113.9:80": "203.0.113.9", "[2001:db8:1:2:3::9]:80": "2001:db8:1:2::", "[::ffff:203.0.113.9]:1": "203.0.113.9",
		"[fe80::1%eth0]:5": "fe80::", "@": "", "": "",
	} {
		if got := Place(Peer(remote)); got != want {
			t.Errorf("%s: %q, want %q", remote, got, want)
		}
	}
}

// Whatever a client writes in front of what the trusted proxy appends, it never
// moves its address to another one than the proxy saw, nor to a place further away.
func FuzzSource(f *testing.F) {
	for _, s := range []string{
		"", "192.0.2.1", "192.0.2.1, 10.0.0.3", `for=192.0.2.1`, `for="`, `for="x\`, `by="`, `for=1.2.3.4;proto=https,`, `;;`, "unknown", `a="b",`, `for="[::1]`,
		`a="",b="`, `a=";for=`,
	} {
		f.Add(s)
	}
	peer, client := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("203.0.113.9")
	f.Fuzz(func(t *testing.T, said string) {
		appended := said
		if said != "" {
			appended += ", "
		}
		if got := trust.Source(peer, header("X-Forwarded-For", appended+"203.0.113.9")); got.Client != client {
			t.Errorf("X-Forwarded-For %q: %v", said, got.Client)
		}
		for _, own := range []string{`for=203.0.113.9;proto=https`, `for="203.0.113.9:4711";proto=https`, `proto=https;by=10.0.0.1;for="203.0.113.9"`} {
			for _, h := range []http.Header{header("Forwarded", appended+own), header("Forwarded", said, "Forwarded", own)} {
				// Too near is allowed, when what was said can't be read.
				if got := trust.Source(peer, h); got.Client != client && got.Client != peer {
					t.Errorf("Forwarded %q: %v", h["Forwarded"], got.Client)
				}
			}
		}
		h := header("Forwarded", said, "X-Forwarded-For", "203.0.113.9")
		if got := trust.Source(peer, h); got.Client != client && got.Client != peer {
			t.Errorf("Forwarded of the client %q beside the proxy's X-Forwarded-For: %v", said, got.Client)
		}
		if got := trust.Source(client, header("Forwarded", said, "X-Forwarded-For", said)); got != (Source{Client: client}) {
			t.Errorf("a stranger moved its address by %q to %+v", said, got)
		}
	})
}
