package upstream

import (
	"io"
	"net/http"
	"sync/atomic"
)

// peerUpload is the client's body on its way through net/http, which keeps neither
// whose failure a broken-off body was, nor a clock on it.
type peerUpload struct {
	io.ReadCloser
	b        *peerBody
	out      http.Header // trailers, by the names that were announced
	trailers func() http.Header
	broken   atomic.Pointer[error]
	closed   atomic.Bool
}

// Close implements io.Closer. What Read says from now on is no failure of the client's.
func (u *peerUpload) Close() error {
	u.closed.Store(true)
	return u.ReadCloser.Close()
}

// peerRequest makes the body of the request that goes to net/http one that it can be
// asked about; nil when there is none.
func peerRequest(out *http.Request, o *Options, b *peerBody) *peerUpload {
	if out.Body == nil || out.Body == http.NoBody {
		return nil
	}
	u := &peerUpload{ReadCloser: out.Body, b: b}
	if o.Trailers != nil && len(out.Trailer) > 0 {
		// net/http writes the values that its own map has once the body has ended.
		u.out, u.trailers = make(http.Header, len(out.Trailer)), o.Trailers
		for name := range out.Trailer {
			u.out[name] = nil
		}
	}
	out.Body, out.Trailer = u, u.out
	return u
}

// Read implements io.Reader. Bytes from the client are a sign of life.
func (u *peerUpload) Read(p []byte) (int, error) {
	n, err := u.ReadCloser.Read(p)
	if n > 0 {
		u.b.touch()
	}
	switch {
	case err == nil:
	case err != io.EOF:
		if err = bodyError(err); !u.closed.Load() {
			u.broken.Store(&err)
		}
	case u.trailers != nil:
		for name, values := range u.trailers() {
			if _, announced := u.out[name]; announced {
				u.out[name] = values
			}
		}
		u.trailers = nil
	}
	return n, err
}

// failure returns what went wrong on the client's side, if anything.
func (u *peerUpload) failure() error {
	if u == nil {
		return nil
	}
	if err := u.broken.Load(); err != nil {
		return *err
	}
	return nil
}
