package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync"
	"time"

	"github.com/mintmark/mintmark/internal/arrival"
	"github.com/mintmark/mintmark/internal/epoch"
	"github.com/mintmark/mintmark/internal/gateway"
	"github.com/mintmark/mintmark/internal/upstream"
)

// proxy is one of the proxies in Go that check nothing, until ctx is over.
func proxy(ctx context.Context, kind, listen, to string) error {
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	switch kind {
	case "bare":
		set := upstream.New(upstream.Config{})
		p, err := set.Pool("bench/v1", &epoch.Release{Upstreams: []epoch.Upstream{{URL: to}}})
		if err != nil {
			return err
		}
		return arrival.NewServer(arrival.ServerConfig{Handler: &gateway.Bare{Pool: p}}).Run(ctx, l)
	case "reverseproxy":
		u, err := url.Parse(to)
		if err != nil {
			return err
		}
		s := &http.Server{Handler: reverseProxy(u), ReadHeaderTimeout: 10 * time.Second}
		context.AfterFunc(ctx, func() { s.Close() })
		return s.Serve(l)
	}
	return fmt.Errorf("no proxy %q", kind)
}

// reverseProxy is the standard library's with a connection pool, pooled buffers
// and a rewrite that adds nothing.
func reverseProxy(to *url.URL) http.Handler {
	return &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host = to.Scheme, to.Host
		},
		Transport: &http.Transport{
			MaxIdleConns: 1024, MaxIdleConnsPerHost: 1024, IdleConnTimeout: time.Minute, DisableCompression: true,
		},
		BufferPool: &buffers{},
	}
}

// buffers is an httputil.BufferPool.
type buffers struct{ pool sync.Pool }

func (b *buffers) Get() []byte {
	if p, ok := b.pool.Get().(*[]byte); ok {
		return *p
	}
	return make([]byte, 32<<10)
}

func (b *buffers) Put(p []byte) { b.pool.Put(&p) }
