package upstream

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/mintmark/mintmark/internal/epoch"
)

// A server that answers before it has read the request must not see what its caller
// puts into the same header afterwards: the next client's.
func TestEarlyAnswerLeavesTheHeaderAlone(t *testing.T) {
	s := httptest.NewUnstartedServer(nil)
	s.StartTLS()
	cert, roots := s.TLS.Certificates, x509.NewCertPool()
	roots.AddCert(s.Certificate())
	s.Close()
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: cert, NextProtos: []string{"http/1.1"}})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				one := make([]byte, 1)
				if _, err := c.Read(one); err != nil { // a byte of the first record
					return
				}
				io.WriteString(c, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
				io.Copy(io.Discard, c)
			}()
		}
	}()
	p, err := New(Config{TLS: &tls.Config{RootCAs: roots, ServerName: "example.com"}}).Pool("s/v1", &epoch.Release{
		Name: "v1", Upstreams: []epoch.Upstream{{URL: "https://" + l.Addr().String()}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for range 8 {
		req := request("GET", "/", nil)
		values := make([]string, 0, 1000)
		for range 1000 {
			values = append(values, "0123456789012345678901234567890123456789")
		}
		req.Header = http.Header{"X-A": values[:500:500], "X-B": values[500:]}
		resp, err := p.Do(req, &Options{Extra: []Field{{"X-C", "c"}}})
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		for i := range values {
			values[i] = "another client's"
		}
	}
}
