package gateway

import (
	"net/http"

	"github.com/mintmark/mintmark/internal/upstream"
)

// Bare is a proxy of the same engine that checks and counts nothing: what
// benchmarks compare the gateway with. It must never face clients.
type Bare struct {
	Pool *upstream.Pool
}

// ServeHTTP implements http.Handler.
func (b *Bare) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e := edit{h: r.Header}
	for name := range e.h {
		if hopByHop(name) {
			e.del(name)
		}
	}
	out := r.WithContext(r.Context())
	out.RequestURI = ""
	if r.ContentLength == 0 {
		out.Body = http.NoBody
	}
	resp, err := b.Pool.Do(out, &upstream.Options{})
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	defer resp.Body.Close()
	cleanResponse(resp.Header)
	h := w.Header()
	for name, values := range resp.Header {
		h[name] = values
	}
	if _, err := relay(w, resp, r); err != nil {
		panic(http.ErrAbortHandler)
	}
}
