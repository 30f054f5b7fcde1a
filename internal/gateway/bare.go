package gateway

import (
	"net/http"
	"sync"

	"github.com/mintmark/mintmark/internal/arrival"
	"github.com/mintmark/mintmark/internal/upstream"
)

// Bare is a proxy of the same engine that checks and counts nothing: what
// benchmarks compare the gateway with. It must never face clients.
type Bare struct {
	Pool *upstream.Pool // required
	used sync.Pool      // *passage
}

// passage is one request on its way through Bare.
type passage struct {
	out  http.Request
	opts upstream.Options
	cord upstream.Cord
}

// ServeHTTP implements http.Handler.
func (b *Bare) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p, ok := b.used.Get().(*passage)
	if !ok {
		p = new(passage)
	}
	for name := range r.Header {
		if hopByHop(name) {
			delete(r.Header, name)
		}
	}
	p.out = *r
	p.out.RequestURI, p.opts.Cord = "", nil
	if r.ContentLength == 0 {
		p.out.Body = http.NoBody
	}
	from := arrival.Of(r)
	if from.Watched(r) {
		p.opts.Cord = &p.cord
		from.Watch(&p.cord)
	}
	resp, err := b.Pool.Do(&p.out, &p.opts)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	err = b.answer(w, resp, r)
	resp.Body.Close()
	if p.opts.Cord != nil {
		from.Watch(nil)
	}
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if p.out.Body == http.NoBody {
		p.out = http.Request{}
		p.cord.Reset()
		b.used.Put(p)
	}
}

func (b *Bare) answer(w http.ResponseWriter, resp *http.Response, r *http.Request) error {
	cleanResponse(resp.Header)
	h := w.Header()
	for name, values := range resp.Header {
		h[name] = values
	}
	_, err := relay(w, resp, r)
	return err
}
