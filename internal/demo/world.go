package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/loopback"
)

// WorldConfig says what to build.
type WorldConfig struct {
	Dir      string // private directory for everything; must exist
	Binary   string // the product
	Gateways int
	People   int
	Machines int
	APIKeys  int
	Pause    time.Duration // between a client's requests
	Seed     uint64
	// Say tells a person what happens: a line of prose, and the command that a
	// person would have typed for it, "" when there is none.
	Say func(what, command string)
}

// World is the cast of the demo: a control process, gateways, the sample service
// in two releases, and the crowd. Build it with NewWorld, then Start; Run owns the
// sample service and the crowd.
type World struct {
	cfg       WorldConfig
	Control   *Process
	Gateways  []*Process
	Stable    *Orders
	Candidate *Orders
	Crowd     *Crowd

	ports         *loopback.Ports
	issuer, admin string
	entries       []string // gateways' base URLs
	wg            sync.WaitGroup

	mu       sync.Mutex
	client   *api.Client // guarded by mu
	renewAt  time.Time   // guarded by mu
	operator operator    // guarded by mu
}

// operator is the first operator's credential as init writes it.
type operator struct {
	TokenURL string `json:"token_url"`
	ClientID string `json:"client_id"`
	Secret   string `json:"client_secret"`
	Scope    string `json:"scope"`
	Resource string `json:"resource"`
}

const (
	service  = "orders"
	audience = "https://orders.example"
	portal   = "portal"
	redirect = "http://127.0.0.1/callback"

	// The service's releases.
	stableName = "v1"
	candidate  = "v2"
)

// NewWorld lays out directories, ports and configuration files. Nothing runs yet.
func NewWorld(cfg WorldConfig) (*World, error) {
	if cfg.Say == nil {
		cfg.Say = func(string, string) {}
	}
	reserved, err := loopback.Reserve(4 + 2*cfg.Gateways)
	if err != nil {
		return nil, err
	}
	ports := reserved.Numbers
	w := &World{
		cfg:    cfg,
		ports:  reserved,
		issuer: fmt.Sprintf("http://127.0.0.1:%d", ports[0]),
		admin:  fmt.Sprintf("http://127.0.0.1:%d", ports[1]),
	}
	file := filepath.Join(cfg.Dir, "control.yaml")
	if err := writeFile(file, fmt.Sprintf(`data: %s
issuer: %s
listen:
  gateway: {address: "-"}
  authority: {address: "127.0.0.1:%d"}
  admin: {address: "127.0.0.1:%d"}
  metrics: {address: "127.0.0.1:%d"}
  bus: {address: "127.0.0.1:%d"}
egress: {allow: [127.0.0.0/8]}
`, filepath.Join(cfg.Dir, "control"), w.issuer, ports[0], ports[1], ports[2], ports[3])); err != nil {
		return nil, err
	}
	w.Control = w.process("control", fmt.Sprintf("http://127.0.0.1:%d/readyz", ports[2]), "control", "--config", file)
	for i := range cfg.Gateways {
		name := fmt.Sprintf("gw-%c", 'a'+i)
		traffic, metrics := ports[4+2*i], ports[5+2*i]
		file := filepath.Join(cfg.Dir, name+".yaml")
		if err := writeFile(file, fmt.Sprintf(`data: %s
listen:
  gateway: {address: "127.0.0.1:%d"}
  metrics: {address: "127.0.0.1:%d"}
  authority: {address: "-"}
  admin: {address: "-"}
gateway:
  name: %s
  control: %s
  join: {file: %s}
`, filepath.Join(cfg.Dir, name), traffic, metrics, name, w.admin, filepath.Join(cfg.Dir, name+".join"))); err != nil {
			return nil, err
		}
		w.entries = append(w.entries, fmt.Sprintf("http://127.0.0.1:%d", traffic))
		w.Gateways = append(w.Gateways, w.process(name, fmt.Sprintf("http://127.0.0.1:%d/readyz", metrics), "gateway", "--config", file))
	}
	if w.Stable, err = NewOrders(stableName); err != nil {
		return nil, err
	}
	w.Candidate, err = NewOrders(candidate)
	return w, err
}

func (w *World) process(name, ready string, args ...string) *Process {
	return &Process{Name: name, Args: args, Ready: ready, Binary: w.cfg.Binary, Log: filepath.Join(w.cfg.Dir, name+".log")}
}

// ControlConfig is the path of control's configuration file.
func (w *World) ControlConfig() string { return filepath.Join(w.cfg.Dir, "control.yaml") }

// Processes lists control and the gateways.
func (w *World) Processes() []*Process { return append([]*Process{w.Control}, w.Gateways...) }

// Entries are the gateways' base URLs.
func (w *World) Entries() []string { return w.entries }

// Issuer is the authority's issuer identifier.
func (w *World) Issuer() string { return w.issuer }

// Serve runs the sample service until ctx ends. Close waits for it.
func (w *World) Serve(ctx context.Context) {
	w.wg.Go(func() { _ = w.Stable.Run(ctx) })
	w.wg.Go(func() { _ = w.Candidate.Run(ctx) })
}

// Start brings the processes up: control, resources, gateways. ctx bounds the
// starting alone.
func (w *World) Start(ctx context.Context) error {
	begun := time.Now()
	if err := w.init(ctx); err != nil {
		return err
	}
	if err := w.Control.Start(ctx); err != nil {
		return err
	}
	w.cfg.Say(fmt.Sprintf("control plane up in %s: authority %s, admin API %s", time.Since(begun).Round(time.Millisecond), w.issuer, w.admin), "mintmark control --config control.yaml")
	applied, err := w.Apply(ctx, "mint orders/v1 and route to it", healthy)
	if err != nil {
		return err
	}
	crowd, err := w.enroll(ctx, applied.Secrets)
	if err != nil {
		return err
	}
	w.Crowd = NewCrowd(crowd)
	for i, g := range w.Gateways {
		if err := w.join(ctx, i, g); err != nil {
			return err
		}
	}
	w.cfg.Say(fmt.Sprintf("%d gateways joined with one-time tokens", len(w.Gateways)), "mintmark gateway join-token gw-a; mintmark gateway --config gw-a.yaml")
	return nil
}

// RunCrowd lets the crowd act until ctx ends.
func (w *World) RunCrowd(ctx context.Context) { w.wg.Go(func() { _ = w.Crowd.Run(ctx) }) }

// Close stops the processes, gateways first so that they can deliver what they
// hold, and waits for the rest. The context given to Serve and RunCrowd must have
// ended.
func (w *World) Close() {
	w.wg.Wait()
	var wg sync.WaitGroup
	for _, g := range w.Gateways {
		wg.Go(g.Stop)
	}
	wg.Wait()
	w.Control.Stop()
	w.ports.Close()
}

func (w *World) init(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, w.cfg.Binary, "init", "--config", w.ControlConfig())
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("mintmark init: %w\n%s", err, out)
	}
	b, err := os.ReadFile(filepath.Join(w.cfg.Dir, "control", "operator.json"))
	if err != nil {
		return fmt.Errorf("first operator's credential: %w", err)
	}
	return json.Unmarshal(b, &w.operator)
}

// Admin returns a client of the admin API with a fresh operator token, obtained
// by client credentials like any other.
func (w *World) Admin(ctx context.Context) (*api.Client, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.client != nil && time.Now().Before(w.renewAt) {
		return w.client, nil
	}
	op := w.operator
	f := &flows{client: &http.Client{Timeout: 10 * time.Second}, token: op.TokenURL, audience: op.Resource}
	h, err := f.machine(ctx, op.ClientID, op.Secret, op.Scope)
	if err != nil {
		return nil, fmt.Errorf("operator's token: %w", err)
	}
	c, err := api.NewClient(api.Config{Server: w.admin, Token: mintmark.NewSecret(h.access), HTTP: &http.Client{Timeout: 90 * time.Second}, Agent: "mintmark-demo"})
	if err != nil {
		return nil, err
	}
	w.client, w.renewAt = c, time.Now().Add(time.Until(h.expires)/2)
	return c, nil
}

// SignOut forgets the operator's token, after something that ended it.
func (w *World) SignOut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.client = nil
}

// join hands a gateway its one-time token and starts it.
func (w *World) join(ctx context.Context, i int, g *Process) error {
	admin, err := w.Admin(ctx)
	if err != nil {
		return err
	}
	jt, err := admin.JoinToken(ctx, api.JoinTokenRequest{Gateway: mintmark.GatewayID(g.Name)})
	if err != nil {
		return fmt.Errorf("join token for %s: %w", g.Name, err)
	}
	if err := writeFile(filepath.Join(w.cfg.Dir, g.Name+".join"), jt.Value+"\n"); err != nil {
		return err
	}
	return g.Start(ctx)
}

// Apply applies the story's resources as they are now.
func (w *World) Apply(ctx context.Context, reason string, how fault) (*api.ApplyAnswer, error) {
	admin, err := w.Admin(ctx)
	if err != nil {
		return nil, err
	}
	files := []api.File{{Name: "orders.yaml", Text: resources(w.Stable.URL(), w.Candidate.URL(), w.cfg.Machines, w.cfg.People, how)}}
	if err := writeFile(filepath.Join(w.cfg.Dir, files[0].Name), files[0].Text); err != nil {
		return nil, err
	}
	a, err := admin.Apply(ctx, api.ApplyRequest{Files: files, Reason: reason, Wait: true, Timeout: "30s"})
	if err != nil {
		return nil, fmt.Errorf("apply orders.yaml: %w", err)
	}
	w.cfg.Say(reason, "mintmark apply -f orders.yaml")
	return a, nil
}

// enroll gives everybody in the crowd what they need: passwords, secrets, keys.
func (w *World) enroll(ctx context.Context, secrets map[string]string) (CrowdConfig, error) {
	c := CrowdConfig{
		Issuer: w.issuer, Gateways: w.entries, Audience: audience, PublicClient: portal, Redirect: redirect,
		Scope: "orders.read", Pause: w.cfg.Pause, Seed: w.cfg.Seed,
	}
	admin, err := w.Admin(ctx)
	if err != nil {
		return c, err
	}
	for i := range w.cfg.People {
		p := Person{Name: personName(i), Password: nonce()}
		if _, err := admin.PutUser(ctx, api.UserRequest{User: api.User{Name: p.Name}, Password: p.Password}); err != nil {
			return c, fmt.Errorf("enroll %s: %w", p.Name, err)
		}
		c.People = append(c.People, p)
	}
	for i := range w.cfg.Machines {
		id := machineName(i)
		if secrets[id] == "" {
			return c, fmt.Errorf("enroll %s: its secret was not shown when it was made", id)
		}
		c.Machines = append(c.Machines, Machine{ID: id, Secret: secrets[id]})
	}
	for i := range w.cfg.APIKeys {
		k, err := admin.CreateAPIKey(ctx, api.APIKeyRequest{
			Name: fmt.Sprintf("partner-%d", i), Owner: fmt.Sprintf("partner-%d", i), Client: portal,
			Scopes: []string{"orders.read"}, Audience: []string{audience},
		})
		if err != nil {
			return c, fmt.Errorf("enroll partner-%d: %w", i, err)
		}
		c.APIKeys = append(c.APIKeys, k.Value)
	}
	w.cfg.Say(fmt.Sprintf("%d users, %d machine clients and %d API keys enrolled", len(c.People), len(c.Machines), len(c.APIKeys)), "mintmark user add …; mintmark apikey create …")
	return c, nil
}

func personName(i int) string  { return fmt.Sprintf("user-%03d", i) }
func machineName(i int) string { return fmt.Sprintf("machine-%03d", i) }

// resources is the story's world as a person would declare it.
func resources(stableURL, candidateURL string, machines, people int, how fault) string {
	var b strings.Builder
	extra := ""
	switch how {
	case overScoped:
		extra = "forced_scopes: [" + harmScope + "]   # the bug\n"
	case wrongAudience:
		extra = "audience: [" + audience + ", " + harmAudience + "]   # the bug\n"
	case stranded:
		extra = "audience: [" + newAudience + "]   # the bug\n"
	}
	fmt.Fprintf(&b, `apiVersion: mintmark/v1
kind: Policy
name: orders-v1
audience: [%[1]s]
scopes: [orders.read, orders.write]
default_scopes: [orders.read]
access: 20s
refresh: 1h
grace: 10s
---
apiVersion: mintmark/v1
kind: Policy
name: orders-v2
extends: orders-v1
%[4]s---
apiVersion: mintmark/v1
kind: Release
name: orders/v1
policy: orders-v1
upstreams: [{url: "%[2]s"}]
accept: [v2]
---
apiVersion: mintmark/v1
kind: Release
name: orders/v2
policy: orders-v2
upstreams: [{url: "%[3]s"}]
accept: [v1]
---
apiVersion: mintmark/v1
kind: Service
name: %[5]s
audience: [%[1]s, %[8]s]
release: v1
routes:
- {name: read, path: "/orders/*", methods: [GET], scopes: [orders.read]}
---
apiVersion: mintmark/v1
kind: Client
name: %[6]s
title: Orders portal
first_party: true
redirect_uris: ["%[7]s"]
scopes: [orders.read]
`, audience, stableURL, candidateURL, extra, service, portal, redirect, newAudience)
	for i := range machines {
		fmt.Fprintf(&b, "---\napiVersion: mintmark/v1\nkind: Client\nname: %s\nauth: client_secret_basic\ngrants: [client_credentials]\nscopes: [orders.read]\n", machineName(i))
	}
	for i := range people {
		fmt.Fprintf(&b, "---\napiVersion: mintmark/v1\nkind: User\nname: %s\n", personName(i))
	}
	return b.String()
}
