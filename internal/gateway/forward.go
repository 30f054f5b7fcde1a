package gateway

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/arrival"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/upstream"
	"github.com/mintmark/mintmark/internal/web"
)

var copyBuffers = sync.Pool{New: func() any { b := make([]byte, 32<<10); return &b }}

// forward sends the request and brings the answer down; true means start over.
func (x *exchange) forward(ctx context.Context, to *destination, rv *routeView) (again bool) {
	if x.out.Body != http.NoBody && x.r.ProtoMajor == 1 {
		// Else net/http would read the whole body before it lets an answer out,
		// while the upload holds the body.
		http.NewResponseController(x.w).EnableFullDuplex()
	}
	x.watch()
	resp, err := to.pool.Do(&x.out, &x.opts)
	if err != nil {
		if !errors.Is(err, errMoved) {
			x.release(0)
		}
		x.clean = errors.Is(err, errRefused) || errors.Is(err, errMoved)
		x.unwatch()
		return x.failed(ctx, to, err)
	}
	x.g.count(x, mintmark.CodeNone)
	x.answered(resp.StatusCode)
	to.answered(resp.StatusCode)
	x.hints()
	if resp.StatusCode == http.StatusSwitchingProtocols {
		x.clean = false
		x.tunnel(ctx, resp)
		return false
	}
	ok := x.answer(ctx, resp, rv)
	resp.Body.Close()
	// An upload may outlast the answer, and refers to the exchange until then.
	x.clean = ok && x.out.Body == http.NoBody
	x.unwatch()
	if !ok {
		// The head is out: only an aborted connection tells the client that what
		// it has is not all.
		panic(http.ErrAbortHandler)
	}
	return false
}

// release lets go of a body that may still be coming in, so that it cannot hold the
// handler: a server may answer, or be lost, before it has read all.
func (x *exchange) release(after time.Duration) {
	if x.out.Body != http.NoBody {
		http.NewResponseController(x.w).SetReadDeadline(time.Now().Add(after))
	}
}

// failed answers for an exchange that brought no response.
func (x *exchange) failed(ctx context.Context, to *destination, err error) (again bool) {
	var tooLarge *http.MaxBytesError
	switch {
	case errors.Is(err, errMoved):
		return true
	case errors.Is(err, errRefused):
		x.refuse(x.d.Verdict.Code)
	case errors.Is(err, errCut):
		x.g.decider.again(&x.d)
		code := x.d.Verdict.Code
		if code == mintmark.CodeNone || code == mintmark.CodeStateUnknown {
			code = mintmark.CodeRevoked
		}
		x.refuse(code)
	case errors.Is(err, arrival.ErrGone), x.r.Context().Err() != nil:
		// The client is gone: nobody to answer, but the use was made.
		x.g.count(x, mintmark.CodeNone)
		x.status = 499
		panic(http.ErrAbortHandler)
	case errors.As(err, &tooLarge):
		x.refuse(mintmark.CodeTooLarge)
	case errors.Is(err, upstream.ErrRequestBody):
		x.refuse(mintmark.CodeInvalidRequest)
	default:
		to.answered(0)
		x.g.unavailable(ctx, "upstream failed", x, err)
		x.refuse(mintmark.CodeUpstream)
	}
	return false
}

// hints tells the client which token was meant and when to renew it.
func (x *exchange) hints() {
	h, d := x.w.Header(), &x.d
	if d.Token == nil {
		return
	}
	// net/http copies the values when the head goes out, which is before the exchange
	// is used again.
	v := &x.hint
	v[0] = web.SafeValue(string(d.Token.ID))
	h[identity.TokenID] = v[0:1:1]
	if d.Verdict.RenewAfter >= 0 {
		v[1] = strconv.FormatInt(d.Verdict.RenewAfter, 10)
		h[identity.RenewAfter] = v[1:2:2]
	}
	if d.Verdict.MustRenew {
		v[2] = "true"
		h[identity.MustRenew] = v[2:3:3]
	}
}

// answer copies the response down; false when it broke off.
func (x *exchange) answer(ctx context.Context, resp *http.Response, rv *routeView) bool {
	cleanResponse(resp.Header)
	for _, n := range rv.response.remove {
		delete(resp.Header, n)
	}
	h := x.w.Header()
	for name, values := range resp.Header {
		h[name] = values
	}
	for _, s := range rv.response.set {
		h[s[0]] = []string{s[1]}
	}
	x.status = resp.StatusCode
	n, err := relay(x.w, resp, x.r)
	x.sent = n
	x.met.cut = err != nil && !errors.Is(err, arrival.ErrGone)
	if err != nil && !errors.Is(err, arrival.ErrGone) && x.over() == nil {
		x.g.unavailable(ctx, "upstream broke off", x, err)
	}
	x.release(time.Second)
	return err == nil && x.over() == nil
}

// cleanResponse removes what must not pass from the upstream: fields of that
// connection, those it names, and everything only the gateway may say.
func cleanResponse(h http.Header) {
	if c := h["Connection"]; len(c) > 0 {
		e := edit{h: h}
		e.dropNamed(c)
	}
	for name := range h {
		if hopByHop(name) || identity.Ours(name) {
			delete(h, name)
		}
	}
}

// relay writes head, body and trailers to the client. It flushes after every read
// when the answer's length is not known, so that streams flow.
func relay(w http.ResponseWriter, resp *http.Response, r *http.Request) (int64, error) {
	stream := resp.ContentLength < 0
	w.WriteHeader(resp.StatusCode)
	var flusher http.Flusher
	if stream {
		flusher, _ = w.(http.Flusher)
		if flusher != nil && resp.Body != http.NoBody {
			flusher.Flush()
		}
	}
	var n int64
	if resp.ContentLength != 0 && r.Method != http.MethodHead {
		bp := copyBuffers.Get().(*[]byte)
		defer copyBuffers.Put(bp)
		for {
			k, err := resp.Body.Read(*bp)
			if k > 0 {
				n += int64(k)
				if _, werr := w.Write((*bp)[:k]); werr != nil {
					return n, arrival.ErrGone
				}
				if flusher != nil && err == nil {
					flusher.Flush()
				}
			}
			if err == io.EOF {
				break
			}
			if err != nil {
				return n, err
			}
		}
	}
	if len(resp.Trailer) > 0 {
		h := w.Header()
		for name, values := range resp.Trailer {
			if !identity.Ours(name) && !hopByHop(name) && name != "Content-Length" {
				h[http.TrailerPrefix+name] = values
			}
		}
		if f, ok := w.(http.Flusher); ok && n == 0 {
			f.Flush() // forces chunked coding, which trailers need
		}
	}
	return n, nil
}
