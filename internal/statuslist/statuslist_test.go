package statuslist_test

import (
	"bytes"
	"compress/zlib"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/jose"
	"github.com/mintmark/mintmark/internal/statuslist"
)

// vector is one of the draft's test vectors (§4.1 and appendix).
type vector struct {
	Name   string
	Bits   int
	Size   int
	LST    string
	Status [][2]uint64
}

func vectors(t testing.TB) (out []vector) {
	t.Helper()
	b, err := os.ReadFile("testdata/vectors.json")
	if err == nil {
		err = json.Unmarshal(b, &out)
	}
	if err != nil || len(out) != 6 {
		t.Fatalf("%d vectors, %v", len(out), err)
	}
	return out
}

func TestVectors(t *testing.T) {
	for _, v := range vectors(t) {
		t.Run(v.Name, func(t *testing.T) {
			l, err := statuslist.Decode(v.Bits, v.LST, 0)
			if err != nil {
				t.Fatal(err)
			}
			if l.Len() != v.Size {
				t.Errorf("%d statuses, want %d", l.Len(), v.Size)
			}
			own, err := statuslist.New(v.Bits, v.Size)
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range v.Status {
				if got, err := l.Get(s[0]); err != nil || uint64(got) != s[1] {
					t.Errorf("status[%d] = %v, %v; want %d", s[0], got, err, s[1])
				}
				if err := own.Set(int(s[0]), statuslist.Status(s[1])); err != nil {
					t.Error(err)
				}
			}
			// One array, every place of it: what is not listed is VALID. The compressor is
			// ours for both.
			if own.Encode() != l.Encode() {
				t.Error("the list says more than the vector")
			}
			if again, err := statuslist.Decode(v.Bits, own.Encode(), 0); err != nil || again.Len() != v.Size {
				t.Errorf("what we print is not read: %v", err)
			}
		})
	}
}

func TestListBounds(t *testing.T) {
	l, err := statuslist.New(2, 12)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Set(12, statuslist.Invalid); !errors.Is(err, statuslist.ErrIndex) {
		t.Errorf("beyond the end: %v", err)
	}
	if _, err := l.Get(1 << 60); !errors.Is(err, statuslist.ErrIndex) {
		t.Errorf("far beyond the end: %v", err)
	}
	if err := l.Set(0, 4); !errors.Is(err, statuslist.ErrMalformed) {
		t.Errorf("status of three bits in two: %v", err)
	}
	if err := l.Set(3, statuslist.Suspended); err != nil {
		t.Error(err)
	}
	if err := l.Set(3, statuslist.Valid); err != nil {
		t.Error(err)
	}
	if got, err := l.Get(3); got != statuslist.Valid || err != nil {
		t.Errorf("set back: %v, %v", got, err)
	}
	for _, bits := range []int{-1, 0, 3, 16} {
		if _, err := statuslist.New(bits, 8); !errors.Is(err, statuslist.ErrMalformed) {
			t.Errorf("%d bits: %v", bits, err)
		}
	}
	if (&statuslist.List{}).Len() != 0 {
		t.Error("the zero list has statuses")
	}
}

func packed(b []byte) []byte {
	var out bytes.Buffer
	z := zlib.NewWriter(&out)
	_, _ = z.Write(b)
	_ = z.Close()
	return out.Bytes()
}

func TestDecodeRefuses(t *testing.T) {
	good := packed([]byte{1, 2, 3})
	b64 := base64.RawURLEncoding.EncodeToString
	flipped := bytes.Clone(good)
	flipped[len(flipped)-1] ^= 1
	for name, c := range map[string]struct {
		lst   string
		limit int
		want  error
	}{
		"empty":           {"", 0, statuslist.ErrMalformed},
		"not base64url":   {"eNrb+RgA", 0, statuslist.ErrMalformed},
		"padded":          {base64.URLEncoding.EncodeToString(packed([]byte{1})), 0, statuslist.ErrMalformed},
		"line break":      {b64(good)[:4] + "\n" + b64(good)[4:], 0, statuslist.ErrMalformed},
		"not zlib":        {b64([]byte("plain text")), 0, statuslist.ErrMalformed},
		"cut short":       {b64(good[:len(good)-5]), 0, statuslist.ErrMalformed},
		"wrong checksum":  {b64(flipped), 0, statuslist.ErrMalformed},
		"something after": {b64(append(bytes.Clone(good), 0)), 0, statuslist.ErrMalformed},
		"bomb":            {b64(packed(make([]byte, 64<<20))), 0, statuslist.ErrTooLarge},
		"beyond a limit":  {b64(packed(make([]byte, 1001))), 1000, statuslist.ErrTooLarge},
		"long text":       {strings.Repeat("A", 10_000), 1000, statuslist.ErrTooLarge},
	} {
		if _, err := statuslist.Decode(1, c.lst, c.limit); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

func signer(t testing.TB, kid string) *jose.Signer {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s, err := jose.NewSigner(kid, jose.ES256, k)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

const uri = "https://example.com/statuslists/1"

func TestToken(t *testing.T) {
	s, other := signer(t, "12"), signer(t, "12")
	l, _ := statuslist.New(1, 16)
	_ = l.Set(3, statuslist.Invalid)
	tok := statuslist.Token{Issuer: "https://example.com", Subject: uri, IssuedAt: 1000, Expires: 2000, TTL: 60, List: l}
	payload, err := tok.Payload()
	if err != nil {
		t.Fatal(err)
	}
	sign := func(s *jose.Signer, typ string, payload []byte) []byte {
		text, err := s.Sign(rand.Reader, typ, payload)
		if err != nil {
			t.Fatal(err)
		}
		return []byte(text)
	}
	check := statuslist.Check{Subject: uri, Issuer: "https://example.com", Now: 1500, Skew: 10, Key: func(kid string) *jose.Key {
		if kid != "12" {
			return nil
		}
		return s.Key()
	}}
	got, err := statuslist.Parse(sign(s, statuslist.Type, payload), check)
	if err != nil {
		t.Fatal(err)
	}
	if st, err := got.List.Get(3); st != statuslist.Invalid || err != nil || got.TTL != 60 || got.Expires != 2000 {
		t.Errorf("read back: %v %v %+v", st, err, got)
	}
	change := func(f func(m map[string]any)) []byte {
		var m map[string]any
		_ = json.Unmarshal(payload, &m)
		f(m)
		b, _ := json.Marshal(m)
		return sign(s, statuslist.Type, b)
	}
	stranger := signer(t, "13")
	for name, c := range map[string]struct {
		text []byte
		want error
	}{
		"access token":       {sign(s, "at+jwt", payload), statuslist.ErrMalformed},
		"other key, kid":     {sign(other, statuslist.Type, payload), statuslist.ErrSignature},
		"unknown kid":        {sign(stranger, statuslist.Type, payload), statuslist.ErrSignature},
		"alg none":           {append([]byte(base64.RawURLEncoding.EncodeToString([]byte(`{"typ":"statuslist+jwt","alg":"none"}`))+"."), '.'), statuslist.ErrMalformed},
		"other list":         {change(func(m map[string]any) { m["sub"] = uri + "2" }), statuslist.ErrSubject},
		"other issuer":       {change(func(m map[string]any) { m["iss"] = "https://evil.example" }), statuslist.ErrSubject},
		"no sub":             {change(func(m map[string]any) { delete(m, "sub") }), statuslist.ErrMalformed},
		"no iat":             {change(func(m map[string]any) { delete(m, "iat") }), statuslist.ErrMalformed},
		"no list":            {change(func(m map[string]any) { delete(m, "status_list") }), statuslist.ErrMalformed},
		"ttl 0":              {change(func(m map[string]any) { m["ttl"] = 0 }), statuslist.ErrMalformed},
		"ttl as text":        {change(func(m map[string]any) { m["ttl"] = "60" }), statuslist.ErrMalformed},
		"expired":            {change(func(m map[string]any) { m["exp"] = 1490 }), statuslist.ErrTime},
		"from the future":    {change(func(m map[string]any) { m["iat"] = 1511 }), statuslist.ErrTime},
		"not yet":            {change(func(m map[string]any) { m["nbf"] = 1511 }), statuslist.ErrTime},
		"three bits":         {change(func(m map[string]any) { m["status_list"].(map[string]any)["bits"] = 3 }), statuslist.ErrMalformed},
		"not a token at all": {[]byte("<html>"), statuslist.ErrMalformed},
		"too long":           {bytes.Repeat([]byte("."), statuslist.MaxToken+1), statuslist.ErrTooLarge},
	} {
		if _, err := statuslist.Parse(c.text, check); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	// Skew is allowed for.
	if _, err := statuslist.Parse(change(func(m map[string]any) { m["exp"] = 1491 }), check); err != nil {
		t.Errorf("within the skew: %v", err)
	}
}

// A list that fills its cap is read whole: longer than any access token may be.
func TestLongToken(t *testing.T) {
	s := signer(t, "1")
	l, _ := statuslist.New(2, 1<<20)
	noise := make([]byte, 1<<18)
	_, _ = rand.Read(noise)
	for i, b := range noise {
		_ = l.Set(i*4, statuslist.Status(b&3))
	}
	tok := statuslist.Token{Subject: uri, IssuedAt: 1, List: l}
	payload, _ := tok.Payload()
	text, err := s.Sign(rand.Reader, statuslist.Type, payload)
	if err != nil || len(text) < jose.MaxToken {
		t.Fatal(len(text), err)
	}
	if _, err := statuslist.Parse([]byte(text), statuslist.Check{Subject: uri, Now: 1, Key: func(string) *jose.Key { return s.Key() }}); err != nil {
		t.Error(err)
	}
}

func status(t testing.TB, claim string) jose.Value {
	t.Helper()
	s := jose.Scan(`{"status":` + claim + `}`)
	if !s.Next() {
		t.Fatal(s.Err())
	}
	return s.Value()
}

func TestReference(t *testing.T) {
	want := statuslist.Reference{Index: 7, URI: uri}
	got, ok, err := statuslist.ParseClaim(status(t, string(want.Claim())))
	if got != want || !ok || err != nil {
		t.Errorf("%+v %v %v", got, ok, err)
	}
	if _, ok, err := statuslist.ParseClaim(jose.Value{}); ok || err != nil {
		t.Errorf("no claim: %v, %v", ok, err)
	}
	if _, ok, err := statuslist.ParseClaim(status(t, `{"other":{}}`)); ok || err != nil {
		t.Errorf("another mechanism: %v, %v", ok, err)
	}
	for _, bad := range []string{
		`"revoked"`, `[]`, `null`, `{"status_list":1}`, `{"status_list":{}}`, `{"status_list":{"idx":-1,"uri":"https://h/1"}}`,
		`{"status_list":{"idx":1.5,"uri":"https://h/1"}}`, `{"status_list":{"idx":"1","uri":"https://h/1"}}`,
		`{"status_list":{"idx":99999999999,"uri":"https://h/1"}}`, `{"status_list":{"idx":1,"uri":"ftp://h/1"}}`,
		`{"status_list":{"idx":1,"uri":"https://user@h/1"}}`, `{"status_list":{"idx":1,"uri":"/1"}}`, `{"status_list":{"idx":1}}`,
	} {
		if _, ok, err := statuslist.ParseClaim(status(t, bad)); ok && err == nil || !errors.Is(err, statuslist.ErrMalformed) {
			t.Errorf("%s: %v, %v", bad, ok, err)
		}
	}
}

// No two tokens share a place, and neighbours in issuance are none in the list.
func TestLayout(t *testing.T) {
	l := statuslist.Layout{Base: "https://auth.example/status", Key: bytes.Repeat([]byte{7}, 32)}
	const release, exp = mintmark.ReleaseID("shop/v1"), 1_800_000_000
	seen := make([]bool, statuslist.Room)
	near := 0
	last := -1
	for seq := uint64(5 * statuslist.Room); seq < 6*statuslist.Room; seq++ {
		p := statuslist.PlaceOf(release, exp, seq)
		if p.Block != 5 || p.Ends() <= exp || p.Ends() > exp+statuslist.Bucket {
			t.Fatalf("place %+v", p)
		}
		i := l.Index(p, seq)
		if i < 0 || i >= statuslist.Room || seen[i] {
			t.Fatalf("index %d of %d given twice or outside", i, seq)
		}
		if d := i - last; d >= -4 && d <= 4 {
			near++
		}
		seen[i], last = true, i
	}
	if near > 100 { // 9 in 65,536 by chance
		t.Errorf("%d neighbours stayed neighbours", near)
	}
	p := statuslist.PlaceOf(release, exp, 5*statuslist.Room)
	if q := statuslist.PlaceOf(release, exp+statuslist.Bucket, 5*statuslist.Room); l.Index(p, 1) == l.Index(q, 1) && l.Index(p, 2) == l.Index(q, 2) {
		t.Error("two lists share their order")
	}
	ref := l.Reference(release, exp, 5*statuslist.Room)
	path := strings.TrimPrefix(ref.URI, l.Base+"/")
	if got, err := statuslist.ParsePath(path); err != nil || got != p {
		t.Errorf("%s: %+v, %v", path, got, err)
	}
	for _, bad := range []string{"", "shop", "shop/v1", "shop/v1/", "shop/v1/1", "shop/v1/01-2", "shop/v1/1-2/", "shop/v1/-1-2", "shop/v1/1-+2", "../v1/1-2", "shop/v1/99999999999999999-1"} {
		if _, err := statuslist.ParsePath(bad); err == nil {
			t.Errorf("%q names a list", bad)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, v := range vectors(f) {
		f.Add(v.Bits, v.LST)
	}
	f.Add(1, base64.RawURLEncoding.EncodeToString(packed(make([]byte, 1<<20))))
	f.Fuzz(func(t *testing.T, bits int, lst string) {
		const limit = 1 << 16
		l, err := statuslist.Decode(bits, lst, limit)
		if err != nil {
			return
		}
		if l.Len()*l.Bits()/8 > limit {
			t.Fatalf("%d statuses of %d bits came through a limit of %d bytes", l.Len(), bits, limit)
		}
		again, err := statuslist.Decode(bits, l.Encode(), limit)
		if err != nil || again.Len() != l.Len() {
			t.Fatalf("printed anew: %v", err)
		}
	})
}

func FuzzParse(f *testing.F) {
	s := signer(f, "12")
	l, _ := statuslist.New(2, 64)
	tok := statuslist.Token{Subject: uri, IssuedAt: 1, List: l}
	payload, _ := tok.Payload()
	text, _ := s.Sign(rand.Reader, statuslist.Type, payload)
	f.Add([]byte(text), string(payload))
	f.Add([]byte("a.b.c"), `{"sub":"`+uri+`","iat":1,"status_list":{"bits":1,"lst":"eNrbuRgAAhcBXQ"}}`)
	c := statuslist.Check{Subject: uri, Now: 1, Limit: 1 << 12, Key: func(string) *jose.Key { return s.Key() }}
	f.Fuzz(func(t *testing.T, text []byte, payload string) {
		// What strangers send, and what a signer who errs signs.
		_, _ = statuslist.Parse(text, c)
		signed, err := s.Sign(rand.Reader, statuslist.Type, []byte(payload))
		if err != nil {
			return
		}
		got, err := statuslist.Parse([]byte(signed), c)
		if err == nil && (got.Subject != uri || got.List.Len()*got.List.Bits()/8 > c.Limit) {
			t.Fatalf("%+v", got)
		}
	})
}
