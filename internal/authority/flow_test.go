package authority_test

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/authority"
	"github.com/mintmark/mintmark/internal/bus"
	"github.com/mintmark/mintmark/internal/epoch"
	"github.com/mintmark/mintmark/internal/handle"
	"github.com/mintmark/mintmark/internal/ledger"
)

const verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"

func challenge() string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

func authorizeQuery(change ...string) url.Values {
	q := url.Values{
		"response_type": {"code"}, "client_id": {"web"}, "redirect_uri": {"https://app.example/cb"}, "state": {"s1"},
		"scope": {"openid profile orders:read"}, "code_challenge": {challenge()}, "code_challenge_method": {"S256"}, "nonce": {"n1"},
	}
	for i := 0; i+1 < len(change); i += 2 {
		q.Set(change[i], change[i+1])
	}
	return q
}

// code goes through the pages and returns an authorization code.
func (w *world) code(change ...string) string {
	w.t.Helper()
	to, err := w.browser(w.server.URL+"/authorize?"+authorizeQuery(change...).Encode(), "ada", "correct horse")
	must(w.t, err)
	q := to.Query()
	if q.Get("code") == "" || q.Get("state") != "s1" || q.Get("iss") != w.server.URL {
		w.t.Fatalf("redirect to %s", to)
	}
	return q.Get("code")
}

func redeem(code string) url.Values {
	return url.Values{
		"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {"https://app.example/cb"},
		"code_verifier": {verifier}, "client_id": {"web"},
	}
}

// tokens obtains a family for ada.
func (w *world) tokens() map[string]any {
	w.t.Helper()
	status, ans := w.post("/token", redeem(w.code()))
	if status != http.StatusOK {
		w.t.Fatalf("redeem: %d %v", status, ans)
	}
	return ans
}

func (w *world) refresh(value any) (int, map[string]any) {
	return w.post("/token", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {value.(string)}, "client_id": {"web"}})
}

func (w *world) active(value any, basic string) bool {
	w.t.Helper()
	status, ans := w.post("/introspect", url.Values{"token": {value.(string)}, "basic": {basic}})
	if status != http.StatusOK {
		w.t.Fatalf("introspect: %d %v", status, ans)
	}
	on := ans["active"].(bool)
	if !on && len(ans) != 1 {
		w.t.Fatalf("inactive answer tells more: %v", ans)
	}
	return on
}

func TestClientCredentials(t *testing.T) {
	w := newWorld(t)
	secret := w.client(machine())
	cc := clientcredentials.Config{
		ClientID: "machine", ClientSecret: secret, TokenURL: w.server.URL + "/token", Scopes: []string{"orders:write"},
		EndpointParams: url.Values{"resource": {ordersAudience}},
	}
	tok, err := cc.Token(t.Context())
	must(t, err)
	if tok.Extra("scope") != "orders:write" || !w.active(tok.AccessToken, "machine:"+secret) {
		t.Fatalf("scope %v", tok.Extra("scope"))
	}
	for name, f := range map[string]url.Values{
		"wrong secret":   {"grant_type": {"client_credentials"}, "basic": {"machine:wrong"}},
		"two ways":       {"grant_type": {"client_credentials"}, "basic": {"machine:" + secret}, "client_secret": {secret}},
		"unknown grant":  {"grant_type": {"password"}, "basic": {"machine:" + secret}},
		"foreign scope":  {"grant_type": {"client_credentials"}, "scope": {"root"}, "basic": {"machine:" + secret}},
		"admin API":      {"grant_type": {"client_credentials"}, "resource": {w.server.URL + "/admin"}, "basic": {"machine:" + secret}},
		"unknown target": {"grant_type": {"client_credentials"}, "resource": {"https://else.example"}, "basic": {"machine:" + secret}},
		"code grant":     {"grant_type": {"authorization_code"}, "basic": {"machine:" + secret}},
	} {
		if status, ans := w.post("/token", f); status == http.StatusOK || ans["error"] == nil {
			t.Errorf("%s: answered %d %v", name, status, ans)
		}
	}
}

func TestOIDCWithStrangers(t *testing.T) {
	w := newWorld(t)
	w.client(webApp())
	p, err := oidc.NewProvider(t.Context(), w.server.URL)
	must(t, err)
	conf := oauth2.Config{ClientID: "web", RedirectURL: "https://app.example/cb", Endpoint: p.Endpoint(), Scopes: []string{"openid", "profile", "orders:read"}}
	to, err := w.browser(conf.AuthCodeURL("st", oauth2.S256ChallengeOption(verifier), oidc.Nonce("n1")), "ada", "correct horse")
	must(t, err)
	tok, err := conf.Exchange(t.Context(), to.Query().Get("code"), oauth2.VerifierOption(verifier))
	must(t, err)
	id, err := p.Verifier(&oidc.Config{ClientID: "web"}).Verify(t.Context(), tok.Extra("id_token").(string))
	must(t, err)
	if id.Subject != "ada" || id.Nonce != "n1" {
		t.Fatalf("ID token %+v", id)
	}
	must(t, id.VerifyAccessToken(tok.AccessToken))
	info, err := p.UserInfo(t.Context(), oauth2.StaticTokenSource(tok))
	must(t, err)
	var claims map[string]any
	must(t, info.Claims(&claims))
	if claims["name"] != "Ada L." || claims["email"] != nil {
		t.Fatalf("userinfo %v", claims)
	}
	tok.Expiry = time.Now().Add(-time.Hour)
	again, err := conf.TokenSource(t.Context(), tok).Token()
	must(t, err)
	if again.RefreshToken == tok.RefreshToken || again.AccessToken == tok.AccessToken {
		t.Fatal("refresh did not rotate")
	}
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(again.AccessToken, ".")[1])
	must(t, err)
	for _, want := range []string{`"tier":3`, `"who":"ada@acme"`, `"release":"orders/v1"`, `"scope":"orders:read"`} {
		if !strings.Contains(string(payload), want) {
			t.Errorf("claims lack %s: %s", want, payload)
		}
	}
}

func TestCodeReplayRevokes(t *testing.T) {
	w := newWorld(t)
	secret := w.client(machine())
	w.client(webApp())
	code := w.code()
	bad := redeem(code)
	bad.Set("code_verifier", strings.Repeat("x", 43))
	if status, _ := w.post("/token", bad); status != http.StatusBadRequest {
		t.Fatal("a wrong verifier was taken")
	}
	_, other := 0, w.tokens()
	_, ans := w.post("/token", redeem(code))
	if !w.active(ans["access_token"], "machine:"+secret) {
		t.Fatal("fresh token is not active")
	}
	if status, _ := w.post("/token", redeem(code)); status != http.StatusBadRequest {
		t.Fatal("a code was taken twice")
	}
	if w.active(ans["access_token"], "machine:"+secret) {
		t.Error("replay left the access token alive")
	}
	if status, _ := w.refresh(ans["refresh_token"]); status == http.StatusOK {
		t.Error("replay left the refresh token alive")
	}
	if !w.active(other["access_token"], "machine:"+secret) {
		t.Error("replay took another grant along")
	}
}

func TestRefreshStorm(t *testing.T) {
	w := newWorld(t)
	secret := w.client(machine())
	w.client(webApp())
	first := w.tokens()
	var mu sync.Mutex
	seen := map[string]int{}
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			status, ans := w.refresh(first["refresh_token"])
			mu.Lock()
			defer mu.Unlock()
			if status != http.StatusOK {
				t.Errorf("answered %d %v", status, ans)
				return
			}
			seen[ans["refresh_token"].(string)+ans["access_token"].(string)]++
		})
	}
	wg.Wait()
	if len(seen) != 1 {
		t.Fatalf("%d different successors", len(seen))
	}
	status, retry := w.refresh(first["refresh_token"])
	if status != http.StatusOK || seen[retry["refresh_token"].(string)+retry["access_token"].(string)] != 64 {
		t.Fatal("a retry within grace got another successor")
	}
	other := w.tokens()
	w.clock.advance(time.Minute)
	if status, ans := w.refresh(first["refresh_token"]); status != http.StatusBadRequest || ans["error"] != "invalid_grant" {
		t.Fatalf("re-use after grace answered %d %v", status, ans)
	}
	if w.active(retry["access_token"], "machine:"+secret) {
		t.Error("re-use left the family's access token alive")
	}
	if status, _ := w.refresh(retry["refresh_token"]); status == http.StatusOK {
		t.Error("re-use left the successor alive")
	}
	if status, _ := w.refresh(other["refresh_token"]); status != http.StatusOK {
		t.Error("re-use killed another family")
	}
}

func TestLateRetryOfSupersededSuccessor(t *testing.T) {
	w := newWorld(t)
	w.client(webApp())
	a := w.tokens()
	_, b := w.refresh(a["refresh_token"])
	_, c := w.refresh(b["refresh_token"])
	if status, _ := w.refresh(a["refresh_token"]); status != http.StatusBadRequest {
		t.Fatal("the grandparent was answered")
	}
	if status, _ := w.refresh(c["refresh_token"]); status != http.StatusOK {
		t.Fatal("a late retry within grace killed the family")
	}
}

func TestRevocationEndpoint(t *testing.T) {
	w := newWorld(t)
	secret := w.client(machine())
	w.client(webApp())
	a := w.tokens()
	if status, _ := w.post("/revoke", url.Values{"token": {"mma_nonsense"}, "client_id": {"web"}}); status != http.StatusOK {
		t.Error("an unknown token was not answered 200")
	}
	w.state.fail.Store(true)
	if status, _, h := w.postFull("/revoke", url.Values{"token": {a["refresh_token"].(string)}, "client_id": {"web"}}); status != http.StatusServiceUnavailable || h.Get("Retry-After") == "" {
		t.Errorf("a revocation that is not durable was answered %d", status)
	}
	w.state.fail.Store(false)
	if !w.active(a["access_token"], "machine:"+secret) {
		t.Fatal("a failed revocation revoked")
	}
	if status, _ := w.post("/revoke", url.Values{"token": {a["refresh_token"].(string)}, "client_id": {"web"}}); status != http.StatusOK {
		t.Fatal("revocation failed")
	}
	if w.active(a["access_token"], "machine:"+secret) || w.active(a["refresh_token"], "machine:"+secret) {
		t.Error("the family outlived its refresh token")
	}
}

func TestDevice(t *testing.T) {
	w := newWorld(t)
	w.client(webApp())
	_, d := w.post("/device_authorization", url.Values{"client_id": {"web"}, "scope": {"orders:read"}})
	poll := url.Values{"grant_type": {authority.GrantDevice}, "device_code": {d["device_code"].(string)}, "client_id": {"web"}}
	for _, want := range []string{"authorization_pending", "slow_down"} {
		if _, ans := w.post("/token", poll); ans["error"] != want {
			t.Fatalf("poll: %v, want %s", ans, want)
		}
	}
	if _, err := w.browser(d["verification_uri_complete"].(string), "ada", "correct horse"); err != nil {
		t.Fatal(err)
	}
	status, ans := w.post("/token", poll)
	if status != http.StatusOK || ans["scope"] != "orders:read" {
		t.Fatalf("after approval: %d %v", status, ans)
	}
	if status, _ := w.post("/token", poll); status != http.StatusBadRequest {
		t.Error("a device code was taken twice")
	}
}

func TestPAR(t *testing.T) {
	w := newWorld(t)
	c := webApp()
	c.RequirePAR = true
	w.client(c)
	q := authorizeQuery()
	if _, err := w.browser(w.server.URL+"/authorize?"+q.Encode(), "ada", "correct horse"); err == nil {
		t.Error("a request that was not pushed was taken")
	}
	status, ans := w.post("/par", q)
	if status != http.StatusCreated {
		t.Fatalf("push: %d %v", status, ans)
	}
	start := w.server.URL + "/authorize?" + url.Values{"client_id": {"web"}, "request_uri": {ans["request_uri"].(string)}}.Encode()
	to, err := w.browser(start, "ada", "correct horse")
	must(t, err)
	if status, _ := w.post("/token", redeem(to.Query().Get("code"))); status != http.StatusOK {
		t.Error("the code of a pushed request was not taken")
	}
	if _, err := w.browser(start, "ada", "correct horse"); err == nil {
		t.Error("a pushed request was taken twice")
	}
}

func TestAuthorizeRefuses(t *testing.T) {
	w := newWorld(t)
	w.client(webApp())
	for name, change := range map[string][]string{
		"plain PKCE":     {"code_challenge_method", "plain"},
		"no PKCE":        {"code_challenge", ""},
		"token response": {"response_type", "token"},
		"scope":          {"scope", "root"},
		"nobody":         {"prompt", "none"},
	} {
		to, err := w.browser(w.server.URL+"/authorize?"+authorizeQuery(change...).Encode(), "ada", "correct horse")
		if err != nil || to.Query().Get("error") == "" || to.Query().Get("iss") != w.server.URL || to.Query().Get("state") != "s1" {
			t.Errorf("%s: %v %v", name, to, err)
		}
	}
	for name, change := range map[string][]string{
		"other redirect":  {"redirect_uri", "https://app.example/cb/../x"},
		"prefix redirect": {"redirect_uri", "https://app.example/cb2"},
		"unknown client":  {"client_id", "nobody"},
	} {
		to, err := w.browser(w.server.URL+"/authorize?"+authorizeQuery(change...).Encode(), "ada", "correct horse")
		if err == nil {
			t.Errorf("%s: redirected to %v", name, to)
		}
	}
	if _, err := w.browser(w.server.URL+"/authorize?"+authorizeQuery().Encode()+"&state=s2", "ada", "correct horse"); err == nil {
		t.Error("a parameter given twice was taken")
	}
	if _, err := w.browser(w.server.URL+"/authorize?"+authorizeQuery().Encode(), "ada", "wrong"); err == nil {
		t.Error("a wrong password signed in")
	}
}

func TestSilentAndRemembered(t *testing.T) {
	w := newWorld(t)
	w.client(webApp())
	jar, err := cookiejar.New(nil)
	must(t, err)
	c := &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	_, err = w.browse(c, w.server.URL+"/authorize?"+authorizeQuery().Encode(), "ada", "correct horse")
	must(t, err)
	to, err := w.browse(c, w.server.URL+"/authorize?"+authorizeQuery("prompt", "none").Encode(), "", "")
	must(t, err)
	if to.Query().Get("code") == "" {
		t.Fatalf("silent: %s", to)
	}
	to, err = w.browse(c, w.server.URL+"/authorize?"+authorizeQuery("prompt", "none", "scope", "openid email").Encode(), "", "")
	must(t, err)
	if to.Query().Get("error") != "consent_required" {
		t.Fatalf("silent with more scopes: %s", to)
	}
	w.clock.advance(time.Hour)
	to, err = w.browse(c, w.server.URL+"/authorize?"+authorizeQuery("prompt", "none", "max_age", "60").Encode(), "", "")
	must(t, err)
	if to.Query().Get("error") != "login_required" {
		t.Fatalf("silent with max_age: %s", to)
	}
}

func TestCrossSitePostRefused(t *testing.T) {
	w := newWorld(t)
	req, err := http.NewRequest(http.MethodPost, w.server.URL+"/signin", strings.NewReader("tx=1"))
	must(t, err)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Sec-Fetch-Site", "cross-site")
	res, err := http.DefaultClient.Do(req)
	must(t, err)
	defer res.Body.Close()
	if res.StatusCode != http.StatusForbidden {
		t.Fatalf("answered %d", res.StatusCode)
	}
}

func TestExchange(t *testing.T) {
	w := newWorld(t)
	secret := w.client(machine())
	w.client(webApp())
	a := w.tokens()
	f := url.Values{
		"grant_type": {authority.GrantExchange}, "subject_token": {a["access_token"].(string)},
		"subject_token_type": {"urn:ietf:params:oauth:token-type:access_token"}, "resource": {ordersAudience}, "basic": {"machine:" + secret},
	}
	status, ans := w.post("/token", f)
	if status != http.StatusOK || ans["scope"] != "orders:read" {
		t.Fatalf("exchange: %d %v", status, ans)
	}
	f.Set("basic", "machine:"+secret)
	f.Set("scope", "orders:write")
	if status, ans := w.post("/token", f); status == http.StatusOK {
		t.Fatalf("exchange widened the scope: %v", ans)
	}
	if status, _ := w.post("/revoke", url.Values{"token": {a["refresh_token"].(string)}, "client_id": {"web"}}); status != http.StatusOK {
		t.Fatal("revocation failed")
	}
	if w.active(ans["access_token"], "machine:"+secret) {
		t.Error("what was exchanged outlived its origin")
	}
}

func TestCandidateMintsOnlyWhenSettled(t *testing.T) {
	w := newWorld(t)
	secret := w.client(machine())
	before := w.state.Current()
	ask := func() string {
		status, ans := w.post("/token", url.Values{"grant_type": {"client_credentials"}, "scope": {"orders:read"}, "basic": {"machine:" + secret}})
		if status != http.StatusOK {
			t.Fatalf("%d %v", status, ans)
		}
		return ans["scope"].(string)
	}
	svc := orders()
	svc.Split.Candidate, svc.Split.Weight, svc.Split.Rollout = "v2", 10_000, "rol_1"
	old := orders()
	old.Releases = old.Releases[:1]
	w.state.setService(t, old)
	w.state.settled.Store(w.state.Current())
	w.state.setService(t, svc)
	if s := ask(); s != "orders:read" {
		t.Errorf("minted under a candidate that not every gateway knows: %s", s)
	}
	w.state.settled.Store(nil)
	if s := ask(); s != "orders:admin orders:read" {
		t.Errorf("candidate minted %s", s)
	}
	_ = before
}

func TestLookupAndAPIKeys(t *testing.T) {
	w := newWorld(t)
	w.client(machine())
	k, err := w.auth.CreateAPIKey(t.Context(), authority.APIKeyRequest{
		Name: "nightly", Owner: "ada", Client: "machine", Audience: ordersAudience, Scopes: []string{"orders:read"}, Actor: "user:root",
	})
	must(t, err)
	look := func(v string) bus.PullReply {
		d := handle.Digest(v)
		return w.auth.Lookup(t.Context(), bus.PullRequest{V: 1, Digest: d[:], Kind: mintmark.KindAPIKey})
	}
	if r := look(k.Value.Reveal()); r.Token == nil || r.Code != mintmark.CodeNone || r.Token.Kind != mintmark.KindAPIKey {
		t.Fatalf("look-up: %+v", r)
	}
	next, err := w.auth.RotateAPIKey(t.Context(), k.Token.ID, 0, "user:root")
	must(t, err)
	if r := look(k.Value.Reveal()); r.Code != mintmark.CodeRevoked {
		t.Errorf("the replaced key: %+v", r)
	}
	if r := look(next.Value.Reveal()); r.Code != mintmark.CodeNone || !slices.Equal(r.Token.Scopes, []string{"orders:read"}) {
		t.Errorf("the new key: %+v", r)
	}
	if _, err := w.auth.CreateAPIKey(t.Context(), authority.APIKeyRequest{Name: "x", Client: "machine", Scopes: []string{"root"}}); err == nil {
		t.Error("an API key got a scope beyond policy")
	}
	if r := look("mmk_unknown"); r.Token != nil || r.Code == mintmark.CodeNone {
		t.Errorf("an unknown key: %+v", r)
	}
}

func TestReissue(t *testing.T) {
	w := newWorld(t)
	secret := w.client(machine())
	_, ans := w.post("/token", url.Values{"grant_type": {"client_credentials"}, "scope": {"orders:read"}, "basic": {"machine:" + secret}})
	rows := w.auth.Reissue(t.Context(), bus.ReissueRequest{V: 1, Token: mintmark.Token{ID: "tok_none", Kind: mintmark.KindAccessJWT}, Service: "orders", Release: "orders/v1"})
	if rows.Error == "" {
		t.Error("reissued an unknown token")
	}
	_, in := w.post("/introspect", url.Values{"token": {ans["access_token"].(string)}, "basic": {"machine:" + secret}})
	row, err := w.store.TokenByID(t.Context(), mintmark.TokenID(in["jti"].(string)))
	must(t, err)
	r := w.auth.Reissue(t.Context(), bus.ReissueRequest{V: 1, Token: row.Token, Service: "orders", Release: "orders/v1"})
	if r.Error != "" || r.Token.Kind != mintmark.KindInternal || r.Token.Expires > row.Expires || r.Value == "" {
		t.Fatalf("reissue: %+v", r)
	}
}

func TestKeyLife(t *testing.T) {
	w := newWorld(t)
	secret := w.client(machine())
	ask := func() any {
		_, ans := w.post("/token", url.Values{"grant_type": {"client_credentials"}, "scope": {"orders:read"}, "basic": {"machine:" + secret}})
		return ans["access_token"]
	}
	old := ask()
	keys, err := w.auth.Keys(t.Context())
	must(t, err)
	first := keys[0].ID
	_, err = w.auth.Rotate(t.Context(), "ES256", "user:root", "test")
	must(t, err)
	if !w.active(old, "machine:"+secret) {
		t.Fatal("rotation killed a token")
	}
	if err := w.auth.Retire(t.Context(), first, "user:root", "test", false); err == nil {
		t.Fatal("retired a key that a live token needs")
	}
	fresh := ask()
	must(t, w.auth.Kill(t.Context(), first, "user:root", "leaked"))
	// Again, as after a kill that did not live to answer; and never for an unknown key.
	must(t, w.auth.Kill(t.Context(), first, "user:root", "leaked"))
	if err := w.auth.Kill(t.Context(), "key_nobody", "user:root", "leaked"); !errors.Is(err, ledger.ErrNotFound) {
		t.Errorf("an unknown key: %v", err)
	}
	if w.active(old, "machine:"+secret) || !w.active(fresh, "machine:"+secret) {
		t.Error("kill: wrong tokens died")
	}
}

// TestRefreshAfterRollback: a family opened under a bad candidate goes on under
// the release that stays, its over-scoped access token does not.
func TestRefreshAfterRollback(t *testing.T) {
	w := newWorld(t)
	secret := w.client(machine())
	w.client(webApp())
	svc := orders()
	svc.Split.Candidate, svc.Split.Weight, svc.Split.Rollout = "v2", 10_000, "rol_1"
	w.state.setService(t, svc)
	a := w.tokens()
	if !strings.Contains(a["scope"].(string), "orders:admin") {
		t.Fatalf("the candidate minted %v", a["scope"])
	}
	back := orders()
	back.Retired = []epoch.Retired{{
		Release: "v2", Rollout: "rol_1", CutoffSeq: w.ledger.Issued(),
		Rules: []epoch.DispositionRule{
			{Class: "over_scoped", ScopesBeyond: []string{"orders:read", "orders:write"}, Disposition: mintmark.Revoke},
			{Class: "wrong_audience", AudienceBeyond: []string{ordersAudience}, Disposition: mintmark.Revoke},
			{Class: "none", Disposition: mintmark.Revoke},
		},
	}}
	w.state.setService(t, back)
	if w.active(a["access_token"], "machine:"+secret) {
		t.Error("the over-scoped token outlived the rollback")
	}
	status, b := w.refresh(a["refresh_token"])
	if status != http.StatusOK || b["scope"] != "openid orders:read profile" {
		t.Fatalf("refresh after rollback: %d %v", status, b)
	}
	if !w.active(b["access_token"], "machine:"+secret) {
		t.Error("the new token is not active")
	}
}

func TestByHand(t *testing.T) {
	w := newWorld(t)
	secret := w.client(machine())
	k, err := w.auth.IssueFor(t.Context(), authority.IssueRequest{Client: "machine", Scopes: []string{"orders:read"}, Seconds: 60, Actor: "user:root"})
	must(t, err)
	if !w.active(k.Value.Reveal(), "machine:"+secret) || k.Token.Expires > w.clock.now().Unix()+60 {
		t.Errorf("issued %+v", k.Token)
	}
	c := machine()
	c.ID, c.Audiences, c.Scopes = "root", []string{w.auth.AdminAudience()}, authority.AdminScopes()
	secret = w.client(c)
	status, ans := w.post("/token", url.Values{"grant_type": {"client_credentials"}, "scope": {"admin:operator"}, "basic": {"root:" + secret}})
	if status != http.StatusOK || ans["scope"] != "admin:operator" {
		t.Fatalf("admin token: %d %v", status, ans)
	}
	if _, err := w.auth.IssueFor(t.Context(), authority.IssueRequest{Client: "root", Scopes: []string{"admin:admin"}}); err == nil {
		t.Error("an admin token was made by hand")
	}
	if _, err := w.auth.CreateAPIKey(t.Context(), authority.APIKeyRequest{Name: "x", Client: "root", Scopes: []string{"admin:admin"}}); err == nil {
		t.Error("an admin API key was made by hand")
	}
	req, err := http.NewRequest(http.MethodGet, w.server.URL+"/v1/status", nil)
	must(t, err)
	req.Header.Set("Authorization", "Bearer "+ans["access_token"].(string))
	tok, err := w.auth.Present(nil, req, w.auth.AdminAudience(), "")
	must(t, err)
	if !tok.HasScope("admin:operator") || tok.Client != "root" {
		t.Errorf("presented %+v", tok)
	}
	req.Header.Set("Authorization", "Bearer "+k.Value.Reveal())
	if _, err := w.auth.Present(nil, req, w.auth.AdminAudience(), ""); err == nil {
		t.Error("a service's token was taken by the admin API")
	}
}
