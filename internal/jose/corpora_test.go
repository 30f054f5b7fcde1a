package jose

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func load(t *testing.T, name string, into any) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", "wycheproof", name))
	if err != nil {
		t.Fatal(err)
	}
	if err = json.Unmarshal(b, into); err != nil {
		t.Fatal(err)
	}
}

// stricter lists the JWS vectors that the corpus calls valid and we refuse, and
// why.
var stricter = map[int]string{
	346: "the key says PS256, the token PS384: another algorithm under a pinned key",
	347: "the key says ES521, which is no algorithm",
	350: "the key says PS256, the token PS384: another algorithm under a pinned key",
	351: "the key says ES521, which is no algorithm",
	372: "a character that is not base64url in the header",
	373: "a character that is not base64url in the payload",
}

// identical lists the vectors that the corpus calls invalid, for padding, but
// whose text as published has none: they are 357 byte for byte.
var identical = map[int]bool{367: true, 370: true}

func TestWycheproofJWS(t *testing.T) {
	var file struct {
		NumberOfTests int `json:"numberOfTests"`
		TestGroups    []struct {
			Comment string          `json:"comment"`
			Public  json.RawMessage `json:"public"`
			Private struct{ Alg, K string }
			Tests   []struct {
				TcID    int             `json:"tcId"`
				Comment string          `json:"comment"`
				JWS     json.RawMessage `json:"jws"`
				Result  string          `json:"result"`
			} `json:"tests"`
		} `json:"testGroups"`
	}
	load(t, "json_web_signature_test.json", &file)
	ran, excepted := 0, 0
	texts := map[int]string{}
	for _, g := range file.TestGroups {
		check := func([]byte) error { return ErrKey }
		if g.Public == nil {
			secret, err := Decode(g.Private.K)
			if err != nil {
				t.Fatal(err)
			}
			if s, err := NewSecret(ParseAlgorithm(g.Private.Alg), secret); err == nil {
				check = func(token []byte) error {
					c, err := Parse(token)
					if err != nil {
						return err
					}
					return s.Check(&c)
				}
			}
		} else if key, err := ParseKey(g.Public, ""); err == nil {
			check = func(token []byte) error { _, err := key.Verify(token); return err }
		}
		for _, v := range g.Tests {
			ran++
			var token string
			if json.Unmarshal(v.JWS, &token) != nil {
				token = string(v.JWS) // JSON serialization: never compact
			}
			texts[v.TcID] = token
			if identical[v.TcID] {
				if token != texts[357] {
					t.Errorf("%d is not 357 any more: judge it", v.TcID)
				}
				continue
			}
			err := check([]byte(token))
			want := v.Result == "valid"
			if _, ok := stricter[v.TcID]; ok {
				excepted++
				if !want {
					t.Errorf("%d needs no exception", v.TcID)
				}
				want = false
			}
			if (err == nil) != want {
				t.Errorf("%s %d %s: %s, got %v", g.Comment, v.TcID, v.Comment, v.Result, err)
			}
		}
	}
	if ran != file.NumberOfTests || excepted != len(stricter) {
		t.Errorf("ran %d of %d vectors, %d of %d exceptions", ran, file.NumberOfTests, excepted, len(stricter))
	}
}

// vector is one raw signature or MAC.
type vector struct {
	TcID    int      `json:"tcId"`
	Comment string   `json:"comment"`
	Flags   []string `json:"flags"`
	Key     string   `json:"key"`
	Msg     string   `json:"msg"`
	Sig     string   `json:"sig"`
	Tag     string   `json:"tag"`
	Result  string   `json:"result"`
}

type vectors struct {
	NumberOfTests int `json:"numberOfTests"`
	TestGroups    []struct {
		KeySize      int             `json:"keySize"`
		TagSize      int             `json:"tagSize"`
		KeyJwk       json.RawMessage `json:"keyJwk"`
		PublicKeyJwk json.RawMessage `json:"publicKeyJwk"`
		Tests        []vector        `json:"tests"`
	} `json:"testGroups"`
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestWycheproofSignatures runs the raw signature vectors through the same
// function that checks a token's signature.
func TestWycheproofSignatures(t *testing.T) {
	for name, alg := range map[string]string{
		"ed25519_test.json":                     "EdDSA",
		"rsa_pss_2048_sha256_mgf1_32_test.json": "PS256",
		"rsa_pss_2048_sha384_mgf1_48_test.json": "PS384",
		"rsa_pss_3072_sha256_mgf1_32_test.json": "PS256",
		"rsa_pss_4096_sha384_mgf1_48_test.json": "PS384",
		"rsa_pss_4096_sha512_mgf1_64_test.json": "PS512",
		"rsa_signature_2048_sha256_test.json":   "RS256",
		"rsa_signature_3072_sha384_test.json":   "RS384",
		"rsa_signature_4096_sha512_test.json":   "RS512",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var file vectors
			load(t, name, &file)
			ran := 0
			for _, g := range file.TestGroups {
				jwk := g.PublicKeyJwk
				if jwk == nil {
					jwk = g.KeyJwk
				}
				key, err := ParseKey(jwk, alg)
				if err != nil {
					t.Fatal(err)
				}
				for _, v := range g.Tests {
					ran++
					sig := unhex(t, v.Sig)
					ok := len(sig) == key.signatureSize() && key.verify(new(buffers), unhex(t, v.Msg), sig)
					// "acceptable" is the PKCS #1 v1.5 encoding without NULL: refused.
					if ok != (v.Result == "valid") {
						t.Errorf("%d %s %v: %s, accepted %v", v.TcID, v.Comment, v.Flags, v.Result, ok)
					}
				}
			}
			if ran != file.NumberOfTests {
				t.Errorf("ran %d of %d vectors", ran, file.NumberOfTests)
			}
		})
	}
}

// TestWycheproofHMAC makes each MAC vector a compact JWS. Two kinds of valid
// vectors must be refused: truncated tags, which JWS does not have, and secrets
// shorter than the hash (RFC 7518 §3.2). And no public key may ever accept one.
func TestWycheproofHMAC(t *testing.T) {
	public, err := ParseKey([]byte(testRSA), "RS256")
	if err != nil {
		t.Fatal(err)
	}
	for name, alg := range map[string]Algorithm{
		"hmac_sha256_test.json": HS256, "hmac_sha384_test.json": HS384, "hmac_sha512_test.json": HS512,
	} {
		var file vectors
		load(t, name, &file)
		ran, accepted := 0, 0
		for _, g := range file.TestGroups {
			for _, v := range g.Tests {
				ran++
				// The vectors MAC arbitrary bytes, so the signed part is set directly.
				c := Compact{Header: Header{Alg: alg}, signed: unhex(t, v.Msg), signature: []byte(Encode(unhex(t, v.Tag)))}
				want := v.Result == "valid" && g.TagSize == alg.hash().Size()*8 && g.KeySize >= alg.hash().Size()*8
				s, err := NewSecret(alg, unhex(t, v.Key))
				if err == nil {
					err = s.Check(&c)
				}
				if (err == nil) != want {
					t.Errorf("%s %d %s: want %v, got %v", name, v.TcID, v.Comment, want, err)
				}
				if want {
					accepted++
				}
				if public.Check(&c) == nil {
					t.Errorf("%s %d accepted under a public key", name, v.TcID)
				}
			}
		}
		if ran != file.NumberOfTests || accepted == 0 {
			t.Errorf("%s: ran %d of %d, accepted %d", name, ran, file.NumberOfTests, accepted)
		}
	}
}

// TestJSONTestSuite: y_ is accepted, n_ refused. The exceptions are texts with
// two members of one name, which RFC 8259 §4 leaves open and we refuse.
func TestJSONTestSuite(t *testing.T) {
	duplicates := map[string]bool{"y_object_duplicated_key.json": true, "y_object_duplicated_key_and_value.json": true}
	files, err := filepath.Glob("testdata/jsontestsuite/*.json")
	if err != nil {
		t.Fatal(err)
	}
	yes, no := 0, 0
	for _, path := range files {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Base(path)
		err = Valid(string(b))
		switch {
		case duplicates[name]:
			if err != errDuplicate {
				t.Errorf("%s: want duplicate, got %v", name, err)
			}
			delete(duplicates, name)
		case strings.HasPrefix(name, "y_"):
			yes++
			if err != nil {
				t.Errorf("%s refused: %v", name, err)
			}
		case strings.HasPrefix(name, "n_"):
			no++
			if err == nil {
				t.Errorf("%s accepted", name)
			}
		}
	}
	if yes < 90 || no < 180 || len(duplicates) > 0 {
		t.Errorf("ran %d y_ and %d n_ files, %d exceptions left", yes, no, len(duplicates))
	}
}
