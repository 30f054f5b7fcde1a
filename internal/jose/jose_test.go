package jose

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/asn1"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"sync"
	"testing"

	"github.com/mintmark/mintmark"
)

// testRSA is the key of RFC 7638 §3.1.
const testRSA = `{"kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw","e":"AQAB","alg":"RS256","kid":"2011-04-29"}`

var rsaKey = sync.OnceValue(func() *rsa.PrivateKey {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return k
})

func testSigner(t testing.TB, alg Algorithm) *Signer {
	t.Helper()
	var private crypto.Signer = rsaKey()
	var err error
	switch alg {
	case ES256, ES384, ES512:
		private, err = ecdsa.GenerateKey(alg.curve(), rand.Reader)
	case EdDSA:
		_, private, err = ed25519.GenerateKey(rand.Reader)
	}
	if err != nil {
		t.Fatal(err)
	}
	s, err := NewSigner("k1", alg, private)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func sign(t testing.TB, s *Signer, typ, payload string) []byte {
	t.Helper()
	token, err := s.Sign(rand.Reader, typ, []byte(payload))
	if err != nil {
		t.Fatal(err)
	}
	return []byte(token)
}

func TestSignVerifyEveryAlgorithm(t *testing.T) {
	for _, name := range AsymmetricNames() {
		alg := ParseAlgorithm(name)
		s := testSigner(t, alg)
		token := sign(t, s, "at+jwt", `{"a":1}`)
		payload, err := s.Key().Verify(token)
		if err != nil || payload != `{"a":1}` {
			t.Errorf("%s: %q, %v", name, payload, err)
		}
		// The key as others see it must verify as well, and only under its algorithm.
		public, err := ParseKey(s.Key().JWK(), name)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if _, err = public.Verify(token); err != nil {
			t.Errorf("%s by JWK: %v", name, err)
		}
		for i := range token {
			bad := append([]byte(nil), token...)
			bad[i] ^= 1
			if _, err := public.Verify(bad); err == nil {
				t.Fatalf("%s: accepted with byte %d changed", name, i)
			}
		}
		for _, other := range AsymmetricNames() {
			if k, err := ParseKey(s.Key().JWK(), other); other != name && err == nil {
				t.Errorf("key for %s parsed for %s: %v", name, other, k.Alg())
			}
		}
	}
}

func TestThumbprint(t *testing.T) {
	k, err := ParseKey([]byte(testRSA), "")
	if err != nil {
		t.Fatal(err)
	}
	if got := k.Thumbprint(); got != "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs" {
		t.Errorf("thumbprint %s is not that of RFC 7638 §3.1", got)
	}
	spelled := strings.Replace(testRSA, `"n":"0vx7`, `"kid2":1,"n":"0vx7`, 1)
	if again, err := ParseKey([]byte(spelled), ""); err != nil || again.Thumbprint() != k.Thumbprint() {
		t.Errorf("thumbprint depends on other members: %v", err)
	}
}

func compact(header, payload string) []byte {
	return []byte(Encode([]byte(header)) + "." + Encode([]byte(payload)) + "." + Encode(make([]byte, 64)))
}

func TestHeaders(t *testing.T) {
	for header, want := range map[string]error{
		`{"alg":"ES256","kid":"a","typ":"AT+JWT"}`:                nil,
		`{"alg":"ES256","x5t":"abc"}`:                             nil,
		`{"alg":"none"}`:                                          ErrAlgorithm,
		`{"alg":"nOnE"}`:                                          ErrAlgorithm,
		`{"alg":"es256"}`:                                         ErrAlgorithm,
		`{"alg":["ES256"]}`:                                       ErrMalformed,
		`{"kid":"a"}`:                                             ErrMalformed,
		`{"alg":"ES256","alg":"ES256"}`:                           errDuplicate,
		`{"alg":"ES256","\u0061lg":"none"}`:                       errDuplicate,
		`{"alg":"ES256","x":{"a":1,"a":2}}`:                       errDuplicate,
		`{"alg":"ES256","x":[{"a":1,"\u0061":2}]}`:                errDuplicate,
		`{"alg":"ES256","crit":["exp"],"exp":1}`:                  errCrit,
		`{"alg":"ES256","crit":[]}`:                               errCrit,
		`{"alg":"ES256","b64":false}`:                             errCrit,
		`{"alg":"ES256","jwk":{"kty":"EC"}}`:                      errHeaderKey,
		`{"alg":"ES256","jku":"https://evil.example"}`:            errHeaderKey,
		`{"alg":"ES256","x5u":"https://evil.example"}`:            errHeaderKey,
		`{"alg":"ES256","x5c":["MII"]}`:                           errHeaderKey,
		`{"alg":"ES256","kid":"a\nb"}`:                            ErrMalformed,
		`{"alg":"ES256","kid":7}`:                                 ErrMalformed,
		`{"alg":"ES256","kid":""}`:                                ErrMalformed,
		`{"alg":"ES256","typ":null}`:                              ErrMalformed,
		`{"alg":"ES256"} x`:                                       errTrailing,
		`["ES256"]`:                                               errNotObject,
		`{"alg":"ES256","kid":"\ud800"}`:                          errString,
		"{\"alg\":\"ES256\",\"kid\":\"\xff\"}":                    errString,
		`{"alg":"ES256","x":` + strings.Repeat("[", 40) + `1`:     errDepth,
		`{"alg":"ES256","x":"` + strings.Repeat("a", 9000) + `"}`: ErrTooLarge,
	} {
		if _, err := Parse(compact(header, "{}")); !errors.Is(err, want) {
			t.Errorf("%.80s: %v, want %v", header, err, want)
		}
	}
	if _, err := ParseProof(compact(`{"alg":"ES256"}`, "{}")); !errors.Is(err, errHeaderKey) {
		t.Errorf("a proof without key: %v", err)
	}
}

func TestSpellings(t *testing.T) {
	s := testSigner(t, ES256)
	token := string(sign(t, s, "JWT", `{"a":12}`))
	for _, bad := range []string{
		"", ".", "..", "...", token + ".", "." + token, token + "=", token + "\n", " " + token,
		strings.Replace(token, ".", "\n.", 1), strings.Replace(token, ".", "=.", 1), strings.Repeat(".", 1<<20),
		strings.Replace(token, ".", "..", 1), token[:len(token)-1], token + "A", strings.Repeat("a", MaxToken+1),
	} {
		if _, err := s.Key().Verify([]byte(bad)); err == nil {
			t.Errorf("accepted %.80q", bad)
		}
	}
	// The last character of a 64-byte signature has four spare bits.
	last := strings.IndexByte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", token[len(token)-1])
	for spare := 1; spare < 16; spare++ {
		other := token[:len(token)-1] + string("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"[last&^15|spare])
		if _, err := s.Key().Verify([]byte(other)); other != token && err == nil {
			t.Errorf("accepted spare bits %d", spare)
		}
	}
}

func TestKeysRefused(t *testing.T) {
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err == nil {
		_, err = NewKey("a", RS256, &weak.PublicKey)
		if !errors.Is(err, ErrKey) {
			t.Errorf("RSA 1024: %v", err)
		}
	}
	even := &rsa.PublicKey{N: new(big.Int).Lsh(big.NewInt(1), 2047), E: 65537}
	p384, _ := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	for name, f := range map[string]func() (*Key, error){
		"even modulus": func() (*Key, error) { return NewKey("a", RS256, even) },
		"exponent 1":   func() (*Key, error) { return NewKey("a", RS256, &rsa.PublicKey{N: rsaKey().N, E: 1}) },
		"wrong curve":  func() (*Key, error) { return NewKey("a", ES256, &p384.PublicKey) },
		"RSA for ES":   func() (*Key, error) { return NewKey("a", ES256, &rsaKey().PublicKey) },
		"symmetric":    func() (*Key, error) { return NewKey("a", HS256, &rsaKey().PublicKey) },
		"oct":          func() (*Key, error) { return ParseKey([]byte(`{"kty":"oct","k":"AAAA"}`), "HS256") },
		"private":      func() (*Key, error) { return ParseKey([]byte(strings.Replace(testRSA, `"e"`, `"d":"AA","e"`, 1)), "") },
		"other alg":    func() (*Key, error) { return ParseKey([]byte(testRSA), "PS256") },
		"enc": func() (*Key, error) {
			return ParseKey([]byte(strings.Replace(testRSA, `"e"`, `"use":"enc","e"`, 1)), "")
		},
		"key_ops": func() (*Key, error) {
			return ParseKey([]byte(strings.Replace(testRSA, `"e"`, `"key_ops":["encrypt"],"e"`, 1)), "")
		},
		"off curve": func() (*Key, error) {
			return ParseKey([]byte(`{"kty":"EC","crv":"P-256","x":"`+Encode(make([]byte, 32))+`","y":"`+Encode(make([]byte, 32))+`"}`), "")
		},
		"short x": func() (*Key, error) { return ParseKey([]byte(`{"kty":"OKP","crv":"Ed25519","x":"AAAA"}`), "") },
		"X25519": func() (*Key, error) {
			return ParseKey([]byte(`{"kty":"OKP","crv":"X25519","x":"`+Encode(make([]byte, 32))+`"}`), "")
		},
		"duplicate": func() (*Key, error) {
			return ParseKey([]byte(strings.Replace(testRSA, `"e"`, `"kty":"RSA","e"`, 1)), "")
		},
		"empty": func() (*Key, error) { return ParseKey(nil, "RS256") },
	} {
		if k, err := f(); err == nil || k != nil && err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestSet(t *testing.T) {
	a, b := testSigner(t, ES256).Key(), testSigner(t, EdDSA).Key()
	set, err := ParseSet(PrintSet([]*Key{a}))
	if err != nil || len(set.Keys) != 1 || set.Keys[0].Thumbprint() != a.Thumbprint() || set.Keys[0].ID() != "k1" {
		t.Fatalf("%v, %v", set, err)
	}
	if _, err = ParseSet(PrintSet([]*Key{a, b})); !errors.Is(err, ErrSet) {
		t.Errorf("two keys of one kid: %v", err)
	}
	mixed := `{"keys":[{"kty":"oct","k":"AAAA","kid":"s"},{"kty":"what"},` + strings.Replace(testRSA, `"e"`, `"use":"enc","e"`, 1) + `,` + testRSA + `]}`
	if set, err = ParseSet([]byte(mixed)); err != nil || len(set.Keys) != 1 || len(set.Skipped) != 3 {
		t.Errorf("%v, %v", set, err)
	}
	for name, text := range map[string]string{
		"html": "<html>", "empty": "", "array": "[]", "no keys": "{}", "null": `{"keys":null}`, "strings": `{"keys":["a"]}`,
		"twice":   `{"keys":[],"keys":[]}`,
		"private": `{"keys":[` + strings.Replace(testRSA, `"e"`, `"d":"AA","e"`, 1) + `]}`,
		"many":    `{"keys":[` + strings.Repeat(`{},`, 200) + `{}]}`,
		"large":   `{"keys":[],"x":"` + strings.Repeat("a", MaxSet) + `"}`,
	} {
		if _, err := ParseSet([]byte(text)); !errors.Is(err, ErrSet) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if set, err = ParseSet([]byte(`{"keys":[]}`)); err != nil || len(set.Keys) != 0 {
		t.Errorf("empty set: %v", err)
	}
}

func TestManyMembers(t *testing.T) {
	var b strings.Builder
	for i := range 3000 {
		fmt.Fprintf(&b, `,"m%d":{"a":%d}`, i, i)
	}
	many := b.String()[1:]
	if err := Valid("{" + many + "}"); err != nil {
		t.Error(err)
	}
	for _, dup := range []string{"m0", "m31", "m32", "m2999"} {
		if err := Valid("{" + many + `,"` + dup + `":1}`); err != errDuplicate {
			t.Errorf("%s: %v", dup, err)
		}
		if err := Valid(`{"x":[{` + many + `,"` + dup + `":1}]}`); err != errDuplicate {
			t.Errorf("%s nested: %v", dup, err)
		}
	}
	// Sibling objects may use the same names; so may an object and its parent.
	if err := Valid(`{"a":{"a":1},"b":{"a":1,"b":[{"a":1},{"a":2}]}}`); err != nil {
		t.Error(err)
	}
}

func TestClaims(t *testing.T) {
	c, err := ParseClaims(benchPayload, Names{})
	if err != nil {
		t.Fatal(err)
	}
	tok := c.Token(mintmark.KindAccessJWT, "k1")
	want := mintmark.Mark{Release: "orders/v42", Policy: 7, Key: "k1", Epoch: 1234, Seq: 987654321}
	if tok.Mark != want || tok.Grant == "" || tok.Family == "" || tok.Client != "storefront" ||
		strings.Join(tok.Scopes, ",") != "orders:read,orders:write,profile" || tok.Expires != 2000000000 {
		t.Errorf("%+v", tok)
	}
	if c.Further(Names{}) != nil {
		t.Errorf("further %s", c.Further(Names{}))
	}
	foreign := c.Token(mintmark.KindForeign, "k9")
	if foreign.Mark != (mintmark.Mark{Key: "k9"}) || foreign.Grant != "" || foreign.Family != "" {
		t.Errorf("a foreign token keeps our claim: %+v", foreign)
	}
	names := Names{Subject: "oid", Client: "appid", Scopes: "scp", ID: "uti"}
	text := `{"iss":"i","oid":"o","sub":"s","appid":"a","azp":"z","scp":["b","a","b",""],"uti":"u","aud":["y","x","y"],"exp":1.9e3,"nbf":7.5,"x":{"k":"\u00e9\""},"roles":[1,"2"]}`
	if c, err = ParseClaims(text, names); err != nil {
		t.Fatal(err)
	}
	if c.Subject != "o" || c.Client != "a" || c.ID != "u" || strings.Join(c.Scopes, ",") != "a,b" ||
		strings.Join(c.Audience, ",") != "x,y" || c.Expires != 1900 || c.NotBefore != 8 {
		t.Errorf("%+v", c)
	}
	var further map[string]any
	if err = json.Unmarshal(c.Further(names), &further); err != nil || len(further) != 3 || further["sub"] != "s" {
		t.Errorf("further %s: %v", c.Further(names), err)
	}
	// The two sets share an array: growing one must not touch the other.
	_ = append(c.Scopes, "zzz")
	if strings.Join(c.Audience, ",") != "x,y" {
		t.Error("sets share cells")
	}
	if v, ok := c.Lookup("roles"); !ok || v.Raw() != `[1,"2"]` {
		t.Errorf("lookup %v", v)
	}
}

func TestClaimsRefused(t *testing.T) {
	for _, text := range []string{
		``, `null`, `[]`, `{"exp":"1"}`, `{"exp":-1}`, `{"exp":1e99}`, `{"exp":null}`, `{"iat":1e400}`, `{"sub":7}`,
		`{"sub":"a\r\nX-Admin: 1"}`, `{"aud":[1]}`, `{"aud":{}}`, `{"scope":7}`, `{"scope":"a\u0000b"}`, `{"cnf":[]}`,
		`{"cnf":{"jwk":{}}}`, `{"cnf":{"jkt":1}}`, `{"cnf":{"x5t":"a"}}`, `{"mintmark":"a"}`, `{"mintmark":{"seq":-1}}`,
		`{"mintmark":{"seq":1.5}}`, `{"sub":"a","sub":"b"}`, `{"aud":"` + "\xc3\x28" + `"}`, `{"a":1}{}`, `{"a":01}`,
		`{"scope":"` + strings.Repeat("a ", 300) + `"}`,
	} {
		if _, err := ParseClaims(text, Names{}); !errors.Is(err, ErrMalformed) {
			t.Errorf("%.60q: %v", text, err)
		}
	}
	c, err := ParseClaims(`{"iss":"i"}`, Names{})
	if err != nil || c.Complete() != errNoExpiry || Code(c.Complete()) != mintmark.CodeMalformed {
		t.Errorf("%v, %v", err, c.Complete())
	}
	if c, _ = ParseClaims(`{"iss":"i","exp":0}`, Names{}); c.Complete() != nil || c.Expires != 1 {
		t.Errorf("exp 0 must be long over, not absent: %+v", c)
	}
}

func TestCodes(t *testing.T) {
	for err, want := range map[error]mintmark.Code{
		nil: mintmark.CodeNone, errVerify: mintmark.CodeSignature, errAlgorithm: mintmark.CodeSignature,
		errTokenSize: mintmark.CodeMalformed, unusable("x"): mintmark.CodeKeyUnknown, errors.New("?"): mintmark.CodeMalformed,
	} {
		if got := Code(err); got != want {
			t.Errorf("%v: %s, want %s", err, got, want)
		}
	}
}

// TestDER compares with encoding/asn1 over lengths and leading bytes.
func TestDER(t *testing.T) {
	for _, size := range []int{32, 48, 66} {
		for zeros := range size {
			for _, lead := range []byte{0x01, 0x7f, 0x80, 0xff} {
				sig := make([]byte, 2*size)
				for i := range sig {
					sig[i] = byte(i*7 + 1)
				}
				clear(sig[:zeros])
				sig[zeros], sig[size] = lead, lead^0x80
				want, err := asn1.Marshal(struct{ R, S *big.Int }{new(big.Int).SetBytes(sig[:size]), new(big.Int).SetBytes(sig[size:])})
				if err != nil {
					t.Fatal(err)
				}
				if got := der(&new(buffers).der, sig); !bytes.Equal(got, want) {
					t.Fatalf("size %d, %d zeros: %x, want %x", size, zeros, got, want)
				}
			}
		}
	}
}
