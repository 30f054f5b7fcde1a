package jose

import (
	"bytes"
	"encoding/base64"
	"strings"
)

// strict refuses padding and non-zero trailing bits (RFC 4648 §3.5).
var strict = base64.RawURLEncoding.Strict()

var errBase64 = malformed("not strict base64url")

// Encode returns the base64url form without padding (RFC 7515 §2).
func Encode(b []byte) string { return strict.EncodeToString(b) }

// Decode reads base64url in its one spelling: no padding, no whitespace, no
// spare bits.
func Decode(s string) ([]byte, error) {
	if strings.ContainsAny(s, "\r\n") {
		return nil, errBase64
	}
	b, err := strict.DecodeString(s)
	if err != nil {
		return nil, errBase64
	}
	return b, nil
}

// decodeInto decodes src into dst, which has room for it, and returns the length.
func decodeInto(dst, src []byte) (int, error) {
	// encoding/base64 skips these two; a token with them is another spelling.
	if bytes.IndexByte(src, '\n') >= 0 || bytes.IndexByte(src, '\r') >= 0 {
		return 0, errBase64
	}
	n, err := strict.Decode(dst, src)
	if err != nil {
		return 0, errBase64
	}
	return n, nil
}
