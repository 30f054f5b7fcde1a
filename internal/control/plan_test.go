package control_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/control"
	"github.com/mintmark/mintmark/internal/control/controltest"
	"github.com/mintmark/mintmark/internal/rollout"
)

// A plan names who would be hit, and what would have to be reissued.
func TestPlanNamesWhoIsHit(t *testing.T) {
	w := controltest.New(t)
	apply(t, w, strings.Replace(controltest.Shop, "accept: [v2]", "", 1))
	w.Issue("shop/v1")
	good := w.Issue("shop/v2")
	w.Issue("shop/v2", func(t *mintmark.Token) { t.Client = "other" })
	bad := w.Issue("shop/v2", func(t *mintmark.Token) { t.Scopes = []string{"shop:admin", "shop:read"} })
	p, err := w.Control.Plan(t.Context(), "shop", "v2")
	if err != nil {
		t.Fatal(err)
	}
	if !p.Safe || p.Tainted != 1 || p.Stranded != (api.PlanCount{}) || !p.Applied {
		t.Errorf("%+v", p)
	}
	if p.Load == nil || p.Load.Tokens != 2 || p.Load.WindowSeconds != 60 {
		t.Errorf("load: %+v", p.Load)
	}
	want := []api.PlanHit{
		{Direction: "back", Client: "other", Class: "reissuable", Disposition: mintmark.Reissue, Tokens: 1},
		{Direction: "back", Client: "web", Class: "over_scoped", Disposition: mintmark.Revoke, Tokens: 1},
		{Direction: "back", Client: "web", Class: "reissuable", Disposition: mintmark.Reissue, Tokens: 1},
	}
	if len(p.Hit) != len(want) {
		t.Fatalf("hit: %+v", p.Hit)
	}
	for i := range want {
		if p.Hit[i] != want[i] {
			t.Errorf("hit %d: %+v, want %+v", i, p.Hit[i], want[i])
		}
	}
	for _, l := range p.Back {
		switch {
		case l.Class == "over_scoped" && (len(l.Sample) != 1 || l.Sample[0] != bad):
			t.Errorf("sample: %v", l.Sample)
		case l.Class == "reissuable" && (len(l.Sample) != 2 || l.Sample[0] != good && l.Sample[1] != good):
			t.Errorf("sample: %v", l.Sample)
		}
	}
}

// A file that is not applied is planned for as if it were, and nothing changes;
// applied, it gives the same digest.
func TestPlanOfAFile(t *testing.T) {
	w := controltest.New(t)
	apply(t, w, controltest.Shop)
	epoch := w.Fleet.Current().Epoch
	next := api.File{Name: "v3.yaml", Text: "apiVersion: mintmark/v1\nkind: Release\nname: shop/v3\npolicy: shop\nupstreams: [{url: \"http://127.0.0.1:9003\"}]\n"}
	p, err := w.Control.Plan(t.Context(), "shop", "v3", next)
	if err != nil {
		t.Fatal(err)
	}
	if p.Applied || p.Candidate != "v3" || w.Fleet.Current().Epoch != epoch {
		t.Errorf("%+v at epoch %d", p, w.Fleet.Current().Epoch)
	}
	if _, err := w.Control.Plan(t.Context(), "shop", "v3"); !errors.Is(err, rollout.ErrInvalid) {
		t.Errorf("a plan of a file left the release behind: %v", err)
	}
	apply(t, w, next.Text)
	after, err := w.Control.Plan(t.Context(), "shop", "v3")
	if err != nil || after.Digest != p.Digest {
		t.Errorf("%v; basis before %v, after %v", err, p.Basis, after.Basis)
	}
	if _, err := w.Control.StartRollout(t.Context(), "user:op", api.RolloutRequest{Service: "shop", Candidate: "v3", Resources: []api.File{next}}); !errors.Is(err, control.ErrInvalid) {
		t.Errorf("started with files: %v", err)
	}
	if _, err := w.Control.Plan(t.Context(), "shop", "v3", api.File{Name: "x", Text: "kind: Nothing\n"}); err == nil {
		t.Error("a bad file was planned for")
	}
}

// What the candidate minted and the stable release would not go on with is listed
// while the rollout is open.
func TestStranded(t *testing.T) {
	w := controltest.New(t)
	apply(t, w, controltest.Shop)
	a, err := w.Control.StartRollout(t.Context(), "user:op", api.RolloutRequest{Service: "shop", Candidate: "v2", Strategy: "canary", Weight: "10"})
	if err != nil {
		t.Fatal(err)
	}
	w.Issue("shop/v2", func(t *mintmark.Token) { t.Expires = t.IssuedAt + 60 })
	w.Issue("shop/v1", func(t *mintmark.Token) { t.Scopes = []string{"shop:admin"} })
	bad := w.Issue("shop/v2", func(t *mintmark.Token) { t.Scopes, t.Expires = []string{"shop:admin"}, t.IssuedAt+60 })
	lost := w.Issue("shop/v2", func(t *mintmark.Token) { t.Audience, t.Expires = []string{"https://else.example"}, t.IssuedAt+60 })
	s, err := w.Control.Stranded(t.Context(), string(a.Rollout.ID))
	if err != nil {
		t.Fatal(err)
	}
	if s.Judged != 3 || len(s.Tokens) != 2 || s.Classes["over_scoped"] != 1 || s.Classes["no_audience"] != 1 {
		t.Fatalf("%+v", s)
	}
	for _, tok := range s.Tokens {
		if tok.ID != bad && tok.ID != lost || !tok.Stranded || tok.Tainted != (tok.ID == bad) {
			t.Errorf("%+v", tok)
		}
	}
	if _, err := w.Control.Stranded(t.Context(), "rol_none"); !errors.Is(err, control.ErrNotFound) {
		t.Errorf("an unknown rollout: %v", err)
	}
}
