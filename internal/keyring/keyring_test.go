package keyring

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mintmark/mintmark"
)

func fresh(t *testing.T) (*Keyring, Options) {
	t.Helper()
	o := Options{Dir: filepath.Join(t.TempDir(), "secrets"), Random: rand.Reader}
	k, err := Init(o)
	if err != nil {
		t.Fatal(err)
	}
	return k, o
}

func TestInitKeepsWhatIsThere(t *testing.T) {
	k, o := fresh(t)
	again, err := Init(o)
	if err != nil {
		t.Fatal(err)
	}
	check, err := k.Check()
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Matches(check); err != nil {
		t.Error(err)
	}
	entries, err := os.ReadDir(o.Dir)
	if err != nil || len(entries) != 4 {
		t.Errorf("files %v, %v", entries, err)
	}
	for _, e := range entries {
		if info, _ := e.Info(); info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", e.Name(), info.Mode())
		}
	}
}

func TestMatchesNamesTheWrongSecret(t *testing.T) {
	k, o := fresh(t)
	check, _ := k.Check()
	for file, name := range map[string]string{PepperFile: "pepper", KEKFile: "key-wrapping key", StateFile: "state key", AuditFile: "audit key"} {
		path := filepath.Join(o.Dir, file)
		old, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(strings.Repeat("ab", 32)), 0o600); err != nil {
			t.Fatal(err)
		}
		wrong, err := Open(o)
		if err != nil {
			t.Fatal(err)
		}
		if err := wrong.Matches(check); !errors.Is(err, ErrWrong) || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), file) {
			t.Errorf("%s: %v", file, err)
		}
		if err := os.WriteFile(path, old, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	secret := strings.Repeat("cd", 32)
	o.Pepper = mintmark.NewSecret(secret)
	wrong, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := wrong.Matches(check); !errors.Is(err, ErrWrong) || strings.Contains(err.Error(), secret) {
		t.Errorf("given pepper: %v", err)
	}
}

func TestOpenErrors(t *testing.T) {
	_, o := fresh(t)
	path := filepath.Join(o.Dir, KEKFile)
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(o); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("readable by all: %v", err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(o); !errors.Is(err, ErrMissing) || !strings.Contains(err.Error(), path) {
		t.Errorf("missing: %v", err)
	}
	if err := os.WriteFile(path, []byte("topsecretbutshort"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(o); !errors.Is(err, ErrWrong) || strings.Contains(err.Error(), "topsecret") {
		t.Errorf("short: %v", err)
	}
}

func TestWrap(t *testing.T) {
	k, _ := fresh(t)
	for _, alg := range []string{"ES256", "ES384", "ES512", "EdDSA", "RS256"} {
		key, err := k.Generate(alg)
		if err != nil {
			t.Fatal(err)
		}
		wrapped, err := k.Wrap("k1", key)
		if err != nil {
			t.Fatal(err)
		}
		back, err := k.Unwrap("k1", wrapped)
		if err != nil {
			t.Fatal(err)
		}
		if eq, ok := back.Public().(interface{ Equal(any) bool }); ok && !eq.Equal(key.Public()) {
			t.Errorf("%s: another key came back", alg)
		}
		if _, err := k.Unwrap("k2", wrapped); !errors.Is(err, ErrOpen) {
			t.Errorf("%s: opens under another id: %v", alg, err)
		}
	}
	if _, err := k.Generate("none"); !errors.Is(err, ErrAlgorithm) {
		t.Errorf("none: %v", err)
	}
}

func TestSealedAnswerNeedsThePredecessor(t *testing.T) {
	k, _ := fresh(t)
	old := mintmark.NewSecret("mmr_old")
	sealed, err := k.SealAnswer(old, "fam_1", []byte("answer"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := k.OpenAnswer(old, "fam_1", sealed); err != nil || string(got) != "answer" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := k.OpenAnswer(mintmark.NewSecret("mmr_other"), "fam_1", sealed); !errors.Is(err, ErrOpen) {
		t.Errorf("another token opens it: %v", err)
	}
	if _, err := k.OpenAnswer(old, "fam_2", sealed); !errors.Is(err, ErrOpen) {
		t.Errorf("another family opens it: %v", err)
	}
	for i := range sealed {
		x := bytes.Clone(sealed)
		x[i] ^= 1
		if _, err := k.OpenAnswer(old, "fam_1", x); !errors.Is(err, ErrOpen) {
			t.Errorf("altered at %d: %v", i, err)
		}
	}
}

// TestHandleGolden pins the form of handles: another one loses every opaque token.
func TestHandleGolden(t *testing.T) {
	k := &Keyring{pepper: make([]byte, 32)}
	d := sha256.Sum256([]byte("mma_x"))
	const want = "443d7dff373a4ebac5c6dc370b2d9050fd0beff3fa5ddd1e00961a1e39f08ea1"
	got := hex.EncodeToString(k.Handle(d[:]))
	if got != want {
		t.Errorf("got %s", got)
	}
	if other := hex.EncodeToString((&Keyring{pepper: bytes.Repeat([]byte{1}, 32)}).Handle(d[:])); other == got {
		t.Error("the pepper does not matter")
	}
}

func TestPassword(t *testing.T) {
	k, _ := fresh(t)
	pw := mintmark.NewSecret("correct horse")
	hash, err := k.HashPassword(t.Context(), pw)
	if err != nil {
		t.Fatal(err)
	}
	for password, want := range map[string]bool{"correct horse": true, "Correct horse": false, "": false} {
		if ok, err := k.VerifyPassword(t.Context(), hash, mintmark.NewSecret(password)); ok != want || err != nil {
			t.Errorf("%q: %v, %v", password, ok, err)
		}
	}
	if ok, err := k.VerifyPassword(t.Context(), "", pw); ok || err != nil {
		t.Errorf("unknown user: %v, %v", ok, err)
	}
	for _, bad := range []string{"x", "$argon2id$v=19$m=99999999,t=1,p=1$AAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAA", "$argon2i$v=19$m=8,t=1,p=1$AAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAA"} {
		if ok, err := k.VerifyPassword(t.Context(), bad, pw); ok || !errors.Is(err, ErrPassword) {
			t.Errorf("%s: %v, %v", bad, ok, err)
		}
	}
}

func FuzzParseHash(f *testing.F) {
	f.Add("$argon2id$v=19$m=32768,t=3,p=2$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAA")
	f.Add("$argon2id$v=19$m=8,t=1,p=1$$")
	f.Fuzz(func(t *testing.T, hash string) {
		p, key, err := parseHash(hash)
		if err == nil && (p.memory > 1<<20 || p.time > 64 || len(key) < 16) {
			t.Errorf("%q is taken: %+v", hash, p)
		}
	})
}

func FuzzParseSecret(f *testing.F) {
	f.Add(strings.Repeat("ab", 32))
	f.Add("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")
	f.Fuzz(func(t *testing.T, text string) {
		if b, err := parseSecret(text); err == nil && len(b) != 32 {
			t.Errorf("%d bytes", len(b))
		}
	})
}

func FuzzUnseal(f *testing.F) {
	f.Add([]byte{1, 2, 3})
	f.Fuzz(func(t *testing.T, sealed []byte) {
		if _, err := unseal(make([]byte, 32), "x", sealed); err == nil {
			t.Error("noise opens")
		}
	})
}
