package oauth

import (
	"encoding/json"
	"strconv"
	"strings"

	"github.com/mintmark/mintmark"
)

// Refusal is what a resource server says to a client whose request it refuses.
// It is made from the code alone: never which check passed, never a cause from
// inside.
type Refusal struct {
	Code  mintmark.Code
	Realm string
	// Scope is what the route needs, for scope_insufficient.
	Scope []string
	// ACR and MaxAge (seconds; 0 is absent) are what the route needs, for
	// authentication_insufficient (RFC 9470 §3).
	ACR    []string
	MaxAge int64
	// Scheme is how the token was presented: NoScheme challenges for both.
	Scheme Scheme
	// Bound says that only DPoP is accepted here.
	Bound bool
	// Metadata is the URL of the protected resource metadata (RFC 9728 §5.1).
	Metadata string
}

// proofAlgs are the algorithms of proofs, for challenges (RFC 9449 §7.1).
const proofAlgs = "ES256 ES384 ES512 EdDSA PS256 RS256"

// Challenge returns the values for WWW-Authenticate, one a scheme; none for
// refusals that no other token would mend.
func (r Refusal) Challenge() []string {
	code, ok := r.errorCode()
	if !ok {
		return nil
	}
	schemes := []Scheme{Bearer, DPoP}
	switch {
	case r.Bound || r.Code == mintmark.CodeUseNonce || r.Scheme == DPoP:
		schemes = schemes[1:]
	case r.Scheme == Bearer && code != "":
		schemes = schemes[:1]
	}
	out := make([]string, 0, len(schemes))
	for _, s := range schemes {
		out = append(out, r.challenge(s, code))
	}
	return out
}

// errorCode maps to RFC 6750 §3.1, RFC 9449 §7.1 and RFC 9470 §3; false for
// refusals without a challenge.
func (r Refusal) errorCode() (ErrorCode, bool) {
	switch r.Code {
	case mintmark.CodeCredentialsMissing:
		return "", true
	case mintmark.CodeInvalidRequest:
		return InvalidRequest, true
	case mintmark.CodeScope:
		return InsufficientScope, true
	case mintmark.CodeAuthentication:
		return InsufficientUserAuth, true
	case mintmark.CodeUseNonce:
		return UseDPoPNonce, true
	case mintmark.CodeBinding:
		if r.Scheme == DPoP {
			return InvalidDPoPProof, true
		}
		return InvalidToken, true
	}
	return InvalidToken, r.Code.Status() == 401
}

func (r Refusal) challenge(s Scheme, code ErrorCode) string {
	var b strings.Builder
	b.WriteString(s.String())
	sep := " "
	param := func(name, value string) {
		if value == "" {
			return
		}
		b.WriteString(sep)
		b.WriteString(name)
		b.WriteString(`="`)
		b.WriteString(Printable(value, 1000))
		b.WriteString(`"`)
		sep = ", "
	}
	param("realm", r.Realm)
	param("error", string(code))
	switch code {
	case InsufficientScope:
		param("scope", strings.Join(r.Scope, " "))
	case InsufficientUserAuth:
		param("acr_values", strings.Join(r.ACR, " "))
		if r.MaxAge > 0 {
			param("max_age", strconv.FormatInt(r.MaxAge, 10))
		}
	}
	if s == DPoP {
		param("algs", proofAlgs)
	}
	param("resource_metadata", r.Metadata)
	return b.String()
}

// titles are the phrases of the statuses that codes have (RFC 9110 §15): this
// layer does not know net/http.
var titles = map[int]string{
	200: "OK", 400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found",
	429: "Too Many Requests", 502: "Bad Gateway", 503: "Service Unavailable",
}

// Problem returns the body: problem details (RFC 9457) with the stable code.
func (r Refusal) Problem() []byte {
	status := r.Code.Status()
	b, _ := json.Marshal(struct {
		Title  string        `json:"title"`
		Status int           `json:"status"`
		Code   mintmark.Code `json:"code"`
	}{titles[status], status, r.Code}) // strings and a number always marshal
	return b
}
