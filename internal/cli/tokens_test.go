package cli

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
)

// Commands share a token until control refuses it, or its end is near; where it
// can't be kept privately each asks for its own.
func TestTokenIsKept(t *testing.T) {
	var minted, good atomic.Int64
	life := atomic.Int64{}
	life.Store(300)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch {
		case r.URL.Path == "/token":
			fmt.Fprintf(w, `{"access_token":"t%d","expires_in":%d}`, minted.Add(1), life.Load())
			good.Store(minted.Load())
		case r.Header.Get("Authorization") != fmt.Sprintf("Bearer t%d", good.Load()):
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprint(w, `{"code":"not_authenticated","title":"Not authenticated","status":401}`)
		default:
			fmt.Fprint(w, `{"clients":[]}`)
		}
	}))
	defer s.Close()
	dir := t.TempDir()
	credential := filepath.Join(dir, "op.json")
	if err := WriteCredential(credential, Credential{Server: s.URL, TokenURL: s.URL + "/token", ClientID: "op", Secret: "hush"}); err != nil {
		t.Fatal(err)
	}
	cache := filepath.Join(dir, "cache")
	command := func(env []string, args ...string) {
		t.Helper()
		var out, errs bytes.Buffer
		if code := Main(t.Context(), Config{Args: args, Stdin: &bytes.Buffer{}, Stdout: &out, Stderr: &errs, Environ: append(env, "HOME="+dir)}); code != 0 {
			t.Fatalf("exit %d: %s%s", code, &out, &errs)
		}
	}
	run := func(env ...string) { t.Helper(); command(env, "client", "list") }
	command(nil, "login", "--credential", credential, "--name", "here")
	want := func(what string, n int64) {
		t.Helper()
		if minted.Load() != n {
			t.Errorf("%s: %d tokens were made, want %d", what, minted.Load(), n)
		}
	}
	kept := "XDG_CACHE_HOME=" + cache
	run(kept)
	run(kept)
	want("two commands", 1)
	files, err := filepath.Glob(filepath.Join(cache, "mintmark", "*"))
	if err != nil || len(files) != 1 {
		t.Fatalf("kept %v, %v", files, err)
	}
	if info, err := os.Stat(files[0]); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the token lies open: %v, %v", info.Mode(), err)
	}
	good.Store(-1) // revoked
	run(kept)
	run(kept)
	want("after it was refused", 2)
	if err := os.Chmod(files[0], 0o644); err != nil {
		t.Fatal(err)
	}
	run(kept)
	want("when others could read it", 3)
	life.Store(20)
	good.Store(-1)
	run(kept)
	run(kept)
	want("when it is over soon", 5)
	life.Store(300)
	blocked := filepath.Join(dir, "file")
	if err := os.WriteFile(blocked, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	run("XDG_CACHE_HOME=" + blocked)
	run("XDG_CACHE_HOME=" + blocked)
	want("where it can't be kept", 7)
}
