package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"sync/atomic"
	"testing"
)

// hook is a renewal hook that answers what it is told to.
type hook struct {
	*httptest.Server
	answer atomic.Value // string, the body; "" is an outage
	asked  atomic.Value // map[string]any of the last question
	bearer atomic.Value // string
}

func newHook(t *testing.T) *hook {
	h := &hook{}
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var q map[string]any
		_ = json.NewDecoder(r.Body).Decode(&q)
		h.asked.Store(q)
		h.bearer.Store(r.Header.Get("Authorization"))
		if h.answer.Load().(string) == "" {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		fmt.Fprint(w, h.answer.Load())
	}))
	t.Cleanup(h.Close)
	h.answer.Store(`{"decision":"allow"}`)
	return h
}

// TestRenewalHook asks at each refresh whether the user still is one: a client's
// own hook, and the one that the configuration names for the others.
func TestRenewalHook(t *testing.T) {
	t.Parallel()
	own, common := newHook(t), newHook(t)
	secret := filepath.Join(t.TempDir(), "hook-secret")
	write(t, secret, "hush-hush\n")
	w := newWorld(t, option{
		config: fmt.Sprintf("renewal: {url: %s, outage: allow, secret: {file: %s}}\n", common.URL, secret),
		instead: func(u string) string {
			return replaceOnce(shop(u), "default_scopes:", "claims: {department: \"${user.department}\"}\ndefault_scopes:")
		},
		resources: fmt.Sprintf(`---
apiVersion: mintmark/v1
kind: Client
name: hooked
first_party: true
redirect_uris: ["%s"]
scopes: [openid, offline_access, orders.read]
renewal_hook: {url: "%s", timeout: 2s}
`, redirect, own.URL),
	})
	refresh := func(client string, from tokens) tokens {
		t.Helper()
		return w.token(w.client, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {from.Refresh}}, client, "")
	}
	first := w.person("hooked")
	if own.asked.Load() != nil {
		t.Error("the hook was asked at the first issuance")
	}
	own.answer.Store(`{"decision":"allow","claims":{"department":"sales"}}`)
	second := refresh("hooked", first)
	if second.Access == "" {
		t.Fatalf("allow: %s %s", second.Error, second.Description)
	}
	q, _ := own.asked.Load().(map[string]any)
	if q["subject"] != user || q["client"] != "hooked" || q["grant"] == "" {
		t.Errorf("the hook was asked about %v", q)
	}
	if d := claims(t, second.Access)["department"]; d != "sales" {
		t.Errorf("the token does not carry what the hook said: %v", d)
	}
	if own.bearer.Load() != "" {
		t.Error("a client's hook was sent the secret of the common one")
	}
	own.answer.Store(`{"decision":"deny"}`)
	if a := refresh("hooked", second); a.Error != "invalid_grant" {
		t.Errorf("deny: %q", a.Error)
	}
	own.answer.Store("")
	if a := refresh("hooked", second); a.status != 503 || a.header.Get("Retry-After") == "" {
		t.Errorf("an outage: %d %s", a.status, a.Error)
	}
	own.answer.Store(`{"decision":"perhaps"}`)
	if a := refresh("hooked", second); a.status != 503 {
		t.Errorf("an answer that is none: %d %s", a.status, a.Error)
	}
	w.want("meanwhile the access token", w.call(second.Access), 200, "")
	own.answer.Store(`{"decision":"allow"}`)
	third := refresh("hooked", second)
	if third.Access == "" {
		t.Fatalf("after a denial and an outage the family is gone: %s", third.Error)
	}
	own.answer.Store(`{"decision":"revoke"}`)
	if a := refresh("hooked", third); a.Error != "invalid_grant" {
		t.Errorf("revoke: %q", a.Error)
	}
	w.want("the access token after revoke", w.call(third.Access), 401, "token_revoked")
	own.answer.Store(`{"decision":"allow"}`)
	if a := refresh("hooked", third); a.Error != "invalid_grant" {
		t.Errorf("after revoke: %q", a.Error)
	}

	// The common hook, with its secret and its own outage policy.
	bob := w.person("web")
	common.answer.Store(`{"decision":"deny"}`)
	if a := refresh("web", bob); a.Error != "invalid_grant" || common.bearer.Load() != "Bearer hush-hush" {
		t.Errorf("the common hook: %q, sent %q", a.Error, common.bearer.Load())
	}
	common.answer.Store("")
	if a := refresh("web", bob); a.Access == "" {
		t.Errorf("an outage of a hook whose outage is allow: %s", a.Error)
	}
}
