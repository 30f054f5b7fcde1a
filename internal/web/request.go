package web

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"net/http"
	"strings"
)

type requestKey struct{}

// request is what middleware knows about a request.
type request struct{ id, traceparent string }

// RequestID returns the id that Identify gave the request; "" without it.
func RequestID(ctx context.Context) string {
	r, _ := ctx.Value(requestKey{}).(request)
	return r.id
}

// Traceparent returns the request's W3C trace context to send onward; "" without
// Identify.
func Traceparent(ctx context.Context) string {
	r, _ := ctx.Value(requestKey{}).(request)
	return r.traceparent
}

// Identify gives each request an id, answered as X-Request-Id, and a W3C trace
// context: the caller's when it is well-formed, else a new one that is not
// sampled. The caller's own X-Request-Id is taken only when it is short and
// plain, so that nobody writes into our logs.
func Identify(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		known := request{id: r.Header.Get("X-Request-Id"), traceparent: r.Header.Get("Traceparent")}
		if !plain(known.id) {
			known.id = strings.ToLower(rand.Text())
		}
		if !ValidTraceparent(known.traceparent) {
			known.traceparent = newTraceparent()
		}
		w.Header().Set("X-Request-Id", known.id)
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), requestKey{}, known)))
	})
}

func plain(id string) bool {
	if len(id) < 8 || len(id) > 64 {
		return false
	}
	for _, c := range []byte(id) {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return true
}

func newTraceparent() string {
	var b [24]byte
	_, _ = rand.Read(b[:]) // never fails (Go 1.24)
	return "00-" + hex.EncodeToString(b[:16]) + "-" + hex.EncodeToString(b[16:]) + "-00"
}

// ValidTraceparent reports whether s is a traceparent of version 00: lower-case
// hex, ids not all zero (W3C Trace Context §3.2).
func ValidTraceparent(s string) bool {
	if len(s) != 55 || s[:3] != "00-" || s[35] != '-' || s[52] != '-' {
		return false
	}
	hexOnly := func(p string) (ok, zero bool) {
		zero = true
		for _, c := range []byte(p) {
			if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
				return false, false
			}
			zero = zero && c == '0'
		}
		return true, zero
	}
	trace, traceZero := hexOnly(s[3:35])
	span, spanZero := hexOnly(s[36:52])
	flags, _ := hexOnly(s[53:])
	return trace && span && flags && !traceZero && !spanZero
}
