package control_test

import (
	"errors"
	"testing"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/control"
	"github.com/mintmark/mintmark/internal/control/controltest"
)

func TestNeeds(t *testing.T) {
	w := controltest.New(t)
	ctx := t.Context()
	text := controltest.Shop
	if _, err := w.Control.Apply(ctx, "user:ada", api.ApplyRequest{Files: []api.File{{Name: "shop.yaml", Text: text}}, Wait: true}); err != nil {
		t.Fatal(err)
	}
	soon, later := time.Now().Add(time.Hour).Unix(), time.Now().Add(2*time.Hour).Unix()
	for i, exp := range []int64{soon, later, soon} {
		w.Issue("shop/v1", func(k *mintmark.Token) {
			k.Mark.Key, k.Expires, k.Client = "key_1", exp, "web"
			if i == 2 {
				k.Mark.Key = "key_2"
			}
		})
	}
	n, err := w.Control.KeyNeeds(ctx, "key_1")
	if err != nil {
		t.Fatal(err)
	}
	if n.Tokens != 2 || n.Last.Unix() != later || n.Never || len(n.By) != 1 || n.By[0].Client != "web" || n.By[0].Release != "shop/v1" {
		t.Errorf("%+v", n)
	}
	w.Later(3 * time.Hour)
	if n, err := w.Control.KeyNeeds(ctx, "key_1"); err != nil || n.Tokens != 0 || !n.Last.IsZero() {
		t.Errorf("%+v, %v", n, err)
	}
	if _, err := w.Control.IssuerNeeds(ctx, "nobody"); !errors.Is(err, control.ErrNotFound) {
		t.Errorf("an unknown issuer: %v", err)
	}
}
