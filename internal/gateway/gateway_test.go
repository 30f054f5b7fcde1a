package gateway

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/epoch"
	"github.com/mintmark/mintmark/internal/identity"
)

func echo(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Seen-Path", r.URL.EscapedPath())
	b, _ := io.ReadAll(r.Body)
	json.NewEncoder(w).Encode(map[string]any{"header": r.Header, "host": r.Host, "uri": r.RequestURI, "body": string(b), "method": r.Method})
}

type seen struct {
	Header http.Header `json:"header"`
	Host   string      `json:"host"`
	URI    string      `json:"uri"`
	Body   string      `json:"body"`
}

func decode(t *testing.T, body string) seen {
	t.Helper()
	var s seen
	if err := json.Unmarshal([]byte(body), &s); err != nil {
		t.Fatalf("%v in %q", err, body)
	}
	return s
}

func TestAdmittedRequestCarriesIdentity(t *testing.T) {
	r := newRig(t, service(server(t, echo)))
	resp, body := r.get("/a/b?x=1&y=%2f", "good")
	if resp.StatusCode != 200 {
		t.Fatalf("status %d: %s", resp.StatusCode, body)
	}
	s := decode(t, body)
	want := map[string]string{
		identity.TokenID: "tok_good", identity.Subject: "alice", identity.Client: "shop", identity.Scopes: "read",
		identity.Release: "orders/v1", identity.Epoch: "7", "Authorization": "", "X-Forwarded-For": "127.0.0.1", "X-Forwarded-Proto": "http",
	}
	for name, v := range want {
		if got := s.Header.Get(name); got != v {
			t.Errorf("upstream saw %s: %q, want %q", name, got, v)
		}
	}
	if s.URI != "/a/b?x=1&y=%2f" || s.Host != r.addr {
		t.Errorf("upstream saw %s at %s", s.URI, s.Host)
	}
	if resp.Header.Get(identity.TokenID) != "tok_good" || resp.Header.Get(identity.RenewAfter) == "" {
		t.Errorf("answer's headers: %v", resp.Header)
	}
	if len(s.Header.Get("Traceparent")) != 55 {
		t.Errorf("no trace context: %q", s.Header.Get("Traceparent"))
	}
	if r.counter.of(mintmark.CodeNone) != 1 {
		t.Error("the use was not counted once")
	}
}

func TestRefusals(t *testing.T) {
	up := server(t, echo)
	r := newRig(t, service(up,
		epoch.Route{Name: "read", Path: "/read/*", Scopes: []string{"read"}},
		epoch.Route{Name: "write", Path: "/write", Scopes: []string{"write"}},
		epoch.Route{Name: "open", Path: "/open", Public: true},
	))
	r.token("old", func(t *mintmark.Token) { t.Expires = 1000; t.IssuedAt = 900 })
	r.token("other", func(t *mintmark.Token) { t.Audience = []string{"elsewhere"} })
	for _, c := range []struct {
		path, token string
		status      int
		code        mintmark.Code
		challenge   string
	}{
		{"/read/x", "good", 200, "", ""},
		{"/open", "", 200, "", ""},
		{"/read/x", "", 401, mintmark.CodeCredentialsMissing, `Bearer realm="mintmark"`},
		{"/read/x", "bad", 401, mintmark.CodeMalformed, `error="invalid_token"`},
		{"/read/x", "old", 401, mintmark.CodeExpired, `error="invalid_token"`},
		{"/read/x", "other", 401, mintmark.CodeAudience, `error="invalid_token"`},
		{"/write", "good", 403, mintmark.CodeScope, `error="insufficient_scope", scope="write"`},
		{"/nowhere", "good", 404, mintmark.CodeNoRoute, ""},
		{"/read/../write", "good", 400, mintmark.CodeInvalidRequest, ""},
		{"/read/%2e%2e/write", "good", 400, mintmark.CodeInvalidRequest, ""},
		{"/read//x", "good", 400, mintmark.CodeInvalidRequest, ""},
	} {
		req := r.request("GET", "/", c.token)
		req.URL.Opaque = "//" + r.addr + c.path
		resp, body := r.do(req)
		if resp.StatusCode != c.status {
			t.Errorf("%s %s: status %d, want %d: %s", c.path, c.token, resp.StatusCode, c.status, body)
			continue
		}
		if c.status == 200 {
			continue
		}
		var p struct{ Code mintmark.Code }
		if json.Unmarshal([]byte(body), &p); p.Code != c.code || resp.Header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s %s: code %q, want %q", c.path, c.token, p.Code, c.code)
		}
		if ch := strings.Join(resp.Header["Www-Authenticate"], "; "); !strings.Contains(ch, c.challenge) || c.code == mintmark.CodeCredentialsMissing && strings.Contains(ch, "error=") {
			t.Errorf("%s %s: challenge %q, want %q", c.path, c.token, ch, c.challenge)
		}
		if r.counter.of(c.code) == 0 {
			t.Errorf("%s was not counted", c.code)
		}
	}
}

func TestUnknownStateIs503Not401(t *testing.T) {
	r := newRig(t, service(server(t, echo)))
	r.state.unknown.Store(true)
	resp, body := r.get("/x", "good")
	if resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" || !strings.Contains(body, "state_unknown") {
		t.Fatalf("%d %v %s", resp.StatusCode, resp.Header, body)
	}
}

func TestDuplicateCredentialsAreRefused(t *testing.T) {
	r := newRig(t, service(server(t, echo)))
	req := r.request("GET", "/x", "good")
	req.Header.Add("Authorization", "Bearer good")
	if resp, _ := r.do(req); resp.StatusCode != 400 {
		t.Errorf("two Authorization headers: %d", resp.StatusCode)
	}
	req = r.request("GET", "/x", "good")
	req.Header.Set("X-API-Key", "good")
	if resp, _ := r.do(req); resp.StatusCode != 400 {
		t.Errorf("two kinds of credential: %d", resp.StatusCode)
	}
}

func TestForgedIdentityNeverArrives(t *testing.T) {
	s := service("x", epoch.Route{
		Name: "all", Path: "/*", Scopes: []string{"read"},
		Transform: &epoch.Transform{Claims: map[string]string{"plan": "Acme-Plan", "sub": "Acme-User", "iss": "X-Forwarded-Host"}},
	})
	s.Releases[0].Upstreams[0].URL = server(t, echo)
	r := newRig(t, s)
	r.token("good", func(t *mintmark.Token) { t.Claims = json.RawMessage(`{"plan":"free","n":[1,2]}`) })
	forged := []string{
		"Mintmark-Token-Subject", "mintmark-token-subject", "MINTMARK_TOKEN_SUBJECT", "Mintmark_Token_Subject", "mintmark_token-id",
		"Mintmark-Whatever", "X-Forwarded-For", "X_Forwarded_For", "X-Forwarded-User", "Forwarded", "X-Real-IP",
		"X-Auth-Request-User", "X_Auth_User", "Remote-User", "Remote_User", "X-HTTP-Method-Override",
		"X-Original-URL", "Acme-Plan", "acme_plan", "ACME-USER", "DPoP",
	}
	for _, name := range forged {
		for _, connection := range []string{"", name, "Mintmark-Token-Subject, Mintmark-Token-Id, Mintmark-Token-Epoch, Acme-Plan"} {
			req := r.request("GET", "/x", "good")
			req.Header[name] = []string{"mallory", "mallory2"}
			if connection != "" {
				req.Header["Connection"] = []string{connection}
			}
			resp, body := r.do(req)
			if resp.StatusCode != 200 {
				t.Fatalf("%s: %d %s", name, resp.StatusCode, body)
			}
			if strings.Contains(body, "mallory") {
				t.Errorf("%s (Connection: %s) arrived: %s", name, connection, body)
			}
			h := decode(t, body).Header
			if h.Get(identity.Subject) != "alice" || h.Get(identity.Epoch) != "7" || h.Get("Acme-Plan") != "free" || h.Get("Acme-User") != "alice" {
				t.Errorf("%s (Connection: %s): identity is %v", name, connection, h)
			}
			for name, values := range h {
				if identity.Reserved(name) && len(values) != 1 {
					t.Errorf("%s is said %d times", name, len(values))
				}
			}
		}
	}
}

func TestUpstreamCannotSpeakForUs(t *testing.T) {
	r := newRig(t, service(server(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["mintmark_must_renew"] = []string{"true"}
		w.Header().Set("Mintmark-Token-Id", "tok_forged")
		w.Header().Set("Connection", "X-Hop")
		w.Header().Set("X-Hop", "1")
		w.Header().Set("X-Kept", "1")
		io.WriteString(w, "ok")
	})))
	resp, _ := r.get("/x", "good")
	if got := resp.Header["Mintmark-Token-Id"]; len(got) != 1 || got[0] != "tok_good" {
		t.Errorf("token id: %v", got)
	}
	for name := range resp.Header {
		if identity.Normal(name) == "mintmark-must-renew" || name == "X-Hop" {
			t.Errorf("%s passed", name)
		}
	}
	if resp.Header.Get("X-Kept") != "1" {
		t.Error("X-Kept is gone")
	}
}

func TestTransformations(t *testing.T) {
	s := service("x", epoch.Route{
		Name: "all", Path: "/api/*", Scopes: []string{"read"},
		Transform: &epoch.Transform{
			StripPrefix: "/api", AddPrefix: "/v2", Host: "inner.test",
			Request:  epoch.HeaderChange{Remove: []string{"X-Gone"}, Set: map[string]string{"X-Set": "up"}},
			Response: epoch.HeaderChange{Remove: []string{"X-Seen-Path"}, Set: map[string]string{"X-Down": "down"}},
		},
	})
	s.Releases[0].Upstreams[0].URL = server(t, echo)
	r := newRig(t, s)
	req := r.request("GET", "/api/a%20b?q", "good")
	req.Header.Set("X-Gone", "1")
	resp, body := r.do(req)
	got := decode(t, body)
	if got.URI != "/v2/a%20b?q" || got.Host != "inner.test" || got.Header.Get("X-Gone") != "" || got.Header.Get("X-Set") != "up" {
		t.Errorf("upstream saw %+v", got)
	}
	if resp.Header.Get("X-Down") != "down" || resp.Header.Get("X-Seen-Path") != "" {
		t.Errorf("client saw %v", resp.Header)
	}
}

func TestRateLimit(t *testing.T) {
	r := newRig(t, service(server(t, echo), epoch.Route{
		Name: "all", Path: "/*", Scopes: []string{"read"}, RateLimit: &epoch.RateLimit{PerMinute: 1, Burst: 3, By: "token"},
	}))
	r.token("second", func(*mintmark.Token) {})
	for i := range 3 {
		if resp, _ := r.get("/x", "good"); resp.StatusCode != 200 {
			t.Fatalf("request %d: %d", i, resp.StatusCode)
		}
	}
	resp, _ := r.get("/x", "good")
	if resp.StatusCode != 429 || resp.Header.Get("Retry-After") == "" {
		t.Errorf("fourth: %d %v", resp.StatusCode, resp.Header)
	}
	if resp, _ := r.get("/x", "second"); resp.StatusCode != 200 {
		t.Errorf("another token: %d", resp.StatusCode)
	}
}

func TestBodies(t *testing.T) {
	r := newRig(t, service(server(t, echo), epoch.Route{Name: "all", Path: "/*", Scopes: []string{"read"}, MaxBody: 1 << 20}))
	big := strings.Repeat("x", 200_000)
	for _, chunked := range []bool{false, true} {
		req := r.request("POST", "/x", "good")
		req.Body, req.ContentLength = io.NopCloser(strings.NewReader(big)), int64(len(big))
		if chunked {
			req.ContentLength = -1
		}
		resp, body := r.do(req)
		if resp.StatusCode != 200 || decode(t, body).Body != big {
			t.Errorf("chunked %v: %d, %d bytes", chunked, resp.StatusCode, len(body))
		}
	}
	req := r.request("POST", "/x", "good")
	req.Body, req.ContentLength = io.NopCloser(strings.NewReader(big+strings.Repeat(big, 6))), -1
	if resp, body := r.do(req); resp.StatusCode != 413 || !strings.Contains(body, `"code":"body_too_large"`) {
		t.Errorf("over MaxBody: %d %s", resp.StatusCode, body)
	}
	req = r.request("POST", "/x", "good")
	req.Body, req.ContentLength = io.NopCloser(strings.NewReader(big+strings.Repeat(big, 6))), int64(7*len(big))
	if resp, body := r.do(req); resp.StatusCode != 413 || !strings.Contains(body, `"code":"body_too_large"`) {
		t.Errorf("declared over MaxBody: %d %s", resp.StatusCode, body)
	}
}

func TestEpochMovesBeforeFirstByte(t *testing.T) {
	bad := server(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "bad") })
	good := server(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "good %s %s", r.Header.Get(identity.Epoch), r.Header.Get(identity.Subject))
	})
	r := newRig(t, service(bad))
	// The epoch changes while the use is being recorded: after the decision and
	// before the first byte.
	next := service(good)
	r.gateway.cfg.Recorder = recorderFunc(func() error { r.put(next, 8); return nil })
	s := service(bad)
	s.Routes[0].Audit = "every_use"
	r.put(s, 7)
	resp, body := r.get("/x", "good")
	if resp.StatusCode != 200 || body != "good 8 alice" {
		t.Fatalf("%d %q", resp.StatusCode, body)
	}
}

func TestRevocationBetweenDecisionAndFirstByte(t *testing.T) {
	called := false
	s := service(server(t, func(http.ResponseWriter, *http.Request) { called = true }))
	s.Routes[0].Audit = "every_use"
	r := newRig(t, s)
	r.gateway.cfg.Recorder = recorderFunc(func() error {
		r.state.Current().Revoked.Apply(mintmark.Revocation{ID: "rev_1", Action: mintmark.ActionRevoke, Selector: mintmark.Selector{Subject: "alice"}})
		return nil
	})
	resp, body := r.get("/x", "good")
	if resp.StatusCode != 401 || !strings.Contains(body, "token_revoked") || called {
		t.Fatalf("%d %s, upstream called: %v", resp.StatusCode, body, called)
	}
}

func TestEveryUseIsRecordedOrRefused(t *testing.T) {
	s := service(server(t, echo))
	s.Routes[0].Audit = "every_use"
	r := newRig(t, s)
	r.gateway.cfg.Recorder = recorderFunc(func() error { return io.ErrShortWrite })
	if resp, _ := r.get("/x", "good"); resp.StatusCode != 503 {
		t.Errorf("unrecorded use: %d", resp.StatusCode)
	}
}

func TestMetadata(t *testing.T) {
	r := newRig(t, service(server(t, echo)))
	resp, body := r.get("/.well-known/oauth-protected-resource", "")
	if resp.StatusCode != 200 || !strings.Contains(body, `"scopes_supported":["read"]`) || !strings.Contains(body, `"resource":"http://`+r.addr+`"`) {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
}

func TestUpstreamGoneIs502(t *testing.T) {
	r := newRig(t, service("http://127.0.0.1:1"))
	resp, body := r.get("/x", "good")
	if resp.StatusCode != 502 || strings.Contains(body, "127.0.0.1") || strings.Contains(body, "refused") {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
}

func TestSilentUpstreamIsBounded(t *testing.T) {
	stop := make(chan struct{})
	r := newRig(t, service(server(t, func(http.ResponseWriter, *http.Request) { <-stop }), epoch.Route{Name: "all", Path: "/*", Scopes: []string{"read"}, TimeoutMS: 50}))
	defer close(stop)
	start := time.Now()
	if resp, _ := r.get("/x", "good"); resp.StatusCode != 502 || time.Since(start) > 3*time.Second {
		t.Errorf("%d after %v", resp.StatusCode, time.Since(start))
	}
}
