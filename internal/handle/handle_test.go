package handle

import (
	"crypto/sha256"
	"hash/crc32"
	"math/big"
	"strings"
	"testing"

	"github.com/mintmark/mintmark"
)

func seq(start byte) (r [32]byte) {
	for i := range r {
		r[i] = start + byte(i)*7
	}
	return r
}

func TestGolden(t *testing.T) {
	// Fixed for ever: a changed encoding would strand every key in the field.
	var zero, ones [32]byte
	for i := range ones {
		ones[i] = 0xff
	}
	for _, tt := range []struct {
		kind   mintmark.TokenKind
		random [32]byte
		body   string
	}{
		{mintmark.KindOpaque, zero, PrefixAccess + strings.Repeat("0", 43)},
		{mintmark.KindRefresh, seq(1), PrefixRefresh + base62(seq(1))},
		{mintmark.KindAPIKey, ones, PrefixAPIKey + base62(ones)},
	} {
		got := Generate(tt.kind, tt.random)
		if len(got) != Length || got[:47] != tt.body {
			t.Errorf("Generate(%v) = %s, want body %s", tt.kind, got, tt.body)
		}
		sum := int64(crc32.ChecksumIEEE([]byte(got[:47])))
		if want := pad(big.NewInt(sum), 6); got[47:] != want {
			t.Errorf("checksum %s, want %s", got[47:], want)
		}
		if kind, err := Parse(got); kind != tt.kind || err != nil {
			t.Errorf("Parse = %v, %v", kind, err)
		}
		if kind, err := Parse([]byte(got)); kind != tt.kind || err != nil {
			t.Errorf("Parse bytes = %v, %v", kind, err)
		}
		if Digest(got) != sha256.Sum256([]byte(got)) {
			t.Error("digest is not SHA-256 of the text")
		}
	}
}

// base62 is the independent oracle: math/big's digits have 0-9a-zA-Z, ours 0-9A-Za-z.
func base62(b [32]byte) string { return pad(new(big.Int).SetBytes(b[:]), 43) }

func pad(n *big.Int, width int) string {
	s := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z':
			return r - 'a' + 'A'
		case r >= 'A' && r <= 'Z':
			return r - 'A' + 'a'
		}
		return r
	}, n.Text(62))
	return strings.Repeat("0", width-len(s)) + s
}

func TestEveryTypingErrorIsRefused(t *testing.T) {
	good := Generate(mintmark.KindAPIKey, seq(9))
	for i := range good {
		for _, c := range []byte("0aZ_ .\x00\xff") {
			if good[i] == c {
				continue
			}
			bad := good[:i] + string([]byte{c}) + good[i+1:]
			if _, err := Parse(bad); err == nil {
				t.Errorf("accepted %q", bad)
			}
		}
		if i > 0 && good[i] != good[i-1] {
			swapped := good[:i-1] + string(good[i]) + string(good[i-1]) + good[i+1:]
			if _, err := Parse(swapped); err == nil {
				t.Errorf("accepted swapped %q", swapped)
			}
		}
	}
	for _, bad := range []string{"", "mm", "mma_", good[:52], good + "0", " " + good, good + "\n", strings.ToUpper(good)} {
		if _, err := Parse(bad); err == nil {
			t.Errorf("accepted %q", bad)
		}
	}
}

func TestRefusalDoesNotAllocate(t *testing.T) {
	good := Generate(mintmark.KindOpaque, seq(3))
	for _, v := range []string{good, good[:52] + "!", "x" + good, ""} {
		if n := testing.AllocsPerRun(100, func() { _, _ = Parse(v) }); n != 0 {
			t.Errorf("Parse(%q): %v allocations", v, n)
		}
	}
	b := []byte(good)
	if n := testing.AllocsPerRun(100, func() { _, _ = Parse(b) }); n != 0 {
		t.Errorf("Parse bytes: %v allocations", n)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(Generate(mintmark.KindOpaque, seq(1)))
	f.Add(Generate(mintmark.KindRefresh, seq(2)))
	f.Add("mmk_")
	f.Add("mma_" + strings.Repeat("0", 49))
	f.Fuzz(func(t *testing.T, v string) {
		kind, err := Parse(v)
		if (err == nil) != (kind != mintmark.KindUnknown) {
			t.Fatalf("kind %v with error %v", kind, err)
		}
		if err == nil && (len(v) != Length || !strings.HasPrefix(v, Prefix(kind))) {
			t.Fatalf("accepted %q as %v", v, kind)
		}
		var r [32]byte
		copy(r[:], v)
		made := Generate(mintmark.KindAPIKey, r)
		if k, err := Parse(made); k != mintmark.KindAPIKey || err != nil {
			t.Fatalf("own value %q refused: %v", made, err)
		}
	})
}
