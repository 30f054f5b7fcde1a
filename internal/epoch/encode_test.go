package epoch

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/mintmark/mintmark"
)

// TestGoldenBytes pins the wire form: a change here changes every hash.
func TestGoldenBytes(t *testing.T) {
	s := &Service{
		Name: "shop", Audience: []string{"a<b"}, OwnIssuer: true,
		Routes:   []Route{{Name: "all", Path: "/*", Kinds: []mintmark.TokenKind{mintmark.KindOpaque}, Staleness: mintmark.Static}},
		Releases: []Release{{Name: "one", Upstreams: []Upstream{{URL: "http://u"}}, Mint: Mint{Format: "jwt", AccessSeconds: 60, Claims: map[string]json.RawMessage{"b": json.RawMessage(`{"z":1,"a":2}`)}}}},
		Split:    Split{Stable: "one"},
	}
	body, h, err := Encode(s)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"audience":["a<b"],"name":"shop","own_issuer":true,"releases":[{"mint":{"access_seconds":60,"audience":null,"claims":{"b":{"a":2,"z":1}},"format":"jwt","policy":"","scopes":null,"version":0},"name":"one","upstreams":[{"url":"http://u"}]}],"routes":[{"kinds":["opaque"],"name":"all","path":"/*","staleness":"static"}],"split":{"stable":"one"}}`
	if string(body) != want {
		t.Errorf("body\n%s\nwant\n%s", body, want)
	}
	const wantHash = "980acc7bb87ff772c092bc11548de54bfd44f592d4c14467263497753552c54d"
	if h.String() != wantHash {
		t.Errorf("hash %s, want %s", h, wantHash)
	}
	back, err := DecodeService(body)
	if err != nil {
		t.Fatal(err)
	}
	if again, _, _ := Encode(back); !bytes.Equal(again, body) {
		t.Errorf("decoded and encoded again:\n%s", again)
	}
}

func TestDecodeRefuses(t *testing.T) {
	for name, body := range map[string]string{
		"duplicate member": `{"issuer":"a","issuer":"b","keys":[]}`,
		"white space":      `{"issuer": "a","keys":[]}`,
		"order":            `{"keys":[],"issuer":"a"}`,
		"float":            `{"issuer":"a","keys":[],"x":1.5}`,
		"exponent":         `{"issuer":"a","keys":[],"x":1e2}`,
		"bad utf-8":        "{\"issuer\":\"\xff\",\"keys\":[]}",
		"trailing":         `{"issuer":"a","keys":[]}{}`,
		"type":             `{"issuer":7,"keys":[]}`,
		"feature":          `{"issuer":"a","keys":[],"requires":["telepathy"]}`,
		"empty":            ``,
		"too large":        `"` + strings.Repeat("a", MaxPart) + `"`,
	} {
		if _, err := DecodeKeys([]byte(body)); !errors.Is(err, ErrPart) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := DecodeKeys([]byte(`{"issuer":"a","keys":[],"later":{"x":1}}`)); err != nil {
		t.Errorf("a member of a later version: %v", err)
	}
}

func TestManifest(t *testing.T) {
	a, b := PartRef{"service/a", Hash{1}}, PartRef{"keys", Hash{2}}
	m := Manifest{}.With(a, b)
	if m.Parts[0] != b || m.Parts[1] != a {
		t.Fatalf("not sorted: %v", m)
	}
	changed := m.With(PartRef{"keys", Hash{3}})
	if m.Parts[0] != b || len(changed.Parts) != 2 || changed.Hash() == m.Hash() {
		t.Error("With changed its receiver, or not its result")
	}
	if changed.With(b).Hash() != m.Hash() {
		t.Error("one content, two hashes")
	}
	if (Manifest{}).Hash() != (Manifest{Parts: []PartRef{}}).Hash() {
		t.Error("the empty manifest has two hashes")
	}
}

func TestRows(t *testing.T) {
	key := ed25519.NewKeyFromSeed(make([]byte, 32))
	pub := func(kid string) ed25519.PublicKey {
		if kid != "s1" {
			return nil
		}
		return key.Public().(ed25519.PublicKey)
	}
	first := Row{Seq: 1, Term: 1, KeyID: "s1", Commit: &Commit{Epoch: 1, Kind: "apply"}}
	s, err := SignRow(first, key)
	if err != nil {
		t.Fatal(err)
	}
	got, err := VerifyRow(s, pub)
	if err != nil || got.Commit.Epoch != 1 {
		t.Fatalf("%+v, %v", got, err)
	}
	if err := Follows(&got, 0, 0, Hash{}); err != nil {
		t.Error(err)
	}
	second := Row{Seq: 2, Term: 1, Prev: s.Hash(), KeyID: "s1"}
	for _, tc := range []struct {
		name string
		row  Row
		want error
	}{
		{"next", second, nil},
		{"gap", Row{Seq: 3, Term: 1, Prev: s.Hash()}, ErrRowGap},
		{"again", first, ErrRowGap},
		{"fork", Row{Seq: 2, Term: 1, Prev: Hash{9}}, ErrRowChain},
		{"older term", Row{Seq: 2, Term: 0, Prev: s.Hash()}, ErrRowChain},
	} {
		if err := Follows(&tc.row, 1, 1, s.Hash()); !errors.Is(err, tc.want) {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
	for i := range s.Body {
		bad := SignedRow{bytes.Clone(s.Body), s.Signature}
		bad.Body[i] ^= 1
		if _, err := VerifyRow(bad, pub); err == nil {
			t.Fatalf("byte %d altered and accepted", i)
		}
	}
	other, _ := SignRow(Row{Seq: 1, Term: 1, KeyID: "s2"}, key)
	if _, err := VerifyRow(other, pub); !errors.Is(err, ErrRowForged) {
		t.Errorf("unknown kid: %v", err)
	}
}

func FuzzDecode(f *testing.F) {
	for _, p := range []any{testService(), testKeys(), testIssuers()} {
		body, _, err := Encode(p)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(body)
	}
	f.Add([]byte(`{"requires":["x"]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		if s, err := DecodeService(body); err == nil {
			again, _, err := Encode(s)
			if err != nil {
				t.Fatalf("decoded but not encoded: %v", err)
			}
			if _, err := DecodeService(again); err != nil {
				t.Fatalf("encoded but not decoded: %v", err)
			}
			m := Manifest{}.With(PartRef{ServicePartName(s.Name), HashOf(body)})
			_, _ = Compile(m, map[Hash][]byte{HashOf(body): body})
		}
		_, _ = DecodeKeys(body)
		_, _ = DecodeIssuers(body)
		m := Manifest{}.With(PartRef{PartKeys, HashOf(body)})
		_, _ = Compile(m, map[Hash][]byte{HashOf(body): body})
	})
}

func FuzzVerifyRow(f *testing.F) {
	key := ed25519.NewKeyFromSeed(make([]byte, 32))
	s, _ := SignRow(Row{Seq: 1, Term: 1, KeyID: "s1"}, key)
	f.Add(s.Body, s.Signature)
	f.Fuzz(func(t *testing.T, body, sig []byte) {
		row, err := VerifyRow(SignedRow{body, sig}, func(string) ed25519.PublicKey { return key.Public().(ed25519.PublicKey) })
		if err == nil && (row.Seq == 0 || !bytes.Equal(ed25519.Sign(key, append([]byte(rowDomain), body...)), sig)) {
			t.Fatalf("accepted %+v", row)
		}
	})
}
