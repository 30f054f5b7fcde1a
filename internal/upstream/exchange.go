package upstream

import (
	"errors"
	"net/http"
	"time"
)

// Errors that callers decide by. Others are wrapped causes from the network.
var (
	// ErrNoServer: the release has no server that may be tried.
	ErrNoServer = errors.New("upstream: no server available")
	// ErrBusy: the server has as many requests in flight as it may have.
	ErrBusy = errors.New("upstream: too many requests in flight")
	// ErrResponse: the server answered something that is not strict HTTP.
	ErrResponse = errors.New("upstream: malformed response")
	// ErrTimeout: the server was silent for longer than the route allows.
	ErrTimeout = errors.New("upstream: silent for too long")
	// ErrRequestBody: the client's body could not be read to its end.
	ErrRequestBody = errors.New("upstream: request body broke off")
)

// Gate is asked immediately before the first byte of a request goes to a server,
// on each try, after a connection was obtained. Its error ends the exchange and
// is returned as it is.
type Gate interface{ Pass() error }

// Options say how one exchange goes. The zero value is usable.
type Options struct {
	// Gate is the last word; nil always passes.
	Gate Gate
	// Cord, if not nil, ends the exchange when it is pulled. Then the request's
	// context only bounds the dialling: whoever would end the context pulls the cord.
	Cord *Cord
	// Timeout bounds silence on either side of the upstream connection; 0 is
	// DefaultTimeout.
	Timeout time.Duration
	// Streaming lifts Timeout once the request is sent (gRPC), or, for
	// text/event-stream answers, once the head has come.
	Streaming bool
	// Retries is how many other tries an idempotent request without a body gets
	// after a connection failure.
	Retries int
	// Extra are further fields of the request, sent after those of its header. None
	// may be in the header too. They spare the caller the growing of a map that the
	// server has just made.
	Extra []Field
	// Trailers, if not nil, is called once the request's body was read to its end,
	// and gives the fields to send after it; the request's Trailer names them
	// beforehand. Only bodies without a declared length can have any. It may be
	// called from another goroutine, but not after the answer's body was closed,
	// unless the server answered before it had read all.
	Trailers func() http.Header
	// Informational, if not nil, gets 1xx answers other than 100 and 101.
	Informational func(code int, h http.Header)
}

// Field is one field of a request.
type Field struct{ Name, Value string }

// DefaultTimeout is how long a server may be silent when the route does not say.
const DefaultTimeout = 30 * time.Second

func (o *Options) timeout() time.Duration {
	if o.Timeout <= 0 {
		return DefaultTimeout
	}
	return o.Timeout
}

func (o *Options) pass() error {
	if o.Gate == nil {
		return nil
	}
	return o.Gate.Pass()
}

// replayable reports whether the request may be sent twice: idempotent (RFC 9110
// §9.2.2) and without a body that the first try would have consumed.
func replayable(r *http.Request) bool {
	if r.Body != nil && r.Body != http.NoBody {
		return false
	}
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace, http.MethodPut, http.MethodDelete:
		return true
	}
	return false
}

// failure wraps an error of one try and says what may be done about it.
type failure struct {
	err error
	// connection: the failure is the server's or the network's, so that another
	// server may do better; counts toward ejection.
	connection bool
	// stale: a kept connection turned out dead before any answer byte.
	stale bool
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }
