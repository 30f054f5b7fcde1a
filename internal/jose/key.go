package jose

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"sync"
)

// Bounds of RSA moduli in bits: RFC 7518 §3.3 asks for the lower; the upper keeps
// a foreign key set from buying our time.
const (
	minRSABits = 2048
	maxRSABits = 8192
)

var (
	errAlgorithm = &refusal{ErrAlgorithm, "not the algorithm of the key"}
	errVerify    = &refusal{ErrSignature, "wrong signature"}
	errSigForm   = &refusal{ErrSignature, "wrong length or not strict base64url"}
)

// Key is a public key for one algorithm. Immutable; safe for concurrent use.
type Key struct {
	id    string
	alg   Algorithm
	rsa   *rsa.PublicKey
	ec    *ecdsa.PublicKey
	ed    ed25519.PublicKey
	jwk   string // canonical, see JWK
	print [32]byte
}

// NewKey wraps a public key for use under one algorithm. An empty id becomes the
// thumbprint.
func NewKey(id string, alg Algorithm, public crypto.PublicKey) (*Key, error) {
	k := &Key{id: id, alg: alg}
	switch p := public.(type) {
	case *rsa.PublicKey:
		k.rsa = p
	case *ecdsa.PublicKey:
		k.ec = p
	case ed25519.PublicKey:
		k.ed = p
	default:
		return nil, unusable("not an RSA, EC or Ed25519 public key")
	}
	if err := k.check(); err != nil {
		return nil, err
	}
	if err := k.describe(); err != nil {
		return nil, err
	}
	if k.id == "" {
		k.id = k.Thumbprint()
		k.jwk = k.public()
	}
	return k, nil
}

func unusable(text string) error { return &refusal{ErrKey, text} }

// check reports whether key and algorithm belong together and are strong enough.
func (k *Key) check() error {
	switch k.alg {
	case RS256, RS384, RS512, PS256, PS384, PS512:
		if k.rsa == nil {
			return unusable("algorithm " + k.alg.String() + " needs an RSA key")
		}
		switch bits := k.rsa.N.BitLen(); {
		case bits < minRSABits:
			return unusable("RSA modulus shorter than 2048 bits")
		case bits > maxRSABits:
			return unusable("RSA modulus longer than 8192 bits")
		case k.rsa.N.Bit(0) == 0 || k.rsa.E < 3 || k.rsa.E&1 == 0:
			return unusable("RSA modulus or exponent is even or too small")
		}
	case ES256, ES384, ES512:
		if k.ec == nil || k.ec.Curve != k.alg.curve() {
			return unusable("algorithm " + k.alg.String() + " needs an EC key on its curve")
		}
	case EdDSA:
		if len(k.ed) != ed25519.PublicKeySize {
			return unusable("algorithm EdDSA needs an Ed25519 key")
		}
	default:
		return unusable("unknown or symmetric algorithm")
	}
	return nil
}

func (a Algorithm) curve() elliptic.Curve {
	switch a {
	case ES256:
		return elliptic.P256()
	case ES384:
		return elliptic.P384()
	case ES512:
		return elliptic.P521()
	}
	return nil
}

// ID returns the key's kid.
func (k *Key) ID() string { return k.id }

// Alg returns the one algorithm that the key verifies.
func (k *Key) Alg() Algorithm { return k.alg }

// Public returns the key for the standard library.
func (k *Key) Public() crypto.PublicKey {
	switch {
	case k.rsa != nil:
		return k.rsa
	case k.ec != nil:
		return k.ec
	}
	return k.ed
}

// Verify checks a compact JWS and returns its payload.
func (k *Key) Verify(token []byte) (string, error) {
	c, err := Parse(token)
	if err == nil {
		err = k.Check(&c)
	}
	if err != nil {
		return "", err
	}
	return c.Payload, nil
}

// buffers are what one verification needs besides the token. The standard
// library's verifiers let their arguments escape, so they would be two
// allocations each time.
type buffers struct {
	sig    [maxRSABits / 8]byte
	digest [sha512.Size]byte
	der    [3 + 2*(2+1+66)]byte
}

var scratch = sync.Pool{New: func() any { return new(buffers) }}

// Check verifies the signature of a parsed text. The caller has chosen the key by
// issuer and kid; the text's own alg must be the key's.
func (k *Key) Check(c *Compact) error {
	if c.Header.Alg != k.alg {
		return errAlgorithm
	}
	size := k.signatureSize()
	s := scratch.Get().(*buffers)
	defer scratch.Put(s)
	if strict.EncodedLen(size) != len(c.signature) || size > len(s.sig) {
		return errSigForm
	}
	n, err := decodeInto(s.sig[:], c.signature)
	if err != nil || n != size {
		return errSigForm
	}
	if !k.verify(s, c.signed, s.sig[:n]) {
		return errVerify
	}
	return nil
}

// signatureSize is the exact length in bytes: RFC 7518 §3.3 to §3.5, RFC 8037
// §3.1.
func (k *Key) signatureSize() int {
	switch {
	case k.rsa != nil:
		return k.rsa.Size()
	case k.ec != nil:
		return 2 * coordinate(k.ec.Curve)
	}
	return ed25519.SignatureSize
}

func coordinate(c elliptic.Curve) int { return (c.Params().BitSize + 7) / 8 }

func (k *Key) verify(b *buffers, signed, sig []byte) bool {
	if k.alg == EdDSA {
		return ed25519.Verify(k.ed, signed, sig)
	}
	digest := digestInto(&b.digest, k.alg.hash(), signed)
	switch k.alg {
	case RS256, RS384, RS512:
		return rsa.VerifyPKCS1v15(k.rsa, k.alg.hash(), digest, sig) == nil
	case PS256, PS384, PS512:
		// RFC 7518 §3.5: the salt is as long as the hash.
		opts := rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}
		return rsa.VerifyPSS(k.rsa, k.alg.hash(), digest, sig, &opts) == nil
	case ES256, ES384, ES512:
		return ecdsa.VerifyASN1(k.ec, digest, der(&b.der, sig))
	}
	return false
}

// der turns r and s side by side (RFC 7518 §3.4) into the ASN.1 that the standard
// library verifies. Through big.Int it would be twenty allocations.
func der(room *[3 + 2*(2+1+66)]byte, sig []byte) []byte {
	half := len(sig) / 2
	body := appendInteger(room[3:3], sig[:half])
	body = appendInteger(body, sig[half:])
	if len(body) < 0x80 {
		room[1], room[2] = 0x30, byte(len(body))
		return room[1 : 3+len(body)]
	}
	room[0], room[1], room[2] = 0x30, 0x81, byte(len(body))
	return room[:3+len(body)]
}

// appendInteger appends a DER INTEGER: no needless zero bytes, one before a high
// bit.
func appendInteger(b, n []byte) []byte {
	for len(n) > 1 && n[0] == 0 {
		n = n[1:]
	}
	if n[0]&0x80 != 0 {
		return append(append(b, 2, byte(len(n)+1), 0), n...)
	}
	return append(append(b, 2, byte(len(n))), n...)
}

func digestInto(room *[sha512.Size]byte, h crypto.Hash, b []byte) []byte {
	switch h {
	case crypto.SHA256:
		sum := sha256.Sum256(b)
		return room[:copy(room[:], sum[:])]
	case crypto.SHA384:
		sum := sha512.Sum384(b)
		return room[:copy(room[:], sum[:])]
	}
	sum := sha512.Sum512(b)
	return room[:copy(room[:], sum[:])]
}
