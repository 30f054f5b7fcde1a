package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const tried = `apiVersion: mintmark/v1
kind: Policy
name: shop
audience: [https://shop.example]
scopes: [shop:read, shop:write]
---
apiVersion: mintmark/v1
kind: Release
name: shop/v1
policy: shop
upstreams: [{url: "http://127.0.0.1:9001"}]
---
apiVersion: mintmark/v1
kind: Service
name: shop
audience: [https://shop.example]
release: v1
routes:
  - {name: all, path: /*, scopes: [shop:read]}
---
apiVersion: mintmark/v1
kind: Client
name: web
auth: client_secret_basic
grants: [client_credentials]
scopes: [shop:read]
`

const record = `{"at":1800000000,"w":12000,"route":"shop/all","path":"/*","method":"GET","served":"shop/v1","token":{"kind":"jwt","client":"web","scopes":["shop:read"],"aud":["https://shop.example"],"release":"shop/v1","left":256,"life":600,"auth_age":-1}}`

// Resources are compared, and tried on a file of records, without a control.
func TestPolicyWithoutControl(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return p
	}
	now, records := write("now.yaml", tried), write("records.jsonl", record+"\n\n"+record+"\n")
	next := write("next.yaml", strings.Replace(tried, "path: /*, scopes: [shop:read]", "path: /*, scopes: [shop:read, shop:write]", 1))
	broken, junk := write("broken.yaml", strings.Replace(tried, "policy: shop", "policy: none", 1)), write("junk.jsonl", record+"\n{}\n")
	for _, tt := range []struct {
		args string
		code int
		want string // in either output
	}{
		{"policy diff " + now + " " + now, 0, "no difference"},
		{"policy diff " + now + " " + next, 0, "routes[all].scopes"},
		{"policy diff " + now + " " + next, 0, "which these clients may not be granted: web"},
		{"policy diff " + now + " " + next + " -o json", 0, `"added"`},
		{"policy diff " + now + " " + broken, 2, "broken.yaml"},
		{"policy simulate -f " + now + " --file " + records, 0, "24 requests"},
		{"policy simulate -f " + next + " --file " + records, 1, "scope_insufficient"},
		{"policy simulate -f " + next + " --file " + records, 1, "~24"},
		{"policy simulate -f " + next + " --file " + records + " --fail-on admitted", 0, "newly refused"},
		{"policy simulate -f " + next + " --file " + records + " --service other", 0, "no request was recorded"},
		{"policy simulate -f " + next + " --file " + junk, 2, "line 2"},
		{"policy simulate -f " + broken + " --file " + records, 2, "broken.yaml"},
		{"policy simulate -f " + next + " --file " + records + " --live 5s", 2, "give one of"},
		{"policy simulate -f " + next + " --fail-on all", 2, "want any"},
		{"policy simulate --file " + records, 2, "no file was named"},
	} {
		var out bytes.Buffer
		code := Main(t.Context(), Config{Args: strings.Fields(tt.args), Stdin: &bytes.Buffer{}, Stdout: &out, Stderr: &out, Environ: []string{"HOME=" + dir}})
		if code != tt.code || !strings.Contains(out.String(), tt.want) {
			t.Errorf("%s: exit %d\n%s\nwant exit %d and %q", strings.ReplaceAll(tt.args, dir, ""), code, out.String(), tt.code, tt.want)
		}
	}
}
