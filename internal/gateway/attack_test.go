package gateway

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/mintmark/mintmark/internal/arrival"
)

// The path goes up byte for byte as it was matched, whatever net/url thinks of its
// characters.
func TestPathIsNotRewritten(t *testing.T) {
	r := newRig(t, service(server(t, echo)))
	for _, path := range []string{`/a|b%21%3Ac`, `/x"y%27z`, "/a^b%2Bc", "/[x]%40{y}", "/plain", "/a%20b%3Fc?q=|", "/"} {
		c := dial(t, r.addr)
		io.WriteString(c, "GET "+path+" HTTP/1.1\r\nHost: "+r.addr+"\r\nAuthorization: Bearer good\r\n\r\n")
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(resp.Body)
		if resp.StatusCode != 200 || decode(t, string(b)).URI != path {
			t.Errorf("%s: status %d, upstream saw %s", path, resp.StatusCode, b)
		}
	}
}

func dial(t *testing.T, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(5 * time.Second))
	return c
}

// Asking for another protocol does not end the watch over framing: only a tunnel
// does.
func TestFramingIsWatchedAfterAnUpgradeThatWasNone(t *testing.T) {
	const auth = "Host: x\r\nAuthorization: Bearer good\r\n"
	ambiguous := "POST / HTTP/1.1\r\n" + auth + "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n"
	for name, first := range map[string]string{
		"upgrade": "GET /1 HTTP/1.1\r\n" + auth + "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
		"h2c":     "GET /1 HTTP/1.1\r\n" + auth + "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAA\r\n\r\n",
		"preface": "PRI * HTTP/2.0\r\n\r\n",
	} {
		r := newRig(t, service(server(t, echo)))
		c := dial(t, r.addr)
		io.WriteString(c, first)
		br := bufio.NewReader(c)
		if resp, err := http.ReadResponse(br, nil); err == nil {
			io.Copy(io.Discard, resp.Body)
			if name == "preface" && resp.StatusCode < 400 {
				t.Errorf("preface: %d", resp.StatusCode)
			}
		}
		io.WriteString(c, ambiguous)
		if resp, err := http.ReadResponse(br, nil); err == nil && resp.StatusCode < 400 {
			t.Errorf("after %s an ambiguous request was served: %d", name, resp.StatusCode)
		}
	}
	r := newRig(t, service(server(t, echo)))
	if code := raw(t, r.addr, "POST / HTTP/1.0\r\nConnection: keep-alive\r\n"+auth+"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"); code == 200 {
		t.Errorf("chunks in HTTP/1.0: %d", code)
	}
}

// HTTP/2 connections count like others, and are counted out when they end.
func TestConnectionsAreBoundedInHTTP2(t *testing.T) {
	cert := httptest.NewUnstartedServer(nil)
	cert.StartTLS()
	tlsConfig := &tls.Config{Certificates: cert.TLS.Certificates}
	cert.Close()
	r := newRig(t, service(server(t, echo)), func(_ *Config, s *arrival.ServerConfig) { s.TLS, s.MaxConns = tlsConfig, 3 })
	open := func() (*tls.Conn, error) {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		d := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}}}
		c, err := d.DialContext(ctx, "tcp", r.addr)
		if err != nil {
			return nil, err
		}
		return c.(*tls.Conn), nil
	}
	var held []*tls.Conn
	for range 3 {
		c, err := open()
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, c)
	}
	if c, err := open(); err == nil {
		c.Close()
		t.Error("a fourth connection was taken")
	}
	for _, c := range held {
		c.Close()
	}
	for deadline := time.Now().Add(10 * time.Second); ; {
		c, err := open()
		if err == nil {
			c.Close()
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("connections that ended still count")
		}
		time.Sleep(5 * time.Millisecond)
	}
}
