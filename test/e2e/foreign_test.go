package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// partner is the service with tokens of another issuer besides our own.
func partner(issuer string) func(string) string {
	return func(upstream string) string {
		return replaceOnce(shop(upstream), "routes:", "issuers: [partner]\nroutes:") + fmt.Sprintf(`---
apiVersion: mintmark/v1
kind: Issuer
name: partner
issuer: %s
marks: [{release: orders/v1}]
`, issuer)
	}
}

// startIssuer runs oidc-provider and returns its issuer URL; end kills it.
func startIssuer(t *testing.T) (issuer string, end func()) { return startScript(t, "issuer.mjs") }

// startScript runs an issuer of js/ and returns its URL; end kills it.
func startScript(t *testing.T, script string) (issuer string, end func()) {
	t.Helper()
	npm(t)
	cmd := exec.Command("node", script)
	cmd.Dir, cmd.Stderr = "js", os.Stderr
	cmd.Env = append(os.Environ(), "AUDIENCE="+audience, "SCOPE=orders.read", "SECRET=partner-secret")
	in, err := cmd.StdinPipe() // it ends when this closes
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := false
	end = func() {
		if !ended {
			ended = true
			_ = in.Close()
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	}
	t.Cleanup(end)
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), "http://") {
			return lines.Text(), end
		}
	}
	t.Fatal("the issuer did not start")
	return "", nil
}

// TestForeignIssuer lets oidc-provider sign tokens that our gateway accepts and
// marks by rule, through a rotation of its keys and its end.
func TestForeignIssuer(t *testing.T) {
	t.Parallel()
	issuer, end := startIssuer(t)
	resources := partner(issuer + "\ndiscovery: true")
	w := newWorld(t, option{instead: resources})
	mint := func() string {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, issuer+"/token", strings.NewReader(url.Values{"grant_type": {"client_credentials"}, "scope": {"orders.read"}}.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.SetBasicAuth("partner", "partner-secret")
		res, err := w.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		var a tokens
		if err := json.NewDecoder(res.Body).Decode(&a); err != nil || a.Access == "" {
			t.Fatalf("oidc-provider gave no token: %v %s", err, a.Error)
		}
		return a.Access
	}
	first := mint()
	// The keys come by themselves; until they do, nothing is known of the token.
	eventually(t, "the partner's token is taken", 20*time.Second, func() bool {
		a := w.call(first)
		if a.status != 200 && a.status != 503 {
			t.Fatalf("before the keys came: %d %s", a.status, a.body)
		}
		return a.status == 200
	})
	h := seen(t, w.call(first))
	if h.Get("Mintmark-Token-Release") != "orders/v1" || h.Get("Mintmark-Token-Subject") != "partner" || h.Get("Mintmark-Token-Id") == "" {
		t.Errorf("the service is told release %q, subject %q, id %q", h.Get("Mintmark-Token-Release"), h.Get("Mintmark-Token-Subject"), h.Get("Mintmark-Token-Id"))
	}
	tampered := first[:len(first)-4] + "AAAA"
	w.want("a tampered token", w.call(tampered), 401, "signature_invalid")

	// A new key: the gateway meets an unknown kid and has it looked up. That is not
	// done twice within the cooldown; meanwhile the token's state is unknown, and
	// nobody is told that it is bad.
	res, err := http.Post(issuer+"/rotate", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	rotated := mint()
	eventually(t, "the rotated key is known", 50*time.Second, func() bool {
		a := w.call(rotated)
		if a.status != 200 && (a.status != 503 || a.header.Get("Retry-After") == "") {
			t.Fatalf("while the new key was unknown: %d %s", a.status, a.body)
		}
		time.Sleep(200 * time.Millisecond)
		return a.status == 200
	})
	eventually(t, "a token of the key that the issuer withdrew is refused", 5*time.Second, func() bool {
		a := w.call(first)
		if a.status == 200 {
			t.Fatal("a token of a withdrawn key was taken")
		}
		return a.status == 401 && a.code() == "key_unknown"
	})

	// Revocation knows foreign tokens by what names them.
	doomed := mint()
	w.want("another token", w.call(doomed), 200, "")
	w.revoke("token=" + seen(t, w.call(doomed)).Get("Mintmark-Token-Id"))
	w.want("the revoked foreign token", w.call(doomed), 401, "token_revoked")
	w.want("its sibling", w.call(rotated), 200, "")

	// The issuer dies: what it signed is still good, and our restart changes nothing.
	end()
	w.want("a token of an issuer that is down", w.call(rotated), 200, "")
	w.restart()
	w.want("after our restart", w.call(rotated), 200, "")
	forged := newSigner(t, "never-seen").sign("at+jwt", map[string]any{
		"iss": issuer, "aud": audience, "sub": "x", "client_id": "x", "jti": "x", "scope": "orders.read",
		"iat": time.Now().Unix(), "exp": time.Now().Unix() + 60,
	})
	w.want("an unknown key while nobody can be asked", w.call(forged), 503, "state_unknown")
}

// TestUnknownKeysCostTheIssuerNothing floods a gateway with made-up key ids.
func TestUnknownKeysCostTheIssuerNothing(t *testing.T) {
	t.Parallel()
	key := newSigner(t, "k1")
	var asked atomic.Int64
	jwks := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		fmt.Fprint(rw, key.jwks())
	}))
	defer jwks.Close()
	w := newWorld(t, option{instead: partner("https://partner.example\njwks_uri: " + jwks.URL + "/keys")})
	token := func(s *signer) string {
		return s.sign("at+jwt", map[string]any{
			"iss": "https://partner.example", "aud": audience, "sub": "p", "client_id": "p", "jti": nonce(), "scope": "orders.read",
			"iat": time.Now().Unix(), "exp": time.Now().Unix() + 60,
		})
	}
	good := token(key)
	eventually(t, "keys are fetched", 20*time.Second, func() bool { return w.call(good).status == 200 })
	for i := range 200 {
		if a := w.call(token(newSigner(t, fmt.Sprintf("made-up-%d", i)))); a.status != 503 && a.status != 401 {
			t.Fatalf("a made-up key was answered %d", a.status)
		}
	}
	if n := asked.Load(); n > 2 {
		t.Errorf("the issuer was asked %d times", n)
	}
	w.want("a good token after the flood", w.call(token(key)), 200, "")
}
