package oauth

import (
	"strings"

	"github.com/mintmark/mintmark"
)

const maxScopes = 256

// ParseScope returns the set of a scope parameter (RFC 6749 §3.3), sorted: tokens
// of printable ASCII but for the quote and the backslash, one space between.
// Empty text is the empty set.
func ParseScope(text string) ([]string, error) {
	if text == "" {
		return nil, nil
	}
	words := strings.Split(text, " ")
	if len(words) > maxScopes {
		return nil, NewError(InvalidScope, "too many scopes")
	}
	for _, w := range words {
		if !IsScope(w) {
			return nil, NewError(InvalidScope, "scope is not well-formed")
		}
	}
	return mintmark.SortedSet(words), nil
}

// IsScope reports whether s is one scope-token.
func IsScope(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= 0x20 || c > 0x7e || c == '"' || c == '\\' {
			return false
		}
	}
	return s != ""
}

// Subset reports whether every one of want, sorted, is in have, sorted.
func Subset(want, have []string) bool {
	i := 0
	for _, w := range want {
		for i < len(have) && have[i] < w {
			i++
		}
		if i == len(have) || have[i] != w {
			return false
		}
	}
	return true
}

// Intersect returns what is in both sorted sets, sorted.
func Intersect(a, b []string) []string {
	var out []string
	for i, j := 0, 0; i < len(a) && j < len(b); {
		switch {
		case a[i] < b[j]:
			i++
		case a[i] > b[j]:
			j++
		default:
			out = append(out, a[i])
			i++
			j++
		}
	}
	return out
}
