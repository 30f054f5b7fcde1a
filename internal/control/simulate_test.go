package control_test

import (
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/control"
	"github.com/mintmark/mintmark/internal/control/controltest"
	"github.com/mintmark/mintmark/internal/whatif"
)

// Resources are tried on what was recorded, over what is in force, and change
// nothing.
func TestSimulate(t *testing.T) {
	ring := whatif.NewRing(100, 3600)
	w := controltest.New(t, func(c *control.Config) { c.Recorded = ring })
	apply(t, w, controltest.Shop)
	now := time.Now()
	table := w.Fleet.Current().Table
	route := table.Match("GET", "", "/things/7", nil)
	tok := &mintmark.Token{
		Kind: mintmark.KindAccessJWT, Issuer: "https://auth.example", Subject: "ada", Client: "web", Scopes: []string{"shop:read"},
		Audience: []string{"https://shop.example"}, Mark: mintmark.Mark{Release: "shop/v1"}, IssuedAt: now.Unix() - 10, Expires: now.Unix() + 600,
	}
	hide := func(string) string { return "p" }
	ok := whatif.ShapeOf(route, "GET", "", route.Service.Stable, tok, 1, now, hide)
	bad := whatif.ShapeOf(route, "GET", mintmark.CodeSignature, route.Service.Stable, nil, 1, now, hide)
	ok.Weight = 40_000
	ring.Add([]whatif.Shape{ok, bad}, now.Unix())
	epoch := w.Fleet.Current().Epoch

	next := strings.Replace(controltest.Shop, "scopes: [shop:read]}", "scopes: [shop:read, shop:write]}", 1)
	service := next[strings.Index(next, "apiVersion: mintmark/v1\nkind: Service"):strings.Index(next, "---\napiVersion: mintmark/v1\nkind: Client")]
	files := []api.File{{Name: "next.yaml", Text: service}}
	s, err := w.Control.Simulate(t.Context(), api.SimulateRequest{Files: files, Recorded: "10m"})
	if err != nil {
		t.Fatal(err)
	}
	if s.Shapes != 2 || s.Requests != 41 || s.Refused != 40 || s.Assumed != 1 || len(s.Rows) != 1 || len(s.Changes) != 1 {
		t.Fatalf("%+v", s)
	}
	if r := s.Rows[0]; r.Client != "web" || r.Route != "shop/all" || r.After != "scope_insufficient" || r.Release != "shop/v1" || len(r.Sample) != 1 {
		t.Errorf("%+v", r)
	}
	if w.Fleet.Current().Epoch != epoch {
		t.Error("the simulation changed something")
	}
	same, err := w.Control.Simulate(t.Context(), api.SimulateRequest{Files: []api.File{{Name: "same.yaml", Text: controltest.Shop}}})
	if err != nil || len(same.Rows) != 0 || len(same.Changes) != 0 {
		t.Errorf("what is in force differs from itself: %+v, %v", same, err)
	}
	later := now.Add(2 * time.Hour)
	if s, err := w.Control.Simulate(t.Context(), api.SimulateRequest{Files: files, Since: &later}); err != nil || s.Shapes != 0 {
		t.Errorf("from a moment to come: %+v, %v", s, err)
	}
	for _, q := range []api.SimulateRequest{{}, {Files: files, Recorded: "-1h"}, {Files: files, Recorded: "soon"}, {Files: []api.File{{Name: "x", Text: "kind: Nope\n"}}}} {
		if _, err := w.Control.Simulate(t.Context(), q); err == nil {
			t.Errorf("%+v was simulated", q)
		}
	}
	if _, err := w.Control.Simulate(t.Context(), api.SimulateRequest{Files: files, Service: "none"}); !errors.Is(err, control.ErrNotFound) {
		t.Errorf("unknown service: %v", err)
	}
	if x, err := w.Control.RecordedRequests("", "shop"); err != nil || len(x.Records) != 2 || strings.Contains(string(x.Records[0]), url.QueryEscape("ada")) {
		t.Errorf("%s, %v", x.Records, err)
	}
}
