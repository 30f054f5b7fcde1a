package epoch

import (
	"crypto/hmac"
	"crypto/sha256"
	"time"

	"github.com/mintmark/mintmark"
)

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

// ForeignID is the id of another issuer's token: "fgn_" and 128 bits of
// HMAC-SHA-256 under the issuer, so that one issuer's tokens cannot pass for
// another's, and the same on every gateway. key is the token's jti; where it has
// none, what its signature covers (never the signature: it can be altered).
func ForeignID(issuer, key string) mintmark.TokenID {
	m := hmac.New(sha256.New, []byte("mintmark-foreign-id\n"+issuer))
	m.Write([]byte(key))
	sum := m.Sum(nil)
	// The text form of an id has the time first; here all of it is hash.
	var ms int64
	for _, b := range sum[:6] {
		ms = ms<<8 | int64(b)
	}
	return mintmark.TokenID(mintmark.NewID(mintmark.PrefixForeign, time.UnixMilli(ms), [10]byte(sum[6:16])))
}
