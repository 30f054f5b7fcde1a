package authority

import (
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/mintmark/mintmark"
)

// maxForm bounds a form's size in bytes; maxParams the number of parameters.
const (
	maxForm   = 64 << 10
	maxParams = 64
)

// form holds parsed parameters. Every parameter but resource and audience stands
// at most once (RFC 6749 §3.1, RFC 8707 §2, RFC 8693 §2.1); empty ones count as
// absent.
type form struct{ v url.Values }

// parseForm reads parameters from a query or a body.
func parseForm(raw string) (form, error) {
	if len(raw) > maxForm {
		return form{}, refuse("invalid_request", "parameters are too long")
	}
	if strings.Count(raw, "&") >= maxParams {
		return form{}, refuse("invalid_request", "too many parameters")
	}
	v, err := url.ParseQuery(raw)
	if err != nil {
		return form{}, refuse("invalid_request", "parameters are not form-encoded")
	}
	for name, values := range v {
		for _, s := range append([]string{name}, values...) {
			if !utf8.ValidString(s) || strings.ContainsFunc(s, func(c rune) bool { return c < 0x20 && c != '\t' && c != '\n' && c != '\r' || c == 0x7f }) {
				return form{}, refuse("invalid_request", "a parameter has characters that are not allowed")
			}
		}
		if len(values) > 1 && name != "resource" && name != "audience" {
			return form{}, refuse("invalid_request", "a parameter is given twice")
		}
	}
	return form{v}, nil
}

// readForm reads the parameters of a POST.
func readForm(w http.ResponseWriter, r *http.Request) (form, error) {
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != "application/x-www-form-urlencoded" {
		return form{}, refuse("invalid_request", "want Content-Type application/x-www-form-urlencoded")
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxForm))
	if err != nil {
		return form{}, refuse("invalid_request", "parameters are too long")
	}
	return parseForm(string(body))
}

func (f form) get(name string) string { return f.v.Get(name) }

// all returns the non-empty values of a parameter that may be repeated.
func (f form) all(name string) []string {
	return slices.DeleteFunc(slices.Clone(f.v[name]), func(s string) bool { return s == "" })
}

// targets returns the resources and audiences asked for (RFC 8707, RFC 8693).
func (f form) targets() ([]string, error) {
	out := mintmark.SortedSet(append(f.all("resource"), f.all("audience")...))
	for _, s := range f.all("resource") {
		if u, err := url.Parse(s); err != nil || !u.IsAbs() || u.Fragment != "" {
			return nil, refuse("invalid_target", "resource is not an absolute URI without fragment")
		}
	}
	if len(out) > 8 {
		return nil, refuse("invalid_target", "too many resources")
	}
	return out, nil
}

// scopes returns the scopes asked for; nil when none are (RFC 6749 §3.3).
func (f form) scopes() ([]string, error) {
	raw := f.get("scope")
	if raw == "" {
		return nil, nil
	}
	out := strings.Split(raw, " ")
	if len(out) > 100 {
		return nil, refuse("invalid_scope", "too many scopes")
	}
	for _, s := range out {
		if s == "" || len(s) > 256 || strings.ContainsFunc(s, func(c rune) bool {
			return c != 0x21 && (c < 0x23 || c > 0x5b) && (c < 0x5d || c > 0x7e)
		}) {
			return nil, refuse("invalid_scope", "a scope is malformed")
		}
	}
	return mintmark.SortedSet(out), nil
}
