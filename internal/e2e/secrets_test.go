package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/demo"
)

// TestNothingSecretIsTold lets clients use values in every right and wrong way,
// with logs at their loudest and every request traced, and then looks for those
// values in all that the processes wrote or said: logs, data, metrics, traces.
func TestNothingSecretIsTold(t *testing.T) {
	told := new(collector)
	otlp := httptest.NewServer(told)
	defer otlp.Close()
	t.Setenv("MINTMARK_LOG_LEVEL", "debug")
	t.Setenv("MINTMARK_LOG_ACCESS", "true")
	t.Setenv("MINTMARK_OTLP_ENDPOINT", otlp.URL)
	t.Setenv("MINTMARK_OTLP_SAMPLE_PER_MILLE", "1000")
	w := newWorld(t, worldOptions{People: 2, Machines: 1, APIKeys: 1})
	secrets := w.useSecrets()
	if len(secrets) < 10 {
		t.Fatalf("only %d secrets were in use", len(secrets))
	}
	w.eventually(30*time.Second, "traces", func() error {
		if told.size("/v1/traces") == 0 {
			return errors.New("none came")
		}
		return nil
	})
	for _, p := range w.Processes() {
		res, err := w.http.Get(strings.TrimSuffix(p.Ready, "/readyz") + "/metrics")
		must(t, err)
		text, err := io.ReadAll(res.Body)
		res.Body.Close()
		must(t, err)
		lintExposition(t, p.Name, text)
		told.ServeHTTP(nil, &http.Request{URL: &url.URL{Path: p.Name + " /metrics"}, Body: io.NopCloser(bytes.NewReader(text))})
	}
	for _, p := range w.Processes() {
		p.Stop()
	}
	must(t, filepath.WalkDir(w.dir, func(name string, d fs.DirEntry, err error) error {
		// What people keep their own secrets in is not the product's telling.
		if err != nil || !d.Type().IsRegular() || d.Name() == "operator.json" || strings.HasSuffix(name, ".join") {
			return err
		}
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		told.ServeHTTP(nil, &http.Request{URL: &url.URL{Path: name}, Body: f})
		return nil
	}))
	for _, want := range []string{"control.log", "gw-a.log", "ledger.db", "gateway.db", "/metrics", "/v1/traces"} {
		if told.size(want) == 0 {
			t.Errorf("nothing was looked at of %s: the test proves nothing", want)
		}
	}
	if !told.holds(`"msg":"request"`) || !told.holds("mintmark_gateway_validated_total{") {
		t.Error("no request was logged or counted: the test proves nothing")
	}
	for what, value := range secrets {
		for _, place := range told.find(value) {
			t.Errorf("%s is told in %s", what, place)
		}
	}
}

// useSecrets uses tokens, keys and passwords as clients do, and as they should
// not, and returns all of them.
func (w *world) useSecrets() map[string]string {
	t, ctx := w.t, w.ctx
	t.Helper()
	admin, err := w.Admin(ctx)
	must(t, err)
	secrets := map[string]string{"canary": "canaryCANARYcanaryCANARYcanary"}
	ann := demo.Person{Name: "ann", Password: "correct horse battery CANARY staple"}
	_, err = admin.PutUser(ctx, api.UserRequest{User: api.User{Name: ann.Name}, Password: ann.Password})
	must(t, err)
	secrets["password"] = ann.Password
	user, err := w.vault.Person(ctx, vaultWeb, vaultRedirect, vaultScope, ann)
	must(t, err)
	secrets["access token"], secrets["refresh token"] = user.Access, user.Refresh
	secrets["signature"] = user.Access[strings.LastIndexByte(user.Access, '.')+1:]
	next, err := w.vault.Refresh(ctx, vaultWeb, user.Refresh)
	must(t, err)
	secrets["second refresh token"], secrets["second access token"] = next.Refresh, next.Access
	machine := w.mint(0)
	secrets["machine's token"], secrets["client secret"] = machine.Access, w.clients[0].Secret
	key, err := admin.CreateAPIKey(ctx, api.APIKeyRequest{Name: "k", Owner: "partner", Client: vaultWeb, Audience: []string{vaultAudience}, Scopes: []string{vaultScope}})
	must(t, err)
	secrets["API key"] = key.Value
	rotated, err := admin.RotateClientSecret(api.WithKey(ctx, newKey()), "vault-001", api.RotateRequest{Overlap: "1h"})
	must(t, err)
	secrets["rotated client secret"] = rotated.Secret
	invited, err := admin.JoinToken(ctx, api.JoinTokenRequest{Gateway: "gw-z"})
	must(t, err)
	secrets["join token"] = invited.Value
	for _, entry := range w.Entries() {
		for what, value := range secrets {
			w.misuse(entry, value)
			if what == "API key" || strings.HasSuffix(what, "access token") {
				if s := w.present(ctx, 0, "/vault/x", value); what != "API key" && !s.admitted() {
					t.Errorf("%s is refused: %s", what, s)
				}
			}
		}
	}
	for _, value := range secrets {
		w.misuseAuthority(value)
	}
	wrong, cancel := context.WithTimeout(ctx, 5*time.Second)
	_, err = w.vault.Person(wrong, vaultWeb, vaultRedirect, vaultScope, demo.Person{Name: "user-000", Password: secrets["canary"]})
	cancel()
	if err == nil {
		t.Error("a wrong password signs in")
	}
	// A re-use after grace kills the family; the access token is refused from then on.
	w.eventually(20*time.Second, "the re-use to be noticed", func() error {
		_, err := w.vault.Refresh(ctx, vaultWeb, user.Refresh)
		var refused *demo.Refused
		if !errors.As(err, &refused) {
			return fmt.Errorf("the old refresh token still works: %w", err)
		}
		return nil
	})
	_, err = w.revoke("client=vault-000", "revoke")
	must(t, err)
	w.everywhere("after the revocation", machine.Access, "token_revoked")
	// What was refused last has come to the ledger: so has all before.
	jti := mintmark.TokenID(claim(t, machine.Access, "jti"))
	w.eventually(30*time.Second, "the refusals to come to the ledger", func() error {
		got, err := admin.Token(ctx, jti)
		if err == nil && got.Refused == 0 {
			err = errors.New("none is counted")
		}
		return err
	})
	return secrets
}

// misuse puts a value everywhere that a request has.
func (w *world) misuse(entry, value string) {
	for _, change := range []func(r *http.Request){
		func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+value) },
		func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+value+"x") },
		func(r *http.Request) { r.Header.Set("Authorization", "DPoP "+value) },
		func(r *http.Request) { r.Header.Set("Authorization", value) },
		func(r *http.Request) { r.SetBasicAuth("vault-000", value) },
		func(r *http.Request) { r.Header.Set("X-Api-Key", value) },
		func(r *http.Request) { r.Header.Set("Dpop", value) },
		func(r *http.Request) { r.Header.Set("Cookie", "session="+value) },
		func(r *http.Request) { r.URL.RawQuery = url.Values{"access_token": {value}}.Encode() },
		func(r *http.Request) { r.Header.Set("Traceparent", value); r.Header.Set("Tracestate", "x="+value) },
	} {
		r, err := http.NewRequestWithContext(w.ctx, http.MethodGet, entry+"/vault/x", nil)
		must(w.t, err)
		change(r)
		if res, err := w.http.Do(r); err == nil {
			_, _ = io.Copy(io.Discard, res.Body)
			res.Body.Close()
		}
	}
}

// misuseAuthority sends a value as every secret that the OAuth endpoints take.
func (w *world) misuseAuthority(value string) {
	for _, form := range []url.Values{
		{"grant_type": {"client_credentials"}, "client_id": {"vault-002"}, "client_secret": {value}},
		{"grant_type": {"refresh_token"}, "client_id": {vaultWeb}, "refresh_token": {value + "x"}},
		{"grant_type": {"authorization_code"}, "client_id": {vaultWeb}, "code": {value}, "code_verifier": {value}, "redirect_uri": {vaultRedirect}},
		{"grant_type": {"urn:ietf:params:oauth:grant-type:jwt-bearer"}, "client_id": {vaultWeb}, "assertion": {value}},
	} {
		for _, path := range []string{"/token", "/introspect"} {
			form.Set("token", value+"y")
			res, err := w.http.PostForm(w.Issuer()+path, form)
			if err == nil {
				_, _ = io.Copy(io.Discard, res.Body)
				res.Body.Close()
			}
		}
	}
}

// collector keeps what was told, by where: bodies posted to it as a trace
// collector, and whatever else it is handed as a request.
type collector struct {
	mu    sync.Mutex
	texts map[string][]byte // guarded by mu
}

// ServeHTTP implements http.Handler.
func (c *collector) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	b, _ := io.ReadAll(r.Body)
	r.Body.Close()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.texts == nil {
		c.texts = map[string][]byte{}
	}
	c.texts[r.URL.Path] = append(c.texts[r.URL.Path], b...)
}

// size is how much was told at places whose name holds a text.
func (c *collector) size(name string) (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for place, b := range c.texts {
		if strings.Contains(place, name) {
			n += len(b)
		}
	}
	return n
}

func (c *collector) holds(text string) bool { return len(c.find(text)) > 0 }

// find returns the places where a value was told, as it is or escaped for a URL.
func (c *collector) find(value string) (places []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for place, b := range c.texts {
		if bytes.Contains(b, []byte(value)) || bytes.Contains(b, []byte(url.QueryEscape(value))) {
			places = append(places, place)
		}
	}
	return places
}
