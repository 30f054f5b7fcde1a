package gateway

import (
	"bufio"
	"bytes"
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"testing"

	"github.com/mintmark/mintmark/internal/arrival"
	"github.com/mintmark/mintmark/internal/epoch"
	"github.com/mintmark/mintmark/internal/upstream"
)

// cheapServer answers every bodiless request at next to no cost, as a peer in
// another process would.
func cheapServer(b *testing.B) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { l.Close() })
	answer := []byte("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello")
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				br := bufio.NewReader(c)
				for {
					line, err := br.ReadSlice('\n')
					if err != nil {
						return
					}
					if len(line) == 2 {
						c.Write(answer)
					}
				}
			}()
		}
	}()
	return "http://" + l.Addr().String()
}

// hammer sends b.N requests over a few kept connections, raw.
func hammer(b *testing.B, addr string) {
	text := []byte("GET /orders/17?x=1 HTTP/1.1\r\nHost: orders.test\r\nAuthorization: Bearer good\r\nAccept: */*\r\nUser-Agent: bench\r\nX-Request-Id: 0123456789abcdef\r\n\r\n")
	b.ReportAllocs()
	b.SetParallelism(8)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			b.Error(err)
			return
		}
		defer c.Close()
		br := bufio.NewReader(c)
		for pb.Next() {
			c.Write(text)
			for first := true; ; first = false {
				line, err := br.ReadSlice('\n')
				if err != nil || first && !bytes.HasPrefix(line, []byte("HTTP/1.1 200")) {
					b.Errorf("%q %v", line, err)
					return
				}
				if len(line) == 2 {
					break
				}
			}
			if _, err := br.Discard(5); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

// BenchmarkProxy compares, in one run, the gateway with everything on, the bare
// proxy of the same engine, and the standard library's reverse proxy.
func BenchmarkProxy(b *testing.B) {
	up := cheapServer(b)
	b.Run("gateway", func(b *testing.B) {
		r := newRig(b, service(up))
		hammer(b, r.addr)
	})
	b.Run("bare", func(b *testing.B) {
		set := upstream.New(upstream.Config{})
		p, err := set.Pool("s/v1", &epoch.Release{Upstreams: []epoch.Upstream{{URL: up}}})
		if err != nil {
			b.Fatal(err)
		}
		s := arrival.NewServer(arrival.ServerConfig{Handler: &Bare{Pool: p}})
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() { s.Run(ctx, l); close(done) }()
		hammer(b, l.Addr().String())
		b.StopTimer()
		cancel()
		<-done
	})
	b.Run("reverseproxy", func(b *testing.B) {
		u, _ := url.Parse(up)
		p := &httputil.ReverseProxy{
			Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(u) },
			Transport: &http.Transport{MaxIdleConnsPerHost: 256, DisableCompression: true},
		}
		s := httptest.NewServer(p)
		defer s.Close()
		hammer(b, s.Listener.Addr().String())
	})
}
