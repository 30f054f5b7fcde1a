package e2e

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// nginxConf is a server around the recipe in integrations/nginx.
const nginxConf = `daemon off;
worker_processes 1;
pid %[1]s/nginx.pid;
error_log %[1]s/error.log;
events { worker_connections 256; }
http {
  access_log %[1]s/access.log;
  client_body_temp_path %[1]s/body; proxy_temp_path %[1]s/proxy; fastcgi_temp_path %[1]s/fastcgi; uwsgi_temp_path %[1]s/uwsgi; scgi_temp_path %[1]s/scgi;
  server {
    listen 127.0.0.1:%[2]d;
    include %[1]s/mintmark.conf;
  }
}
`

// TestNGINX runs Debian's nginx with auth_request against the decision endpoint.
func TestNGINX(t *testing.T) {
	t.Parallel()
	if out, err := exec.CommandContext(t.Context(), filepath.Join("..", "..", "scripts", "need"), "nginx").CombinedOutput(); err != nil {
		t.Fatalf("need nginx: %v\n%s", err, out)
	}
	w := newWorld(t, option{instead: func(u string) string {
		return replaceOnce(shop(u), "scopes: [orders.read]}\n", "scopes: [orders.read]}\n- {name: few, path: \"/few\", scopes: [orders.read], rate_limit: {per_minute: 1, burst: 1, by: client}}\n")
	}})
	nginx := runNGINX(t, w)

	token := w.machine()
	call := func(path, token string, more ...string) answer {
		t.Helper()
		h := more
		if token != "" {
			h = append(h, "Authorization", "Bearer "+token)
		}
		return w.get(w.client, nginx+path, h...)
	}
	var forged []string
	for _, name := range []string{"Id", "Subject", "Client", "Actor", "State", "Scopes", "Expires", "Release", "Epoch"} {
		forged = append(forged, "Mintmark-Token-"+name, "forged")
	}
	forged = append(forged, "Mintmark-Token-Claims", "forged")
	a := call("/orders/1?page=2", token, forged...)
	w.want("a valid token", a, 200, "")
	for name, values := range seen(t, a) {
		if strings.HasPrefix(name, "Mintmark-") && strings.Join(values, "") == "forged" {
			t.Errorf("a forged %s got through", name)
		}
	}
	if h := seen(t, a); h.Get("Mintmark-Token-Subject") != "machine" || h.Get("Mintmark-Token-Id") != claims(t, token)["jti"] || h.Get("Authorization") != "" {
		t.Errorf("the service is told %v", h)
	}
	a = call("/orders/1", "")
	w.want("no token", a, 401, "")
	if !strings.HasPrefix(a.header.Get("WWW-Authenticate"), "Bearer ") {
		t.Errorf("the challenge is lost: %v", a.header)
	}
	w.want("nonsense", call("/orders/1", "nonsense"), 401, "")
	wide := w.token(w.client, url.Values{"grant_type": {"client_credentials"}, "resource": {audience}, "scope": {"orders.write"}}, "machine", w.secrets["machine"]).Access
	a = call("/orders/1", wide)
	w.want("another scope", a, 403, "scope_insufficient")
	if !strings.Contains(a.header.Get("WWW-Authenticate"), "insufficient_scope") {
		t.Errorf("the challenge is lost: %v", a.header)
	}
	w.want("a path that is no route", call("/admin", token), 404, "")
	w.want("a path around the route", call("/orders/../admin", token), 400, "")
	w.want("the first of few", call("/few", token), 200, "")
	a = call("/few", token)
	w.want("the second of few", a, 429, "")
	if a.header.Get("Retry-After") == "" {
		t.Error("a 429 without Retry-After")
	}
	w.revoke("token=" + claims(t, token)["jti"].(string))
	w.want("a revoked token", call("/orders/1", token), 401, "token_revoked")
	good := w.machine()
	w.want("another token", call("/orders/1", good), 200, "")
	w.serve.Kill()
	a = call("/orders/1", good)
	w.want("with nobody to ask", a, 503, "state_unknown")
	if a.header.Get("Retry-After") == "" {
		t.Error("a 503 without Retry-After")
	}
}

func runNGINX(t *testing.T, w *world) string {
	t.Helper()
	dir := t.TempDir()
	port := freePorts(t, 1)[0]
	conf := filepath.Join(dir, "nginx.conf")
	write(t, conf, fmt.Sprintf(nginxConf, dir, port))
	recipe, err := os.ReadFile(filepath.Join("..", "..", "integrations", "nginx", "mintmark.conf"))
	if err != nil {
		t.Fatal(err)
	}
	text := replaceOnce(string(recipe), "proxy_pass http://127.0.0.1:9000;", "proxy_pass "+w.upstream.URL+";")
	write(t, filepath.Join(dir, "mintmark.conf"), replaceOnce(text, "proxy_pass http://127.0.0.1:8084/", "proxy_pass "+w.decide+"/"))
	path, err := exec.LookPath("nginx")
	if err != nil {
		path = "/usr/sbin/nginx"
	}
	cmd := exec.Command(path, "-p", dir, "-e", filepath.Join(dir, "error.log"), "-c", conf)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	base := fmt.Sprintf("http://127.0.0.1:%d", port)
	eventually(t, "nginx answers", 10*time.Second, func() bool {
		res, err := w.client.Get(base)
		if err != nil {
			return false
		}
		_ = res.Body.Close()
		return true
	})
	return base
}

// TestForwardAuth asks as Traefik's forwardAuth and Caddy's forward_auth do: a GET
// with the original request in X-Forwarded-*; the answer is passed on as it is.
func TestForwardAuth(t *testing.T) {
	t.Parallel()
	w := newWorld(t, option{})
	ask := func(token, method, uri string, more ...string) answer {
		t.Helper()
		h := append([]string{"X-Forwarded-Method", method, "X-Forwarded-Uri", uri, "X-Forwarded-Host", "shop.example", "X-Forwarded-Proto", "https", "X-Forwarded-For", "203.0.113.9"}, more...)
		if token != "" {
			h = append(h, "Authorization", "Bearer "+token)
		}
		return w.get(w.client, w.decide+"/v1/decide", h...)
	}
	token := w.machine()
	a := ask(token, "POST", "/orders/7?x=1", "Mintmark-Token-Subject", "root")
	w.want("a valid token", a, 200, "")
	for name, want := range map[string]string{
		"Mintmark-Token-Subject": "machine", "Mintmark-Token-Client": "machine", "Mintmark-Token-Scopes": "orders.read",
		"Mintmark-Token-Release": "orders/v1", "Mintmark-Token-State": "active",
	} {
		if got := a.header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if a.header.Get("Cache-Control") != "no-store" {
		t.Errorf("the decision may be kept: %q", a.header.Get("Cache-Control"))
	}
	// Every identity header is on every answer, so that a forged one never survives.
	a = ask("", "GET", "/orders/7")
	w.want("no token", a, 401, "")
	for _, name := range []string{"Id", "Subject", "Client", "Actor", "State", "Scopes", "Expires", "Release", "Epoch"} {
		if _, ok := a.header[http.CanonicalHeaderKey("Mintmark-Token-"+name)]; !ok {
			t.Errorf("a refusal lacks Mintmark-Token-%s", name)
		}
	}
	w.want("an unknown route", ask(token, "GET", "/elsewhere"), 404, "")
	// A proof is for the request that is asked about, not for the question.
	key := newSigner(t, "")
	bound := w.token(w.client, url.Values{"grant_type": {"client_credentials"}, "resource": {audience}}, "machine", w.secrets["machine"],
		"DPoP", key.proof("POST", w.issuer+"/token", "", nil)).Access
	dpop := func(proof string) answer {
		t.Helper()
		return ask("", "GET", "/orders/7", "Authorization", "DPoP "+bound, "DPoP", proof)
	}
	proof := key.proof("GET", "https://shop.example/orders/7", bound, nil)
	w.want("a proof for the original request", dpop(proof), 200, "")
	w.want("its replay", dpop(proof), 401, "binding_invalid")
	w.want("a proof for the question", dpop(key.proof("GET", w.decide+"/v1/decide", bound, nil)), 401, "binding_invalid")
	w.want("a question that describes no request", w.get(w.client, w.decide+"/v1/decide", "Authorization", "Bearer "+token), 400, "")
}
