package jose

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"testing"

	"github.com/mintmark/mintmark"
)

const benchPayload = `{"iss":"https://auth.example.com","sub":"user-8f14e45fceea167a5a36dedd4bea2543",` +
	`"aud":"https://orders.example.com","exp":2000000000,"nbf":1700000000,"iat":1700000000,` +
	`"jti":"tok_06dyz3w2vk0000000000000000","client_id":"storefront","scope":"orders:read orders:write profile",` +
	`"auth_time":1699999000,"acr":"urn:example:silver","mintmark":{"release":"orders/v42","policy":7,"epoch":1234,` +
	`"seq":987654321,"grt":"grt_06dyz3w2vk0000000000000000","fam":"fam_06dyz3w2vk0000000000000000"}}`

// uncached is what a gateway does with a token it has not seen.
func uncached(key *Key, token []byte) (*mintmark.Token, error) {
	c, err := Parse(token)
	if err != nil {
		return nil, err
	}
	claims, err := ParseClaims(c.Payload, Names{})
	if err != nil {
		return nil, err
	}
	if err = claims.Complete(); err != nil {
		return nil, err
	}
	if err = key.Check(&c); err != nil {
		return nil, err
	}
	t := claims.Token(mintmark.KindAccessJWT, c.Header.KeyID)
	t.Claims = claims.Further(Names{})
	return t, nil
}

func TestUncachedAllocations(t *testing.T) {
	s := testSigner(t, RS256)
	token := sign(t, s, "at+jwt", benchPayload)
	if _, err := uncached(s.Key(), token); err != nil {
		t.Fatal(err)
	}
	bare := bareRS256(s.Key().rsa, token)
	all := testing.AllocsPerRun(50, func() { _, _ = uncached(s.Key(), token) })
	alone := testing.AllocsPerRun(50, bare)
	t.Logf("whole %v, signature alone %v", all, alone)
	if all > 12 {
		t.Errorf("%v allocations, want at most 12", all)
	}
	bad := append([]byte(nil), token...)
	bad[20] = '?'
	if n := testing.AllocsPerRun(50, func() { _, _ = uncached(s.Key(), bad) }); n > 1 {
		t.Errorf("refusal: %v allocations", n)
	}
}

func bareRS256(key *rsa.PublicKey, token []byte) func() {
	c, _ := Parse(token)
	sig, _ := Decode(string(c.signature))
	digest := sha256.Sum256(c.signed)
	return func() {
		if rsa.VerifyPKCS1v15(key, crypto.SHA256, digest[:], sig) != nil {
			panic("does not verify")
		}
	}
}

func BenchmarkUncached(b *testing.B) {
	for _, alg := range []Algorithm{RS256, ES256, EdDSA} {
		s := testSigner(b, alg)
		token := sign(b, s, "at+jwt", benchPayload)
		b.Run(alg.String(), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := uncached(s.Key(), token); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkBareRS256 is the signature alone: the yardstick of BenchmarkUncached.
func BenchmarkBareRS256(b *testing.B) {
	s := testSigner(b, RS256)
	f := bareRS256(s.Key().rsa, sign(b, s, "at+jwt", benchPayload))
	b.ReportAllocs()
	for b.Loop() {
		f()
	}
}

func BenchmarkParseOnly(b *testing.B) {
	token := sign(b, testSigner(b, RS256), "at+jwt", benchPayload)
	b.ReportAllocs()
	for b.Loop() {
		c, err := Parse(token)
		if err != nil {
			b.Fatal(err)
		}
		if _, err = ParseClaims(c.Payload, Names{}); err != nil {
			b.Fatal(err)
		}
	}
}
