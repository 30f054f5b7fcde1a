package gateway

import (
	"encoding/json"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/admission"
	"github.com/mintmark/mintmark/internal/bus"
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
	r.Challenges = challenges(d, code, realm, metadata)
	if code == mintmark.CodeUseNonce {
		r.Nonce = d.Nonce
	}
	p := struct {
		Type   string        `json:"type"`
		Title  string        `json:"title"`
		Status int           `json:"status"`
		Code   mintmark.Code `json:"code"`
	}{"about:blank", http.StatusText(r.Status), r.Status, code}
	r.Body, _ = json.Marshal(p) // plain strings: cannot fail
	return r
}

// challenges builds the challenge of a 400, 401 or 403 (RFC 6750 §3): the scheme
// that was used, or, without credentials, each that would do.
func challenges(d *Decision, code mintmark.Code, realm, metadata string) []string {
	var params strings.Builder
	errorCode := ""
	switch code {
	case mintmark.CodePolicyRefused, mintmark.CodeNoRoute:
		return nil
	case mintmark.CodeCredentialsMissing:
	case mintmark.CodeInvalidRequest:
		errorCode = "invalid_request"
	case mintmark.CodeScope:
		errorCode = "insufficient_scope"
	case mintmark.CodeAuthentication:
		errorCode = "insufficient_user_authentication"
	case mintmark.CodeUseNonce:
		errorCode = "use_dpop_nonce"
	default:
		if code.Status() != http.StatusUnauthorized {
			return nil
		}
		errorCode = "invalid_token"
	}
	params.WriteString(` realm="` + quoted(realm) + `"`)
	if errorCode != "" {
		params.WriteString(`, error="` + errorCode + `"`)
	}
	if code == mintmark.CodeScope && len(d.Verdict.Scopes) > 0 {
		params.WriteString(`, scope="` + quoted(strings.Join(d.Verdict.Scopes, " ")) + `"`)
	}
	if code == mintmark.CodeAuthentication {
		if len(d.Verdict.ACR) > 0 {
			params.WriteString(`, acr_values="` + quoted(strings.Join(d.Verdict.ACR, " ")) + `"`)
		}
		if d.Verdict.MaxAge > 0 {
			params.WriteString(`, max_age="` + strconv.FormatInt(d.Verdict.MaxAge, 10) + `"`)
		}
	}
	if metadata != "" {
		params.WriteString(`, resource_metadata="` + quoted(metadata) + `"`)
	}
	const algs = `, algs="ES256 ES384 ES512 RS256 PS256 EdDSA"`
	bound := ""
	if d.Verdict.Route != nil {
		bound = d.Verdict.Route.Bound
	}
	switch {
	case d.req.Scheme == admission.SchemeDPoP, code == mintmark.CodeUseNonce, bound == "dpop":
		return []string{"DPoP" + params.String() + algs}
	case bound == "any":
		return []string{"DPoP" + params.String() + algs, "Bearer" + params.String()}
	}
	return []string{"Bearer" + params.String()}
}

// quoted makes s fit a quoted-string (RFC 9110 §5.6.4).
func quoted(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' || r == '"' || r == '\\' {
			return '_'
		}
		return r
	}, s)
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
	x.g.count(x, code)
	if code == mintmark.CodeStateUnknown && x.d.RetryAfter == 0 {
		x.d.RetryAfter = time.Second
	}
	metadata := ""
	if r := x.d.Verdict.Route; r != nil && x.r.Host != "" {
		metadata = x.facts.scheme + "://" + x.r.Host + metadataPath
	}
	ref := RefusalOf(&x.d, code, x.g.cfg.Realm, metadata)
	x.hints()
	x.status = ref.Status
	ref.Write(x.w)
}

// refusal is the record of a refused request.
func (x *exchange) refusal(code mintmark.Code, now time.Time) bus.Refusal {
	r := bus.Refusal{At: now.UnixMilli(), Code: code, Trace: traceID(x.trace), Address: truncated(x.facts.peer)}
	if x.d.Verdict.Route != nil {
		r.Route = x.d.Verdict.Route.ID
	}
	if t := x.d.Token; t != nil {
		r.Token, r.Issuer = t.ID, t.Issuer
	}
	return r
}

// truncated is an address as far as it may be recorded: /24 or /48.
func truncated(a netip.Addr) string {
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
