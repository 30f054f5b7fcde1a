package gateway

import (
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/admission"
	"github.com/mintmark/mintmark/internal/bus"
	"github.com/mintmark/mintmark/internal/oauth"
)

// Refusal is what a refused client is told: a status, a challenge where RFC 6750,
// 9449 or 9470 has one, and problem details. It never says which check inside
// failed beyond the code, and never why a part of ours did.
type Refusal struct {
	Status int
	// Challenges are the values of WWW-Authenticate, in order.
	Challenges []string
	// RetryAfter is in whole seconds; 0 is none.
	RetryAfter int64
	Nonce      string // DPoP-Nonce
	Body       []byte // application/problem+json
}

// RefusalOf returns what to answer for a decision with code. metadata is the URL
// of the protected resource's metadata (RFC 9728 §5.1), or "".
func RefusalOf(d *Decision, code mintmark.Code, realm, metadata string) Refusal {
	r := Refusal{Status: code.Status()}
	if s := d.RetryAfter; s > 0 && (r.Status == http.StatusServiceUnavailable || r.Status == http.StatusTooManyRequests) {
		r.RetryAfter = int64((s + time.Second - 1) / time.Second)
	}
	o := oauth.Refusal{
		Code: code, Realm: realm, Scope: d.Verdict.Scopes, ACR: d.Verdict.ACR, MaxAge: d.Verdict.MaxAge,
		Metadata: metadata, Bound: d.Verdict.Route != nil && d.Verdict.Route.Bound == "dpop",
	}
	switch d.req.Scheme {
	case admission.SchemeDPoP:
		o.Scheme = oauth.DPoP
	case admission.SchemeBearer, admission.SchemeAPIKey:
		o.Scheme = oauth.Bearer
	}
	r.Challenges = o.Challenge()
	if code == mintmark.CodeUseNonce {
		r.Nonce = d.Nonce
	}
	r.Body = o.Problem()
	return r
}

// Write sends the refusal.
func (r *Refusal) Write(w http.ResponseWriter) {
	h := w.Header()
	r.Headers(h)
	h["Content-Length"] = []string{strconv.Itoa(len(r.Body))}
	w.WriteHeader(r.Status)
	w.Write(r.Body) // the client may be gone: nothing to do
}

// Headers puts the refusal's fields into h.
func (r *Refusal) Headers(h http.Header) {
	if len(r.Challenges) > 0 {
		h["Www-Authenticate"] = r.Challenges
	}
	if r.RetryAfter > 0 {
		h["Retry-After"] = []string{strconv.FormatInt(r.RetryAfter, 10)}
	}
	if r.Nonce != "" {
		h["Dpop-Nonce"] = []string{r.Nonce}
	}
	h["Content-Type"] = []string{"application/problem+json"}
	h["Cache-Control"] = []string{"no-store"}
}

// refuse answers with code and accounts for it.
func (x *exchange) refuse(code mintmark.Code) {
	x.met.code = code
	x.g.count(x, code)
	if code == mintmark.CodeStateUnknown && x.d.RetryAfter == 0 {
		x.d.RetryAfter = time.Second
	}
	metadata := ""
	if r := x.d.Verdict.Route; r != nil && x.r.Host != "" {
		metadata = x.facts.Scheme + "://" + x.r.Host + metadataPath
	}
	ref := RefusalOf(&x.d, code, x.g.cfg.Realm, metadata)
	x.hints()
	x.status = ref.Status
	ref.Write(x.w)
}

// refusal is the record of a refused request.
func (x *exchange) refusal(code mintmark.Code, now time.Time) bus.Refusal {
	r := bus.Refusal{At: now.UnixMilli(), Code: code, Trace: traceID(x.trace), Address: Truncated(x.facts.Peer)}
	if x.d.Verdict.Route != nil {
		r.Route = x.d.Verdict.Route.ID
	}
	if t := x.d.Token; t != nil {
		r.Token, r.Issuer = t.ID, t.Issuer
	}
	return r
}

// Truncated is an address as far as it may be recorded: /24 or /48.
func Truncated(a netip.Addr) string {
	bits := 48
	if a = a.Unmap(); a.Is4() {
		bits = 24
	}
	p, err := a.Prefix(bits)
	if err != nil {
		return ""
	}
	return p.String()
}
