package gateway

import (
	"bufio"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/mintmark/mintmark/internal/epoch"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/web"
)

// FuzzFraming checks that what framing passes is read by net/http alike: it must
// never take for the start of a message what net/http takes for a body's middle.
func FuzzFraming(f *testing.F) {
	f.Add("GET / HTTP/1.1\r\nHost: x\r\n\r\n", uint8(3))
	f.Add("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabcGET /2 HTTP/1.1\r\nHost: x\r\n\r\n", uint8(7))
	f.Add("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\nX: y\r\n\r\n", uint8(1))
	f.Add("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n", uint8(200))
	f.Fuzz(func(t *testing.T, stream string, step uint8) {
		var fr framing
		passed := 0
		for at := 0; at < len(stream) && !fr.broken; {
			n := min(int(step)+1, len(stream)-at)
			k := fr.feed([]byte(stream[at : at+n]))
			if k < n && !fr.broken {
				t.Fatalf("%d of %d passed and not broken", k, n)
			}
			at += n
			passed += k
		}
		if fr.state == inRaw {
			return
		}
		br := bufio.NewReader(strings.NewReader(stream[:passed]))
		for {
			req, err := http.ReadRequest(br)
			if err != nil {
				break
			}
			if len(req.Header["Content-Length"]) > 1 || len(req.TransferEncoding) > 1 {
				t.Fatalf("ambiguous head passed: %v", req.Header)
			}
			if _, err := io.Copy(io.Discard, req.Body); err != nil {
				return // the body is not whole, or both refuse it
			}
		}
		// net/http read whole messages up to here: framing must wait for a head.
		if br.Buffered() == 0 && !fr.broken && len(fr.line) == 0 && !fr.head.first && fr.state != inHead && !unfinished(stream[:passed]) {
			t.Errorf("state %d after whole messages", fr.state)
		}
	})
}

// unfinished reports whether net/http, too, wants more of the last message.
func unfinished(s string) bool {
	br := bufio.NewReader(strings.NewReader(s))
	for {
		req, err := http.ReadRequest(br)
		if err != nil {
			return err == io.ErrUnexpectedEOF
		}
		if _, err := io.Copy(io.Discard, req.Body); err != nil {
			return true
		}
	}
}

// FuzzStrip checks that no spelling of a reserved name stays, and that what was
// taken away comes back.
func FuzzStrip(f *testing.F) {
	for _, s := range []string{"Mintmark-Token-Subject", "mintmark_token_id", "X_Forwarded-For", "x-auth", "Accept", "DPOP"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		h := http.Header{name: {"forged"}}
		e := edit{h: h}
		e.strip(nil)
		if identity.Reserved(name) && len(h) > 0 {
			t.Errorf("%q stayed", name)
		}
		e.rewind()
		if len(h) != 1 {
			t.Errorf("rewind lost %q", name)
		}
	})
}

// FuzzPath checks that a transformed path that goes upstream has one reading.
func FuzzPath(f *testing.F) {
	f.Add("/api/a%20b", "/api", "/v2")
	f.Add("/api", "/api", "")
	f.Add("/a/../b", "", "/x/")
	f.Fuzz(func(t *testing.T, path, strip, add string) {
		if !epoch.PathOK(path) || add != "" && !epoch.PathOK(add) {
			return
		}
		out := rewrite(path, &epoch.Transform{StripPrefix: strip, AddPrefix: add})
		if !epoch.PathOK(out) {
			return // refused by direct
		}
		d, err := url.PathUnescape(out)
		if err != nil {
			return
		}
		u := url.URL{Path: d, RawPath: out}
		if u.EscapedPath() != out {
			t.Errorf("%q goes out as %q", out, u.EscapedPath())
		}
	})
}

// FuzzSafeValue checks that encoded values fit a header and can be decoded.
func FuzzSafeValue(f *testing.F) {
	f.Add("alice")
	f.Add("a\r\nX: y")
	f.Add(" 100% \x00é")
	f.Fuzz(func(t *testing.T, s string) {
		out := web.SafeValue(s)
		for i := range len(out) {
			if out[i] < ' ' || out[i] > '~' {
				t.Fatalf("%q → %q", s, out)
			}
		}
		if back, err := url.PathUnescape(out); err != nil || back != s {
			t.Errorf("%q → %q → %q, %v", s, out, back, err)
		}
	})
}
