package epoch

import "github.com/mintmark/mintmark"

// MarkFor gives a foreign token its release by the first rule whose conditions
// all hold; none, and the token is unmarked. claim returns a top-level claim's
// string value, "" when it is absent or no string.
func MarkFor(rules []MarkRule, kid string, claim func(name string) string, iat int64) mintmark.ReleaseID {
	for i := range rules {
		r := &rules[i]
		switch {
		case r.KeyID != "" && r.KeyID != kid,
			r.Claim != "" && claim(r.Claim) != r.Value,
			iat < r.IssuedFrom,
			r.IssuedTo != 0 && iat > r.IssuedTo:
			continue
		}
		return r.Release
	}
	return ""
}
