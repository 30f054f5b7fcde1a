package oauth

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
)

// CheckChallenge refuses all but a well-formed S256 code challenge (RFC 7636
// §4.3): "plain" is not spoken here (RFC 9700 §2.1.1).
func CheckChallenge(challenge, method string) error {
	switch {
	case challenge == "":
		return NewError(InvalidRequest, "code_challenge is missing: PKCE is required")
	case method != "S256":
		return NewError(InvalidRequest, "code_challenge_method must be S256")
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(challenge)
	if err != nil || len(b) != sha256.Size || len(challenge) != 43 {
		return NewError(InvalidRequest, "code_challenge is not the base64url of a SHA-256")
	}
	return nil
}

// VerifyChallenge reports whether verifier, well-formed by RFC 7636 §4.1, is the
// one behind an S256 challenge.
func VerifyChallenge(verifier, challenge string) bool {
	if len(verifier) < 43 || len(verifier) > 128 {
		return false
	}
	for i := range len(verifier) {
		if !unreserved(verifier[i]) {
			return false
		}
	}
	sum := sha256.Sum256([]byte(verifier))
	got := base64.RawURLEncoding.EncodeToString(sum[:])
	return subtle.ConstantTimeCompare([]byte(got), []byte(challenge)) == 1
}

func unreserved(c byte) bool {
	return c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c >= '0' && c <= '9' ||
		c == '-' || c == '.' || c == '_' || c == '~'
}
