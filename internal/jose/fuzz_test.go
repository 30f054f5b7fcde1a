package jose

import (
	"encoding/json"
	"testing"
)

func FuzzValid(f *testing.F) {
	for _, s := range []string{`{}`, `[1,-0.5e+3,"\ud83d\ude00",null,true]`, `{"a":{"a":1},"b":"\u0000"}`, `"`, `{"a":1,"\u0061":2}`, benchPayload} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if Valid(s) != nil {
			return
		}
		// We are stricter than encoding/json, never more lenient.
		if !json.Valid([]byte(s)) {
			t.Fatalf("accepted %q", s)
		}
		var v any
		if err := json.Unmarshal([]byte(s), &v); err != nil {
			return // a number out of float64's range
		}
		object, ok := v.(map[string]any)
		if !ok {
			return
		}
		n := 0
		for it := Scan(s); it.Next(); n++ {
			want, ok := object[it.Name()]
			if !ok {
				t.Fatalf("name %q is not there in %q", it.Name(), s)
			}
			if text, isText := it.Value().Str(); isText && text != want {
				t.Fatalf("value %q, want %q", text, want)
			}
		}
		if n != len(object) {
			t.Fatalf("%d members, want %d, in %q", n, len(object), s)
		}
	})
}

func FuzzParse(f *testing.F) {
	s := testSigner(f, EdDSA)
	f.Add(sign(f, s, "at+jwt", benchPayload))
	f.Add(compact(`{"alg":"none"}`, `{}`))
	f.Add(sign(f, s, "at+jwt", `{"iss":"a","exp":9,"mintmark":{"via":"tok_1 tok_2","ori":[{"rel":"a/v1","scp":"x y","aud":["b"]},{"seq":7,"sub":""}]}}`))
	f.Add([]byte("..."))
	f.Fuzz(func(t *testing.T, token []byte) {
		c, err := Parse(token)
		if err != nil {
			return
		}
		if c.Header.JWK != "" || c.Header.Alg == Unknown {
			t.Fatalf("header %+v", c.Header)
		}
		_ = s.Key().Check(&c)
		claims, err := ParseClaims(c.Payload, Names{})
		if err != nil {
			return
		}
		if raw := claims.Further(Names{}); raw != nil && !json.Valid(raw) {
			t.Fatalf("further claims %q", raw)
		}
	})
}

func FuzzParseKey(f *testing.F) {
	f.Add([]byte(testRSA), "RS256")
	f.Add(testSigner(f, ES256).Key().JWK(), "")
	f.Add(testSigner(f, EdDSA).Key().JWK(), "EdDSA")
	f.Fuzz(func(t *testing.T, text []byte, alg string) {
		k, err := ParseKey(text, alg)
		if err != nil {
			return
		}
		again, err := ParseKey(k.JWK(), k.Alg().String())
		if err != nil || again.Thumbprint() != k.Thumbprint() || again.ID() != k.ID() {
			t.Fatalf("%s does not come back from %s: %v", text, k.JWK(), err)
		}
	})
}

func FuzzParseSet(f *testing.F) {
	f.Add([]byte(`{"keys":[` + testRSA + `]}`))
	f.Add([]byte(`{"keys":[{},{"kty":"oct"}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		set, err := ParseSet(text)
		if err != nil {
			return
		}
		again, err := ParseSet(PrintSet(set.Keys))
		if err != nil || len(again.Keys) != len(set.Keys) {
			t.Fatalf("%d keys became %d: %v", len(set.Keys), len(again.Keys), err)
		}
	})
}
