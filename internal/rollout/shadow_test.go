package rollout

import (
	"testing"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/epoch"
)

func entry(t *testing.T, svc epoch.Service) *epoch.ServiceEntry {
	t.Helper()
	m, bodies, err := epoch.Build(&svc)
	if err != nil {
		t.Fatal(err)
	}
	table, err := epoch.Compile(m, bodies)
	if err != nil {
		t.Fatal(err)
	}
	return table.Service(svc.Name)
}

// What the stable release would say of each kind of token that a candidate mints.
func TestShadowOf(t *testing.T) {
	svc := service()
	svc.Split.Candidate, svc.Split.Rollout, svc.Split.Salt = "v2", "rol_1", "x"
	good := mintmark.Token{Kind: mintmark.KindOpaque, Scopes: []string{"r"}, Audience: []string{"a"}, Mark: mintmark.Mark{Release: "s/v2"}, IssuedAt: 1000, Expires: 1300}
	for _, tt := range []struct {
		what  string
		svc   func(*epoch.Service)
		token func(*mintmark.Token)
		want  Shade
	}{
		{"what the stable release mints", nil, nil, Shade{}},
		{"over-scoped", nil, func(t *mintmark.Token) { t.Scopes = []string{"admin", "r"} }, Shade{OverScoped, true, true}},
		{"another audience beside", nil, func(t *mintmark.Token) { t.Audience = []string{"a", "b"} }, Shade{WrongAudience, true, true}},
		{"another audience alone", nil, func(t *mintmark.Token) { t.Audience = []string{"b"} }, Shade{NoAudience, true, false}},
		{"longer lived", nil, func(t *mintmark.Token) { t.Expires = 1301 }, Shade{Class: LongerLived}},
		{"no route takes its kind", func(s *epoch.Service) { s.Routes[0].Kinds = []mintmark.TokenKind{mintmark.KindAccessJWT} }, nil, Shade{NoRoute, true, false}},
		{"unreadable, and not ours to reissue", func(s *epoch.Service) { s.OwnIssuer = false }, nil, Shade{string(None), true, false}},
		{"accepted", func(s *epoch.Service) { s.OwnIssuer, s.Releases[0].Accept = false, []string{"v2"} }, nil, Shade{}},
		{"mapped", func(s *epoch.Service) { s.OwnIssuer, s.Releases[0].Maps = false, []epoch.ShapeMap{{From: "v2"}} }, nil, Shade{}},
		{"the stable release's own", nil, func(t *mintmark.Token) { t.Mark.Release, t.Scopes = "s/v1", []string{"admin"} }, Shade{}},
		{"refresh token", nil, func(t *mintmark.Token) { t.Kind, t.Scopes = mintmark.KindRefresh, []string{"admin"} }, Shade{}},
		{"no rollout", func(s *epoch.Service) { s.Split = epoch.Split{Stable: "v1"} }, func(t *mintmark.Token) { t.Scopes = []string{"admin"} }, Shade{}},
	} {
		s, tok := svc, good
		s.Releases, s.Routes = append([]epoch.Release(nil), svc.Releases...), append([]epoch.Route(nil), svc.Routes...)
		if tt.svc != nil {
			tt.svc(&s)
		}
		if tt.token != nil {
			tt.token(&tok)
		}
		if got := ShadowOf(entry(t, s), &tok); got != tt.want {
			t.Errorf("%s: %+v, want %+v", tt.what, got, tt.want)
		}
	}
}

func TestLoad(t *testing.T) {
	left := make([]int64, 1200)
	for i := range left {
		left[i] = -1
		if i%2 == 0 {
			left[i] = 30 // half of them are over after half of the window
		}
	}
	l := LoadOf(left, 10, 60)
	if l.Tokens != 12_000 || l.Curve[0] != 200_000 || l.Curve[59] != 100_000 || len(l.Curve) != 60 || l.Peak != 244 {
		t.Errorf("%+v", l)
	}
	if l := LoadOf(left[:3], 1, 0); l.Window != 1 || l.Peak != 3 || l.Curve[0] != 3000 {
		t.Errorf("all at once: %+v", l)
	}
	if l := LoadOf(nil, 1, 60); l.Tokens != 0 || l.Peak != 0 {
		t.Errorf("nothing: %+v", l)
	}
}
