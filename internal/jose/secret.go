package jose

import (
	"crypto/hmac"
)

// Secret is a shared secret for one HMAC algorithm. It is its own type, so that a
// public key's bytes can never be taken for a secret (RFC 8725 §2.1). Nothing at
// a gateway holds one: it is here so that the HMAC corpora are run.
type Secret struct {
	alg   Algorithm
	value []byte
}

// NewSecret returns a secret for HS256, HS384 or HS512; it must be at least as
// long as the hash (RFC 7518 §3.2).
func NewSecret(alg Algorithm, value []byte) (*Secret, error) {
	if !alg.Symmetric() {
		return nil, unusable("not an HMAC algorithm")
	}
	if len(value) < alg.hash().Size() {
		return nil, unusable("HMAC secret shorter than its hash")
	}
	return &Secret{alg, append([]byte(nil), value...)}, nil
}

// Check verifies the MAC of a parsed text.
func (s *Secret) Check(c *Compact) error {
	if c.Header.Alg != s.alg {
		return errAlgorithm
	}
	mac := hmac.New(s.alg.hash().New, s.value)
	mac.Write(c.signed)
	got, err := Decode(string(c.signature))
	if err != nil {
		return errSigForm
	}
	if !hmac.Equal(got, mac.Sum(nil)) {
		return errVerify
	}
	return nil
}
