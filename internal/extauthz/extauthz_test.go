package extauthz

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/admission"
	"github.com/mintmark/mintmark/internal/bus"
	"github.com/mintmark/mintmark/internal/epoch"
	"github.com/mintmark/mintmark/internal/forwarded"
	"github.com/mintmark/mintmark/internal/gateway"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/revocation"
	"github.com/mintmark/mintmark/internal/verifier"
)

type state struct {
	snap    *epoch.Snapshot
	unknown bool
}

func (s *state) Current() *epoch.Snapshot { return s.snap }
func (s *state) Freshness() admission.Freshness {
	return admission.Freshness{Leased: !s.unknown, Age: -1}
}
func (s *state) CatchUp(context.Context, uint64) error { return errors.New("nobody to ask") }

type tokens map[string]mintmark.Token

func (v tokens) Verify(_ context.Context, _ *epoch.Snapshot, _ admission.Scheme, value string, _ time.Time, out *verifier.Verified) mintmark.Code {
	t, ok := v[value]
	if !ok {
		return mintmark.CodeMalformed
	}
	out.Token = t
	return mintmark.CodeNone
}

func handler(t *testing.T) (*Handler, *state) {
	t.Helper()
	svc := &epoch.Service{
		Name: "orders", Audience: []string{"aud"}, OwnIssuer: true,
		Hosts: []string{"orders.test"},
		Routes: []epoch.Route{
			{Name: "read", Path: "/read/*", Methods: []string{"GET"}, Scopes: []string{"read"}},
			{Name: "write", Path: "/read/*", Scopes: []string{"write"}},
		},
		Releases: []epoch.Release{{
			Name: "v1", Upstreams: []epoch.Upstream{{URL: "http://127.0.0.1:1"}},
			Mint: epoch.Mint{Policy: "p", Version: 1, Format: "opaque", Audience: []string{"aud"}, Scopes: []string{"read", "write"}, AccessSeconds: 60},
		}},
		Split: epoch.Split{Stable: "v1"},
	}
	body, hash, err := epoch.Encode(svc)
	if err != nil {
		t.Fatal(err)
	}
	m := epoch.Manifest{}.With(epoch.PartRef{Name: epoch.ServicePartName("orders"), Hash: hash})
	table, err := epoch.Compile(m, map[epoch.Hash][]byte{hash: body})
	if err != nil {
		t.Fatal(err)
	}
	st := &state{snap: &epoch.Snapshot{Term: 1, Epoch: 9, Seq: 9, Manifest: m, Table: table, Revoked: revocation.NewSet()}}
	now := time.Now().Unix()
	good := mintmark.Token{
		ID: "tok_1", Kind: mintmark.KindOpaque, Subject: "alice", Client: "shop", Scopes: []string{"read"},
		Audience: []string{"aud"}, IssuedAt: now, Expires: now + 300, Mark: mintmark.Mark{Release: "orders/v1", Epoch: 1, Seq: 1},
	}
	return New(Config{Decider: &gateway.Decider{State: st, Verifier: tokens{"good": good}, Now: time.Now}}), st
}

func ask(h *Handler, query, method, uri, token string, header ...string) *http.Response {
	r := httptest.NewRequest("GET", Path+query, nil)
	r.Header.Set("X-Forwarded-Method", method)
	r.Header.Set("X-Forwarded-Uri", uri)
	r.Header.Set("X-Forwarded-Host", "orders.test")
	r.Header.Set("X-Forwarded-Proto", "https")
	r.Header.Set("X-Forwarded-For", "198.51.100.7, 203.0.113.9")
	r.Header.Set("Mintmark-Token-Id", "tok_forged")
	r.Header.Set("Mintmark-Token-Subject", "mallory")
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func TestDecisions(t *testing.T) {
	h, st := handler(t)
	for _, c := range []struct {
		name, method, uri, token string
		status                   int
	}{
		{"valid", "GET", "/read/1?q=1", "good", 200},
		{"absolute", "GET", "https://orders.test/read/1", "good", 200},
		{"none", "GET", "/read/1", "", 401},
		{"bad", "GET", "/read/1", "bad", 401},
		{"scope by method", "POST", "/read/1", "good", 403},
		{"no route", "GET", "/other", "good", 404},
		{"two readings", "GET", "/read/../x", "good", 400},
	} {
		resp := ask(h, "", c.method, c.uri, c.token)
		if resp.StatusCode != c.status {
			t.Errorf("%s: %d, want %d", c.name, resp.StatusCode, c.status)
		}
		for _, name := range identity.Names() {
			if v, ok := resp.Header[http.CanonicalHeaderKey(name)]; !ok || len(v) != 1 || strings.Contains(v[0], "forged") || v[0] == "mallory" {
				t.Errorf("%s: %s is %v", c.name, name, v)
			}
		}
	}
	resp := ask(h, "", "GET", "/read/1", "good")
	if g := resp.Header.Get("Mintmark-Token-Subject"); g != "alice" || resp.Header.Get("Mintmark-Token-Epoch") != "9" || resp.Header.Get("Mintmark-Token-State") != "active" {
		t.Errorf("identity %v", resp.Header)
	}
	st.snap.Revoked.Apply(mintmark.Revocation{ID: "rev_1", Action: mintmark.ActionRevoke, Selector: mintmark.Selector{Token: "tok_1"}})
	if resp := ask(h, "", "GET", "/read/1", "good"); resp.StatusCode != 401 || resp.Header.Get("Mintmark-Token-State") != "revoked" {
		t.Errorf("revoked: %d %v", resp.StatusCode, resp.Header)
	}
}

func TestNginxDialectKnowsOnly403(t *testing.T) {
	h, st := handler(t)
	for token, want := range map[string]string{"": "401", "bad": "401"} {
		resp := ask(h, "?dialect=nginx", "GET", "/read/1", token)
		if resp.StatusCode != 403 || resp.Header.Get("X-Error-Status") != want || !strings.HasPrefix(resp.Header.Get("X-Error-Challenge"), "Bearer") || !strings.Contains(resp.Header.Get("X-Error-Body"), `"code"`) {
			t.Errorf("%q: %d %v", token, resp.StatusCode, resp.Header)
		}
		if resp.Header.Get("Www-Authenticate") != "" {
			t.Error("nginx would pass the challenge twice")
		}
	}
	st.unknown = true
	resp := ask(h, "?dialect=nginx", "GET", "/read/1", "good")
	if resp.StatusCode != 403 || resp.Header.Get("X-Error-Status") != "503" || resp.Header.Get("X-Error-Retry") == "" {
		t.Errorf("unknown state: %d %v", resp.StatusCode, resp.Header)
	}
}

func TestUnknownStateIs503(t *testing.T) {
	h, st := handler(t)
	st.unknown = true
	resp := ask(h, "", "GET", "/read/1", "good")
	if resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" {
		t.Errorf("%d %v", resp.StatusCode, resp.Header)
	}
}

func TestRepeatedDescriptionIsRefused(t *testing.T) {
	h, _ := handler(t)
	for _, name := range []string{"X-Forwarded-Method", "X-Forwarded-Uri", "X-Forwarded-Host", "X-Forwarded-Proto"} {
		if resp := ask(h, "", "GET", "/read/1", "good", name, "GET"); resp.StatusCode != 400 {
			t.Errorf("%s twice: %d", name, resp.StatusCode)
		}
	}
}

// A gateway that forgets to tell what it asks about gets no answer about another
// request.
func TestMissingDescriptionIsRefused(t *testing.T) {
	h, _ := handler(t)
	for _, name := range []string{"X-Forwarded-Method", "X-Forwarded-Uri"} {
		r := httptest.NewRequest("GET", "/read/1", nil)
		for n, v := range map[string]string{"X-Forwarded-Method": "GET", "X-Forwarded-Uri": "/read/1", "X-Forwarded-Host": "orders.test", "Authorization": "Bearer good"} {
			if n != name {
				r.Header.Set(n, v)
			}
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != 400 {
			t.Errorf("without %s: %d", name, w.Code)
		}
	}
}

type recorder struct {
	fail bool
	uses []bus.Use
}

func (r *recorder) Record(_ context.Context, u bus.Use) error {
	if r.fail {
		return errors.New("disk full")
	}
	r.uses = append(r.uses, u)
	return nil
}

// What must be recorded is recorded for whoever asks, or refused.
func TestEveryUseIsRecordedOrRefused(t *testing.T) {
	h, st := handler(t)
	st.snap.Table.Routes()[0].Audit = "every_use"
	if resp := ask(h, "", "GET", "/read/1", "good"); resp.StatusCode != 503 {
		t.Errorf("nobody recorded it: %d", resp.StatusCode)
	}
	rec := &recorder{}
	h.cfg.Recorder = rec
	if resp := ask(h, "", "GET", "/read/1", "good"); resp.StatusCode != 200 || len(rec.uses) != 1 || rec.uses[0].Token != "tok_1" || rec.uses[0].Path != "/read/1" {
		t.Errorf("%d, recorded %+v", resp.StatusCode, rec.uses)
	}
	ask(h, "", "GET", "/read/1", "bad")
	rec.fail = true
	if resp := ask(h, "", "GET", "/read/1", "good"); resp.StatusCode != 503 || len(rec.uses) != 1 {
		t.Errorf("not recorded: %d", resp.StatusCode)
	}
}

// The asking gateway appends the client's address; in front of it may stand proxies.
// A Forwarded field it passes on as the client sent it.
func TestDescribeTellsTheClient(t *testing.T) {
	for _, c := range []struct {
		from, want string
		trusted    forwarded.Trust
	}{
		{"198.51.100.7, 203.0.113.9", "203.0.113.9", nil},
		{"198.51.100.7, 203.0.113.9, 10.0.0.1", "10.0.0.1", nil},
		{"198.51.100.7, 203.0.113.9, 10.0.0.1", "203.0.113.9", forwarded.Trust{netip.MustParsePrefix("10.0.0.0/8")}},
		{"", "192.0.2.1", nil},
	} {
		r := httptest.NewRequest("GET", Path, nil)
		r.RemoteAddr = "192.0.2.1:1"
		r.Header = http.Header{"X-Forwarded-Method": {"GET"}, "X-Forwarded-Uri": {"/"}, "X-Forwarded-For": {c.from}, "Forwarded": {"for=198.51.100.8"}}
		if q, ok := Describe(r, c.trusted); !ok || q.Peer.String() != c.want {
			t.Errorf("%q, %v trusted: %v, want %s", c.from, c.trusted, q.Peer, c.want)
		}
	}
}

func FuzzDescribe(f *testing.F) {
	f.Add("GET", "/a?b", "host", "https", "1.2.3.4")
	f.Add("", "http://h/p#f", "", "ws", "x, ::1")
	f.Fuzz(func(t *testing.T, method, uri, host, proto, from string) {
		r := httptest.NewRequest("GET", Path, nil)
		r.Header = http.Header{
			"X-Forwarded-Method": {method}, "X-Forwarded-Uri": {uri}, "X-Forwarded-Host": {host},
			"X-Forwarded-Proto": {proto}, "X-Forwarded-For": {from},
		}
		q, ok := Describe(r, nil)
		if ok && (q.Path == "" || q.Path[0] != '/' || strings.ContainsAny(q.Path, "?#")) {
			t.Errorf("path %q of %q", q.Path, uri)
		}
	})
}
