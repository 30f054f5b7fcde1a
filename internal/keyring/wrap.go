package keyring

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
)

// ErrAlgorithm reports a signing algorithm that is not made here.
var ErrAlgorithm = errors.New("unknown signing algorithm")

// Generate makes a signing key for a JWS algorithm (RFC 7518 §3.1, RFC 8037):
// ES256, ES384, ES512, EdDSA, or RS and PS with 2,048 bits for 256, 3,072 else.
func (k *Keyring) Generate(alg string) (crypto.Signer, error) {
	switch alg {
	case "ES256":
		return ecdsa.GenerateKey(elliptic.P256(), k.random)
	case "ES384":
		return ecdsa.GenerateKey(elliptic.P384(), k.random)
	case "ES512":
		return ecdsa.GenerateKey(elliptic.P521(), k.random)
	case "EdDSA":
		_, key, err := ed25519.GenerateKey(k.random)
		return key, err
	case "RS256", "PS256":
		return rsa.GenerateKey(k.random, 2048)
	case "RS384", "RS512", "PS384", "PS512":
		return rsa.GenerateKey(k.random, 3072)
	}
	return nil, fmt.Errorf("%w: %.20q", ErrAlgorithm, alg)
}

// Wrap seals a signing key (PKCS #8) under the key-wrapping key, bound to its id.
func (k *Keyring) Wrap(kid string, key crypto.Signer) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("wrap key %.60q: %w", kid, err)
	}
	return k.Seal("signing-key/"+kid, der)
}

// Unwrap opens what Wrap made for the same id.
func (k *Keyring) Unwrap(kid string, wrapped []byte) (crypto.Signer, error) {
	der, err := k.Open("signing-key/"+kid, wrapped)
	if err != nil {
		return nil, fmt.Errorf("unwrap key %.60q: %w", kid, err)
	}
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, fmt.Errorf("unwrap key %.60q: %w", kid, err)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("unwrap key %.60q: %w", kid, ErrAlgorithm)
	}
	return signer, nil
}
