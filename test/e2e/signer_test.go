package e2e

import (
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// signer is somebody with a signing key: a client, an issuer, a DPoP holder. It
// signs with go-jose.
type signer struct {
	t   *testing.T
	key *ecdsa.PrivateKey
	kid string
}

func newSigner(t *testing.T, kid string) *signer { return &signer{t, newKey(t), kid} }

func (s *signer) jwk() jose.JSONWebKey {
	return jose.JSONWebKey{Key: &s.key.PublicKey, KeyID: s.kid, Algorithm: "ES256", Use: "sig"}
}

// jwks is the signer's public key as a set, in JSON (which is YAML, too).
func (s *signer) jwks() string {
	b, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{s.jwk()}})
	if err != nil {
		s.t.Fatal(err)
	}
	return string(b)
}

// sign makes a JWT.
func (s *signer) sign(typ string, claims map[string]any) string {
	s.t.Helper()
	o := new(jose.SignerOptions).WithType(jose.ContentType(typ))
	key := jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: s.key, KeyID: s.kid}}
	if typ == "dpop+jwt" {
		key.Key = s.key // the header carries the whole key, by hand
		o = o.WithHeader("jwk", jose.JSONWebKey{Key: &s.key.PublicKey})
	}
	by, err := jose.NewSigner(key, o)
	if err != nil {
		s.t.Fatal(err)
	}
	b, err := json.Marshal(claims)
	if err != nil {
		s.t.Fatal(err)
	}
	sig, err := by.Sign(b)
	if err != nil {
		s.t.Fatal(err)
	}
	text, err := sig.CompactSerialize()
	if err != nil {
		s.t.Fatal(err)
	}
	return text
}

// assertion makes a JWT assertion (RFC 7523 §3); changes replace claims, nil
// removes one.
func (s *signer) assertion(iss, sub, aud string, changes map[string]any) string {
	now := time.Now().Unix()
	c := map[string]any{"iss": iss, "sub": sub, "aud": aud, "iat": now, "exp": now + 60, "jti": nonce()}
	for k, v := range changes {
		if c[k] = v; v == nil {
			delete(c, k)
		}
	}
	return s.sign("JWT", c)
}

// proof makes a DPoP proof (RFC 9449 §4.2), for a token when there is one.
func (s *signer) proof(method, uri, token string, changes map[string]any) string {
	c := map[string]any{"htm": method, "htu": uri, "iat": time.Now().Unix(), "jti": nonce()}
	if token != "" {
		sum := sha256.Sum256([]byte(token))
		c["ath"] = base64.RawURLEncoding.EncodeToString(sum[:])
	}
	for k, v := range changes {
		if c[k] = v; v == nil {
			delete(c, k)
		}
	}
	return s.sign("dpop+jwt", c)
}

// claims reads a JWT's payload without believing it.
func claims(t *testing.T, token string) map[string]any {
	t.Helper()
	sig, err := jose.ParseSigned(token, []jose.SignatureAlgorithm{jose.ES256, jose.RS256})
	if err != nil {
		t.Fatalf("no JWT: %v", err)
	}
	var m map[string]any
	if err := json.Unmarshal(sig.UnsafePayloadWithoutVerification(), &m); err != nil {
		t.Fatal(err)
	}
	return m
}
