package e2e

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/mintmark/mintmark/api"
)

// TestDPoP holds proofs against the authority and two gateways.
func TestDPoP(t *testing.T) {
	t.Parallel()
	w := newWorld(t, option{bus: true, resources: `---
apiVersion: mintmark/v1
kind: Client
name: careful
auth: client_secret_basic
grants: [client_credentials]
bound: dpop
scopes: [orders.read]
`})
	second := w.join("second")
	key, other := newSigner(t, ""), newSigner(t, "")
	form := url.Values{"grant_type": {"client_credentials"}, "resource": {audience}}
	proof := key.proof("POST", w.issuer+"/token", "", nil)
	got := w.token(w.client, form, "careful", w.secrets["careful"], "DPoP", proof)
	if got.Type != "DPoP" {
		t.Fatalf("the token is of type %q: %s %s", got.Type, got.Error, got.Description)
	}
	if a := w.token(w.client, form, "careful", w.secrets["careful"], "DPoP", proof); a.Error != "invalid_dpop_proof" {
		t.Errorf("a proof used twice at the authority: %q", a.Error)
	}
	if a := w.token(w.client, form, "careful", w.secrets["careful"]); a.Error != "invalid_dpop_proof" {
		t.Errorf("a client that must bind, without a proof: %q", a.Error)
	}

	target := w.gateway + "/orders/1"
	call := func(base, proof, scheme string) answer {
		t.Helper()
		return w.get(w.client, base+"/orders/1", "Authorization", scheme+" "+got.Access, "DPoP", proof)
	}
	once := key.proof("GET", target, got.Access, nil)
	w.want("a bound token with its proof", call(w.gateway, once, "DPoP"), 200, "")
	w.want("the same proof again", call(w.gateway, once, "DPoP"), 401, "binding_invalid")
	// A proof names its target; two gateways under one name is what a replay needs.
	shared := key.proof("GET", target, got.Access, nil)
	host := w.gateway[len("http://"):]
	at := func(base string) answer {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, base+"/orders/1", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = host
		req.Header.Set("Authorization", "DPoP "+got.Access)
		req.Header.Set("DPoP", shared)
		res, err := w.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		return answer{status: res.StatusCode, header: res.Header}
	}
	w.want("a proof at the second gateway", at(second), 200, "")
	w.want("its replay at the first", at(w.gateway), 401, "")
	w.want("its replay at the second", at(second), 401, "")

	for name, bad := range map[string]string{
		"of another key":     other.proof("GET", target, got.Access, nil),
		"for another method": key.proof("POST", target, got.Access, nil),
		"for another target": key.proof("GET", w.gateway+"/orders/2", got.Access, nil),
		"for another token":  key.proof("GET", target, "another", nil),
		"without a token":    key.proof("GET", target, "", nil),
		"from long ago":      key.proof("GET", target, got.Access, map[string]any{"iat": time.Now().Unix() - 3600}),
		"without jti":        key.proof("GET", target, got.Access, map[string]any{"jti": nil}),
	} {
		a := call(w.gateway, bad, "DPoP")
		if a.status != 401 || a.code() != "binding_invalid" {
			t.Errorf("a proof %s: %d %s", name, a.status, a.code())
		}
	}
	// RFC 9449 §7.2: a bound token is no bearer token.
	w.want("a bound token as Bearer", w.call(got.Access), 401, "binding_invalid")
	w.want("a bound token as Bearer with a proof", call(w.gateway, key.proof("GET", target, got.Access, nil), "Bearer"), 401, "binding_invalid")
	w.want("a bearer token as DPoP", w.get(w.client, target, "Authorization", "DPoP "+w.machine(), "DPoP", key.proof("GET", target, "x", nil)), 401, "binding_invalid")

	// A public client's refresh token is bound to the key, too (RFC 9449 §5).
	alice := w.person("web", "DPoP", key.proof("POST", w.issuer+"/token", "", nil))
	refresh := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {alice.Refresh}}
	if a := w.token(w.client, refresh, "web", ""); a.Error != "invalid_grant" {
		t.Errorf("a bound refresh token without a proof: %q", a.Error)
	}
	if a := w.token(w.client, refresh, "web", "", "DPoP", other.proof("POST", w.issuer+"/token", "", nil)); a.Error != "invalid_grant" {
		t.Errorf("a bound refresh token with another key: %q", a.Error)
	}
	if a := w.token(w.client, refresh, "web", "", "DPoP", key.proof("POST", w.issuer+"/token", "", nil)); a.Type != "DPoP" {
		t.Errorf("a bound refresh token with its key: %q %s", a.Error, a.Description)
	}
	me := key.proof("GET", w.issuer+"/userinfo", alice.Access, nil)
	w.want("userinfo with a bound token", w.get(w.client, w.issuer+"/userinfo", "Authorization", "DPoP "+alice.Access, "DPoP", me), 200, "")
	w.want("userinfo with the proof again", w.get(w.client, w.issuer+"/userinfo", "Authorization", "DPoP "+alice.Access, "DPoP", me), 401, "")
	w.want("userinfo with a bound token as Bearer", w.get(w.client, w.issuer+"/userinfo", "Authorization", "Bearer "+alice.Access), 401, "")
}

// TestMutualTLS authenticates clients by certificate and binds tokens to it (RFC
// 8705), through TLS listeners.
func TestMutualTLS(t *testing.T) {
	t.Parallel()
	kiosk := selfSigned(t, "kiosk")
	w := newWorld(t, option{tls: true, resources: fmt.Sprintf(`---
apiVersion: mintmark/v1
kind: Client
name: bank
auth: tls_client_auth
tls_subject: bank.example
grants: [client_credentials]
scopes: [orders.read]
---
apiVersion: mintmark/v1
kind: Client
name: kiosk
auth: self_signed_tls_client_auth
tls_thumbprints: ["%s"]
grants: [client_credentials]
scopes: [orders.read]
`, thumbprint(kiosk))})
	with := func(c tls.Certificate) *http.Client {
		return &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{TLSClientConfig: w.pki.client(&c), ForceAttemptHTTP2: true}}
	}
	bank, mallory, nobody := w.pki.issue("bank.example", false), w.pki.issue("mallory.example", false), selfSigned(t, "bank.example")
	form := url.Values{"grant_type": {"client_credentials"}, "resource": {audience}}

	got := w.token(with(bank), form, "bank", "")
	if got.Access == "" {
		t.Fatalf("bank: %d %s %s", got.status, got.Error, got.Description)
	}
	if cnf, _ := claims(t, got.Access)["cnf"].(map[string]any); cnf["x5t#S256"] != thumbprint(bank) {
		t.Errorf("the token is bound to %v", cnf)
	}
	target := w.gateway + "/orders/1"
	bearer := []string{"Authorization", "Bearer " + got.Access}
	w.want("with the certificate", w.get(with(bank), target, bearer...), 200, "")
	w.want("without it", w.get(w.client, target, bearer...), 401, "binding_invalid")
	w.want("with another", w.get(with(mallory), target, bearer...), 401, "binding_invalid")
	for name, c := range map[string]*http.Client{"no certificate": w.client, "another's certificate": with(mallory), "a self-made certificate of the same name": with(nobody)} {
		if a := w.token(c, form, "bank", ""); a.status != 401 || a.Error != "invalid_client" {
			t.Errorf("bank with %s: %d %s", name, a.status, a.Error)
		}
	}

	self := w.token(with(kiosk), form, "kiosk", "")
	if self.Access == "" {
		t.Fatalf("kiosk: %d %s %s", self.status, self.Error, self.Description)
	}
	w.want("a self-signed certificate", w.get(with(kiosk), target, "Authorization", "Bearer "+self.Access), 200, "")
	w.want("another in its place", w.get(with(selfSigned(t, "kiosk")), target, "Authorization", "Bearer "+self.Access), 401, "binding_invalid")
	if a := w.token(with(selfSigned(t, "kiosk")), form, "kiosk", ""); a.Error != "invalid_client" {
		t.Errorf("kiosk with another self-signed certificate: %q", a.Error)
	}

	// A person over TLS: cookies are Secure, and the flow still works.
	alice := w.person("web")
	w.want("alice over TLS", w.call(alice.Access), 200, "")
}

// TestDPoPAtTheAdminAPI binds an operator's token to a key: it is good with a proof
// for the admin API's own URL, and for nothing else.
func TestDPoPAtTheAdminAPI(t *testing.T) {
	t.Parallel()
	w := newWorld(t, option{})
	key := newSigner(t, "")
	got := w.operatorToken("DPoP", key.proof("POST", w.issuer+"/token", "", nil))
	if got.Type != "DPoP" {
		t.Fatalf("token type %q", got.Type)
	}
	call := func(uri, proof, scheme string) int {
		return w.get(w.client, uri, "Authorization", scheme+" "+got.Access, "DPoP", proof).status
	}
	status := w.adminURL + "/v1/status"
	once := key.proof("GET", status, got.Access, nil)
	if s := call(status, once, "DPoP"); s != 200 {
		t.Errorf("a bound token with its proof: %d", s)
	}
	alias := strings.Replace(status, "127.0.0.1", "localhost", 1)
	if s := call(alias, key.proof("GET", alias, got.Access, nil), "DPoP"); s != 200 {
		t.Errorf("by its other name: %d", s)
	}
	for name, try := range map[string]struct{ proof, scheme string }{
		"the proof again":        {once, "DPoP"},
		"another server's proof": {key.proof("GET", "https://evil.example/v1/status", got.Access, nil), "DPoP"},
		"a proof for the issuer": {key.proof("GET", w.issuer+"/v1/status", got.Access, nil), "DPoP"},
		"another path's proof":   {key.proof("GET", w.adminURL+"/v1/tokens", got.Access, nil), "DPoP"},
		"another key's proof":    {newSigner(t, "").proof("GET", status, got.Access, nil), "DPoP"},
		"as a bearer token":      {key.proof("GET", status, got.Access, nil), "Bearer"},
	} {
		if s := call(status, try.proof, try.scheme); s != 401 {
			t.Errorf("%s: %d", name, s)
		}
	}
	req, err := http.NewRequestWithContext(t.Context(), "GET", status, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = "evil.example"
	req.Header = http.Header{"Authorization": {"DPoP " + got.Access}, "Dpop": {key.proof("GET", "http://evil.example/v1/status", got.Access, nil)}}
	res, err := w.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if res.Body.Close(); res.StatusCode != 401 {
		t.Errorf("a proof for the name that the request came under: %d", res.StatusCode)
	}
	// A path that ends in a verb is routed by another one inside.
	verb := w.adminURL + "/v1/rollouts/none:promote"
	a := w.do(w.client, "POST", verb, "Authorization", "DPoP "+got.Access, "DPoP", key.proof("POST", verb, got.Access, nil))
	if a.status == 401 {
		t.Errorf("a verb: %d %s", a.status, a.body)
	}
}

// TestOpaqueTokens mints what says nothing to who holds it.
func TestOpaqueTokens(t *testing.T) {
	t.Parallel()
	w := newWorld(t, option{instead: func(u string) string {
		return replaceOnce(shop(u), "default_scopes:", "format: opaque\ndefault_scopes:")
	}, resources: `---
apiVersion: mintmark/v1
kind: Client
name: resource-server
auth: client_secret_basic
grants: [client_credentials]
introspect: true
`})
	got := w.machine()
	if got[:4] != "mma_" {
		t.Fatalf("the token is not opaque: %.8s…", got)
	}
	a := w.call(got)
	w.want("an opaque token", a, 200, "")
	if h := seen(t, a); h.Get("Mintmark-Token-Client") != "machine" || h.Get("Authorization") != "" {
		t.Errorf("the service is told client %q and given the token %t", h.Get("Mintmark-Token-Client"), h.Get("Authorization") != "")
	}
	w.want("one with a wrong checksum", w.call(got[:len(got)-1]+"0"), 401, "")
	var in struct {
		Active bool   `json:"active"`
		Client string `json:"client_id"`
	}
	if w.post(w.client, "/introspect", url.Values{"token": {got}}, "resource-server", w.secrets["resource-server"], &in); !in.Active || in.Client != "machine" {
		t.Errorf("introspection: %+v", in)
	}
	if status, _ := w.post(w.client, "/revoke", url.Values{"token": {got}}, "machine", w.secrets["machine"], nil); status != 200 {
		t.Fatalf("revoke: %d", status)
	}
	w.want("a revoked opaque token", w.call(got), 401, "token_revoked")
	if w.post(w.client, "/introspect", url.Values{"token": {got}}, "resource-server", w.secrets["resource-server"], &in); in.Active {
		t.Error("introspection still says active")
	}
	// A person's opaque access token renews like any other.
	alice := w.person("web")
	w.want("alice's opaque token", w.call(alice.Access), 200, "")
	next := w.token(w.client, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {alice.Refresh}}, "web", "")
	w.want("the renewed one", w.call(next.Access), 200, "")
	// It survives our restart: the gateway asks again.
	w.restart()
	w.want("after a restart", w.call(next.Access), 200, "")
	w.want("the revoked one after a restart", w.call(got), 401, "token_revoked")
}

func TestAPIKeys(t *testing.T) {
	t.Parallel()
	w := newWorld(t, option{})
	made, err := w.admin.CreateAPIKey(t.Context(), api.APIKeyRequest{
		Name: "nightly", Owner: "ops@example", Client: "machine", Scopes: []string{"orders.read"}, Audience: []string{audience},
	})
	if err != nil {
		t.Fatal(err)
	}
	key := func(v string) answer { return w.get(w.client, w.gateway+"/orders/1", "X-API-Key", v) }
	w.want("an API key", key(made.Value), 200, "")
	w.want("an API key as Bearer", w.call(made.Value), 200, "")
	a := w.get(w.client, w.gateway+"/orders/1", "X-API-Key", made.Value, "Authorization", "Bearer "+w.machine())
	w.want("two credentials at once", a, 400, "")
	if h := seen(t, key(made.Value)); h.Get("X-Api-Key") != "" {
		t.Error("the service is given the key")
	}
	next, err := w.admin.RotateAPIKey(t.Context(), made.Token.ID, api.RotateRequest{Overlap: "1h", Reason: "yearly"})
	if err != nil {
		t.Fatal(err)
	}
	w.want("the new key", key(next.Value), 200, "")
	w.want("the old key in the overlap", key(made.Value), 200, "")
	last, err := w.admin.RotateAPIKey(t.Context(), next.Token.ID, api.RotateRequest{Reason: "leaked"})
	if err != nil {
		t.Fatal(err)
	}
	w.want("the last key", key(last.Value), 200, "")
	eventually(t, "a key without overlap ends", 5*time.Second, func() bool { return key(next.Value).status == 401 })
	w.revoke("token=" + string(last.Token.ID))
	w.want("a revoked key", key(last.Value), 401, "token_revoked")
}
