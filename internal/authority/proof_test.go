package authority_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mintmark/mintmark/internal/authority"
	"github.com/mintmark/mintmark/internal/forwarded"
	"github.com/mintmark/mintmark/internal/jose"
)

// holder has a key and makes proofs with it.
type holder struct {
	t *testing.T
	s *jose.Signer
}

func newHolder(t *testing.T) *holder {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	s, err := jose.NewSigner("k1", jose.ES256, k)
	must(t, err)
	return &holder{t, s}
}

func (h *holder) proof(method, uri, nonce, access string) string {
	h.t.Helper()
	c := map[string]any{"jti": rand.Text(), "htm": method, "htu": uri, "iat": time.Now().Unix()}
	if nonce != "" {
		c["nonce"] = nonce
	}
	if access != "" {
		sum := sha256.Sum256([]byte(access))
		c["ath"] = base64.RawURLEncoding.EncodeToString(sum[:])
	}
	b, err := json.Marshal(c)
	must(h.t, err)
	p, err := h.s.SignProof(rand.Reader, "dpop+jwt", b)
	must(h.t, err)
	return p
}

func TestDPoP(t *testing.T) {
	w := newWorld(t, func(c *authority.Config, _ *authority.Deps) { c.DPoPNonce = true })
	w.client(webApp())
	h, thief := newHolder(t), newHolder(t)
	uri := w.server.URL + "/token"
	f := redeem(w.code("dpop_jkt", h.s.Key().Thumbprint()))
	status, ans, head := w.postFull("/token", f, "DPoP", h.proof("POST", uri, "", ""))
	nonce := head.Get("DPoP-Nonce")
	if status != http.StatusBadRequest || ans["error"] != "use_dpop_nonce" || nonce == "" {
		t.Fatalf("without nonce: %d %v", status, ans)
	}
	if _, ans := w.post("/token", f, "DPoP", thief.proof("POST", uri, nonce, "")); ans["error"] != "invalid_dpop_proof" {
		t.Fatalf("another key's proof: %v", ans)
	}
	proof := h.proof("POST", uri, nonce, "")
	status, ans = w.post("/token", f, "DPoP", proof)
	if status != http.StatusOK || ans["token_type"] != "DPoP" {
		t.Fatalf("with nonce: %d %v", status, ans)
	}
	r := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {ans["refresh_token"].(string)}, "client_id": {"web"}}
	for name, p := range map[string]string{
		"replayed": proof, "other key": thief.proof("POST", uri, nonce, ""), "other method": h.proof("GET", uri, nonce, ""),
		"other address": h.proof("POST", uri+"x", nonce, ""), "garbage": "a.b.c",
	} {
		if status, ans := w.post("/token", r, "DPoP", p); status == http.StatusOK {
			t.Errorf("%s proof was taken: %v", name, ans)
		}
	}
	if status, _ := w.post("/token", r); status == http.StatusOK {
		t.Error("a bound refresh token was taken without proof")
	}
	if status, ans := w.post("/token", r, "DPoP", h.proof("POST", uri, nonce, "")); status != http.StatusOK {
		t.Fatalf("bound refresh: %d %v", status, ans)
	}
	access := ans["access_token"].(string)
	info := func(scheme, proof string) int {
		req, err := http.NewRequest(http.MethodGet, w.server.URL+"/userinfo", nil)
		must(t, err)
		req.Header.Set("Authorization", scheme+" "+access)
		if proof != "" {
			req.Header.Set("DPoP", proof)
		}
		res, err := http.DefaultClient.Do(req)
		must(t, err)
		_ = res.Body.Close()
		if res.StatusCode != http.StatusOK && res.Header.Get("WWW-Authenticate") == "" {
			t.Error("a refusal without challenge")
		}
		return res.StatusCode
	}
	u := w.server.URL + "/userinfo"
	if got := info("Bearer", ""); got != http.StatusUnauthorized {
		t.Errorf("a bound token as Bearer: %d", got)
	}
	if got := info("DPoP", h.proof("GET", u, nonce, "other")); got != http.StatusUnauthorized {
		t.Errorf("a proof for another token: %d", got)
	}
	if got := info("DPoP", h.proof("GET", u, nonce, access)); got != http.StatusOK {
		t.Errorf("a good proof: %d", got)
	}
}

func TestPrivateKeyJWT(t *testing.T) {
	w := newWorld(t)
	h, thief := newHolder(t), newHolder(t)
	c := machine()
	c.AuthMethod, c.JWKS = authority.AuthPrivateKeyJWT, jose.PrintSet([]*jose.Key{h.s.Key()})
	w.client(c)
	assertion := func(by *holder, change map[string]any) string {
		m := map[string]any{"iss": "machine", "sub": "machine", "aud": w.server.URL, "jti": rand.Text(), "exp": time.Now().Add(time.Minute).Unix()}
		for k, v := range change {
			m[k] = v
		}
		b, err := json.Marshal(m)
		must(t, err)
		s, err := by.s.Sign(rand.Reader, "JWT", b)
		must(t, err)
		return s
	}
	ask := func(a string) int {
		status, _ := w.post("/token", url.Values{
			"grant_type": {"client_credentials"}, "client_assertion": {a},
			"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
		})
		return status
	}
	good := assertion(h, nil)
	if got := ask(good); got != http.StatusOK {
		t.Fatalf("a good assertion: %d", got)
	}
	for name, a := range map[string]string{
		"replayed":      good,
		"another's":     assertion(thief, nil),
		"for another":   assertion(h, map[string]any{"aud": "https://else.example"}),
		"expired":       assertion(h, map[string]any{"exp": time.Now().Add(-time.Hour).Unix()}),
		"far too long":  assertion(h, map[string]any{"exp": time.Now().Add(48 * time.Hour).Unix()}),
		"without jti":   assertion(h, map[string]any{"jti": ""}),
		"of someone":    assertion(h, map[string]any{"iss": "web"}),
		"not a subject": assertion(h, map[string]any{"sub": "web"}),
	} {
		if got := ask(a); got == http.StatusOK {
			t.Errorf("an assertion %s was taken", name)
		}
	}
}

func TestRenewalHook(t *testing.T) {
	var answer atomic.Value
	answer.Store(`{"decision":"allow","claims":{"tier":9}}`)
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if s := answer.Load().(string); s != "" {
			_, _ = w.Write([]byte(s))
			return
		}
		w.WriteHeader(http.StatusInternalServerError)
	}))
	defer hook.Close()
	w := newWorld(t)
	secret := w.client(machine())
	c := webApp()
	c.Hook = &authority.Hook{URL: hook.URL, Outage: "allow-until", OutageSeconds: 3600}
	w.client(c)
	a := w.tokens()
	status, b := w.refresh(a["refresh_token"])
	if status != http.StatusOK {
		t.Fatalf("allow: %d %v", status, b)
	}
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(b["access_token"].(string), ".")[1])
	must(t, err)
	if !strings.Contains(string(payload), `"tier":9`) {
		t.Errorf("refreshed claims are missing: %s", payload)
	}
	answer.Store("")
	status, d := w.refresh(b["refresh_token"])
	if status != http.StatusOK {
		t.Fatalf("outage within the bound: %d %v", status, d)
	}
	w.clock.advance(2 * time.Hour)
	if status, _ := w.refresh(d["refresh_token"]); status != http.StatusServiceUnavailable {
		t.Fatalf("outage past the bound: %d", status)
	}
	answer.Store(`{"decision":"deny"}`)
	if status, ans := w.refresh(d["refresh_token"]); ans["error"] != "invalid_grant" {
		t.Fatalf("deny: %d %v", status, ans)
	}
	answer.Store(`{"decision":"allow"}`)
	status, e := w.refresh(d["refresh_token"])
	if status != http.StatusOK {
		t.Fatalf("allow after deny: %d %v", status, e)
	}
	answer.Store(`{"decision":"revoke"}`)
	if status, ans := w.refresh(e["refresh_token"]); ans["error"] != "invalid_grant" {
		t.Fatalf("revoke: %d %v", status, ans)
	}
	if w.active(e["access_token"], "machine:"+secret) {
		t.Error("the family outlived the hook's revoke")
	}
}

func TestTooManyGuesses(t *testing.T) {
	w := newWorld(t)
	secret := w.client(machine())
	last := 0
	for range 12 {
		last, _ = w.post("/token", url.Values{"grant_type": {"client_credentials"}, "basic": {"machine:wrong"}})
	}
	if last != http.StatusTooManyRequests {
		t.Fatalf("guesses are not limited: %d", last)
	}
	w.clock.advance(2 * time.Minute)
	if status, _ := w.post("/token", url.Values{"grant_type": {"client_credentials"}, "scope": {"orders:read"}, "basic": {"machine:" + secret}}); status != http.StatusOK {
		t.Fatalf("the limit does not end: %d", status)
	}
}

// Behind a proxy, those who guess must not lock out the others, nor get new guesses
// by naming other addresses.
func TestGuessesBehindAProxy(t *testing.T) {
	w := newWorld(t, func(c *authority.Config, _ *authority.Deps) {
		c.Trusted = forwarded.Trust{netip.MustParsePrefix("127.0.0.1/32"), netip.MustParsePrefix("10.0.0.0/8")}
	})
	secret := w.client(machine())
	ask := func(secret, from string) int {
		status, _ := w.post("/token", url.Values{"grant_type": {"client_credentials"}, "scope": {"orders:read"}, "basic": {"machine:" + secret}}, "X-Forwarded-For", from)
		return status
	}
	last := 0
	for i := range 12 {
		last = ask("wrong", fmt.Sprintf("192.0.2.%d, 203.0.113.9, 10.0.0.1", i))
	}
	if last != http.StatusTooManyRequests {
		t.Errorf("naming other addresses buys guesses: %d", last)
	}
	if status := ask(secret, "203.0.113.10, 10.0.0.1"); status != http.StatusOK {
		t.Errorf("a guesser locked out another address: %d", status)
	}
}
