package jose

import (
	"crypto"
	// The hashes that the algorithms name.
	_ "crypto/sha256"
	_ "crypto/sha512"
)

// Algorithm is a signature algorithm of RFC 7518 §3.1 or RFC 8037 §3.1. The zero
// value is none that we know, and verifies nothing.
type Algorithm uint8

// Algorithms. Those of a shared secret are apart: see Secret.
const (
	Unknown Algorithm = iota
	RS256
	RS384
	RS512
	PS256
	PS384
	PS512
	ES256
	ES384
	ES512
	EdDSA
	HS256
	HS384
	HS512
)

var algorithmNames = [...]string{
	"", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512",
	"ES256", "ES384", "ES512", "EdDSA", "HS256", "HS384", "HS512",
}

// String returns the name in the IANA registry, "" for Unknown.
func (a Algorithm) String() string {
	if int(a) < len(algorithmNames) {
		return algorithmNames[a]
	}
	return ""
}

// ParseAlgorithm returns the algorithm of a name, compared exactly (RFC 7515
// §4.1.1); Unknown for "none" and everything else. RFC 9864's "Ed25519" is read
// as EdDSA: over this one curve they are the same.
func ParseAlgorithm(name string) Algorithm {
	if name == "Ed25519" {
		return EdDSA
	}
	for i, n := range algorithmNames[1:] {
		if n == name {
			return Algorithm(i + 1)
		}
	}
	return Unknown
}

// AsymmetricNames lists the algorithms of public keys, for metadata documents.
func AsymmetricNames() []string {
	return append([]string(nil), algorithmNames[RS256:HS256]...)
}

// Symmetric reports whether the algorithm needs a shared secret.
func (a Algorithm) Symmetric() bool { return a >= HS256 && a <= HS512 }

func (a Algorithm) hash() crypto.Hash {
	switch a {
	case RS256, PS256, ES256, HS256:
		return crypto.SHA256
	case RS384, PS384, ES384, HS384:
		return crypto.SHA384
	case RS512, PS512, ES512, HS512:
		return crypto.SHA512
	}
	return 0
}
