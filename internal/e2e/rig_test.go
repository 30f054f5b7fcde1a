package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/demo"
	"github.com/mintmark/mintmark/internal/loopback"
)

// rig is a control process and gateways that reach its bus through proxies which
// the test can cut. Resources are the test's own.
type rig struct {
	t       testing.TB
	dir     string
	control *demo.Process
	gates   []*gate
	issuer  string
	admin   string
	bus     string // control's own bus address
	v1, v2  string // upstreams that echo what the gateway told them
	http    *http.Client
	lease   time.Duration
	secrets map[string]string // of confidential clients
	// enrolled are the users that have a password.
	enrolled map[string]bool

	mu       sync.Mutex
	client   *api.Client // guarded by mu
	renewAt  time.Time   // guarded by mu
	operator struct {
		TokenURL string `json:"token_url"`
		ClientID string `json:"client_id"`
		Secret   string `json:"client_secret"`
		Scope    string `json:"scope"`
		Resource string `json:"resource"`
	}
}

// gate is one gateway process and the wire to control that it has.
type gate struct {
	*demo.Process
	id   mintmark.GatewayID
	url  string
	data string
	wire *wire
}

// rigConfig says what to build.
type rigConfig struct {
	gateways int
	lease    time.Duration // 0 is 10 s, so that a slow machine fences nobody
	// controlDir is where control's data lies; empty is a folder of the rig.
	controlDir string
	// resources are the files to apply; empty is plain.
	resources string
}

// newRig starts everything; the test's end stops it. A failed test keeps the logs
// in its output.
func newRig(t testing.TB, cfg rigConfig) *rig {
	t.Helper()
	if cfg.lease == 0 {
		cfg.lease = 10 * time.Second
	}
	dir := t.TempDir()
	if cfg.controlDir == "" {
		cfg.controlDir = filepath.Join(dir, "control")
	}
	ports := freePorts(t, 4+2*cfg.gateways)
	r := &rig{
		t: t, dir: dir, lease: cfg.lease, enrolled: map[string]bool{},
		issuer: fmt.Sprintf("http://127.0.0.1:%d", ports[0]),
		admin:  fmt.Sprintf("http://127.0.0.1:%d", ports[1]),
		bus:    fmt.Sprintf("127.0.0.1:%d", ports[3]),
		http: &http.Client{
			Transport:     &http.Transport{MaxIdleConns: 256, MaxIdleConnsPerHost: 128},
			Timeout:       20 * time.Second,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
	t.Cleanup(r.http.CloseIdleConnections)
	r.v1, r.v2 = echo(t, "v1"), echo(t, "v2")
	// The first gateway's wire is where all are told to go; the others have their
	// own through gateway.bus.
	var wires []*wire
	for range cfg.gateways {
		wires = append(wires, newWire(t, r.bus))
	}
	file := filepath.Join(dir, "control.yaml")
	r.write(file, fmt.Sprintf(`data: %s
issuer: %s
listen:
  gateway: {address: "-"}
  authority: {address: "127.0.0.1:%d"}
  admin: {address: "127.0.0.1:%d"}
  metrics: {address: "127.0.0.1:%d"}
  bus: {address: "%s", advertise: "localhost:%s"}
control: {lease: %s}
egress: {allow: [127.0.0.0/8]}
`, cfg.controlDir, r.issuer, ports[0], ports[1], ports[2], r.bus, wires[0].port(), cfg.lease))
	r.control = r.process("control", fmt.Sprintf("http://127.0.0.1:%d/readyz", ports[2]), "control", "--config", file)
	r.run("init", "--config", file)
	b, err := os.ReadFile(filepath.Join(cfg.controlDir, "operator.json"))
	if err == nil {
		err = json.Unmarshal(b, &r.operator)
	}
	if err != nil {
		t.Fatalf("first operator's credential: %v", err)
	}
	r.start(r.control)
	text := cfg.resources
	if text == "" {
		text = plain
	}
	r.secrets = r.apply(text)
	for i := range cfg.gateways {
		id := fmt.Sprintf("gw-%c", 'a'+i)
		g := &gate{id: mintmark.GatewayID(id), url: fmt.Sprintf("http://127.0.0.1:%d", ports[4+2*i]), data: filepath.Join(dir, id), wire: wires[i]}
		own := ""
		if i > 0 {
			own = "\n  bus: 127.0.0.1:" + g.wire.port()
		}
		file := filepath.Join(dir, id+".yaml")
		r.write(file, fmt.Sprintf(`data: %s
listen:
  gateway: {address: "127.0.0.1:%d"}
  metrics: {address: "127.0.0.1:%d"}
  authority: {address: "-"}
  admin: {address: "-"}
gateway:
  name: %s
  control: %s
  join: {file: %s}%s
`, g.data, ports[4+2*i], ports[5+2*i], id, r.admin, filepath.Join(dir, id+".join"), own))
		g.Process = r.process(id, fmt.Sprintf("http://127.0.0.1:%d/readyz", ports[5+2*i]), "gateway", "--config", file)
		r.gates = append(r.gates, g)
		r.join(g)
		r.start(g.Process)
	}
	t.Cleanup(func() {
		if t.Failed() {
			for _, p := range r.processes() {
				t.Logf("%s said last:\n%s", p.Name, p.Tail(3000))
			}
		}
	})
	return r
}

func (r *rig) processes() []*demo.Process {
	all := []*demo.Process{r.control}
	for _, g := range r.gates {
		all = append(all, g.Process)
	}
	return all
}

func (r *rig) process(name, ready string, args ...string) *demo.Process {
	p := &demo.Process{Name: name, Args: args, Ready: ready, Binary: binary, Log: filepath.Join(r.dir, name+".log")}
	r.t.Cleanup(p.Kill)
	return p
}

func (r *rig) start(p *demo.Process) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), 30*time.Second)
	defer cancel()
	if err := p.Start(ctx); err != nil {
		r.t.Fatal(err)
	}
}

// join hands a gateway a one-time token.
func (r *rig) join(g *gate) {
	r.t.Helper()
	jt, err := r.api().JoinToken(r.t.Context(), api.JoinTokenRequest{Gateway: g.id})
	if err != nil {
		r.t.Fatal(err)
	}
	r.write(filepath.Join(r.dir, string(g.id)+".join"), jt.Value+"\n")
}

// apply applies resources at every gateway and returns the secrets made.
func (r *rig) apply(text string) map[string]string {
	r.t.Helper()
	text = strings.NewReplacer("$V1", r.v1, "$V2", r.v2).Replace(text)
	a, err := r.api().Apply(r.t.Context(), api.ApplyRequest{
		Files: []api.File{{Name: "rig.yaml", Text: text}}, Reason: "the test's world", Wait: true, Timeout: "20s",
	})
	if err != nil {
		r.t.Fatalf("apply: %v", err)
	}
	return a.Secrets
}

// api returns a client of the admin API with a live token.
func (r *rig) api() *api.Client {
	r.t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.client != nil && time.Now().Before(r.renewAt) {
		return r.client
	}
	op := r.operator
	tok, err := r.ask(nil, map[string]string{"grant_type": "client_credentials", "scope": op.Scope, "resource": op.Resource}, op.ClientID, op.Secret)
	if err != nil {
		r.t.Fatalf("operator's token: %v", err)
	}
	c, err := api.NewClient(api.Config{Server: r.admin, Token: mintmark.NewSecret(tok.Access), HTTP: r.patient(), Agent: "e2e"})
	if err != nil {
		r.t.Fatal(err)
	}
	r.client, r.renewAt = c, time.Now().Add(time.Duration(tok.Expires)*time.Second/2)
	return c
}

// reconnect waits until the operator gets a token again, after everybody's was
// taken back.
func (r *rig) reconnect() {
	r.t.Helper()
	r.mu.Lock()
	r.client = nil
	r.mu.Unlock()
	op := r.operator
	r.eventually(10*time.Second, "the operator gets a token", func() (bool, string) {
		_, err := r.ask(nil, map[string]string{"grant_type": "client_credentials", "scope": op.Scope, "resource": op.Resource}, op.ClientID, op.Secret)
		return err == nil, fmt.Sprint(err)
	})
}

func (r *rig) patient() *http.Client {
	return &http.Client{Transport: r.http.Transport, Timeout: 90 * time.Second}
}

// cli runs a command of the product as the operator and returns its exit code and
// standard output.
func (r *rig) cli(args ...string) (int, string) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), 90*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Env = append(os.Environ(), "MINTMARK_CONFIG="+filepath.Join(r.dir, "control.yaml"), "MINTMARK_OUTPUT=json", "HOME="+r.dir)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		r.t.Fatalf("mintmark %s: %v", strings.Join(args, " "), err)
	}
	if errs.Len() > 0 {
		r.t.Logf("mintmark %s: %s", strings.Join(args, " "), errs.String())
	}
	return cmd.ProcessState.ExitCode(), out.String()
}

// run runs a command that must succeed.
func (r *rig) run(args ...string) {
	r.t.Helper()
	if out, err := exec.CommandContext(r.t.Context(), binary, args...).CombinedOutput(); err != nil {
		r.t.Fatalf("mintmark %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// verify stops everything and re-proves the ledger.
func (r *rig) verify() {
	r.t.Helper()
	for _, g := range r.gates {
		g.Stop()
	}
	r.control.Stop()
	r.run("verify", "--config", filepath.Join(r.dir, "control.yaml"))
}

func (r *rig) write(name, text string) {
	r.t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

// revoke takes tokens back and waits; it must be effective everywhere.
func (r *rig) revoke(selector string) *mintmark.Receipt {
	r.t.Helper()
	a, err := r.api().Revoke(r.t.Context(), api.RevokeRequest{Selector: selector, Reason: "test", Wait: true, Timeout: "20s", Confirm: confirm(selector)})
	if err != nil {
		r.t.Fatalf("revoke %s: %v", selector, err)
	}
	if a.Receipt == nil || a.Receipt.Outcome != mintmark.OutcomeEffective {
		r.t.Fatalf("revoke %s: %+v", selector, a.Receipt)
	}
	return a.Receipt
}

// answer is what a gateway answered.
type answer struct {
	status int
	code   string // of problem details
	retry  string
	told   told
	began  time.Time
	done   time.Time
}

func (a answer) String() string { return fmt.Sprintf("%d %s", a.status, a.code) }

// told is what the upstream was told.
type told struct {
	Release string
	Header  http.Header
}

// present presents a credential at a gateway. An error of transport is status 0.
func (r *rig) present(g *gate, path string, c *credential) answer {
	a := answer{began: time.Now()}
	req, err := http.NewRequestWithContext(r.t.Context(), http.MethodGet, g.url+path, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	c.put(req)
	res, err := r.http.Do(req)
	if err != nil {
		a.code, a.done = err.Error(), time.Now()
		return a
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	a.done, a.status, a.retry = time.Now(), res.StatusCode, res.Header.Get("Retry-After")
	if res.StatusCode == http.StatusOK {
		_ = json.Unmarshal(body, &a.told)
		return a
	}
	var p struct {
		Code string `json:"code"`
	}
	_ = json.Unmarshal(body, &p)
	a.code = p.Code
	return a
}

// eventually polls until what holds, or fails the test.
func (r *rig) eventually(patience time.Duration, what string, holds func() (bool, string)) {
	r.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		ok, note := holds()
		if ok {
			return
		}
		if time.Now().After(deadline) {
			r.t.Fatalf("%s: not within %s: %s", what, patience, note)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// admits waits until a gateway answers 200.
func (r *rig) admits(g *gate, path string, c *credential) {
	r.t.Helper()
	r.eventually(15*time.Second, fmt.Sprintf("%s admits at %s", g.id, path), func() (bool, string) {
		a := r.present(g, path, c)
		return a.status == http.StatusOK, a.String()
	})
}

// echo is an upstream that answers with what it was told.
func echo(t testing.TB, release string) string {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		heard := http.Header{}
		for name, v := range r.Header {
			if strings.HasPrefix(name, "Mintmark-") {
				heard[name] = v
			}
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(told{Release: release, Header: heard})
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// freePorts sets loopback ports aside for the length of the test.
func freePorts(t testing.TB, n int) []int {
	t.Helper()
	p, err := loopback.Reserve(n)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p.Numbers
}
