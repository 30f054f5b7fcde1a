package adminapi_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/adminapi"
	"github.com/mintmark/mintmark/internal/control/controltest"
)

// ending is an authenticator whose tokens end when it is told.
type ending struct {
	auth
	over atomic.Bool
}

func (e *ending) AuthenticateClient(w http.ResponseWriter, r *http.Request) (adminapi.Caller, bool) {
	return e.Authenticate(w, r)
}

func (e *ending) Authenticate(w http.ResponseWriter, r *http.Request) (adminapi.Caller, bool) {
	c, ok := e.auth.Authenticate(w, r)
	c.Stands = func() bool { return !e.over.Load() }
	return c, ok
}

// A stream ends with the token that it was opened by.
func TestStreamEndsWithItsToken(t *testing.T) {
	w := controltest.New(t)
	who := &ending{}
	server := httptest.NewServer(adminapi.New(adminapi.Config{Control: w.Control, Auth: who, Events: w.Store, Version: "test", Poll: time.Millisecond}))
	t.Cleanup(server.Close)
	c, err := api.NewClient(api.Config{Server: server.URL, Token: mintmark.NewSecret("viewer")})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	w.Issue("shop/v1")
	late := 0
	_ = c.Events(ctx, 0, func(mintmark.Event) error {
		if who.over.Swap(true) {
			late++
		} else {
			w.Issue("shop/v1")
		}
		return nil
	})
	if ctx.Err() != nil {
		t.Error("the stream went on")
	}
	if late > 1 { // of the same batch as the first
		t.Errorf("%d events came after the token had ended", late)
	}
}
