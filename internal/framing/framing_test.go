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
