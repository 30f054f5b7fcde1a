package authority_test

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/authority"
	"github.com/mintmark/mintmark/internal/ledger"
)

// What a context carries along is written with the deed and only with it.
func TestDeedsBringAlongWhatTheContextCarries(t *testing.T) {
	w := newWorld(t)
	w.client(machine())
	key, err := w.auth.CreateAPIKey(t.Context(), authority.APIKeyRequest{Name: "k", Client: "machine", Scopes: []string{"orders:read"}, Actor: "user:root"})
	must(t, err)
	for name, deed := range map[string]struct{ good, bad func(context.Context) error }{
		"client": {
			func(c context.Context) error { return w.auth.PutClient(c, authority.Client{ID: "new"}, "user:root") },
			func(c context.Context) error { return w.auth.PutClient(c, authority.Client{}, "user:root") },
		},
		"client secret": {
			func(c context.Context) error {
				_, err := w.auth.RotateClientSecret(c, "machine", 0, "user:root")
				return err
			},
			func(c context.Context) error {
				_, err := w.auth.RotateClientSecret(c, "nobody", 0, "user:root")
				return err
			},
		},
		"password": {
			func(c context.Context) error {
				return w.auth.SetPassword(c, "eve", mintmark.NewSecret("long enough"), true, "user:root")
			},
			func(c context.Context) error {
				return w.auth.SetPassword(c, "eve2", mintmark.NewSecret("long enough"), false, "user:root")
			},
		},
		"token by hand": {
			func(c context.Context) error {
				_, err := w.auth.IssueFor(c, authority.IssueRequest{Client: "machine", Scopes: []string{"orders:read"}, Actor: "user:root"})
				return err
			},
			func(c context.Context) error {
				_, err := w.auth.IssueFor(c, authority.IssueRequest{Client: "machine", Scopes: []string{"nonsense"}, Actor: "user:root"})
				return err
			},
		},
		"API key": {
			func(c context.Context) error {
				_, err := w.auth.RotateAPIKey(c, key.Token.ID, time.Hour, "user:root")
				return err
			},
			func(c context.Context) error {
				_, err := w.auth.RotateAPIKey(c, "tok_none", time.Hour, "user:root")
				return err
			},
		},
		"signing key": {
			func(c context.Context) error { _, err := w.auth.Rotate(c, "", "user:root", "drill"); return err },
			func(c context.Context) error { _, err := w.auth.Rotate(c, "none", "user:root", "drill"); return err },
		},
	} {
		for _, good := range []bool{false, true} {
			id := name
			ctx := ledger.Along(t.Context(), mintmark.Event{Stream: ledger.DocReply + "/" + id, Type: "reply.written", Data: json.RawMessage(`{}`)})
			run := deed.bad
			if good {
				run = deed.good
			}
			err := run(ctx)
			_, kept := w.store.Document(t.Context(), ledger.DocReply, id)
			if (err == nil) != good || (kept == nil) != good {
				t.Errorf("%s, to succeed %v: %v; brought along: %v", name, good, err, kept)
			}
		}
	}
	if _, err := w.auth.RotateAPIKey(t.Context(), key.Token.ID, time.Hour, "user:root"); err == nil {
		t.Error("a key that is being replaced was replaced again")
	}
}
