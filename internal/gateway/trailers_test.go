package gateway

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/mintmark/mintmark/internal/arrival"
	"github.com/mintmark/mintmark/internal/epoch"
	"github.com/mintmark/mintmark/internal/upstream"
)

// tellTrailers answers with the trailers that a request had.
func tellTrailers(w http.ResponseWriter, r *http.Request) {
	b, err := io.ReadAll(r.Body)
	json.NewEncoder(w).Encode(map[string]any{"body": string(b), "err": err != nil, "trailer": r.Trailer})
}

// TestRequestTrailersPass: what a client sends after its body gets to servers of every
// kind, but for what only the gateway may say, or what would change what was checked.
func TestRequestTrailersPass(t *testing.T) {
	h2c := httptest.NewUnstartedServer(http.HandlerFunc(tellTrailers))
	h2c.Config.Protocols = new(http.Protocols)
	h2c.Config.Protocols.SetUnencryptedHTTP2(true)
	h2c.Start()
	t.Cleanup(h2c.Close)
	secure := httptest.NewTLSServer(http.HandlerFunc(tellTrailers))
	t.Cleanup(secure.Close)
	for _, tc := range []struct{ kind, url string }{
		{"http", server(t, tellTrailers)},
		{"h2c", strings.Replace(h2c.URL, "http:", "h2c:", 1)},
		{"https", secure.URL},
	} {
		s := service(tc.url, epoch.Route{
			Name: "all", Path: "/*", Scopes: []string{"read"},
			Transform: &epoch.Transform{Claims: map[string]string{"sub": "X-Subject"}, Request: epoch.HeaderChange{Remove: []string{"X-Secret"}}},
		})
		r := newRig(t, s, func(c *Config, _ *arrival.ServerConfig) {
			c.Upstreams = upstream.New(upstream.Config{TLS: &tls.Config{InsecureSkipVerify: true}})
		})
		req := r.request("POST", "/x", "good")
		req.Body, req.ContentLength = io.NopCloser(strings.NewReader("body")), -1
		req.Trailer = http.Header{
			"X-Sum": {"42"}, "Mintmark-Token-Subject": {"mallory"}, "mintmark_token_subject": {"mallory"}, "X_forwarded_for": {"mallory"},
			"X-Subject": {"mallory"}, "X_subject": {"mallory"}, "Authorization": {"mallory"}, "X-Secret": {"mallory"}, "Cookie": {"mallory"},
		}
		_, body := r.do(req)
		var saw struct {
			Body    string
			Err     bool
			Trailer http.Header
		}
		if err := json.Unmarshal([]byte(body), &saw); err != nil {
			t.Fatalf("%s: %s", tc.kind, body)
		}
		if saw.Err || saw.Body != "body" || saw.Trailer.Get("X-Sum") != "42" || len(saw.Trailer) != 1 {
			t.Errorf("%s: the server saw %+v", tc.kind, saw)
		}
	}
}

// TestUndeclaredTrailersPass: HTTP/1 knows trailers that nothing announced, up to a
// server that takes them.
func TestUndeclaredTrailersPass(t *testing.T) {
	r := newRig(t, service(server(t, tellTrailers)))
	c, err := net.Dial("tcp", r.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	io.WriteString(c, "POST / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer good\r\nTransfer-Encoding: chunked\r\n\r\n"+
		"3\r\nabc\r\n0\r\nX-Sum: 42\r\nmintmark-token-subject: mallory\r\nConnection: x\r\n\r\n")
	c.SetReadDeadline(time.Now().Add(5 * time.Second))
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	b, _ := io.ReadAll(resp.Body)
	if !strings.Contains(string(b), `"X-Sum":["42"]`) || strings.Contains(string(b), "mallory") || strings.Contains(string(b), "Connection") {
		t.Errorf("%s", b)
	}
}

// TestClientGoneEndsTheExchange: a server does not go on working for a client that has
// left, whatever the client spoke.
func TestClientGoneEndsTheExchange(t *testing.T) {
	for _, h2 := range []bool{false, true} {
		began, ended := make(chan struct{}), make(chan struct{})
		up := server(t, func(_ http.ResponseWriter, req *http.Request) {
			close(began)
			select {
			case <-req.Context().Done():
				close(ended)
			case <-time.After(10 * time.Second):
			}
		})
		r := newRig(t, service(up), func(_ *Config, s *arrival.ServerConfig) { s.H2C = true })
		tr := &http.Transport{Protocols: new(http.Protocols)}
		tr.Protocols.SetHTTP1(!h2)
		tr.Protocols.SetUnencryptedHTTP2(h2)
		ctx, leave := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			if resp, err := tr.RoundTrip(r.request("GET", "/x", "good").WithContext(ctx)); err == nil {
				resp.Body.Close()
			}
		}()
		<-began
		leave()
		select {
		case <-ended:
		case <-time.After(5 * time.Second):
			t.Errorf("h2 %v: the server was not told", h2)
		}
		<-done
		eventually(t, "the exchange has ended", func() bool { return r.gateway.Open() == 0 })
		if n := r.counter.of("upstream_unavailable"); n != 0 {
			t.Errorf("h2 %v: the server was blamed", h2)
		}
		tr.CloseIdleConnections()
	}
}
