package oauth

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"maps"
	"testing"
	"time"

	"github.com/mintmark/mintmark/internal/jose"
)

var proofTime = time.Unix(1_800_000_000, 0)

func ecSigner(t testing.TB) *jose.Signer {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s, err := jose.NewSigner("k1", jose.ES256, k)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func signed(t testing.TB, s *jose.Signer, typ string, claims map[string]any, proof bool) string {
	t.Helper()
	b, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	sign := s.Sign
	if proof {
		sign = s.SignProof
	}
	text, err := sign(rand.Reader, typ, b)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestProofs(t *testing.T) {
	s := ecSigner(t)
	sum := sha256.Sum256([]byte("the-token"))
	good := map[string]any{
		"jti": "j1", "htm": "POST", "htu": "https://API.example:443/%7Ea/b%2fc?q#f", "iat": proofTime.Unix(), "ath": jose.Encode(sum[:]), "nonce": "n1",
	}
	want := ProofCheck{
		Method: "POST", URI: "https://api.example/~a/b%2Fc?x=y", Now: proofTime, Token: "the-token", JKT: s.Key().Thumbprint(),
		Nonce: func(n string) bool { return n == "n1" },
	}
	p, err := CheckProof(signed(t, s, "dpop+jwt", good, true), want)
	if err != nil || p.ID != "j1" || p.JKT != s.Key().Thumbprint() || p.Expires != proofTime.Unix()+60 {
		t.Fatalf("%+v, %v", p, err)
	}
	with := func(name string, value any) map[string]any {
		c := maps.Clone(good)
		if c[name] = value; value == nil {
			delete(c, name)
		}
		return c
	}
	for what, c := range map[string]map[string]any{
		"no jti": with("jti", nil), "jti number": with("jti", 7), "other method": with("htm", "GET"), "method case": with("htm", "post"),
		"other host": with("htu", "https://evil.example/~a/b%2Fc"), "other path": with("htu", "https://api.example/~a/b/c"),
		"other scheme": with("htu", "http://api.example/~a/b%2Fc"), "user": with("htu", "https://x@api.example/~a/b%2Fc"),
		"dots": with("htu", "https://api.example/x/../~a/b%2Fc"), "no htu": with("htu", nil), "port": with("htu", "https://api.example:8443/~a/b%2Fc"),
		"old": with("iat", proofTime.Unix()-61), "future": with("iat", proofTime.Unix()+6), "no iat": with("iat", nil),
		"no ath": with("ath", nil), "other ath": with("ath", jose.Encode(make([]byte, 32))),
	} {
		if _, err := CheckProof(signed(t, s, "dpop+jwt", c, true), want); !errors.Is(err, ErrProof) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for what, text := range map[string]string{
		"typ": signed(t, s, "JWT", good, true), "no jwk": signed(t, s, "dpop+jwt", good, false), "empty": "", "not JWS": "a.b.c",
		"other key": signed(t, ecSigner(t), "dpop+jwt", good, true),
	} {
		if _, err := CheckProof(text, want); !errors.Is(err, ErrProof) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := CheckProof(signed(t, s, "dpop+jwt", with("nonce", "old"), true), want); !errors.Is(err, ErrProofNonce) {
		t.Errorf("nonce: %v", err)
	}
}

func TestAssertions(t *testing.T) {
	s, other := ecSigner(t), ecSigner(t)
	good := map[string]any{"iss": "c1", "sub": "c1", "aud": "https://as.example", "jti": "j", "exp": proofTime.Unix() + 60, "iat": proofTime.Unix()}
	want := AssertionCheck{Keys: []*jose.Key{s.Key()}, Audience: []string{"https://as.example"}, Now: proofTime, Client: true}
	check := func(s *jose.Signer, typ string, c map[string]any) error {
		a, err := ParseAssertion(signed(t, s, typ, c, false))
		if err != nil {
			return err
		}
		return a.Check(want)
	}
	if err := check(s, "JWT", good); err != nil {
		t.Fatal(err)
	}
	with := func(name string, value any) map[string]any {
		c := maps.Clone(good)
		if c[name] = value; value == nil {
			delete(c, name)
		}
		return c
	}
	for what, c := range map[string]map[string]any{
		"iss is not sub": with("iss", "c2"), "no jti": with("jti", nil), "no exp": with("exp", nil), "expired": with("exp", proofTime.Unix()),
		"too long": with("exp", proofTime.Unix()+3601), "other aud": with("aud", "https://evil.example"), "no aud": with("aud", nil),
		"two aud": with("aud", []string{"https://as.example", "https://evil.example"}), "nbf": with("nbf", proofTime.Unix()+5), "iat": with("iat", proofTime.Unix()+5),
	} {
		if err := check(s, "JWT", c); !errors.Is(err, ErrAssertion) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if check(other, "JWT", good) == nil || check(s, "at+jwt", good) == nil {
		t.Error("accepted another key or an access token")
	}
}

func FuzzCheckProof(f *testing.F) {
	s := ecSigner(f)
	f.Add(signed(f, s, "dpop+jwt", map[string]any{"jti": "a", "htm": "GET", "htu": "https://a/", "iat": proofTime.Unix()}, true), "https://a/")
	f.Add("a.b.c", "https://a/%7e")
	f.Fuzz(func(t *testing.T, text, uri string) {
		p, err := CheckProof(text, ProofCheck{Method: "GET", URI: uri, Now: proofTime})
		if err == nil && (p.ID == "" || p.JKT == "") {
			t.Fatalf("accepted %q without id or key", text)
		}
		if n, ok := normalURI(uri); ok {
			if again, ok := normalURI(n); !ok || again != n {
				t.Fatalf("%q: normal form %q becomes %q", uri, n, again)
			}
		}
	})
}

func FuzzParseForm(f *testing.F) {
	f.Add("a=1&b=2")
	f.Add("a=1&a=%zz&resource=x")
	f.Fuzz(func(t *testing.T, text string) {
		form, err := ParseForm(text)
		if err != nil {
			var e *Error
			if !errors.As(err, &e) {
				t.Fatalf("not a protocol error: %v", err)
			}
			return
		}
		_, _ = ParseScope(form.Get("scope"))
		_ = CheckRedirectURI(form.Get("redirect_uri"))
		_ = MatchRedirectURI(form.Get("redirect_uri"), []string{"http://127.0.0.1/cb", "https://a.example/cb"})
	})
}

func FuzzParseAuthorization(f *testing.F) {
	f.Add("Bearer abc")
	f.Add("Basic YTpi")
	f.Fuzz(func(t *testing.T, header string) {
		scheme, token, err := ParseAuthorization([]string{header})
		if err == nil && (token == "" || scheme == NoScheme) {
			t.Fatalf("%q gave %v %q", header, scheme, token)
		}
		if scheme == Basic {
			_, _, _ = ParseBasic(token)
		}
	})
}

func FuzzParseMetadata(f *testing.F) {
	f.Add([]byte(`{"issuer":"https://i.example"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		if d, err := ParseMetadata(text, "https://i.example"); err == nil && d.Issuer != "https://i.example" {
			t.Fatal(d)
		}
	})
}
