package authority_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/html"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/auditlog"
	"github.com/mintmark/mintmark/internal/authority"
	"github.com/mintmark/mintmark/internal/epoch"
	"github.com/mintmark/mintmark/internal/keyring"
	"github.com/mintmark/mintmark/internal/ledger"
	"github.com/mintmark/mintmark/internal/projection"
	"github.com/mintmark/mintmark/internal/revocation"
	"github.com/mintmark/mintmark/internal/sqlite"
)

// world is an authority on the real ledger, with a state log of one process.
type world struct {
	t      testing.TB
	auth   *authority.Authority
	server *httptest.Server
	store  *sqlite.Store
	ledger *ledger.Ledger
	state  *state
	clock  *clock
	keys   *keyring.Keyring
}

type clock struct {
	mu     sync.Mutex
	offset time.Duration
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.offset)
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.offset += d
}

// state plays the fleet: rows go through the ledger, snapshots follow.
type state struct {
	mu      sync.Mutex
	ledger  *ledger.Ledger
	key     ed25519.PrivateKey
	bodies  map[epoch.Hash][]byte
	parts   map[epoch.PartName][]byte
	current atomic.Pointer[epoch.Snapshot]
	settled atomic.Pointer[epoch.Snapshot] // nil: current
	fail    atomic.Bool
}

func (s *state) Current() *epoch.Snapshot { return s.current.Load() }
func (s *state) Settled() *epoch.Snapshot {
	if x := s.settled.Load(); x != nil {
		return x
	}
	return s.current.Load()
}

func (s *state) commit(ctx context.Context, kind string, facts []mintmark.Revocation, b ledger.Batch) (ledger.Committed, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail.Load() {
		return ledger.Committed{}, ledger.ErrUnavailable
	}
	for i := range facts {
		var r [10]byte
		_, _ = rand.Read(r[:])
		facts[i].ID = mintmark.RevocationID(mintmark.NewID(mintmark.PrefixRevocation, time.Now(), r))
	}
	prev := s.current.Load()
	next := &epoch.Snapshot{Term: 1, Epoch: 0, Revoked: revocation.NewSet()}
	if prev != nil {
		*next = *prev
	}
	var commit *epoch.Commit
	if kind != "" {
		var m epoch.Manifest
		for name, body := range s.parts {
			h := epoch.HashOf(body)
			s.bodies[h] = body
			m = m.With(epoch.PartRef{Name: name, Hash: h})
		}
		table, err := epoch.Compile(m, s.bodies)
		if err != nil {
			return ledger.Committed{}, err
		}
		next.Table, next.Manifest, next.Epoch = table, m, next.Epoch+1
		commit = &epoch.Commit{Epoch: next.Epoch, Manifest: m.Hash(), Kind: kind}
	}
	b.Row = func(seq uint64, prev [32]byte, issued uint64) ([]byte, []byte, error) {
		row, err := epoch.SignRow(epoch.Row{
			Seq: seq, Term: 1, Prev: prev, At: time.Now().UnixMilli(), Issued: issued,
			Commit: commit, Revocations: facts, KeyID: keyring.KeyID(s.key.Public()),
		}, s.key)
		return row.Body, row.Signature, err
	}
	done, err := s.ledger.Append(ctx, b)
	if err != nil {
		return done, err
	}
	next.Revoked.Apply(facts...)
	next.Seq, next.RowHash = done.RowSeq, done.RowHash
	s.current.Store(next)
	return done, nil
}

func (s *state) Revoke(ctx context.Context, facts []mintmark.Revocation, b ledger.Batch) (ledger.Committed, error) {
	return s.commit(ctx, "", facts, b)
}

func (s *state) PublishKeys(ctx context.Context, keys epoch.Keys, _, _ string) error {
	body, _, err := epoch.Encode(&keys)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.parts[epoch.PartKeys] = body
	s.mu.Unlock()
	_, err = s.commit(ctx, "keys", nil, ledger.Batch{})
	return err
}

func (s *state) setService(t testing.TB, svc *epoch.Service) {
	t.Helper()
	body, _, err := epoch.Encode(svc)
	must(t, err)
	s.mu.Lock()
	s.parts[epoch.ServicePartName(svc.Name)] = body
	s.mu.Unlock()
	_, err = s.commit(t.Context(), "apply", nil, ledger.Batch{})
	must(t, err)
}

const ordersAudience = "https://orders.example"

// orders is a service with a stable release, and a candidate that over-scopes.
func orders() *epoch.Service {
	mint := epoch.Mint{
		Policy: "orders", Version: 1, Format: "jwt", Alg: "ES256", Audience: []string{ordersAudience},
		Scopes: []string{"orders:read", "orders:write"}, DefaultScopes: []string{"orders:read"},
		AccessSeconds: 300, RefreshSeconds: 86400, GraceSeconds: 20,
		Claims: map[string]json.RawMessage{"tier": json.RawMessage(`"${user.tier}"`), "who": json.RawMessage(`"${user.preferred_username}@${client.org}"`)},
	}
	bad := mint
	bad.Version, bad.ForcedScopes = 2, []string{"orders:admin"}
	return &epoch.Service{
		Name: "orders", Audience: []string{ordersAudience}, OwnIssuer: true,
		Routes: []epoch.Route{{Name: "all", Path: "/*", Scopes: []string{"orders:read"}}},
		Releases: []epoch.Release{
			{Name: "v1", Upstreams: []epoch.Upstream{{URL: "http://127.0.0.1:1"}}, Mint: mint},
			{Name: "v2", Upstreams: []epoch.Upstream{{URL: "http://127.0.0.1:2"}}, Mint: bad},
		},
		Split: epoch.Split{Stable: "v1", Salt: "c2FsdA"},
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newWorld(t testing.TB, change ...func(*authority.Config, *authority.Deps)) *world {
	t.Helper()
	w := &world{t: t, clock: &clock{}}
	dir := t.TempDir()
	var err error
	w.keys, err = keyring.Init(keyring.Options{Dir: dir + "/secrets", Random: rand.Reader})
	must(t, err)
	w.store, err = sqlite.Open(t.Context(), sqlite.Options{Dir: dir, Scratch: true})
	must(t, err)
	signer, err := auditlog.NewSigner("audit.test", w.keys.AuditKey())
	must(t, err)
	w.ledger = ledger.New(ledger.Config{
		Engine: w.store, Fold: projection.Fold, Sign: signer.Checkpoint, Now: w.clock.now, Random: rand.Reader,
	})
	must(t, w.ledger.Open(t.Context()))
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = w.ledger.Run(ctx) }()
	w.state = &state{ledger: w.ledger, key: w.keys.StateKey(), bodies: map[epoch.Hash][]byte{}, parts: map[epoch.PartName][]byte{}}
	w.server = httptest.NewUnstartedServer(nil)
	w.server.Start()
	cfg := authority.Config{Issuer: w.server.URL}
	deps := authority.Deps{
		Ledger: w.ledger, Tokens: w.store, Documents: w.store, State: w.state, Revoker: w.state, Publisher: w.state,
		Keyring: w.keys, Keys: w.keys, Passwords: w.keys, Egress: http.DefaultClient, Now: w.clock.now,
	}
	for _, f := range change {
		f(&cfg, &deps)
	}
	w.auth, err = authority.New(cfg, deps)
	must(t, err)
	w.server.Config.Handler = w.auth.Handler()
	w.state.setService(t, orders())
	_, err = w.auth.Rotate(t.Context(), "", "system:test", "first")
	must(t, err)
	t.Cleanup(func() {
		w.server.Close()
		stop()
		<-done
		_ = w.store.Close()
	})
	w.user("ada", "correct horse")
	return w
}

func (w *world) user(name, password string) {
	must(w.t, w.auth.SetPassword(w.t.Context(), name, mintmark.NewSecret(password), true, "user:root"))
	var u authority.User
	doc, err := w.store.Document(w.t.Context(), ledger.DocUser, name)
	must(w.t, err)
	must(w.t, json.Unmarshal(doc.Body, &u))
	u.Claims = map[string]json.RawMessage{"name": json.RawMessage(`"Ada L."`), "tier": json.RawMessage(`3`), "email": json.RawMessage(`"ada@example.org"`)}
	body, err := json.Marshal(u)
	must(w.t, err)
	_, err = w.ledger.Append(w.t.Context(), ledger.Batch{
		Events: []mintmark.Event{{Stream: "user/" + name, Type: "user.written", Data: body}},
	})
	must(w.t, err)
}

// client stores a client; when it isn't public the secret is returned.
func (w *world) client(c authority.Client) string {
	w.t.Helper()
	secret := ""
	if c.AuthMethod == authority.AuthBasic || c.AuthMethod == authority.AuthPost {
		s, entry, err := w.auth.NewClientSecret()
		must(w.t, err)
		c.Secrets, secret = []authority.ClientSecret{entry}, s.Reveal()
	}
	must(w.t, w.auth.PutClient(w.t.Context(), c, "user:root"))
	return secret
}

var allScopes = []string{"openid", "profile", "email", "offline_access", "orders:read", "orders:write"}

func machine() authority.Client {
	return authority.Client{
		ID: "machine", AuthMethod: authority.AuthBasic, Scopes: allScopes, Introspect: true,
		GrantTypes: []string{authority.GrantClient, authority.GrantExchange},
	}
}

func webApp() authority.Client {
	return authority.Client{
		ID: "web", AuthMethod: authority.AuthNone, Scopes: allScopes, Audiences: []string{ordersAudience},
		RedirectURIs: []string{"https://app.example/cb"}, Claims: map[string]json.RawMessage{"org": json.RawMessage(`"acme"`)},
		GrantTypes: []string{authority.GrantCode, authority.GrantRefresh, authority.GrantDevice},
	}
}

// post sends a form and decodes the JSON answer.
func (w *world) post(path string, f url.Values, header ...string) (int, map[string]any) {
	w.t.Helper()
	code, body, _ := w.postFull(path, f, header...)
	return code, body
}

func (w *world) postFull(path string, f url.Values, header ...string) (int, map[string]any, http.Header) {
	w.t.Helper()
	req, err := http.NewRequest(http.MethodPost, w.server.URL+path, strings.NewReader(f.Encode()))
	must(w.t, err)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	if auth := f.Get("basic"); auth != "" {
		id, secret, _ := strings.Cut(auth, ":")
		f.Del("basic")
		req, err = http.NewRequest(http.MethodPost, w.server.URL+path, strings.NewReader(f.Encode()))
		must(w.t, err)
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		for i := 0; i+1 < len(header); i += 2 {
			req.Header.Add(header[i], header[i+1])
		}
		req.SetBasicAuth(url.QueryEscape(id), url.QueryEscape(secret))
	}
	res, err := http.DefaultClient.Do(req)
	must(w.t, err)
	defer res.Body.Close()
	out := map[string]any{}
	if res.ContentLength != 0 {
		if err := json.NewDecoder(res.Body).Decode(&out); err != nil {
			w.t.Fatalf("%s answered %d, not JSON: %v", path, res.StatusCode, err)
		}
	}
	return res.StatusCode, out, res.Header
}

// browser follows an authorization request through the pages until it is sent to
// the client, and returns that address.
func (w *world) browser(start, user, password string) (*url.URL, error) {
	jar, _ := cookiejar.New(nil)
	return w.browse(&http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}, start, user, password)
}

func (w *world) browse(c *http.Client, start, user, password string) (*url.URL, error) {
	req, err := http.NewRequest(http.MethodGet, start, nil)
	if err != nil {
		return nil, err
	}
	for range 12 {
		res, err := c.Do(req)
		if err != nil {
			return nil, err
		}
		if loc := res.Header.Get("Location"); loc != "" {
			_ = res.Body.Close()
			to, err := req.URL.Parse(loc)
			if err != nil {
				return nil, err
			}
			if !strings.HasPrefix(to.String(), w.server.URL) {
				return to, nil
			}
			if req, err = http.NewRequest(http.MethodGet, to.String(), nil); err != nil {
				return nil, err
			}
			continue
		}
		page, err := html.Parse(res.Body)
		_ = res.Body.Close()
		if err != nil {
			return nil, err
		}
		if res.StatusCode != http.StatusOK {
			return nil, errors.New(req.URL.Path + " answered " + res.Status + ": " + text(page))
		}
		if strings.Contains(text(page), "Connected") {
			return nil, nil
		}
		values, action := fill(page, user, password)
		to, err := req.URL.Parse(action)
		if err != nil {
			return nil, err
		}
		if req, err = http.NewRequest(http.MethodPost, to.String(), strings.NewReader(values.Encode())); err != nil {
			return nil, err
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("Sec-Fetch-Site", "same-origin")
	}
	return nil, errors.New("too many pages")
}

func fill(page *html.Node, user, password string) (url.Values, string) {
	values, action := url.Values{}, ""
	for n := range page.Descendants() {
		if n.Type != html.ElementNode {
			continue
		}
		at := map[string]string{}
		for _, a := range n.Attr {
			at[a.Key] = a.Val
		}
		switch {
		case n.Data == "form":
			action = at["action"]
		case n.Data == "button" && at["name"] != "" && values.Get(at["name"]) == "":
			values.Set(at["name"], at["value"])
		case n.Data == "input" && at["name"] == "username":
			values.Set("username", user)
		case n.Data == "input" && at["name"] == "password":
			values.Set("password", password)
		case n.Data == "input":
			values.Set(at["name"], at["value"])
		}
	}
	return values, action
}

func text(n *html.Node) string {
	var b strings.Builder
	for d := range n.Descendants() {
		if d.Type == html.TextNode {
			b.WriteString(d.Data)
		}
	}
	return b.String()
}
