package gateway

import (
	"net/http"

	"github.com/mintmark/mintmark/internal/identity"
)

// trail has the request's trailers follow its body. They come after every check, so
// they get through one of their own: see mayTrail.
func (x *exchange) trail(rv *routeView) {
	r, out := x.r, &x.out
	if r.ContentLength >= 0 && len(r.Trailer) == 0 {
		return // only a body without a declared length can have any
	}
	for name := range r.Trailer {
		if rv.mayTrail(name) {
			if out.Trailer == nil {
				out.Trailer = http.Header{}
			}
			out.Trailer[name] = nil
		}
	}
	if len(out.Trailer) > 0 {
		out.ContentLength = -1 // HTTP/2 can have both, HTTP/1 cannot
	}
	x.opts.Trailers = func() http.Header {
		var h http.Header
		for name, values := range r.Trailer {
			if len(values) > 0 && rv.mayTrail(name) {
				if h == nil {
					h = http.Header{}
				}
				h[name] = values
			}
		}
		return h
	}
}

// mayTrail reports whether a request's trailer may go upstream: nothing that only the
// gateway may say, or that a route's transformation decides about, and nothing that
// could change how the request is framed, routed, authenticated or read (RFC 9110
// §6.5.1), in any spelling.
func (rv *routeView) mayTrail(name string) bool {
	low := identity.Normal(name)
	switch low {
	case "authorization", "connection", "cookie", "content-encoding", "content-length", "content-range", "content-type",
		"cache-control", "expect", "host", "keep-alive", "max-forwards", "pragma", "proxy-authenticate", "proxy-authorization",
		"proxy-connection", "range", "te", "trailer", "transfer-encoding", "upgrade", "traceparent", "tracestate",
		"if-match", "if-none-match", "if-modified-since", "if-unmodified-since", "if-range":
		return false
	}
	return !identity.Reserved(name) && !identity.Ours(name) && !rv.reserved[low] && !rv.request.names(low)
}

// names reports whether the change is about a field, by its normal name.
func (c *headerChange) names(low string) bool {
	for _, n := range c.remove {
		if identity.Normal(n) == low {
			return true
		}
	}
	for _, s := range c.set {
		if identity.Normal(s[0]) == low {
			return true
		}
	}
	return false
}
