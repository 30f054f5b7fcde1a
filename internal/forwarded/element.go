package forwarded

import (
	"net/netip"
	"strings"
)

// element is what counts of one forwarded-element (RFC 7239 §4).
type element struct{ node, proto string }

// elements reads the Forwarded field. A field that is not well-formed tells
// nothing: an open quote of the client's would swallow what a proxy appended.
func (t Trust) elements(peer netip.Addr, fields []string) Source {
	s := Source{Client: peer}
	var list []element
	for _, f := range fields {
		var ok bool
		if list, ok = parse(list, f); !ok {
			return s
		}
	}
	// Each element was written by the hop after it: the first by the client's own
	// proxy, the last by the peer. The scheme is the one of the hop that is the
	// client's.
	i := len(list)
	s.Client = t.walk(peer, func() (string, bool) {
		if i == 0 {
			return "", false
		}
		i--
		if _, ok := address(list[i].node); ok {
			s.Scheme = scheme(list[i].proto)
		}
		return list[i].node, true
	})
	return s
}

// parse appends the elements of one field: forwarded-pairs separated by ";",
// elements by "," (RFC 7239 §4). No parameter occurs twice in an element.
func parse(list []element, s string) ([]element, bool) {
	for {
		var e element
		seen := [2]bool{}
		for {
			s = strings.TrimLeft(s, " \t")
			name, rest := token(s)
			if name == "" {
				// Empty elements are legal in lists, empty pairs are not.
				if e != (element{}) || seen != [2]bool{} || rest != "" && rest[0] != ',' {
					return nil, false
				}
				s = rest
				break
			}
			if rest == "" || rest[0] != '=' {
				return nil, false
			}
			value, rest, ok := value(rest[1:])
			if !ok {
				return nil, false
			}
			switch {
			case strings.EqualFold(name, "for"):
				if seen[0] {
					return nil, false
				}
				e.node, seen[0] = value, true
			case strings.EqualFold(name, "proto"):
				if seen[1] {
					return nil, false
				}
				e.proto, seen[1] = value, true
			}
			s = strings.TrimLeft(rest, " \t")
			if s == "" || s[0] == ',' {
				list = append(list, e)
				break
			}
			if s[0] != ';' {
				return nil, false
			}
			s = s[1:]
		}
		if s == "" {
			return list, true
		}
		s = s[1:] // the comma
	}
}

// token reads a token (RFC 9110 §5.6.2).
func token(s string) (string, string) {
	i := 0
	for i < len(s) && tchar(s[i]) {
		i++
	}
	return s[:i], s[i:]
}

func tchar(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}

// value reads a token or a quoted-string (RFC 9110 §5.6.4).
func value(s string) (v, rest string, ok bool) {
	if s == "" || s[0] != '"' {
		// Proxies write IPv4 addresses with ports, and IPv6, without the quotes
		// that the grammar asks for.
		i := 0
		for i < len(s) && (tchar(s[i]) || s[i] == ':' || s[i] == '[' || s[i] == ']') {
			i++
		}
		return s[:i], s[i:], i > 0
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			return b.String(), s[i+1:], true
		case c == '\\':
			if i++; i == len(s) {
				return "", "", false
			}
			b.WriteByte(s[i])
		case c < ' ' && c != '\t' || c == 0x7f:
			return "", "", false
		default:
			b.WriteByte(c)
		}
	}
	return "", "", false
}
