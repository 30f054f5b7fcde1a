package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/demo"
	"github.com/mintmark/mintmark/internal/loopback"
)

// Names that every world shares.
const (
	audience = "https://orders.example"
	redirect = "http://127.0.0.1/callback"
	user     = "alice"
	password = "correct horse battery staple"
)

// world is one `mintmark serve` on loopback, a service behind its gateway, and the
// first operator's hand on its admin API.
type world struct {
	t        *testing.T
	dir      string
	issuer   string // authority
	gateway  string // base URL
	decide   string // base URL of the decision endpoint
	adminURL string
	metrics  string
	bus      string // host:port, "" when off
	serve    *demo.Process
	upstream *upstream
	admin    *api.Client
	secrets  map[string]string // of clients that were applied
	client   *http.Client      // trusts the world's certificates
	pki      *pki              // nil without TLS
}

// option changes a world before it starts.
type option struct {
	tls       bool   // authority and gateway speak TLS and ask for client certificates
	bus       bool   // listen for gateways of their own
	config    string // further lines of mintmark.yaml
	resources string // further documents, put behind the common ones
	// instead replaces the common service; it is given the upstream's URL.
	instead func(upstream string) string
}

// newWorld starts a world and stops it with the test.
func newWorld(t *testing.T, o option) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), secrets: map[string]string{}, client: &http.Client{Timeout: 15 * time.Second, Transport: &http.Transport{}}}
	t.Cleanup(w.client.CloseIdleConnections)
	w.upstream = newUpstream(t)
	ports := freePorts(t, 6)
	at := func(i int) string { return fmt.Sprintf("127.0.0.1:%d", ports[i]) }
	scheme, tlsLines := "http", ""
	if o.tls {
		scheme = "https"
		w.pki = newPKI(t, w.dir)
		w.client.Transport = &http.Transport{TLSClientConfig: w.pki.client(nil)}
		tlsLines = fmt.Sprintf(", tls: {cert: %s, key: %s, client_ca: %s, self_signed: true}", w.pki.certFile, w.pki.keyFile, w.pki.caFile)
	}
	w.issuer, w.gateway = scheme+"://"+at(0), scheme+"://"+at(1)
	w.adminURL, w.metrics, w.decide = "http://"+at(2), "http://"+at(3), "http://"+at(4)
	bus := "-"
	if o.bus {
		bus, w.bus = at(5), at(5)
	}
	file := filepath.Join(w.dir, "mintmark.yaml")
	write(t, file, fmt.Sprintf(`data: %s
issuer: %s
listen:
  authority: {address: "%s"%s}
  gateway: {address: "%s"%s}
  admin: {address: "%s"}
  metrics: {address: "%s"}
  decide: {address: "%s"}
  bus: {address: "%s"}
egress: {allow: [127.0.0.0/8]}
%s`, filepath.Join(w.dir, "data"), w.issuer, at(0), tlsLines, at(1), tlsLines, at(2), at(3), at(4), bus, o.config))
	w.run("init", "--config", file)
	w.serve = &demo.Process{
		Name: "serve", Args: []string{"serve", "--config", file}, Ready: w.metrics + "/readyz",
		Binary: binary, Log: filepath.Join(w.dir, "serve.log"),
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := w.serve.Start(ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		w.serve.Stop()
		if t.Failed() {
			t.Logf("serve said:\n%s", w.serve.Tail(6000))
		}
	})
	w.admin = w.operator()
	common := o.instead
	if common == nil {
		common = shop
	}
	w.apply(common(w.upstream.URL) + o.resources)
	if _, err := w.admin.PutUser(ctx, api.UserRequest{User: api.User{Name: user}, Password: password}); err != nil {
		t.Fatal(err)
	}
	return w
}

// shop is the service that most tests call, with a web application and a machine.
func shop(upstream string) string {
	return fmt.Sprintf(`apiVersion: mintmark/v1
kind: Policy
name: orders
audience: [%[1]s]
scopes: [orders.read, orders.write]
default_scopes: [orders.read]
access: 5m
grace: 30s
---
apiVersion: mintmark/v1
kind: Release
name: orders/v1
policy: orders
upstreams: [{url: "%[2]s"}]
---
apiVersion: mintmark/v1
kind: Service
name: orders
audience: [%[1]s]
routes:
- {name: read, path: "/orders/*", scopes: [orders.read]}
---
apiVersion: mintmark/v1
kind: Client
name: web
first_party: true
redirect_uris: ["%[3]s"]
scopes: [openid, profile, offline_access, orders.read]
---
apiVersion: mintmark/v1
kind: Client
name: machine
auth: client_secret_basic
grants: [client_credentials, token_exchange]
scopes: [orders.read, orders.write]
`, audience, upstream, redirect)
}

// operatorToken signs the first operator in, by client credentials like any client.
func (w *world) operatorToken(header ...string) tokens {
	w.t.Helper()
	b, err := os.ReadFile(filepath.Join(w.dir, "data", "operator.json"))
	if err != nil {
		w.t.Fatal(err)
	}
	var c struct {
		ClientID string `json:"client_id"`
		Secret   string `json:"client_secret"`
		Scope    string `json:"scope"`
		Resource string `json:"resource"`
	}
	if err := json.Unmarshal(b, &c); err != nil {
		w.t.Fatal(err)
	}
	ans := w.token(w.client, url.Values{"grant_type": {"client_credentials"}, "scope": {c.Scope}, "resource": {c.Resource}}, c.ClientID, c.Secret, header...)
	if ans.Access == "" {
		w.t.Fatalf("the operator got no token: %s %s", ans.Error, ans.Description)
	}
	return ans
}

// operator is the first operator's hand on the admin API.
func (w *world) operator() *api.Client {
	w.t.Helper()
	ans := w.operatorToken()
	a, err := api.NewClient(api.Config{Server: w.adminURL, Token: mintmark.NewSecret(ans.Access), HTTP: &http.Client{Timeout: 60 * time.Second}})
	if err != nil {
		w.t.Fatal(err)
	}
	return a
}

// apply applies resources and waits until every gateway has them.
func (w *world) apply(text string) {
	w.t.Helper()
	a, err := w.admin.Apply(w.t.Context(), api.ApplyRequest{Files: []api.File{{Name: "world.yaml", Text: text}}, Reason: "test", Wait: true, Timeout: "30s"})
	if err != nil {
		w.t.Fatalf("apply: %v\n%s", err, text)
	}
	for id, s := range a.Secrets {
		w.secrets[id] = s
	}
}

// revoke revokes and waits until every gateway has it.
func (w *world) revoke(selector string) {
	w.t.Helper()
	r := api.RevokeRequest{Selector: selector, Reason: "test", Wait: true, Timeout: "20s"}
	a, err := w.admin.Revoke(w.t.Context(), r)
	if err != nil {
		w.t.Fatalf("revoke %s: %v", selector, err)
	}
	if a.Receipt == nil || a.Receipt.Outcome != mintmark.OutcomeEffective {
		w.t.Fatalf("revoke %s: receipt %+v", selector, a.Receipt)
	}
}

// run runs a command of the product to its end.
func (w *world) run(args ...string) string {
	w.t.Helper()
	out, err := exec.CommandContext(w.t.Context(), binary, args...).CombinedOutput()
	if err != nil {
		w.t.Fatalf("mintmark %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// tokens is what the token endpoint answered: tokens or an error.
type tokens struct {
	status      int
	header      http.Header
	Access      string `json:"access_token"`
	Type        string `json:"token_type"`
	Refresh     string `json:"refresh_token"`
	ID          string `json:"id_token"`
	Scope       string `json:"scope"`
	IssuedType  string `json:"issued_token_type"`
	Error       string `json:"error"`
	Description string `json:"error_description"`
}

// token asks the token endpoint; a secret is sent as Basic credentials, a client
// without one as client_id.
func (w *world) token(client *http.Client, form url.Values, id, secret string, header ...string) tokens {
	w.t.Helper()
	var out tokens
	out.status, out.header = w.post(client, "/token", form, id, secret, &out, header...)
	return out
}

// post sends a form to an endpoint of the authority and decodes the JSON answer.
func (w *world) post(client *http.Client, path string, form url.Values, id, secret string, into any, header ...string) (int, http.Header) {
	w.t.Helper()
	form = cloneForm(form)
	if id != "" && secret == "" {
		form.Set("client_id", id)
	}
	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodPost, w.issuer+path, strings.NewReader(form.Encode()))
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if secret != "" {
		req.SetBasicAuth(url.QueryEscape(id), url.QueryEscape(secret))
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := client.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	if into != nil && len(b) > 0 {
		if err := json.Unmarshal(b, into); err != nil {
			w.t.Fatalf("%s answered %d: %s", path, res.StatusCode, b)
		}
	}
	return res.StatusCode, res.Header
}

func cloneForm(in url.Values) url.Values {
	out := url.Values{}
	for k, v := range in {
		out[k] = append([]string(nil), v...)
	}
	return out
}

// machine obtains an access token of the common machine client.
func (w *world) machine() string {
	w.t.Helper()
	a := w.token(w.client, url.Values{"grant_type": {"client_credentials"}, "resource": {audience}}, "machine", w.secrets["machine"])
	if a.Access == "" {
		w.t.Fatalf("the machine got no token: %d %s %s", a.status, a.Error, a.Description)
	}
	return a.Access
}

// answer is what somebody answered a call.
type answer struct {
	status int
	header http.Header
	body   string
}

// code is the stable code of a refusal's problem document.
func (a answer) code() string {
	var p struct {
		Code string `json:"code"`
	}
	_ = json.Unmarshal([]byte(a.body), &p)
	return p.Code
}

// get calls a URL with headers given in pairs.
func (w *world) get(client *http.Client, target string, header ...string) answer {
	w.t.Helper()
	return w.do(client, http.MethodGet, target, header...)
}

func (w *world) do(client *http.Client, method, target string, header ...string) answer {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), method, target, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := client.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return answer{res.StatusCode, res.Header, string(b)}
}

// call calls the service through the gateway with a bearer token.
func (w *world) call(token string) answer {
	w.t.Helper()
	return w.get(w.client, w.gateway+"/orders/1", "Authorization", "Bearer "+token)
}

// want fails the test unless a call was answered with a status, and with a code
// when one is given.
func (w *world) want(what string, a answer, status int, code string) {
	w.t.Helper()
	if a.status != status || code != "" && a.code() != code {
		w.t.Fatalf("%s: got %d %s, want %d %s\n%s", what, a.status, a.code(), status, code, a.body)
	}
}

// upstream is a service behind the gateway that answers with what it was sent.
type upstream struct{ *httptest.Server }

func newUpstream(t *testing.T) *upstream {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{"method": r.Method, "path": r.URL.Path, "header": r.Header})
	}))
	t.Cleanup(s.Close)
	return &upstream{s}
}

// seen is what the echoing service was sent.
func seen(t *testing.T, a answer) http.Header {
	t.Helper()
	var m struct {
		Header http.Header `json:"header"`
	}
	if err := json.Unmarshal([]byte(a.body), &m); err != nil {
		t.Fatalf("the service's answer is none: %v: %s", err, a.body)
	}
	return m.Header
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// freePorts sets loopback ports aside for the length of the test.
func freePorts(t *testing.T, n int) []int {
	t.Helper()
	p, err := loopback.Reserve(n)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p.Numbers
}

// eventually waits until a condition holds.
func eventually(t *testing.T, what string, within time.Duration, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(within)
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", within, what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// restart stops the process and starts it again on the same data.
func (w *world) restart() {
	w.t.Helper()
	w.serve.Stop()
	ctx, cancel := context.WithTimeout(w.t.Context(), 30*time.Second)
	defer cancel()
	if err := w.serve.Start(ctx); err != nil {
		w.t.Fatal(err)
	}
}

// join starts a gateway in a process of its own and returns its base URL.
func (w *world) join(name string) string {
	w.t.Helper()
	jt, err := w.admin.JoinToken(w.t.Context(), api.JoinTokenRequest{Gateway: mintmark.GatewayID(name)})
	if err != nil {
		w.t.Fatal(err)
	}
	ports := freePorts(w.t, 2)
	write(w.t, filepath.Join(w.dir, name+".join"), jt.Value+"\n")
	file := filepath.Join(w.dir, name+".yaml")
	write(w.t, file, fmt.Sprintf(`data: %s
listen:
  gateway: {address: "127.0.0.1:%d"}
  metrics: {address: "127.0.0.1:%d"}
  authority: {address: "-"}
  admin: {address: "-"}
gateway: {name: %s, control: "%s", join: {file: %s}}
`, filepath.Join(w.dir, name), ports[0], ports[1], name, w.adminURL, filepath.Join(w.dir, name+".join")))
	p := &demo.Process{
		Name: name, Args: []string{"gateway", "--config", file}, Ready: fmt.Sprintf("http://127.0.0.1:%d/readyz", ports[1]),
		Binary: binary, Log: filepath.Join(w.dir, name+".log"),
	}
	ctx, cancel := context.WithTimeout(w.t.Context(), 30*time.Second)
	defer cancel()
	if err := p.Start(ctx); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		p.Stop()
		if w.t.Failed() {
			w.t.Logf("%s said:\n%s", name, p.Tail(3000))
		}
	})
	return fmt.Sprintf("http://127.0.0.1:%d", ports[0])
}

// replaceOnce replaces text that must be there.
func replaceOnce(s, old, instead string) string {
	if !strings.Contains(s, old) {
		panic("the text to replace is gone: " + old)
	}
	return strings.Replace(s, old, instead, 1)
}

// decode reads JSON that must be whole.
func decode(t *testing.T, text string, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), into); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
}
