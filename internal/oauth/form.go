package oauth

import (
	"net/url"
	"strings"
	"unicode/utf8"
)

// Bounds of a form.
const (
	maxParams = 64
	maxParam  = 16 << 10
)

// Form holds the parameters of a request, each given once. An empty value counts
// as omitted (RFC 6749 §3.1).
type Form struct {
	values   map[string]string
	resource []string
	audience []string
}

// ParseForm reads application/x-www-form-urlencoded text: a body or a query. A
// parameter given twice is refused (RFC 6749 §3.1), but for resource (RFC 8707
// §2) and audience (RFC 8693 §2.1), which may repeat.
func ParseForm(text string) (Form, error) {
	f := Form{values: map[string]string{}}
	if text == "" {
		return f, nil
	}
	seen := 0
	for pair := range strings.SplitSeq(text, "&") {
		if seen++; seen > maxParams {
			return Form{}, NewError(InvalidRequest, "too many parameters")
		}
		rawName, rawValue, _ := strings.Cut(pair, "=")
		name, errName := url.QueryUnescape(rawName)
		value, errValue := url.QueryUnescape(rawValue)
		if errName != nil || errValue != nil || !utf8.ValidString(name) || !utf8.ValidString(value) || strings.ContainsRune(value, 0) {
			return Form{}, NewError(InvalidRequest, "a parameter is not well-formed")
		}
		if len(value) > maxParam {
			return Form{}, NewError(InvalidRequest, "parameter "+name+" is too long")
		}
		switch name {
		case "":
			if pair != "" {
				return Form{}, NewError(InvalidRequest, "a parameter without a name")
			}
			continue
		case "resource":
			f.resource = appendValue(f.resource, value)
			continue
		case "audience":
			f.audience = appendValue(f.audience, value)
			continue
		}
		if _, twice := f.values[name]; twice {
			return Form{}, NewError(InvalidRequest, "parameter "+name+" is given twice")
		}
		f.values[name] = value
	}
	return f, nil
}

func appendValue(list []string, value string) []string {
	if value == "" {
		return list
	}
	return append(list, value)
}

// Get returns a parameter, "" when omitted.
func (f Form) Get(name string) string { return f.values[name] }

// Resource returns the values of resource.
func (f Form) Resource() []string { return f.resource }

// Audience returns the values of audience.
func (f Form) Audience() []string { return f.audience }

// Names returns the names that were given and may not repeat, in no order.
func (f Form) Names() []string {
	names := make([]string, 0, len(f.values))
	for n := range f.values {
		names = append(names, n)
	}
	return names
}

// Require returns a parameter or the error that says it is missing.
func (f Form) Require(name string) (string, error) {
	if v := f.values[name]; v != "" {
		return v, nil
	}
	return "", NewError(InvalidRequest, "parameter "+name+" is missing")
}
