package api

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/mintmark/mintmark"
)

func client(t *testing.T, h http.HandlerFunc) *Client {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	c, err := NewClient(Config{Server: s.URL, Token: mintmark.NewSecret("t")})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// What comes back, and what the command line makes of it.
func TestExitCodes(t *testing.T) {
	abort := func(http.ResponseWriter) { panic(http.ErrAbortHandler) }
	answer := func(status int, body string) func(http.ResponseWriter) {
		return func(w http.ResponseWriter) { w.WriteHeader(status); _, _ = w.Write([]byte(body)) }
	}
	for _, c := range []struct {
		name         string
		answer       func(http.ResponseWriter)
		read, change int
	}{
		{"fine", answer(200, `{}`), ExitOK, ExitOK},
		{"problem", answer(409, `{"code":"not_rollback_safe","title":"x"}`), ExitNotSafe, ExitNotSafe},
		{"confirm", answer(428, `{"code":"confirmation_required","confirm":"a"}`), ExitConflict, ExitConflict},
		{"a proxy's page", answer(404, `<html>`), ExitNotFound, ExitNotFound},
		{"a challenge without body", answer(401, ``), ExitAuth, ExitAuth},
		{"a gateway's time-out", answer(504, `<html>`), ExitUnknown, ExitUnknown},
		{"not JSON", answer(200, `<html>`), ExitFailed, ExitFailed},
		{"broken off", abort, ExitUnreachable, ExitUnknown},
	} {
		t.Run(c.name, func(t *testing.T) {
			cl := client(t, func(w http.ResponseWriter, _ *http.Request) { c.answer(w) })
			if _, err := cl.Status(t.Context()); Exit(err) != c.read {
				t.Errorf("read: %v is exit %d, want %d", err, Exit(err), c.read)
			}
			if _, err := cl.Revoke(t.Context(), RevokeRequest{}); Exit(err) != c.change {
				t.Errorf("change: %v is exit %d, want %d", err, Exit(err), c.change)
			}
		})
	}
	if Exit(errors.New("x")) != ExitFailed || ExitOutcome("new-outcome") != ExitUnknown {
		t.Error("what is not known must not be a success")
	}
}

func TestUnreachable(t *testing.T) {
	c, err := NewClient(Config{Server: "http://127.0.0.1:1"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Revoke(t.Context(), RevokeRequest{}); Exit(err) != ExitUnreachable {
		t.Errorf("nothing was sent, so the outcome is known: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Status(ctx); Exit(err) != ExitInterrupted {
		t.Errorf("interrupted: %v", err)
	}
	for _, bad := range []string{"", "control:8443", "ftp://h", "https://u:p@h", "https://h?x=1"} {
		if _, err := NewClient(Config{Server: bad}); Exit(err) != ExitUsage {
			t.Errorf("%q taken for an address", bad)
		}
	}
}

func TestRequest(t *testing.T) {
	var got *http.Request
	c := client(t, func(w http.ResponseWriter, r *http.Request) { got = r; _, _ = w.Write([]byte(`{}`)) })
	if _, err := c.StepRollout(WithKey(t.Context(), "k"), "rol_1", "rollback", StepRequest{}); err != nil {
		t.Fatal(err)
	}
	if got.URL.EscapedPath() != "/v1/rollouts/rol_1:rollback" || got.Header.Get("Idempotency-Key") != "k" || got.Header.Get("Authorization") != "Bearer t" {
		t.Errorf("%s %v", got.URL, got.Header)
	}
	if _, err := c.KillKey(t.Context(), "a:b/c", KeyRequest{}); err != nil {
		t.Fatal(err)
	}
	if got.URL.EscapedPath() != "/v1/keys/a%3Ab%2Fc:kill" {
		t.Errorf("escaped as %s", got.URL.EscapedPath())
	}
}
