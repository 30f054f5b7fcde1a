package whatif

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/epoch"
)

var at = time.Unix(1_800_000_000, 0)

func service() *epoch.Service {
	return &epoch.Service{
		Name: "shop", Audience: []string{"https://shop.example"}, OwnIssuer: true,
		Routes: []epoch.Route{
			{Name: "one", Path: "/items/{id}", Scopes: []string{"read"}},
			{Name: "all", Path: "/*", Scopes: []string{"read"}},
			{Name: "open", Path: "/open", Public: true},
		},
		Releases: []epoch.Release{{Name: "v1", Upstreams: []epoch.Upstream{{URL: "http://one"}}}},
		Split:    epoch.Split{Stable: "v1"},
	}
}

func compile(t testing.TB, change func(*epoch.Service)) *epoch.Table {
	t.Helper()
	s := service()
	if change != nil {
		change(s)
	}
	m, bodies, err := epoch.Build(s)
	if err != nil {
		t.Fatal(err)
	}
	table, err := epoch.Compile(m, bodies)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func token() *mintmark.Token {
	return &mintmark.Token{
		ID: "tok_secret", Kind: mintmark.KindAccessJWT, Issuer: "https://as", Subject: "alice@example.org", Client: "app", Scopes: []string{"read"},
		Audience: []string{"https://shop.example"}, Mark: mintmark.Mark{Release: "shop/v1", Seq: 7}, IssuedAt: at.Unix() - 100, Expires: at.Unix() + 500,
		Claims: json.RawMessage(`{"email":"alice@example.org","age":33,"roles":["x"],"ok":true,"o":{},"n":null}`),
	}
}

func shape(table *epoch.Table, path string, code mintmark.Code, tok *mintmark.Token) Shape {
	route := table.Match("GET", "", path, nil)
	return ShapeOf(route, "GET", code, route.Service.Stable, tok, 3, at, func(string) string { return "p1" })
}

// Nothing that could tell who it was, or be used as a token, is in a record.
func TestShapeHoldsNothingPersonal(t *testing.T) {
	table := compile(t, nil)
	s := shape(table, "/items/alice-4711", mintmark.CodeNone, token())
	var b bytes.Buffer
	if err := Write(&b, []Shape{s}); err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{"alice", "4711", "33", "tok_secret", `"seq"`} {
		if strings.Contains(b.String(), secret) {
			t.Errorf("%s is in %s", secret, b.String())
		}
	}
	back, err := Read(&b)
	if err != nil || len(back) != 1 || back[0].Token.Claims["email"] != "string" || back[0].Token.Left != 256 || back[0].Path != "/items/{id}" {
		t.Errorf("%+v, %v", back, err)
	}
}

func TestSimulate(t *testing.T) {
	base := compile(t, nil)
	admitted, one := shape(base, "/x", "", token()), shape(base, "/items/7", "", token())
	lacking := token()
	lacking.Scopes = []string{"write"}
	refused := shape(base, "/x", mintmark.CodeScope, lacking)
	forged, bare := shape(base, "/x", mintmark.CodeSignature, nil), shape(base, "/x", mintmark.CodeCredentialsMissing, nil)
	public := shape(base, "/open", "", nil)
	down := shape(base, "/x", mintmark.CodeUpstream, token())
	for _, tt := range []struct {
		what        string
		change      func(*epoch.Service)
		shape       Shape
		kind, after string
	}{
		{"same policy, admitted", nil, admitted, "", ""},
		{"same policy, refused", nil, refused, "", ""},
		{"same policy, forged", nil, forged, "", ""},
		{"same policy, bare", nil, bare, "", ""},
		{"same policy, public", nil, public, "", ""},
		{"a scope more", func(s *epoch.Service) { s.Routes[1].Scopes = []string{"read", "audit"} }, admitted, NewlyRefused, "scope_insufficient"},
		{"a scope more elsewhere", func(s *epoch.Service) { s.Routes[1].Scopes = []string{"audit"} }, one, "", ""},
		{"another scope", func(s *epoch.Service) { s.Routes[1].Scopes = []string{"write"} }, refused, NewlyAdmitted, "admitted"},
		{"another audience", func(s *epoch.Service) { s.Audience = []string{"https://new.example"} }, admitted, NewlyRefused, "audience_mismatch"},
		{"another reason", func(s *epoch.Service) { s.Audience = []string{"https://new.example"} }, refused, OtherReason, "audience_mismatch"},
		{"the route is gone", func(s *epoch.Service) { s.Routes = s.Routes[2:] }, admitted, NewlyRefused, "no_route"},
		{"the route is public now", func(s *epoch.Service) { s.Routes[1].Public, s.Routes[1].Scopes = true, nil }, forged, NewlyAdmitted, "admitted"},
		{"public no more", func(s *epoch.Service) { s.Routes[2].Public = false }, public, NewlyRefused, "credentials_missing"},
		{"sender-constrained", func(s *epoch.Service) { s.Routes[1].Bound = "dpop" }, admitted, NewlyRefused, "binding_invalid"},
		{"a forged token stays refused", func(s *epoch.Service) { s.Routes[1].Scopes = nil }, forged, "", ""},
		{"admitted, then the server was down", func(s *epoch.Service) { s.Routes[1].Scopes = []string{"audit"} }, down, NewlyRefused, "scope_insufficient"},
		{"another release", func(s *epoch.Service) {
			s.Releases = append(s.Releases, epoch.Release{Name: "v2", Upstreams: s.Releases[0].Upstreams, Accept: []string{"*"}})
			s.Split.Stable = "v2"
		}, admitted, OtherRelease, "admitted"},
	} {
		for _, b := range []*epoch.Table{base, nil} {
			tt.shape.Weight = 2500
			r := Simulate(b, compile(t, tt.change), []Shape{tt.shape, tt.shape}, at)
			if b == nil && tt.kind == OtherRelease {
				tt.kind = ""
			}
			assumed := int64(0)
			if tt.shape.Code == mintmark.CodeSignature {
				assumed = 5
			}
			switch {
			case r.Assumed != assumed || r.Requests != 5 || r.Shapes != 2 || r.Drifted != 0:
				t.Errorf("%s: %+v", tt.what, r)
			case tt.kind == "":
				if len(r.Rows) != 0 {
					t.Errorf("%s: %+v", tt.what, r.Rows)
				}
			case len(r.Rows) != 1 || r.Rows[0].Change != tt.kind || r.Rows[0].After != tt.after || r.Rows[0].Requests != 5:
				t.Errorf("%s: %+v, want %s to %s", tt.what, r.Rows, tt.kind, tt.after)
			}
		}
	}
	// What is recorded as admitted though the policy in force would refuse it says
	// that it changed meanwhile.
	odd := refused
	odd.Code = ""
	if r := Simulate(base, base, []Shape{odd}, at); r.Drifted != 1 || len(r.Rows) != 0 {
		t.Errorf("drift: %+v", r)
	}
}

// Each request has the same chance, and weights add up to what was seen.
func TestReservoir(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	r := NewReservoir(8, rnd.Float64)
	const n, rounds = 100, 4000
	var hits [n]int
	for range rounds {
		for i := range n {
			r.Offer("shop", "", func() Shape { return Shape{At: int64(i)} })
		}
		sum := int64(0)
		for _, s := range r.Take() {
			hits[s.At]++
			sum += s.Weight
		}
		if sum != n*1000 {
			t.Fatalf("weights sum to %d", sum)
		}
	}
	for i, h := range hits { // binomial: 320 ± 17
		if h < 230 || h > 410 {
			t.Errorf("request %d was kept %d times, want about 320", i, h)
		}
	}
	if got := r.Take(); len(got) != 0 {
		t.Errorf("taken twice: %v", got)
	}
	allocs := testing.AllocsPerRun(1000, func() {})
	r.Offer("shop", "", func() Shape { return Shape{} })
	for range 10_000 {
		r.Offer("shop", "", func() Shape { return Shape{} })
	}
	if got := testing.AllocsPerRun(1000, func() { r.Offer("shop", "", func() Shape { return Shape{} }) }); got > allocs+0.1 {
		t.Errorf("%v allocations for a request that is not kept", got)
	}
}

func TestRing(t *testing.T) {
	r := NewRing(3, 100)
	mk := func(at int64) Shape { return Shape{At: at, Weight: 1, Route: "s/r", Path: "/", Method: "GET"} }
	r.Add([]Shape{mk(60), {}, mk(120), mk(180), mk(240)}, 250)
	got := r.Since(0, 250)
	if len(got) != 2 || got[0].At != 180 || got[1].At != 240 { // 120 was pushed out or is too old
		t.Errorf("%+v", got)
	}
	r.Add(nil, 310)
	if got := r.Since(0, 250); len(got) != 1 || got[0].At != 240 {
		t.Errorf("pruned: %+v", got)
	}
	r.Add([]Shape{mk(300)}, 310)
	if got := r.Since(0, 310); len(got) != 2 {
		t.Errorf("after pruning: %+v", got)
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(`{"at":60,"w":1000,"route":"shop/all","path":"/*","method":"GET","token":{"kind":"jwt","scopes":["read"],"aud":["https://shop.example"]}}`))
	f.Add([]byte("{}\n\n{"))
	f.Add([]byte(`{"w":1,"route":"a/b","path":"/%","method":"","code":"x"}`))
	table := compile(f, nil)
	f.Fuzz(func(t *testing.T, b []byte) {
		shapes, err := Read(bytes.NewReader(b))
		if err != nil {
			return
		}
		if r := Simulate(table, table, shapes, at); len(r.Rows) > 0 {
			t.Errorf("a policy differs from itself: %+v", r.Rows)
		}
	})
}
