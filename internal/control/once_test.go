package control_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/control"
	"github.com/mintmark/mintmark/internal/control/controltest"
	"github.com/mintmark/mintmark/internal/ledger"
)

func alreadyDone(t *testing.T, err error, fix string) {
	t.Helper()
	var p *api.Problem
	if !errors.As(err, &p) || p.Code != api.CodeShown || !strings.Contains(p.Fix, fix) {
		t.Errorf("got %v, want %s with %q to do", err, api.CodeShown, fix)
	}
}

// A deed without a row uses the key up in its own transaction: whoever asks again
// after control died in between does not repeat it, and is told so.
func TestDeedsWithoutARowAreDoneOnce(t *testing.T) {
	w := controltest.New(t)
	died := errors.New("died before the answer was stored")
	n := 0
	deed := func(ctx context.Context) (*api.ClientAnswer, error) {
		n++
		b := ledger.Batch{Events: []mintmark.Event{{Stream: "client/shop", Type: "client.written", Data: []byte(`{"id":"shop"}`)}}}
		if _, err := w.Ledger.Append(ctx, b.With(ctx)); err != nil {
			return nil, err
		}
		return nil, died
	}
	for range 3 {
		_, err := control.Once(t.Context(), w.Control, op, "key", "createClient", "shop", deed)
		if n == 1 && errors.Is(err, died) {
			continue
		}
		alreadyDone(t, err, "rotate")
	}
	if n != 1 {
		t.Errorf("done %d times", n)
	}
	// What failed before its deed is not done, and its key is free.
	if _, err := control.Once(t.Context(), w.Control, op, "other", "createClient", "shop", func(context.Context) (*api.ClientAnswer, error) { return nil, died }); !errors.Is(err, died) {
		t.Fatal(err)
	}
	got, err := control.Once(t.Context(), w.Control, op, "other", "createClient", "shop", func(context.Context) (*api.ClientAnswer, error) {
		return &api.ClientAnswer{Client: api.OAuthClient{ID: "shop"}, Secret: "mms_x"}, nil
	})
	if err != nil || got.Secret == "" {
		t.Fatalf("%+v, %v", got, err)
	}
	_, err = control.Once(t.Context(), w.Control, op, "other", "createClient", "shop", deed)
	alreadyDone(t, err, "mintmark client rotate-secret shop")
	if doc := replies(t, w); strings.Contains(doc, "mms_x") {
		t.Errorf("a secret was written down: %s", doc)
	}
}

func replies(t *testing.T, w *controltest.World) string {
	t.Helper()
	docs, err := w.Store.Documents(t.Context(), ledger.DocReply, "", 100)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, d := range docs {
		b.Write(d.Body)
	}
	return b.String()
}

// Secrets that an apply made are shown once, also where control died before it
// could show them: asked again it says whose are to be replaced.
func TestAppliedSecretsAreNotShownAgain(t *testing.T) {
	const head = "apiVersion: mintmark/v1\n"
	client := head + "kind: Client\nname: batch\nauth: client_secret_basic\ngrants: [client_credentials]\n"
	for name, text := range map[string]string{"with a row": controltest.Shop + "---\n" + client, "without": client} {
		for _, dies := range []bool{false, true} {
			w := controltest.New(t)
			r := api.ApplyRequest{Files: []api.File{{Text: text}}}
			died := errors.New("died")
			apply := func(dies bool) func(ctx context.Context) (*api.ApplyAnswer, error) {
				return func(ctx context.Context) (*api.ApplyAnswer, error) {
					a, err := w.Control.Apply(ctx, op, r)
					if err == nil && a.Secrets["batch"] == "" {
						t.Errorf("%s: no secret in %+v", name, a)
					}
					if err == nil && dies {
						err = died
					}
					return a, err
				}
			}
			if _, err := control.Once(t.Context(), w.Control, op, "key", "apply", r, apply(dies)); err != nil && !(dies && errors.Is(err, died)) {
				t.Fatalf("%s: %v", name, err)
			}
			_, err := control.Once(t.Context(), w.Control, op, "key", "apply", r, apply(false))
			alreadyDone(t, err, "mintmark client rotate-secret batch")
		}
	}
}
