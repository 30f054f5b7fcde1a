package e2e

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/demo"
)

// The vault is a second service of the demo's world, whose tokens live for an hour
// so that only what the test does can end them. Its release v2 mints a scope that
// nobody asked for: its tokens are tainted.
const (
	vaultAudience = "https://vault.example"
	vaultScope    = "vault.read"
	vaultHarm     = "vault.admin"
	vaultWeb      = "vaultweb"
	vaultRedirect = "http://127.0.0.1/vault"
)

// worldOptions say how large a world is.
type worldOptions struct {
	Gateways int // default 2
	// People, Machines and APIKeys are the crowd; none by default.
	People, Machines, APIKeys int
	Clients                   int    // machine clients of the vault; default 4
	Grace                     string // of the vault's refresh tokens; default 1s
	Seed                      uint64
}

// world is the demo's world with a vault. It ends with the test.
type world struct {
	*demo.World
	t       testing.TB
	dir     string
	ctx     context.Context // ends with the test
	http    *http.Client
	vault   *demo.Client
	clients []demo.Machine
	served  map[string]*atomic.Int64 // by release of the vault
	slowest time.Duration            // that gateways took to catch up with a restarted control
}

// newWorld starts control, gateways and services, and waits until each gateway
// serves the vault.
func newWorld(t testing.TB, o worldOptions) *world {
	t.Helper()
	if o.Gateways == 0 {
		o.Gateways = 2
	}
	if o.Clients == 0 {
		o.Clients = 4
	}
	if o.Grace == "" {
		o.Grace = "1s"
	}
	dir, err := os.MkdirTemp("", "mm-e2e-")
	must(t, err)
	w := &world{t: t, dir: dir, served: map[string]*atomic.Int64{"v1": {}, "v2": {}}}
	w.World, err = demo.NewWorld(demo.WorldConfig{
		Dir: dir, Binary: binary, Gateways: o.Gateways, People: o.People, Machines: o.Machines, APIKeys: o.APIKeys,
		Pause: 150 * time.Millisecond, Seed: o.Seed,
	})
	must(t, err)
	ctx, stop := context.WithCancel(context.Background())
	w.ctx = ctx
	w.http = &http.Client{
		Timeout: 20 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 32, IdleConnTimeout: 10 * time.Second},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	t.Cleanup(func() {
		stop()
		w.Close()
		w.http.CloseIdleConnections()
		if t.Failed() {
			t.Logf("data and logs are in %s", dir)
			for _, p := range w.Processes() {
				t.Logf("%s said last:\n%s", p.Name, p.Tail(3000))
			}
			return
		}
		_ = os.RemoveAll(dir)
	})
	w.Serve(ctx)
	start, cancel := context.WithTimeout(ctx, 90*time.Second)
	defer cancel()
	must(t, w.Start(start))
	w.openVault(start, o)
	return w
}

// openVault declares the second service and its clients.
func (w *world) openVault(ctx context.Context, o worldOptions) {
	w.t.Helper()
	urls := map[string]string{}
	for release, n := range w.served {
		s := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
			n.Add(1)
			rw.Header().Set("Vault-Release", release)
		}))
		w.t.Cleanup(s.Close)
		urls[release] = s.URL
	}
	text := fmt.Sprintf(`apiVersion: mintmark/v1
kind: Policy
name: vault-v1
audience: [%[1]s]
scopes: [%[2]s]
default_scopes: [%[2]s]
access: 1h
refresh: 24h
grace: %[8]s
---
apiVersion: mintmark/v1
kind: Policy
name: vault-v2
extends: vault-v1
forced_scopes: [%[3]s]
---
apiVersion: mintmark/v1
kind: Release
name: vault/v1
policy: vault-v1
upstreams: [{url: %[4]q}]
accept: [v2]
---
apiVersion: mintmark/v1
kind: Release
name: vault/v2
policy: vault-v2
upstreams: [{url: %[5]q}]
accept: [v1]
---
apiVersion: mintmark/v1
kind: Service
name: vault
audience: [%[1]s]
release: v1
routes:
- {name: open, path: "/vault/*", scopes: [%[2]s]}
- {name: strict, path: "/vault/strict/*", scopes: [%[2]s], staleness: strict}
---
apiVersion: mintmark/v1
kind: Client
name: %[6]s
first_party: true
redirect_uris: [%[7]q]
scopes: [%[2]s]
`, vaultAudience, vaultScope, vaultHarm, urls["v1"], urls["v2"], vaultWeb, vaultRedirect, o.Grace)
	for i := range o.Clients {
		text += fmt.Sprintf("---\napiVersion: mintmark/v1\nkind: Client\nname: vault-%03d\nauth: client_secret_basic\ngrants: [client_credentials]\nscopes: [%s]\n", i, vaultScope)
	}
	admin, err := w.Admin(ctx)
	must(w.t, err)
	a, err := admin.Apply(ctx, api.ApplyRequest{Files: []api.File{{Name: "vault.yaml", Text: text}}, Reason: "open the vault", Wait: true, Timeout: "30s"})
	must(w.t, err)
	for i := range o.Clients {
		id := fmt.Sprintf("vault-%03d", i)
		if a.Secrets[id] == "" {
			w.t.Fatalf("no secret for %s", id)
		}
		w.clients = append(w.clients, demo.Machine{ID: id, Secret: a.Secrets[id]})
	}
	w.vault, err = demo.NewClient(ctx, w.http, w.Issuer(), vaultAudience)
	must(w.t, err)
}

// mint obtains a vault token for the i-th machine client; it asks again while
// control is down.
func (w *world) mint(i int) demo.Tokens {
	w.t.Helper()
	got, err := w.tryMint(i)
	must(w.t, err)
	return got
}

// tryMint is mint for goroutines other than the test's.
func (w *world) tryMint(i int) (got demo.Tokens, err error) {
	err = w.try(60*time.Second, func() (err error) {
		got, err = w.vault.Machine(w.ctx, w.clients[i%len(w.clients)], vaultScope)
		return err
	})
	return got, err
}

// eventually calls f until it returns nil, and fails the test otherwise.
func (w *world) eventually(patience time.Duration, what string, f func() error) {
	w.t.Helper()
	if err := w.try(patience, f); err != nil && w.ctx.Err() == nil {
		w.t.Fatalf("waited %s for %s: %v", patience, what, err)
	}
}

func (w *world) try(patience time.Duration, f func() error) error {
	deadline := time.Now().Add(patience)
	for {
		err := f()
		if err == nil || errors.Is(err, errFinal) || time.Now().After(deadline) || w.ctx.Err() != nil {
			return err
		}
		time.Sleep(25 * time.Millisecond)
	}
}

// errFinal marks an answer that asking again can't mend.
var errFinal = errors.New("final")

// seen is what a gateway answered.
type seen struct {
	Status  int    // 0: no answer
	Code    string // of the refusal
	Release string // that served the request
	Retry   string // Retry-After
	Err     error
}

func (s seen) String() string {
	return fmt.Sprintf("%d %s%s %v", s.Status, s.Code, s.Release, s.Err)
}

// admitted reports whether the request got through to a release.
func (s seen) admitted() bool { return s.Release != "" || (s.Status >= 200 && s.Status < 300) }

// unknown reports whether the gateway was down or said that it can't tell now.
func (s seen) unknown() bool { return s.Status == 0 || s.Status == http.StatusServiceUnavailable }

// present calls a path of the vault at one gateway.
func (w *world) present(ctx context.Context, gateway int, path, token string) seen {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.Entries()[gateway]+path, nil)
	if err != nil {
		return seen{Err: err}
	}
	req.Header.Set("Authorization", "Bearer "+token)
	res, err := w.http.Do(req)
	if err != nil {
		return seen{Err: err}
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(res.Body, 1<<16))
	var p struct {
		Code string `json:"code"`
	}
	_ = json.Unmarshal(body, &p)
	return seen{Status: res.StatusCode, Code: p.Code, Release: res.Header.Get("Vault-Release"), Retry: res.Header.Get("Retry-After")}
}

// everywhere waits until every gateway knows, and checks that each then answers a
// token with the wanted code, or one of several; "" is admitted.
func (w *world) everywhere(what, token, want string) {
	w.t.Helper()
	for g := range w.Entries() {
		if err := w.settled(g, token, want); err != nil {
			w.t.Errorf("%s at %s: %v", what, w.Gateways[g].Name, err)
		}
	}
}

// settled presents a token at one gateway until it does not say "state unknown".
func (w *world) settled(gateway int, token, want string) error {
	return w.try(20*time.Second, func() error {
		s := w.present(w.ctx, gateway, "/vault/x", token)
		switch {
		case s.unknown():
			return errors.New("still unknown: " + s.String())
		case want == "" && s.admitted(), want != "" && !s.admitted() && slices.Contains(strings.Fields(want), s.Code):
			return nil
		}
		return fmt.Errorf("%w: answered %s, want %q", errFinal, s, want)
	})
}

// restart starts a process that was killed and waits until it is ready.
func (w *world) restart(p *demo.Process) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.ctx, 30*time.Second)
	defer cancel()
	if err := p.Start(ctx); err != nil && w.ctx.Err() == nil {
		w.t.Fatalf("restart %s: %v", p.Name, err)
	}
}

// caughtUp waits until every gateway follows control and has applied all of it.
func (w *world) caughtUp() {
	w.t.Helper()
	w.eventually(30*time.Second, "gateways to catch up", func() error {
		ctx, cancel := context.WithTimeout(w.ctx, 5*time.Second)
		defer cancel()
		admin, err := w.Admin(ctx)
		if err != nil {
			return err
		}
		all, err := admin.Gateways(ctx)
		if err != nil {
			return err
		}
		for _, g := range all.Gateways {
			if g.State != "live" || g.Seq < all.Head {
				return fmt.Errorf("%s is %s at %d of %d", g.ID, g.State, g.Seq, all.Head)
			}
		}
		return nil
	})
}

// verify re-proves the ledger with the product's own command. Control must be
// down.
func (w *world) verify() error {
	ctx, cancel := context.WithTimeout(w.ctx, 60*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, binary, "verify", "--config", w.ControlConfig()).CombinedOutput()
	if err != nil {
		return fmt.Errorf("mintmark verify: %w\n%s", err, out)
	}
	return nil
}

// claim reads one member of a JWT's payload, by path, without verifying it.
func claim(t testing.TB, token string, path ...string) string {
	t.Helper()
	v, err := readClaim(token, path...)
	must(t, err)
	return v
}

func readClaim(token string, path ...string) (string, error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return "", fmt.Errorf("not a JWT: %.20q", token)
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return "", err
	}
	var v any
	if err := json.Unmarshal(payload, &v); err != nil {
		return "", err
	}
	for _, name := range path {
		m, _ := v.(map[string]any)
		v = m[name]
	}
	text, ok := v.(string)
	if !ok {
		return "", fmt.Errorf("no text in claim %v of %.300s", path, payload)
	}
	return text, nil
}

// ledgerDir is where control keeps the ledger.
func (w *world) ledgerDir() string { return filepath.Join(w.dir, "control") }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
