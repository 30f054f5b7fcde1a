package epoch

import (
	"crypto/subtle"
	"fmt"
	"slices"
	"strings"
)

// previews checks a split's preview and mirror.
func (c *compiler) previews(s *ServiceEntry) {
	if p := s.Split.Preview; p != nil {
		switch {
		case s.Candidate == nil:
			c.fail("split.preview", "without a candidate")
		case p.Header != "" && p.Cookie != "" || (p.Header != "" || p.Cookie != "") != (p.Value != ""):
			c.fail("split.preview", "want header or cookie, with its value")
		case p.Header != strings.ToLower(p.Header) || p.Host != strings.ToLower(p.Host):
			c.fail("split.preview", "header and host must be in lower case")
		case p.Share < 0 || p.Share > Cohorts:
			c.fail("split.preview.share", "%d: want 0 to %d", p.Share, Cohorts)
		}
	}
	m := s.Split.Mirror
	if m == nil {
		return
	}
	if s.Candidate == nil || m.Share < 0 || m.Share > Cohorts || m.MaxBody < 0 {
		c.fail("split.mirror", "want a candidate, a share of 0 to %d and a bound that is not negative", Cohorts)
	}
	for i, method := range m.Methods {
		if method == "" || method != strings.ToUpper(method) {
			c.fail(fmt.Sprintf("split.mirror.methods[%d]", i), "%.20q: want upper case", method)
		}
	}
}

// Previews reports whether a request is a preview of the service's candidate by
// what it carries: host (a port is ignored) and headers by lower-case name. It
// does not allocate.
func (s *ServiceEntry) Previews(host string, header func(string) string) bool {
	p := s.Split.Preview
	if p == nil || s.Candidate == nil {
		return false
	}
	if p.Host != "" {
		if i := strings.LastIndexByte(host, ':'); i > strings.LastIndexByte(host, ']') {
			host = host[:i]
		}
		if strings.EqualFold(host, p.Host) {
			return true
		}
	}
	switch {
	case header == nil || p.Value == "":
		return false
	case p.Header != "":
		return same(header(p.Header), p.Value)
	}
	return p.Cookie != "" && same(Cookie(header("cookie"), p.Cookie), p.Value)
}

// PreviewsFor reports whether a client, or a subject by its cohort, previews the
// candidate whatever its requests carry.
func (s *ServiceEntry) PreviewsFor(client, subject string) bool {
	p := s.Split.Preview
	if p == nil || s.Candidate == nil {
		return false
	}
	return slices.Contains(p.Clients, client) || p.Share > 0 && int(s.Cohort(subject)) < p.Share
}

// same compares in constant time: a preview's value is not for everybody.
func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// Cookie returns a cookie's value from a Cookie field (RFC 6265 §4.2.1), "" when
// it is not there. A cookie that is there twice has no value: whose it is would be
// anybody's guess.
func Cookie(field, name string) string {
	found, value := 0, ""
	for field != "" {
		var pair string
		pair, field, _ = strings.Cut(field, ";")
		if n, v, ok := strings.Cut(strings.TrimSpace(pair), "="); ok && n == name {
			found++
			value = v
		}
	}
	if found != 1 {
		return ""
	}
	return value
}
