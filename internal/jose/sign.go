package jose

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/asn1"
	"fmt"
	"io"
	"math/big"
)

// Signer makes compact JWSs with one private key and algorithm. Immutable; safe
// for concurrent use when its crypto.Signer is.
type Signer struct {
	key    *Key
	signer crypto.Signer
}

// NewSigner binds a private key to an id and an algorithm. An empty id becomes
// the thumbprint.
func NewSigner(id string, alg Algorithm, private crypto.Signer) (*Signer, error) {
	public := private.Public()
	if p, ok := public.(*ed25519.PublicKey); ok {
		public = *p
	}
	key, err := NewKey(id, alg, public)
	if err != nil {
		return nil, err
	}
	return &Signer{key, private}, nil
}

// Key returns the public half.
func (s *Signer) Key() *Key { return s.key }

// Sign returns the compact JWS of a payload under the header typ, alg and kid.
// random must be cryptographic.
func (s *Signer) Sign(random io.Reader, typ string, payload []byte) (string, error) {
	return s.sign(random, typ, `,"kid":`+quote(s.key.id), payload)
}

// SignProof is Sign with the public key itself in the header: a DPoP proof.
func (s *Signer) SignProof(random io.Reader, typ string, payload []byte) (string, error) {
	required, err := s.key.required()
	if err != nil {
		return "", err
	}
	return s.sign(random, typ, `,"jwk":{`+required+`}`, payload)
}

func (s *Signer) sign(random io.Reader, typ, more string, payload []byte) (string, error) {
	header := `{"typ":` + quote(typ) + `,"alg":"` + s.key.alg.String() + `"` + more + `}`
	h, p := strict.EncodedLen(len(header)), strict.EncodedLen(len(payload))
	out := make([]byte, h+1+p, h+1+p+1+strict.EncodedLen(s.key.signatureSize()))
	strict.Encode(out, []byte(header))
	out[h] = '.'
	strict.Encode(out[h+1:], payload)
	sig, err := s.raw(random, out)
	if err != nil {
		return "", fmt.Errorf("jose: sign with %s key %.60q: %w", s.key.alg, s.key.id, err)
	}
	return string(strict.AppendEncode(append(out, '.'), sig)), nil
}

// raw returns the signature in the form of RFC 7518 §3.
func (s *Signer) raw(random io.Reader, signed []byte) ([]byte, error) {
	if s.key.alg == EdDSA {
		return s.signer.Sign(random, signed, crypto.Hash(0))
	}
	h := s.key.alg.hash()
	sum := h.New()
	sum.Write(signed)
	digest := sum.Sum(nil)
	switch s.key.alg {
	case PS256, PS384, PS512:
		return s.signer.Sign(random, digest, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: h})
	case ES256, ES384, ES512:
		der, err := s.signer.Sign(random, digest, h)
		if err != nil {
			return nil, err
		}
		return fixed(der, s.key.ec)
	}
	return s.signer.Sign(random, digest, h)
}

// fixed turns an ASN.1 signature, the form of crypto.Signer, into r and s side by
// side.
func fixed(der []byte, public *ecdsa.PublicKey) ([]byte, error) {
	var sig struct{ R, S *big.Int }
	if rest, err := asn1.Unmarshal(der, &sig); err != nil || len(rest) > 0 {
		return nil, fmt.Errorf("the signer returned a malformed ECDSA signature")
	}
	size := coordinate(public.Curve)
	if sig.R.Sign() <= 0 || sig.S.Sign() <= 0 || sig.R.BitLen() > 8*size || sig.S.BitLen() > 8*size {
		return nil, fmt.Errorf("the signer returned an ECDSA signature out of range")
	}
	out := make([]byte, 2*size)
	sig.R.FillBytes(out[:size])
	sig.S.FillBytes(out[size:])
	return out, nil
}
