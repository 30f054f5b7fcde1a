package framing

import (
	"bufio"
	"io"
	"net/http"
	"strings"
	"testing"
)

// FuzzStream checks that what framing passes is read by net/http alike: it must
// never take for the start of a message what net/http takes for a body's middle.
func FuzzStream(f *testing.F) {
	f.Add("GET / HTTP/1.1\r\nHost: x\r\n\r\n", uint8(3))
	f.Add("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabcGET /2 HTTP/1.1\r\nHost: x\r\n\r\n", uint8(7))
	f.Add("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\nX: y\r\n\r\n", uint8(1))
	f.Add("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n", uint8(200))
	f.Fuzz(func(t *testing.T, stream string, step uint8) {
		fr := New(false)
		passed := 0
		for at := 0; at < len(stream) && !fr.broken; {
			n := min(int(step)+1, len(stream)-at)
			k := fr.Feed([]byte(stream[at : at+n]))
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

// HTTP/2 is spoken from the first byte on, by its whole preface, or not at all: after
// anything else net/http goes on reading HTTP/1, which must not go unseen.
func TestPreface(t *testing.T) {
	const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
	const get = "GET / HTTP/1.1\r\nHost: x\r\n\r\n"
	for _, c := range []struct {
		stream string
		h2c    bool
		raw    bool
	}{
		{preface, true, true},
		{preface + "\x00\n\n", true, true},
		{preface, false, false},
		{get + preface, true, false},
		{"\r\n" + preface, true, false},
		{"PRI * HTTP/2.0\r\nHost: x\r\n\r\n", true, false},
		{"PRI * HTTP/2.0\r\n\r\n" + get, true, false},
		{"PRI * HTTP/2.0\r\n\r\nSM\r\nX: y\r\n\r\n", true, false},
	} {
		for step := 1; step <= len(c.stream); step++ {
			f := New(c.h2c)
			for at := 0; at < len(c.stream) && !f.Broken(); at += step {
				f.Feed([]byte(c.stream[at:min(at+step, len(c.stream))]))
			}
			if f.Raw() != c.raw || f.Broken() == c.raw {
				t.Fatalf("%q, h2c %v, by %d: raw %v, broken %v", c.stream, c.h2c, step, f.Raw(), f.Broken())
			}
		}
	}
}
