package web

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
)

// Secure sets the headers that every answer to a browser carries: no framing, no
// sniffing, no referrer, and a content policy without inline script. HSTS is set
// only on TLS.
func Secure(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Content-Security-Policy",
			"default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
		if r.TLS != nil {
			h.Set("Strict-Transport-Security", "max-age=31536000")
		}
		next.ServeHTTP(w, r)
	})
}

// CSRF protects forms: it refuses unsafe requests that a browser says come from
// another origin, and gives and checks a token bound to the visitor's cookie. Both
// must hold. The zero value is not usable.
type CSRF struct {
	key    []byte
	origin *http.CrossOriginProtection
}

// NewCSRF returns protection under key, at least 16 random bytes.
func NewCSRF(key []byte) *CSRF { return &CSRF{key: key, origin: http.NewCrossOriginProtection()} }

// Token returns the form token for a visitor, named by the value of the cookie
// that identifies the visit.
func (c *CSRF) Token(visit string) string {
	m := hmac.New(sha256.New, c.key)
	m.Write([]byte("csrf\x00" + visit))
	return base64.RawURLEncoding.EncodeToString(m.Sum(nil))
}

// Check reports whether an unsafe request may go on: same origin, and token is
// the one given to this visit.
func (c *CSRF) Check(r *http.Request, visit, token string) bool {
	return visit != "" && c.origin.Check(r) == nil && hmac.Equal([]byte(token), []byte(c.Token(visit)))
}
