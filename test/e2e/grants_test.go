package e2e

import (
	"fmt"
	"net/url"
	"testing"
	"time"
)

const (
	assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
	jwtBearer     = "urn:ietf:params:oauth:grant-type:jwt-bearer"
	exchange      = "urn:ietf:params:oauth:grant-type:token-exchange"
	accessToken   = "urn:ietf:params:oauth:token-type:access_token"
)

func TestPrivateKeyJWT(t *testing.T) {
	t.Parallel()
	key, other := newSigner(t, "k1"), newSigner(t, "k1")
	w := newWorld(t, option{resources: fmt.Sprintf(`---
apiVersion: mintmark/v1
kind: Client
name: bank
auth: private_key_jwt
jwks: %s
grants: [client_credentials]
scopes: [orders.read]
`, key.jwks())})
	ask := func(assertion string) tokens {
		t.Helper()
		return w.token(w.client, url.Values{
			"grant_type": {"client_credentials"}, "resource": {audience},
			"client_assertion_type": {assertionType}, "client_assertion": {assertion},
		}, "", "")
	}
	good := key.assertion("bank", "bank", w.issuer, nil)
	got := ask(good)
	if got.Access == "" {
		t.Fatalf("refused: %s %s", got.Error, got.Description)
	}
	w.want("a call", w.call(got.Access), 200, "")

	now := time.Now().Unix()
	for name, bad := range map[string]string{
		"used before":       good,
		"of another key":    other.assertion("bank", "bank", w.issuer, nil),
		"for another":       key.assertion("bank", "bank", "https://elsewhere.example", nil),
		"over":              key.assertion("bank", "bank", w.issuer, map[string]any{"exp": now - 120}),
		"without an end":    key.assertion("bank", "bank", w.issuer, map[string]any{"exp": nil}),
		"without jti":       key.assertion("bank", "bank", w.issuer, map[string]any{"jti": nil}),
		"for two audiences": key.assertion("bank", "bank", "", map[string]any{"aud": []string{w.issuer, "https://elsewhere.example"}}),
		"of another client": key.assertion("web", "bank", w.issuer, nil),
	} {
		if a := ask(bad); a.status != 401 || a.Error != "invalid_client" {
			t.Errorf("an assertion %s: %d %s", name, a.status, a.Error)
		}
	}
	// Knowing a client's name is not being it.
	if a := w.token(w.client, url.Values{"grant_type": {"client_credentials"}, "resource": {audience}}, "bank", ""); a.Error != "invalid_client" {
		t.Errorf("without an assertion: %q", a.Error)
	}
}

func TestJWTBearer(t *testing.T) {
	t.Parallel()
	idp := newSigner(t, "idp-1")
	w := newWorld(t, option{resources: fmt.Sprintf(`---
apiVersion: mintmark/v1
kind: Issuer
name: idp
issuer: https://idp.example
jwks: %s
---
apiVersion: mintmark/v1
kind: Issuer
name: stranger
issuer: https://stranger.example
jwks: %s
---
apiVersion: mintmark/v1
kind: Client
name: trader
auth: client_secret_basic
grants: [jwt_bearer]
scopes: [orders.read]
assertion_issuers: [idp]
`, idp.jwks(), idp.jwks())})
	ask := func(assertion string) tokens {
		t.Helper()
		return w.token(w.client, url.Values{"grant_type": {jwtBearer}, "assertion": {assertion}, "resource": {audience}}, "trader", w.secrets["trader"])
	}
	good := idp.assertion("https://idp.example", "bob", w.issuer, nil)
	got := ask(good)
	if got.Access == "" {
		t.Fatalf("refused: %s %s", got.Error, got.Description)
	}
	a := w.call(got.Access)
	w.want("a call", a, 200, "")
	if sub := seen(t, a).Get("Mintmark-Token-Subject"); sub != "idp:bob" {
		t.Errorf("the token speaks for %q", sub)
	}
	for name, bad := range map[string]string{
		"used before":            good,
		"of an issuer not named": idp.assertion("https://stranger.example", "bob", w.issuer, nil),
		"of an unknown issuer":   idp.assertion("https://unknown.example", "bob", w.issuer, nil),
		"for another":            idp.assertion("https://idp.example", "bob", audience, nil),
		"of another key":         newSigner(t, "idp-1").assertion("https://idp.example", "bob", w.issuer, nil),
	} {
		if a := ask(bad); a.status != 400 || a.Error != "invalid_grant" {
			t.Errorf("an assertion %s: %d %s", name, a.status, a.Error)
		}
	}
}

func TestTokenExchange(t *testing.T) {
	t.Parallel()
	w := newWorld(t, option{})
	alice := w.person("web")
	ask := func(more url.Values) tokens {
		t.Helper()
		f := url.Values{"grant_type": {exchange}, "subject_token": {alice.Access}, "subject_token_type": {accessToken}, "resource": {audience}}
		for k, v := range more {
			f[k] = v
		}
		return w.token(w.client, f, "machine", w.secrets["machine"])
	}
	got := ask(nil)
	if got.Access == "" {
		t.Fatalf("refused: %s %s", got.Error, got.Description)
	}
	c := claims(t, got.Access)
	act, _ := c["act"].(map[string]any)
	if c["sub"] != user || act["sub"] != "machine" || got.IssuedType != accessToken {
		t.Errorf("the exchanged token says sub %v, act %v, type %s", c["sub"], c["act"], got.IssuedType)
	}
	if c["exp"].(float64) > claims(t, alice.Access)["exp"].(float64) {
		t.Error("the exchanged token outlives the one it was had for")
	}
	a := w.call(got.Access)
	w.want("a call with the exchanged token", a, 200, "")
	if h := seen(t, a); h.Get("Mintmark-Token-Subject") != user || h.Get("Mintmark-Token-Actor") != "machine" {
		t.Errorf("the service is told subject %q, actor %q", h.Get("Mintmark-Token-Subject"), h.Get("Mintmark-Token-Actor"))
	}
	// The machine itself may write; what alice did not grant it may not get here.
	if a := ask(url.Values{"scope": {"orders.write"}}); a.Error != "invalid_scope" {
		t.Errorf("a wider scope: %q", a.Error)
	}
	if a := ask(url.Values{"subject_token": {alice.ID}}); a.Error != "invalid_request" {
		t.Errorf("an ID token as subject token: %q", a.Error)
	}
	if a := ask(url.Values{"subject_token": {alice.Refresh}}); a.Error != "invalid_request" {
		t.Errorf("a refresh token as subject token: %q", a.Error)
	}
	// What ends alice's family ends what was had for it.
	if status, _ := w.post(w.client, "/revoke", url.Values{"token": {alice.Refresh}}, "web", "", nil); status != 200 {
		t.Fatalf("revoke: %d", status)
	}
	w.want("a call after the family was revoked", w.call(got.Access), 401, "token_revoked")
	if a := ask(nil); a.Error != "invalid_request" {
		t.Errorf("a revoked subject token: %q", a.Error)
	}
}

// TestExchangedTokensEndWithTheirOrigin takes back a token without a family, and
// asks the gateway for what was exchanged from it.
func TestExchangedTokensEndWithTheirOrigin(t *testing.T) {
	t.Parallel()
	for _, format := range []string{"jwt", "opaque"} {
		w := newWorld(t, option{instead: func(u string) string {
			return replaceOnce(shop(u), "default_scopes:", "format: "+format+"\ndefault_scopes:")
		}})
		ask := func(subject string) string {
			t.Helper()
			got := w.token(w.client, url.Values{
				"grant_type": {exchange}, "subject_token": {subject}, "subject_token_type": {accessToken}, "resource": {audience},
				"scope": {"orders.read"},
			}, "machine", w.secrets["machine"])
			if got.Access == "" {
				t.Fatalf("refused: %s %s", got.Error, got.Description)
			}
			return got.Access
		}
		origin := w.machine()
		child := ask(origin)
		grandchild, sibling := ask(child), ask(origin)
		var id string
		for _, token := range []string{origin, grandchild, sibling, child} {
			a := w.call(token)
			w.want("before", a, 200, "")
			id = seen(t, a).Get("Mintmark-Token-Id")
		}
		w.revoke("token=" + id)
		w.want("the origin", w.call(origin), 200, "")
		w.want("the revoked one", w.call(child), 401, "token_revoked")
		w.want("what was exchanged from it", w.call(grandchild), 401, "token_revoked")
		w.want("its sibling", w.call(sibling), 200, "")
		w.revoke("token=" + seen(t, w.call(origin)).Get("Mintmark-Token-Id"))
		w.want("the sibling after the origin was revoked", w.call(sibling), 401, "token_revoked")
		// A selector that covers the origin takes along what lacks it itself.
		broad := w.token(w.client, url.Values{
			"grant_type": {"client_credentials"}, "resource": {audience}, "scope": {"orders.read orders.write"},
		}, "machine", w.secrets["machine"]).Access
		narrow, harmless := ask(broad), ask(w.machine())
		w.want("the narrow one before", w.call(narrow), 200, "")
		w.revoke("subject=machine,scope=orders.write")
		w.want("the broad one", w.call(broad), 401, "token_revoked")
		w.want("the narrow one that was made of it", w.call(narrow), 401, "token_revoked")
		w.want("one made of another", w.call(harmless), 200, "")
		// What is verified anew, and not found in memory, is refused as well.
		w.restart()
		w.want("the grandchild after a restart", w.call(grandchild), 401, "token_revoked")
		w.want("the narrow one after a restart", w.call(narrow), 401, "token_revoked")
	}
}
