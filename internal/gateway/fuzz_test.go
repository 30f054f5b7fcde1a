package gateway

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/mintmark/mintmark/internal/epoch"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/web"
)

// FuzzStrip checks that no spelling of a reserved name stays, and that what was
// taken away comes back.
func FuzzStrip(f *testing.F) {
	for _, s := range []string{"Mintmark-Token-Subject", "mintmark_token_id", "X_Forwarded-For", "x-auth", "Accept", "DPOP"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		h := http.Header{name: {"forged"}}
		e := edit{h: h}
		e.strip(nil)
		if identity.Reserved(name) && len(h) > 0 {
			t.Errorf("%q stayed", name)
		}
		e.rewind()
		if len(h) != 1 {
			t.Errorf("rewind lost %q", name)
		}
	})
}

// FuzzPath checks that a transformed path that goes upstream has one reading.
func FuzzPath(f *testing.F) {
	f.Add("/api/a%20b", "/api", "/v2")
	f.Add("/api", "/api", "")
	f.Add("/a/../b", "", "/x/")
	f.Fuzz(func(t *testing.T, path, strip, add string) {
		if !epoch.PathOK(path) || add != "" && !epoch.PathOK(add) {
			return
		}
		out := rewrite(path, &epoch.Transform{StripPrefix: strip, AddPrefix: add})
		if !epoch.PathOK(out) {
			return // refused by direct
		}
		d, err := url.PathUnescape(out)
		if err != nil {
			return
		}
		u := url.URL{Path: d, RawPath: out}
		if u.EscapedPath() != out {
			t.Errorf("%q goes out as %q", out, u.EscapedPath())
		}
	})
}

// FuzzSafeValue checks that encoded values fit a header and can be decoded.
func FuzzSafeValue(f *testing.F) {
	f.Add("alice")
	f.Add("a\r\nX: y")
	f.Add(" 100% \x00é")
	f.Fuzz(func(t *testing.T, s string) {
		out := web.SafeValue(s)
		for i := range len(out) {
			if out[i] < ' ' || out[i] > '~' {
				t.Fatalf("%q → %q", s, out)
			}
		}
		if back, err := url.PathUnescape(out); err != nil || back != s {
			t.Errorf("%q → %q → %q, %v", s, out, back, err)
		}
	})
}
