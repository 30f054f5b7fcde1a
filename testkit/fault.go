package testkit

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"strings"

	"github.com/mintmark/mintmark/internal/jose"
)

// Fault is one way in which a token is broken. Everything else about it is as
// minted, so that a service which lets it pass has missed that one thing.
type Fault string

// Faults, with what they are to be refused for.
const (
	WrongSignature  Fault = "wrong-signature"  // signed with another key under the same kid (RFC 8725 §3.3)
	AlgNone         Fault = "alg-none"         // alg none and no signature (RFC 8725 §3.2)
	KeyConfusion    Fault = "key-confusion"    // HS256 with the public key as the secret (RFC 8725 §2.1)
	EmbeddedKey     Fault = "embedded-key"     // signed with a key that is only in its own header (RFC 8725 §3.10)
	UnknownKey      Fault = "unknown-key"      // signed with a key that the issuer does not publish
	Expired         Fault = "expired"          // exp an hour ago (RFC 7519 §4.1.4)
	NotYetValid     Fault = "not-yet-valid"    // nbf in an hour (RFC 7519 §4.1.5)
	NoExpiry        Fault = "no-expiry"        // without exp (RFC 9068 §2.2)
	WrongAudience   Fault = "wrong-audience"   // for another resource (RFC 8725 §3.9)
	WrongIssuer     Fault = "wrong-issuer"     // iss of another authority (RFC 8725 §3.8)
	WrongType       Fault = "wrong-type"       // typ of another kind of JWT (RFC 8725 §3.11)
	DuplicateMember Fault = "duplicate-member" // sub twice in the payload (RFC 8725 §2.6)
	Truncated       Fault = "truncated"        // cut off within its signature
)

// Faults lists all faults.
func Faults() []Fault {
	return []Fault{
		WrongSignature, AlgNone, KeyConfusion, EmbeddedKey, UnknownKey, Expired, NotYetValid, NoExpiry,
		WrongAudience, WrongIssuer, WrongType, DuplicateMember, Truncated,
	}
}

func (f Fault) check() error {
	for _, known := range append(Faults(), "") {
		if f == known {
			return nil
		}
	}
	return fmt.Errorf("%w: fault %.40q is not known", ErrConfig, string(f))
}

// hour is how far the times of broken tokens are off, in seconds: more than any
// allowance for skew.
const hour = 3600

// spoil breaks what is in the payload.
func (f Fault) spoil(payload map[string]json.RawMessage, now int64) {
	switch f {
	case Expired:
		payload["iat"], payload["exp"] = number(now-2*hour), number(now-hour)
		delete(payload, "nbf")
	case NotYetValid:
		payload["nbf"], payload["exp"] = number(now+hour), number(now+2*hour)
	case NoExpiry:
		delete(payload, "exp")
	case WrongAudience:
		payload["aud"] = json.RawMessage(`"https://another-resource.test"`)
	case WrongIssuer:
		payload["iss"] = json.RawMessage(`"https://another-issuer.test"`)
	}
}

// strange makes the key of faults that sign with one of their own; nil for others.
func strange(kid string, f Fault) (*jose.Signer, error) {
	switch f {
	case WrongSignature:
	case UnknownKey, EmbeddedKey:
		kid = "a-key-that-was-never-published"
	default:
		return nil, nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	return jose.NewSigner(kid, jose.ES256, key)
}

// accessTyp is the typ of an access token (RFC 9068 §2.1).
const accessTyp = "at+jwt"

// sign writes the token; own is the issuer's key, stranger the fault's.
func (f Fault) sign(payload []byte, own, stranger *jose.Signer) (string, error) {
	switch f {
	case WrongSignature, UnknownKey:
		return sign(stranger, accessTyp, payload)
	case EmbeddedKey:
		return stranger.SignProof(rand.Reader, accessTyp, payload)
	case AlgNone:
		return unsigned("none", own, payload) + ".", nil
	case KeyConfusion:
		return confused(own, payload)
	case WrongType:
		return sign(own, "logout+jwt", payload)
	case DuplicateMember:
		return sign(own, accessTyp, append([]byte(`{"sub":"somebody-else",`), payload[1:]...))
	case Truncated:
		value, err := sign(own, accessTyp, payload)
		return value[:max(len(value)-20, 0)], err
	}
	return sign(own, accessTyp, payload)
}

// unsigned is header and payload of a token that claims an algorithm.
func unsigned(alg string, key *jose.Signer, payload []byte) string {
	header := fmt.Sprintf(`{"alg":%q,"kid":%q,"typ":%q}`, alg, key.Key().ID(), accessTyp)
	return jose.Encode([]byte(header)) + "." + jose.Encode(payload)
}

// confused signs with HMAC under the published key's PEM text, as a verifier that
// lets the token choose the algorithm would check it.
func confused(key *jose.Signer, payload []byte) (string, error) {
	der, err := x509.MarshalPKIXPublicKey(key.Key().Public())
	if err != nil {
		return "", fmt.Errorf("write the public key: %w", err)
	}
	var text strings.Builder
	if err := pem.Encode(&text, &pem.Block{Type: "PUBLIC KEY", Bytes: der}); err != nil {
		return "", err
	}
	head := unsigned("HS256", key, payload)
	mac := hmac.New(sha256.New, []byte(text.String()))
	mac.Write([]byte(head))
	return head + "." + jose.Encode(mac.Sum(nil)), nil
}
