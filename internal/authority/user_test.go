package authority_test

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/authority"
	"github.com/mintmark/mintmark/internal/ledger"
)

// What is said of a user is kept, and what is not said stays.
func TestChangeUser(t *testing.T) {
	w := newWorld(t)
	change := func(to authority.UserChange) error {
		return w.auth.ChangeUser(t.Context(), "eve", to, true, "user:root")
	}
	secret := mintmark.NewSecret("long enough")
	for name, to := range map[string]authority.UserChange{
		"nothing":           {},
		"no password":       {Email: "eve@example.com"},
		"short password":    {Password: mintmark.NewSecret("short")},
		"no e-mail address": {Password: secret, Email: "eve"},
		"a line more":       {Password: secret, Email: "eve@example.com\nbcc: all@example.com"},
		"no such role":      {Password: secret, Roles: []string{"root"}},
	} {
		if err := change(to); !errors.Is(err, authority.ErrRequest) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := w.store.Document(t.Context(), ledger.DocUser, "eve"); !errors.Is(err, ledger.ErrNotFound) {
		t.Fatalf("a refused request made a user: %v", err)
	}
	must(t, change(authority.UserChange{Password: secret, Email: "eve@example.com", Roles: []string{"viewer", "operator"}}))
	must(t, change(authority.UserChange{Roles: []string{"viewer"}}))
	doc, err := w.store.Document(t.Context(), ledger.DocUser, "eve")
	must(t, err)
	var u authority.User
	must(t, json.Unmarshal(doc.Body, &u))
	if string(u.Claims["email"]) != `"eve@example.com"` || string(u.Claims["mintmark_roles"]) != `["viewer"]` || u.Password == "" {
		t.Errorf("kept: %+v", u)
	}
}
