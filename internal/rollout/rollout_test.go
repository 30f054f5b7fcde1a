package rollout

import (
	"errors"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/epoch"
)

func service() epoch.Service {
	mint := epoch.Mint{Policy: "p", Version: 1, Format: "opaque", Audience: []string{"a"}, Scopes: []string{"r", "w"}, AccessSeconds: 300, RefreshSeconds: 3600}
	bad := mint
	bad.ForcedScopes, bad.Audience = []string{"admin"}, []string{"a", "b"}
	up := []epoch.Upstream{{URL: "http://127.0.0.1:1"}}
	return epoch.Service{
		Name: "s", Audience: []string{"a"}, OwnIssuer: true, Routes: []epoch.Route{{Name: "r", Path: "/*"}},
		Releases: []epoch.Release{{Name: "v1", Upstreams: up, Mint: mint}, {Name: "v2", Upstreams: up, Mint: bad}}, Split: epoch.Split{Stable: "v1"},
	}
}

func start(t interface{ Fatal(...any) }, strategy string, weight int) Rollout {
	r, _, err := Step(Rollout{ID: "rol_1", Service: "s", Stable: "v1", Candidate: "v2", Strategy: strategy, Salt: "x"}, Input{Verb: VerbStart, Weight: weight, Actor: "user:op", Now: 1000})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestPercent(t *testing.T) {
	for in, want := range map[string]int{"0": 0, "5": 500, "0.25": 25, "99.9%": 9990, "100": Full, "07.50": 750} {
		got, err := ParsePercent(in)
		if err != nil || got != want {
			t.Errorf("%s: %d, %v; want %d", in, got, err, want)
		}
	}
	for _, in := range []string{"", "%", "-1", "100.01", "101", "1.", ".5", "1.234", "5,5", "1e2", "+5"} {
		if got, err := ParsePercent(in); err == nil {
			t.Errorf("%q read as %d", in, got)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		bp := rapid.IntRange(0, Full).Draw(t, "bp")
		if back, err := ParsePercent(FormatPercent(bp)); err != nil || back != bp {
			t.Fatalf("%d prints as %s", bp, FormatPercent(bp))
		}
	})
}

// Taking back after any steps leaves the service as it was before the start, but
// for the rules about the candidate's tokens; doing it twice changes nothing more.
func TestInverse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		svc := service()
		before := svc
		r := start(t, Canary, 0)
		for _, verb := range rapid.SliceOfN(rapid.SampledFrom([]Verb{VerbWeight, VerbPromote}), 0, 5).Draw(t, "verbs") {
			r, _, _ = Step(r, Input{Verb: verb, Weight: rapid.IntRange(0, Full).Draw(t, "weight")})
			next, err := Service(svc, r)
			if err != nil {
				t.Fatal(err)
			}
			if next.Split.Salt != r.Salt || next.Split.Weight != r.Weight {
				t.Fatalf("split %+v", next.Split)
			}
			svc = next
		}
		inv, err := Inverse(svc, r, Options{})
		if err != nil {
			t.Fatal(err)
		}
		again, err := Inverse(inv, r, Options{})
		if err != nil || !reflect.DeepEqual(again, inv) {
			t.Fatalf("inverse of the inverse differs: %+v, %v", again, err)
		}
		bare := inv
		bare.Retired = nil
		if !reflect.DeepEqual(bare, before) {
			t.Fatalf("after: %+v\nbefore: %+v", bare, before)
		}
	})
}

// A part in force, its inverse, and the part of a release that comes back must all
// compile at the gateways.
func TestPartsCompile(t *testing.T) {
	compile := func(svc epoch.Service) {
		t.Helper()
		body, hash, err := epoch.Encode(&svc)
		if err != nil {
			t.Fatal(err)
		}
		m := epoch.Manifest{}.With(epoch.PartRef{Name: epoch.ServicePartName(svc.Name), Hash: hash})
		if _, err := epoch.Compile(m, map[epoch.Hash][]byte{hash: body}); err != nil {
			t.Fatal(err)
		}
	}
	r := start(t, Canary, 500)
	svc, err := Service(service(), r)
	if err != nil {
		t.Fatal(err)
	}
	compile(svc)
	inv, err := Inverse(svc, r, Options{Now: 1000, Window: 60})
	if err != nil {
		t.Fatal(err)
	}
	compile(inv)
	back := Return(inv, "v2", 77)
	if back.Retired[0].CutoffSeq != 77 || inv.Retired[0].CutoffSeq == 77 {
		t.Errorf("return: %+v, and the original %+v", back.Retired[0], inv.Retired[0])
	}
	r.ID = "rol_2"
	if back, err = Service(back, r); err != nil {
		t.Fatal(err)
	}
	compile(back)
	twice, err := Inverse(back, r, Options{})
	if err != nil || len(twice.Retired) != 2 || twice.Retired[0].CutoffSeq != 77 {
		t.Fatalf("taken back twice: %+v, %v", twice.Retired, err)
	}
	compile(twice)
}

func TestRules(t *testing.T) {
	native := func(s *epoch.Service) { s.Releases[0].Accept = []string{"v2"} }
	mapped := func(s *epoch.Service) { s.Releases[0].Maps = []epoch.ShapeMap{{From: "v2"}} }
	lossy := func(s *epoch.Service) { s.Releases[0].Maps = []epoch.ShapeMap{{From: "v2", Lossy: true}} }
	foreign := func(s *epoch.Service) { s.OwnIssuer, s.Issuers = false, []string{"corp"} }
	for _, c := range []struct {
		name     string
		change   func(*epoch.Service)
		override map[string]mintmark.Disposition
		token    mintmark.Token
		class    string
		want     mintmark.Disposition
	}{
		{"native", native, nil, mintmark.Token{Scopes: []string{"r"}, Audience: []string{"a"}}, "native", mintmark.Keep},
		{"protocol scopes taint nothing", native, nil, mintmark.Token{Scopes: []string{"offline_access", "openid", "r"}, Audience: []string{"a"}}, "native", mintmark.Keep},
		{"mapped", mapped, nil, mintmark.Token{Audience: []string{"a"}}, "mapped", mintmark.Map},
		{"lossy", lossy, nil, mintmark.Token{Audience: []string{"a"}}, "lossy", mintmark.Reissue},
		{"unmapped", nil, nil, mintmark.Token{Audience: []string{"a"}}, "reissuable", mintmark.Reissue},
		{"none", foreign, nil, mintmark.Token{Audience: []string{"a"}}, "none", mintmark.Revoke},
		{"over-scoped", native, nil, mintmark.Token{Scopes: []string{"admin", "r"}, Audience: []string{"a"}}, OverScoped, mintmark.Revoke},
		{"wrong audience", native, nil, mintmark.Token{Scopes: []string{"r"}, Audience: []string{"a", "b"}}, WrongAudience, mintmark.Revoke},
		{"override", native, map[string]mintmark.Disposition{"native": mintmark.Revoke}, mintmark.Token{Audience: []string{"a"}}, "native", mintmark.Revoke},
	} {
		t.Run(c.name, func(t *testing.T) {
			svc := service()
			if c.change != nil {
				c.change(&svc)
			}
			rules, err := Rules(&svc, "v1", "v2", Options{Override: c.override})
			if err != nil {
				t.Fatal(err)
			}
			got := Classify(rules, &c.token)
			if got == nil || got.Class != c.class || got.Disposition != c.want {
				t.Errorf("got %+v, want %s %s", got, c.class, c.want)
			}
		})
	}
	svc := service()
	for _, override := range []map[string]mintmark.Disposition{{"nonsense": mintmark.Keep}, {"reissuable": mintmark.Map}} {
		if _, err := Rules(&svc, "v1", "v2", Options{Override: override}); !errors.Is(err, ErrInvalid) {
			t.Errorf("override %v: %v", override, err)
		}
	}
}

// A stable release without scopes must not make every token tainted.
func TestRulesWithoutScopes(t *testing.T) {
	svc := service()
	for i := range svc.Releases {
		svc.Releases[i].Mint.Scopes, svc.Releases[i].Mint.ForcedScopes = nil, nil
	}
	rules, err := Rules(&svc, "v1", "v2", Options{})
	if err != nil {
		t.Fatal(err)
	}
	if got := Classify(rules, &mintmark.Token{Audience: []string{"a"}}); got.Class != string(Reissuable) {
		t.Errorf("a token without scopes is %s", got.Class)
	}
}

func TestSelectors(t *testing.T) {
	svc := service()
	rules, err := Rules(&svc, "v1", "v2", Options{})
	if err != nil {
		t.Fatal(err)
	}
	got := Selectors(&svc, "v1", "v2", rules)
	want := []mintmark.Selector{{Release: "s/v2", Scope: "admin"}, {Release: "s/v2", Audience: "b"}}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	rules, _ = Rules(&svc, "v1", "v2", Options{Override: map[string]mintmark.Disposition{OverScoped: mintmark.Keep, WrongAudience: mintmark.Keep}})
	if got := Selectors(&svc, "v1", "v2", rules); len(got) != 0 {
		t.Errorf("kept classes are revoked: %v", got)
	}
}

func TestPlan(t *testing.T) {
	svc := service()
	counts := map[mintmark.ReleaseID]map[string]int64{"s/v1": {"": 7}, "s/v2": {OverScoped: 2, "reissuable": 3}}
	p, err := NewPlan(&svc, "v1", "v2", counts)
	if err != nil || !p.Safe || p.Forward[0].Tokens != 7 || p.Back[0].Tokens != 2 || p.Back[2].Tokens != 3 {
		t.Errorf("%+v, %v", p, err)
	}
	svc.OwnIssuer, svc.Issuers = false, []string{"corp"}
	if p, err = NewPlan(&svc, "v1", "v2", nil); err != nil || p.Safe {
		t.Errorf("a one-way candidate is called safe: %+v, %v", p, err)
	}
}

func TestRebase(t *testing.T) {
	r := start(t, Canary, 500)
	current, err := Service(service(), r)
	if err != nil {
		t.Fatal(err)
	}
	fresh := service()
	fresh.Routes[0].Path = "/new/*"
	got, err := Rebase(fresh, &current)
	if err != nil || !reflect.DeepEqual(got.Split, current.Split) || got.Routes[0].Path != "/new/*" {
		t.Errorf("%+v, %v", got, err)
	}
	fresh.Releases = fresh.Releases[:1]
	if _, err := Rebase(fresh, &current); !errors.Is(err, ErrIllegal) {
		t.Errorf("a release with traffic was removed: %v", err)
	}
}
