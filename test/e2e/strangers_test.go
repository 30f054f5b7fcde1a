package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// node runs a script of js/ with a configuration in its environment and returns
// what it printed.
func node(t *testing.T, script, variable string, cfg any) string {
	t.Helper()
	npm(t)
	b, err := json.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "node", script)
	cmd.Dir = "js"
	cmd.Env = append(os.Environ(), variable+"="+string(b))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", script, err, out)
	}
	return string(out)
}

// npm makes sure that Node and the pinned packages are there.
func npm(t *testing.T) {
	t.Helper()
	there := true
	for _, name := range []string{"openid-client", "@sd-jwt/jwt-status-list"} {
		_, err := os.Stat(filepath.Join("js", "node_modules", name))
		there = there && err == nil
	}
	if there {
		return
	}
	for _, argv := range [][]string{
		{filepath.Join("..", "..", "scripts", "need"), "npm"},
		{"npm", "--prefix", "js", "ci", "--no-audit", "--no-fund", "--silent"},
	} {
		if out, err := exec.CommandContext(t.Context(), argv[0], argv[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", strings.Join(argv, " "), err, out)
		}
	}
}

func TestOpenIDClient(t *testing.T) {
	t.Parallel()
	w := newWorld(t, option{resources: `---
apiVersion: mintmark/v1
kind: Client
name: checker
auth: client_secret_post
grants: [client_credentials]
introspect: true
scopes: [orders.read]
`})
	out := node(t, "client.mjs", "STRANGER", map[string]string{
		"issuer": w.issuer, "gateway": w.gateway, "publicClient": "web", "redirect": redirect, "scope": "orders.read",
		"audience": audience, "user": user, "password": password,
		"confidentialClient": "checker", "confidentialSecret": w.secrets["checker"],
	})
	t.Log(out)
	for _, line := range []string{
		"discovery", "code + PKCE", "userinfo", "refresh, rotation, retry within grace", "pushed authorization request",
		"DPoP", "client credentials", "introspection and revocation", "revocation cascades",
	} {
		if !strings.Contains(out, "ok "+line) {
			t.Errorf("openid-client did not get to %q", line)
		}
	}
}
