package gateway

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/admission"
	"github.com/mintmark/mintmark/internal/arrival"
	"github.com/mintmark/mintmark/internal/bus"
	"github.com/mintmark/mintmark/internal/epoch"
	"github.com/mintmark/mintmark/internal/revocation"
	"github.com/mintmark/mintmark/internal/upstream"
	"github.com/mintmark/mintmark/internal/verifier"
)

// fakeState is a State set by hand.
type fakeState struct {
	snap    atomic.Pointer[epoch.Snapshot]
	unknown atomic.Bool
	catchUp func() error
}

func (s *fakeState) Current() *epoch.Snapshot { return s.snap.Load() }
func (s *fakeState) Freshness() admission.Freshness {
	if s.unknown.Load() {
		return admission.Freshness{Age: -1}
	}
	return admission.Freshness{Leased: true}
}

func (s *fakeState) CatchUp(context.Context, uint64) error {
	if s.catchUp == nil {
		return errors.New("nobody to ask")
	}
	return s.catchUp()
}

// fakeVerifier knows tokens by value.
type fakeVerifier struct {
	mu     sync.Mutex
	tokens map[string]mintmark.Token // guarded by mu
}

func (v *fakeVerifier) Verify(_ context.Context, _ *epoch.Snapshot, _ admission.Scheme, value string, _ time.Time, out *verifier.Verified) mintmark.Code {
	v.mu.Lock()
	defer v.mu.Unlock()
	t, ok := v.tokens[value]
	if !ok {
		return mintmark.CodeMalformed
	}
	out.Token = t
	return mintmark.CodeNone
}

// fakeCounter adds decisions up by code.
type fakeCounter struct {
	mu    sync.Mutex
	codes map[mintmark.Code]int // guarded by mu
}

func (c *fakeCounter) Count(_ *mintmark.Token, _ *epoch.RouteEntry, _ *epoch.ReleaseEntry, code mintmark.Code, _ time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.codes[code]++
}
func (c *fakeCounter) Refuse(bus.Refusal)      {}
func (c *fakeCounter) Foreign(*mintmark.Token) {}

func (c *fakeCounter) of(code mintmark.Code) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.codes[code]
}

// rig is a gateway between a client and upstreams, over real connections.
type rig struct {
	t       testing.TB
	state   *fakeState
	tokens  *fakeVerifier
	counter *fakeCounter
	gateway *Gateway
	addr    string
	url     string
}

const audience = "https://orders.test"

// service is a service with one release at the given upstream.
func service(upstreamURL string, routes ...epoch.Route) *epoch.Service {
	if len(routes) == 0 {
		routes = []epoch.Route{{Name: "all", Path: "/*", Scopes: []string{"read"}}}
	}
	return &epoch.Service{
		Name: "orders", Audience: []string{audience}, OwnIssuer: true, Routes: routes,
		Releases: []epoch.Release{release("v1", upstreamURL)},
		Split:    epoch.Split{Stable: "v1"},
	}
}

func release(name, upstreamURL string) epoch.Release {
	return epoch.Release{
		Name: name, Upstreams: []epoch.Upstream{{URL: upstreamURL}},
		Mint: epoch.Mint{
			Policy: "p", Version: 1, Format: "opaque", Audience: []string{audience},
			Scopes: []string{"read", "write"}, AccessSeconds: 300,
		},
	}
}

func compile(t testing.TB, s *epoch.Service) (epoch.Manifest, *epoch.Table) {
	t.Helper()
	body, hash, err := epoch.Encode(s)
	if err != nil {
		t.Fatal(err)
	}
	m := epoch.Manifest{}.With(epoch.PartRef{Name: epoch.ServicePartName(s.Name), Hash: hash})
	table, err := epoch.Compile(m, map[epoch.Hash][]byte{hash: body})
	if err != nil {
		t.Fatal(err)
	}
	return m, table
}

func (r *rig) put(s *epoch.Service, number uint64) *epoch.Snapshot {
	r.t.Helper()
	m, table := compile(r.t, s)
	snap := &epoch.Snapshot{Term: 1, Epoch: number, Seq: number, Manifest: m, Table: table, Revoked: revocation.NewSet()}
	if old := r.state.snap.Load(); old != nil {
		snap.Revoked = old.Revoked
	}
	r.state.snap.Store(snap)
	return snap
}

func newRig(t testing.TB, s *epoch.Service, change ...func(*Config, *arrival.ServerConfig)) *rig {
	t.Helper()
	r := &rig{t: t, state: &fakeState{}, tokens: &fakeVerifier{tokens: map[string]mintmark.Token{}}, counter: &fakeCounter{codes: map[mintmark.Code]int{}}}
	r.put(s, 7)
	ups := upstream.New(upstream.Config{})
	cfg := Config{State: r.state, Verifier: r.tokens, Counter: r.counter, Upstreams: ups}
	sc := arrival.ServerConfig{Drain: 100 * time.Millisecond}
	for _, c := range change {
		c(&cfg, &sc)
	}
	g, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	r.gateway = g
	sc.Handler = g
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	srv := arrival.NewServer(sc)
	wg.Go(func() { srv.Run(ctx, l) })
	wg.Go(func() { ups.Run(ctx) })
	t.Cleanup(func() { cancel(); wg.Wait() })
	r.addr = l.Addr().String()
	r.url = "http://" + r.addr
	r.token("good", func(*mintmark.Token) {})
	return r
}

func (r *rig) token(value string, change func(*mintmark.Token)) {
	now := time.Now().Unix()
	t := mintmark.Token{
		ID: mintmark.TokenID("tok_" + value), Kind: mintmark.KindOpaque, Subject: "alice", Client: "shop",
		Scopes: []string{"read"}, Audience: []string{audience}, IssuedAt: now, Expires: now + 600,
		Mark: mintmark.Mark{Release: "orders/v1", Policy: 1, Epoch: 1, Seq: 5},
	}
	change(&t)
	r.tokens.mu.Lock()
	r.tokens.tokens[value] = t
	r.tokens.mu.Unlock()
}

func (r *rig) request(method, path, token string) *http.Request {
	r.t.Helper()
	req, err := http.NewRequest(method, r.url+path, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	return req
}

func (r *rig) do(req *http.Request) (*http.Response, string) {
	r.t.Helper()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return resp, string(b)
}

func (r *rig) get(path, token string) (*http.Response, string) {
	r.t.Helper()
	return r.do(r.request(http.MethodGet, path, token))
}

func server(t testing.TB, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

// eventually polls until ok or a generous deadline.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("%s: did not happen", what)
}
