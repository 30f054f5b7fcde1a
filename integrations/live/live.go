// Package live starts the product for the tests of the integrations: mintmark serve on
// loopback with a service in two releases, and clients with as few rights as a
// pipeline needs.
//
// The binary is built from this tree, or named by MINTMARK_TEST_BINARY. Each plane
// belongs to one test and ends with it.
package live

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/loopback"
)

// Plane is a running product.
type Plane struct {
	// Admin is the address of the admin API, TokenURL the authority's token endpoint.
	Admin, TokenURL string
	// Resource is the audience of the admin API.
	Resource string
	// Operator may do everything.
	Operator *api.Client
	// Binary is the product.
	Binary string

	t testing.TB
}

// resources are a service, shop, in two releases.
const resources = `apiVersion: mintmark/v1
kind: Policy
name: shop
audience: [https://shop.example]
scopes: [orders.read]
access: 5m
---
apiVersion: mintmark/v1
kind: Release
name: shop/v1
policy: shop
upstreams: [{url: "http://127.0.0.1:1"}]
---
apiVersion: mintmark/v1
kind: Release
name: shop/v2
policy: shop
upstreams: [{url: "http://127.0.0.1:1"}]
---
apiVersion: mintmark/v1
kind: Service
name: shop
hosts: [shop.example]
audience: [https://shop.example]
release: v1
routes: [{name: all, path: /*, scopes: [orders.read]}]
`

// Start starts a plane.
func Start(t testing.TB) *Plane {
	t.Helper()
	dir := t.TempDir()
	p := &Plane{t: t, Binary: os.Getenv("MINTMARK_TEST_BINARY")}
	if p.Binary == "" {
		p.Binary = filepath.Join(dir, "mintmark")
		p.Build(p.Binary, "../..", "./cmd/mintmark", "CGO_ENABLED=0") // as it is released
	}
	ports, err := loopback.Reserve(5)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(ports.Close)
	at := func(i int) string { return fmt.Sprintf("127.0.0.1:%d", ports.Numbers[i]) }
	p.Admin, p.TokenURL = "http://"+at(2), "http://"+at(0)+"/token"
	file := filepath.Join(dir, "mintmark.yaml")
	text := fmt.Sprintf(`data: %s
issuer: http://%s
listen:
  authority: {address: "%s"}
  gateway: {address: "%s"}
  admin: {address: "%s"}
  metrics: {address: "%s"}
  decide: {address: "%s"}
  bus: {address: "-"}
egress: {allow: [127.0.0.0/8]}
`, filepath.Join(dir, "data"), at(0), at(0), at(1), at(2), at(3), at(4))
	shop := filepath.Join(dir, "shop.yaml")
	for name, content := range map[string]string{file: text, shop: resources} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.Command(p.Binary, "init", "--config", file).CombinedOutput(); err != nil {
		t.Fatalf("mintmark init: %v\n%s", err, out)
	}
	p.serve(file, "http://"+at(3)+"/readyz")
	p.login(filepath.Join(dir, "data", "operator.json"))
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if _, err := p.Operator.Apply(ctx, api.ApplyRequest{Files: []api.File{{Name: "shop.yaml", Text: resources}}, Wait: true, Timeout: "30s"}); err != nil {
		t.Fatalf("apply: %v", err)
	}
	return p
}

// Build builds a program; the folder is relative to this package's. Without further
// environment, what was compiled for the test is not compiled again.
func (p *Plane) Build(binary, folder, pkg string, env ...string) {
	p.t.Helper()
	_, here, _, _ := runtime.Caller(0)
	build := exec.Command("go", "build", "-o", binary, pkg)
	build.Dir = filepath.Join(filepath.Dir(here), folder)
	build.Env = append(os.Environ(), env...)
	if out, err := build.CombinedOutput(); err != nil {
		p.t.Fatalf("build %s: %v\n%s", pkg, err, out)
	}
}

// serve runs the product until the test ends.
func (p *Plane) serve(file, ready string) {
	p.t.Helper()
	var said strings.Builder
	cmd := exec.Command(p.Binary, "serve", "--config", file)
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	p.t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt) // it may have ended
		select {
		case <-ended:
		case <-time.After(time.Minute):
			_ = cmd.Process.Kill()
			<-ended
		}
		if p.t.Failed() {
			p.t.Logf("mintmark serve said:\n%s", said.String())
		}
	})
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		if res, err := http.Get(ready); err == nil {
			res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return
			}
		}
		select {
		case err := <-ended:
			ended <- err
			p.t.Fatalf("mintmark serve ended: %v", err)
		default:
		}
		if time.Now().After(deadline) {
			p.t.Fatal("mintmark serve is not ready after a minute")
		}
	}
}

func (p *Plane) login(file string) {
	p.t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		p.t.Fatal(err)
	}
	var c struct {
		TokenURL string `json:"token_url"`
		ID       string `json:"client_id"`
		Secret   string `json:"client_secret"`
		Scope    string `json:"scope"`
		Resource string `json:"resource"`
	}
	if err := json.Unmarshal(b, &c); err != nil {
		p.t.Fatal(err)
	}
	p.TokenURL, p.Resource = c.TokenURL, c.Resource
	p.Operator = p.Client(p.Token(c.ID, c.Secret, c.Scope))
}

// Client speaks to the admin API with a token.
func (p *Plane) Client(token string) *api.Client {
	p.t.Helper()
	c, err := api.NewClient(api.Config{Server: p.Admin, Token: mintmark.NewSecret(token), HTTP: &http.Client{Timeout: 70 * time.Second}})
	if err != nil {
		p.t.Fatal(err)
	}
	return c
}

// Account makes a client that may ask for one scope of the admin API, such as
// admin:gate, and returns its id and secret.
func (p *Plane) Account(id, scope string) (string, string) {
	p.t.Helper()
	a, err := p.Operator.CreateClient(context.Background(), api.OAuthClient{
		ID: mintmark.ClientID(id), Auth: "client_secret_basic", Grants: []string{"client_credentials"}, Scopes: []string{scope}, Audience: []string{p.Resource},
	})
	if err != nil {
		p.t.Fatal(err)
	}
	return id, a.Secret
}

// Token asks for a short-lived token (RFC 6749 §4.4).
func (p *Plane) Token(id, secret, scope string) string {
	p.t.Helper()
	form := url.Values{"grant_type": {"client_credentials"}, "scope": {scope}, "resource": {p.Resource}}
	r, err := http.NewRequest(http.MethodPost, p.TokenURL, strings.NewReader(form.Encode()))
	if err != nil {
		p.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth(url.QueryEscape(id), url.QueryEscape(secret))
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		p.t.Fatal(err)
	}
	defer res.Body.Close()
	var a struct {
		Token string `json:"access_token"`
		Error string `json:"error_description"`
	}
	if err := json.NewDecoder(res.Body).Decode(&a); err != nil || a.Token == "" {
		p.t.Fatalf("token for %s: %s %s, %v", id, res.Status, a.Error, err)
	}
	return a.Token
}

// Begin starts a canary of shop at 5% and returns it.
func (p *Plane) Begin() api.Rollout {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	a, err := p.Operator.StartRollout(ctx, api.RolloutRequest{Service: "shop", Candidate: "v2", Strategy: "canary", Weight: "5", Wait: true, Timeout: "30s"})
	if err != nil {
		p.t.Fatal(err)
	}
	return a.Rollout
}

// Step does something to shop's rollout.
func (p *Plane) Step(verb string) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if _, err := p.Operator.StepRollout(ctx, "shop", verb, api.StepRequest{Reason: "test", Wait: true, Timeout: "30s"}); err != nil {
		p.t.Fatalf("%s: %v", verb, err)
	}
}
