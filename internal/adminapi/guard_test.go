package adminapi_test

import (
	"context"
	"net/http"
	"slices"
	"testing"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/adminapi"
)

// deeds notes clients that were disabled and keys that were killed.
type deeds struct {
	accounts
	adminapi.SigningKeys
}

func (d *deeds) Keys(context.Context) (*api.Keys, error) {
	return &api.Keys{Keys: []api.Key{{ID: "k1", State: "active"}}}, nil
}

func (d *deeds) KillKey(_ context.Context, _, kid string, _ api.KeyRequest) (*api.KeyAnswer, error) {
	d.calls = append(d.calls, "kill "+kid)
	return &api.KeyAnswer{Key: api.Key{ID: kid, State: "killed"}}, nil
}

func (d *deeds) DisableClient(_ context.Context, _ string, id mintmark.ClientID) error {
	d.calls = append(d.calls, "disable "+string(id))
	return nil
}

// A guard that wants a second person for broad revocations is not passed by what
// revokes as broadly by another name.
func TestDeedsWaitForTheSecondPerson(t *testing.T) {
	w, _, _ := serve(t)
	d := &deeds{}
	s := adminapi.New(adminapi.Config{Control: w.Control, Auth: auth{}, Accounts: d, Keys: d, Version: "test"})
	as := func(role string) *api.Client {
		c, err := api.NewClient(api.Config{Server: "http://control", Token: mintmark.NewSecret(role), HTTP: &http.Client{Transport: direct{s}}})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	ctx := t.Context()
	declare := func(text string) {
		t.Helper()
		if _, err := w.Control.Apply(ctx, "user:root", api.ApplyRequest{Files: []api.File{{Name: "x.yaml", Text: text}}}); err != nil {
			t.Fatal(err)
		}
	}
	const guard = "apiVersion: mintmark/v1\nkind: Guard\nname: guard\nsecond_person: broad\n"
	declare("apiVersion: mintmark/v1\nkind: Client\nname: shop\ngrants: [client_credentials]\nauth: client_secret_basic\n")
	declare(guard)
	kill := api.KeyRequest{Reason: "leaked", Confirm: "k1"}
	k, err := as("security").KillKey(ctx, "k1", kill)
	if err != nil || k.Pending == nil || k.Receipt != nil || k.Key.State != "active" || k.Pending.Selector != "key=k1" {
		t.Errorf("kill: %+v, %v", k, err)
	}
	c, err := as("operator").DisableClient(ctx, "shop", api.DisableRequest{Reason: "leaked"})
	if err != nil || c.Pending == nil || c.Receipt != nil || c.Pending.Selector != "client=shop" {
		t.Errorf("disable: %+v, %v", c, err)
	}
	if _, err := as("operator").DisableClient(ctx, "shop", api.DisableRequest{BreakGlass: true}); !forbidden(err) {
		t.Errorf("an operator broke the glass: %v", err)
	}
	if _, err := as("security").DisableClient(ctx, "nobody", api.DisableRequest{}); err == nil {
		t.Error("a client that is not there waits for a second person")
	}
	if len(d.calls) > 0 {
		t.Fatalf("done without a second person: %v", d.calls)
	}
	declare(guard + "break_glass: true\n")
	kill.BreakGlass = true
	if k, err = as("security").KillKey(ctx, "k1", kill); err != nil || k.Receipt == nil || !k.Receipt.BreakGlass || k.Key.State != "killed" {
		t.Errorf("kill, broken: %+v, %v", k, err)
	}
	if c, err = as("security").DisableClient(ctx, "shop", api.DisableRequest{BreakGlass: true}); err != nil || c.Receipt == nil || !c.Receipt.BreakGlass {
		t.Errorf("disable, broken: %+v, %v", c, err)
	}
	if want := []string{"kill k1", "disable shop"}; !slices.Equal(d.calls, want) {
		t.Errorf("done: %v, want %v", d.calls, want)
	}
}

// A declared user is changed where it is declared.
func TestDeclaredUserIsNotChangedBesideIt(t *testing.T) {
	w, _, _ := serve(t)
	s := adminapi.New(adminapi.Config{Control: w.Control, Auth: auth{}, Accounts: &accounts{}, Version: "test"})
	c, err := api.NewClient(api.Config{Server: "http://control", Token: mintmark.NewSecret("admin"), HTTP: &http.Client{Transport: direct{s}}})
	if err != nil {
		t.Fatal(err)
	}
	text := "apiVersion: mintmark/v1\nkind: User\nname: ann\nclaims: {email: ann@example.com}\n"
	if _, err := w.Control.Apply(t.Context(), "user:root", api.ApplyRequest{Files: []api.File{{Name: "u.yaml", Text: text}}}); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"ann": false, "bob": true} {
		for what, u := range map[string]api.User{"email": {Name: name, Email: "x@example.com"}, "roles": {Name: name, Roles: []string{"viewer"}}} {
			if _, err := c.PutUser(t.Context(), api.UserRequest{User: u}); (err == nil) != want {
				t.Errorf("%s of %s: %v", what, name, err)
			}
		}
		if _, err := c.PutUser(t.Context(), api.UserRequest{User: api.User{Name: name}, Password: "long enough"}); err != nil {
			t.Errorf("password of %s: %v", name, err)
		}
	}
}
