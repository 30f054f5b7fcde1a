package oauth

import (
	"encoding/base64"
	"errors"
	"net/url"
	"strings"
)

// Scheme is how a credential was presented.
type Scheme uint8

// Schemes of the Authorization header.
const (
	NoScheme Scheme = iota
	Bearer          // RFC 6750
	DPoP            // RFC 9449
	Basic           // RFC 7617, for clients at the authority
)

// String returns the scheme as in a challenge.
func (s Scheme) String() string { return [...]string{"", "Bearer", "DPoP", "Basic"}[s&3] }

// Errors of ParseAuthorization.
var (
	// ErrNoCredentials: there is no header: a bare challenge (RFC 6750 §3.1).
	ErrNoCredentials = errors.New("oauth: no credentials")
	// ErrAuthorization: there is more than one, or it is malformed: 400.
	ErrAuthorization = errors.New("oauth: malformed Authorization header")
	// ErrScheme: the scheme is not spoken here: a bare challenge.
	ErrScheme = errors.New("oauth: authorization scheme not supported")
)

// ParseAuthorization reads the values of all Authorization headers of a request.
// There must be one, of one scheme and one token68 (RFC 9110 §11.2): what two
// readers could read differently is refused. It does not allocate.
func ParseAuthorization(values []string) (Scheme, string, error) {
	switch len(values) {
	case 0:
		return NoScheme, "", ErrNoCredentials
	case 1:
	default:
		return NoScheme, "", ErrAuthorization
	}
	name, rest, _ := strings.Cut(values[0], " ")
	scheme := schemeOf(name)
	if scheme == NoScheme {
		return NoScheme, "", ErrScheme
	}
	rest = strings.TrimLeft(rest, " ")
	if !token68(rest) {
		return NoScheme, "", ErrAuthorization
	}
	return scheme, rest, nil
}

func schemeOf(name string) Scheme {
	switch {
	case strings.EqualFold(name, "Bearer"):
		return Bearer
	case strings.EqualFold(name, "DPoP"):
		return DPoP
	case strings.EqualFold(name, "Basic"):
		return Basic
	}
	return NoScheme
}

func token68(s string) bool {
	body := strings.TrimRight(s, "=")
	for i := range len(body) {
		if !token68Chars[body[i]] {
			return false
		}
	}
	return body != ""
}

// token68Chars is a table because each request of a gateway brings some 700 of them.
var token68Chars = func() (t [256]bool) {
	for c := range t {
		t[c] = unreserved(byte(c)) || c == '+' || c == '/'
	}
	return t
}()

// ParseBasic reads the token68 of a Basic header into a client's id and secret,
// which are form-encoded inside (RFC 6749 §2.3.1).
func ParseBasic(token string) (id, secret string, err error) {
	b, err := base64.StdEncoding.Strict().DecodeString(token)
	if err != nil || !token68(token) { // DecodeString skips line ends
		return "", "", ErrAuthorization
	}
	rawID, rawSecret, ok := strings.Cut(string(b), ":")
	id, errID := url.QueryUnescape(rawID)
	secret, errSecret := url.QueryUnescape(rawSecret)
	if !ok || errID != nil || errSecret != nil || id == "" {
		return "", "", ErrAuthorization
	}
	return id, secret, nil
}
