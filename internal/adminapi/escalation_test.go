package adminapi_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/adminapi"
	"github.com/mintmark/mintmark/internal/authority"
	"github.com/mintmark/mintmark/internal/control"
	"github.com/mintmark/mintmark/internal/control/controltest"
	"github.com/mintmark/mintmark/internal/ledger"
)

// accounts notes what was asked of it.
type accounts struct{ calls []string }

func (a *accounts) CreateClient(_ context.Context, _ string, r api.OAuthClient) (*api.ClientAnswer, error) {
	a.calls = append(a.calls, "create "+string(r.ID))
	return &api.ClientAnswer{Client: r, Secret: "mms_x"}, nil
}

func (a *accounts) RotateClientSecret(_ context.Context, _ string, id mintmark.ClientID, _ api.RotateRequest) (*api.ClientAnswer, error) {
	a.calls = append(a.calls, "rotate "+string(id))
	return &api.ClientAnswer{Secret: "mms_x"}, nil
}

func (a *accounts) DisableClient(context.Context, string, mintmark.ClientID) error { return nil }

func (a *accounts) PutUser(context.Context, string, api.UserRequest) (*api.User, error) {
	return &api.User{}, nil
}

func forbidden(err error) bool {
	var p *api.Problem
	return errors.As(err, &p) && p.Code == api.CodeForbidden
}

// An operator writes clients, users and services; none of it may make him, or
// anybody, an administrator.
func TestOperatorCannotMakeAdministrators(t *testing.T) {
	w, _, _ := serve(t)
	acc := &accounts{}
	s := adminapi.New(adminapi.Config{Control: w.Control, Auth: auth{}, Accounts: acc, Version: "test"})
	as := func(role string) *api.Client {
		c, err := api.NewClient(api.Config{Server: "http://control", Token: mintmark.NewSecret(role), HTTP: &http.Client{Transport: direct{s}}})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	root, err := json.Marshal(map[string]any{"id": "root", "scopes": []string{"admin:admin"}, "secrets": []any{map[string]string{"hash": "eA=="}}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Ledger.Append(t.Context(), ledger.Batch{Events: []mintmark.Event{{Stream: "client/root", Type: "client.registered", Data: root}}}); err != nil {
		t.Fatal(err)
	}
	const head = "apiVersion: mintmark/v1\n"
	apply := func(text string) func(*api.Client) error {
		return func(c *api.Client) error {
			_, err := c.Apply(t.Context(), api.ApplyRequest{Files: []api.File{{Name: "x.yaml", Text: head + text}}})
			return err
		}
	}
	for _, try := range []struct {
		name string
		do   func(*api.Client) error
	}{
		{"create a client", func(c *api.Client) error {
			_, err := c.CreateClient(t.Context(), api.OAuthClient{ID: "mine", Auth: "client_secret_basic", Scopes: []string{"admin:viewer"}})
			return err
		}},
		{"take over the client", func(c *api.Client) error {
			_, err := c.CreateClient(t.Context(), api.OAuthClient{ID: "root", Auth: "client_secret_basic", Scopes: []string{"shop:read"}})
			return err
		}},
		{"replace its secret", func(c *api.Client) error {
			_, err := c.RotateClientSecret(t.Context(), "root", api.RotateRequest{})
			return err
		}},
		{"declare a client", apply("kind: Client\nname: mine\nauth: client_secret_basic\ngrants: [client_credentials]\nscopes: [admin:admin]\n")},
		{"declare over it", apply("kind: Client\nname: root\nauth: client_secret_basic\ngrants: [client_credentials]\nscopes: [shop:read]\n")},
		{"give a user a role", apply("kind: User\nname: eve\nclaims: {mintmark_roles: [admin]}\n")},
	} {
		if err := try.do(as("operator")); !forbidden(err) {
			t.Errorf("an operator may %s: %v", try.name, err)
		}
		if err := try.do(as("admin")); err != nil {
			t.Errorf("an admin may not %s: %v", try.name, err)
		}
	}
	if len(acc.calls) != 3 {
		t.Errorf("done: %v", acc.calls)
	}
	if _, err := as("operator").CreateClient(t.Context(), api.OAuthClient{ID: "shop", Scopes: []string{"shop:read"}}); err != nil {
		t.Errorf("an operator may not make a client: %v", err)
	}
	for name, text := range map[string]string{
		"service": strings.ReplaceAll(strings.TrimPrefix(controltest.Shop, head), "name: shop\nhosts", "name: mintmark-admin\nhosts"),
		"subject": "kind: User\nname: eve2\nsub: eve\n",
	} {
		if name == "service" && !strings.Contains(text, "mintmark-admin") {
			text = "kind: Service\nname: mintmark-admin\naudience: [x]\nroutes: [{name: a, path: /*}]\n"
		}
		if err := apply(text)(as("admin")); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
	if !slices.Equal(control.AdminScopes, authority.AdminScopes()) {
		t.Error("control and authority disagree on the admin scopes")
	}
}

// direct calls a handler without a network.
type direct struct{ h http.Handler }

func recorder() *httptest.ResponseRecorder { return httptest.NewRecorder() }

func (d direct) RoundTrip(r *http.Request) (*http.Response, error) {
	w := recorder()
	d.h.ServeHTTP(w, r)
	return w.Result(), nil
}
