package federation

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/bus"
	"github.com/mintmark/mintmark/internal/epoch"
	"github.com/mintmark/mintmark/internal/jose"
	"github.com/mintmark/mintmark/internal/web"
)

const iss = "https://idp.example/tenant"

// world is an issuer, and control as far as Federation sees it.
type world struct {
	mu        sync.Mutex
	calls     map[string]int
	respond   func(r *http.Request) (int, string, error)
	header    http.Header
	published []epoch.Issuers
	refuse    error
}

func (w *world) Do(ctx context.Context, r *http.Request) (web.Answer, error) {
	w.mu.Lock()
	w.calls[r.URL.Path]++
	respond, header := w.respond, w.header
	w.mu.Unlock()
	status, body, err := respond(r)
	return web.Answer{Status: status, Header: header, Body: []byte(body)}, err
}

func (w *world) publish(_ context.Context, part epoch.Issuers) (uint64, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.refuse != nil {
		return 0, w.refuse
	}
	w.published = append(w.published, part)
	return uint64(len(w.published)), nil
}

func (w *world) count(path string) int { w.mu.Lock(); defer w.mu.Unlock(); return w.calls[path] }

func (w *world) publications() int { w.mu.Lock(); defer w.mu.Unlock(); return len(w.published) }

func (w *world) last() []epoch.Key {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.published) == 0 {
		return nil
	}
	return w.published[len(w.published)-1].Issuers[0].Keys
}

// serve answers discovery and the given key set.
func (w *world) serve(keys string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.respond = func(r *http.Request) (int, string, error) {
		switch r.URL.Path {
		case "/tenant/.well-known/openid-configuration":
			return 200, `{"issuer":"` + iss + `","jwks_uri":"https://idp.example/keys"}`, nil
		case "/keys":
			return 200, keys, nil
		}
		return 404, "", nil
	}
}

func (w *world) fail(respond func(r *http.Request) (int, string, error)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.respond = respond
}

func key(t testing.TB, kid string) *jose.Key {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	j, err := jose.NewKey(kid, jose.ES256, &k.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func set(keys ...*jose.Key) string { return string(jose.PrintSet(keys)) }

func start(t *testing.T, w *world, i Issuer, last epoch.Issuers) *Federation {
	t.Helper()
	w.calls, w.header = map[string]int{}, http.Header{"Cache-Control": {"public, max-age=600"}}
	f := New(Config{Egress: w, Publish: w.publish, Head: func() uint64 { return 42 }, Now: time.Now, Log: slog.New(slog.DiscardHandler)})
	if err := f.Set([]Issuer{i}, last); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); _ = f.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return f
}

func discovered() Issuer {
	return Issuer{Part: epoch.Issuer{Name: "idp", Issuer: iss, MaxAge: 86400}, Discovery: true}
}

func TestRotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := key(t, "a"), key(t, "b")
		w := &world{}
		w.serve(set(a))
		f := start(t, w, discovered(), epoch.Issuers{})
		synctest.Wait()
		if got := w.last(); len(got) != 1 || got[0].ID != "a" || got[0].Alg != "ES256" {
			t.Fatalf("published %+v", got)
		}
		// A new kid within the cooldown is not asked for, and so its state is unknown;
		// after it, once.
		w.serve(set(a, b))
		if err := f.Refresh(t.Context(), "idp", "b"); !errors.Is(err, ErrUnavailable) || w.count("/keys") != 1 {
			t.Errorf("%v after %d fetches", err, w.count("/keys"))
		}
		time.Sleep(Cooldown)
		if r := f.RefreshKeys(t.Context(), bus.KeyRequest{V: 1, Issuer: "idp", KeyID: "b"}); r.Error != "" || r.AsOf != 42 {
			t.Errorf("%+v", r)
		}
		if got := w.last(); len(got) != 2 || w.count("/keys") != 2 {
			t.Errorf("published %+v after %d fetches", got, w.count("/keys"))
		}
		// Confirmed by the timer, unchanged: no new epoch for hours, and then one.
		before := w.publications()
		time.Sleep(5 * time.Hour)
		if w.publications() != before || w.count("/keys") < 25 {
			t.Errorf("%d publications, %d fetches", w.publications()-before, w.count("/keys"))
		}
		time.Sleep(2 * time.Hour)
		if w.publications() != before+1 {
			t.Errorf("age was confirmed %d times", w.publications()-before)
		}
	})
}

func TestFloodOfUnknownKids(t *testing.T) {
	for name, keys := range map[string]string{"empty set": `{"keys":[]}`, "full set": set(key(t, "a"))} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := &world{}
				w.serve(keys)
				f := start(t, w, discovered(), epoch.Issuers{})
				for round := range 10 {
					var all sync.WaitGroup
					for n := range 100 {
						all.Go(func() { _ = f.Refresh(t.Context(), "idp", fmt.Sprintf("%d-%d", round, n)) })
					}
					all.Wait()
					time.Sleep(10 * time.Second)
				}
				if got := w.count("/keys"); got < 2 || got > 4 {
					t.Errorf("%d fetches in 100 s", got)
				}
				if n := len(f.source("idp").negative); n > negativeMax {
					t.Errorf("%d kids remembered", n)
				}
				// The same missing kid again: not even after the cooldown.
				if name == "full set" {
					time.Sleep(Cooldown)
					_ = f.Refresh(t.Context(), "idp", "gone")
					before := w.count("/keys")
					time.Sleep(Cooldown)
					if err := f.Refresh(t.Context(), "idp", "gone"); err != nil || w.count("/keys") != before {
						t.Errorf("%v, %d fetches more", err, w.count("/keys")-before)
					}
				}
			})
		})
	}
}

// TestBadAnswersKeepTheKeys: absence of information revokes nothing.
func TestBadAnswersKeepTheKeys(t *testing.T) {
	a := key(t, "a")
	for name, respond := range map[string]func(r *http.Request) (int, string, error){
		"down":  func(*http.Request) (int, string, error) { return 0, "", errors.New("refused") },
		"500":   func(*http.Request) (int, string, error) { return 500, set(a), nil },
		"html":  func(*http.Request) (int, string, error) { return 200, "<html>", nil },
		"empty": func(*http.Request) (int, string, error) { return 200, "", nil },
		"other issuer": func(*http.Request) (int, string, error) {
			return 200, `{"issuer":"https://evil.example","jwks_uri":"https://idp.example/keys"}`, nil
		},
		"http jwks_uri": func(*http.Request) (int, string, error) {
			return 200, `{"issuer":"` + iss + `","jwks_uri":"http://169.254.169.254/keys"}`, nil
		},
	} {
		t.Run(name, func(t *testing.T) { bad(t, a, func(w *world) { w.fail(respond) }) })
	}
	for name, keys := range map[string]string{
		"empty set": `{"keys":[]}`, "swapped": set(key(t, "a")), "duplicate kid": set(a, key(t, "a")), "only foreign": `{"keys":[{"kty":"oct","k":"AA","kid":"x"}]}`,
	} {
		t.Run(name, func(t *testing.T) { bad(t, a, func(w *world) { w.serve(keys) }) })
	}
}

func bad(t *testing.T, a *jose.Key, spoil func(w *world)) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{}
		w.serve(set(a))
		f := start(t, w, discovered(), epoch.Issuers{})
		synctest.Wait()
		fetched, published := f.Part().Issuers[0].Fetched, w.publications()
		spoil(w)
		time.Sleep(time.Hour)
		part := f.Part().Issuers[0]
		if len(part.Keys) != 1 || string(part.Keys[0].JWK) != string(a.JWK()) || part.Fetched >= fetched+3600 || w.publications() != published {
			t.Errorf("keys %s, %d publications", part.Keys[0].JWK, w.publications()-published)
		}
		// A gateway that asks is told that nothing is known, not that the kid is unknown.
		if r := f.RefreshKeys(t.Context(), bus.KeyRequest{V: 1, Issuer: "idp", KeyID: "z"}); r.Error == "" {
			t.Error("an outage answered as if the kid were known to be missing")
		}
		if n := w.count("/tenant/.well-known/openid-configuration"); n > 20 {
			t.Errorf("%d tries in an hour", n)
		}
	})
}

func TestSwappedKeyIsBelievedAfterMaxAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, swapped := key(t, "a"), key(t, "a")
		w := &world{}
		w.serve(set(a))
		i := discovered()
		i.Part.MaxAge = 3600
		f := start(t, w, i, epoch.Issuers{})
		synctest.Wait()
		w.serve(set(swapped))
		time.Sleep(59 * time.Minute)
		if string(f.Part().Issuers[0].Keys[0].JWK) != string(a.JWK()) {
			t.Error("swapped at once")
		}
		time.Sleep(20 * time.Minute)
		if string(w.last()[0].JWK) != string(swapped.JWK()) {
			t.Error("an issuer that re-used a kid never comes back")
		}
	})
}

func TestRestartKeepsKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := key(t, "a")
		last := epoch.Issuers{Issuers: []epoch.Issuer{{Name: "idp", Issuer: iss, MaxAge: 86400, Fetched: time.Now().Unix() - 60, Keys: epochKeys(jose.Set{Keys: []*jose.Key{a}}, nil)}}}
		w := &world{}
		w.fail(func(*http.Request) (int, string, error) { return 0, "", errors.New("down") })
		f := start(t, w, discovered(), last)
		synctest.Wait()
		if len(f.Part().Issuers[0].Keys) != 1 || w.publications() != 0 {
			t.Errorf("%+v, published %d", f.Part(), w.publications())
		}
		// The same again keeps what is known and is not told again.
		if err := f.Set([]Issuer{discovered()}, epoch.Issuers{}); err != nil || len(f.Part().Issuers[0].Keys) != 1 {
			t.Errorf("%v, %+v", err, f.Part())
		}
	})
}

func TestPublishIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{refuse: errors.New("no quorum")}
		w.serve(set(key(t, "a")))
		start(t, w, discovered(), epoch.Issuers{})
		time.Sleep(time.Minute)
		w.mu.Lock()
		w.refuse = nil
		w.mu.Unlock()
		time.Sleep(time.Minute)
		if len(w.last()) != 1 {
			t.Error("never published")
		}
	})
}

func TestBadConfiguration(t *testing.T) {
	f := New(Config{})
	for _, i := range []Issuer{
		{Part: epoch.Issuer{Name: "a", Issuer: "http://idp.example"}, Discovery: true},
		{Part: epoch.Issuer{Name: "a"}, JWKSURI: "ftp://x/"},
		{Part: epoch.Issuer{Name: "a"}, JWKSURI: "https://u:p@x/"},
		{Part: epoch.Issuer{Name: "a"}, JWKSURI: "http://10.0.0.1/", LoopbackHTTP: true},
		{Part: epoch.Issuer{Name: "a"}, Introspection: &Introspection{URL: "http://x/"}},
	} {
		if f.Set([]Issuer{i}, epoch.Issuers{}) == nil {
			t.Errorf("accepted %+v", i)
		}
	}
	ok := Issuer{Part: epoch.Issuer{Name: "a"}, JWKSURI: "http://127.0.0.1:1/", LoopbackHTTP: true}
	if f.Set([]Issuer{ok}, epoch.Issuers{}) != nil || f.Set([]Issuer{ok, ok}, epoch.Issuers{}) == nil {
		t.Error("loopback or duplicate")
	}
	if err := f.Refresh(t.Context(), "b", "k"); !errors.Is(err, ErrUnknownIssuer) {
		t.Error(err)
	}
}

func opaque() Issuer {
	return Issuer{
		Part:          epoch.Issuer{Name: "idp", Issuer: iss, Introspect: true, Prefix: "op_", Marks: []epoch.MarkRule{{Release: "orders/v1", Claim: "tier", Value: "gold"}}},
		Introspection: &Introspection{URL: "https://idp.example/introspect", ClientID: "a b", Secret: mintmark.NewSecret("s:%")},
	}
}

func TestIntrospection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{}
		body := fmt.Sprintf(`{"active":true,"sub":"u1","client_id":"c1","scope":"b a","exp":%d,"jti":"j1","tier":"gold","mintmark":{"seq":7}}`, time.Now().Unix()+3600)
		w.fail(func(r *http.Request) (int, string, error) {
			time.Sleep(time.Second)
			id, secret, _ := r.BasicAuth()
			_ = r.ParseForm()
			if id != "a+b" || secret != "s%3A%25" || r.Form.Get("token") == "" {
				return 401, "", nil
			}
			return 200, body, nil
		})
		f := start(t, w, opaque(), epoch.Issuers{})
		var all sync.WaitGroup
		for range 50 {
			all.Go(func() {
				tok, code, err := f.Introspect(t.Context(), "idp", "op_1")
				if err != nil || code != mintmark.CodeNone || tok.Subject != "u1" || strings.Join(tok.Scopes, " ") != "a b" ||
					tok.ID != epoch.ForeignID(iss, "j1") || tok.Mark != (mintmark.Mark{Release: "orders/v1"}) || tok.Kind != mintmark.KindForeign {
					t.Errorf("%+v %s %v", tok, code, err)
				}
			})
		}
		all.Wait()
		if w.count("/introspect") != 1 {
			t.Errorf("asked %d times", w.count("/introspect"))
		}
		// A minute later it is asked again: revoked meanwhile.
		time.Sleep(answerTTL)
		body = `{"active":false}`
		if tok, code, err := f.Introspect(t.Context(), "idp", "op_1"); tok != nil || code != mintmark.CodeRevoked || err != nil {
			t.Errorf("%v %s %v", tok, code, err)
		}
		for _, bad := range []string{``, `<html>`, `{}`, `{"active":"true"}`, `{"active":true,"iss":"https://evil.example"}`, `{"active":true,"active":false}`, `{"active":true,"exp":"x"}`} {
			time.Sleep(answerTTL)
			body = bad
			if tok, code, err := f.Introspect(t.Context(), "idp", "op_1"); tok != nil || code != mintmark.CodeStateUnknown || !errors.Is(err, ErrUnavailable) {
				t.Errorf("%q: %v %s %v", bad, tok, code, err)
			}
		}
		if _, code, err := f.Introspect(t.Context(), "idp", "other"); code != mintmark.CodeIssuerUnknown || err != nil {
			t.Errorf("without the prefix: %s %v", code, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if _, _, err := f.Introspect(ctx, "idp", "op_2"); !errors.Is(err, ErrUnavailable) {
			t.Errorf("a caller in a hurry: %v", err)
		}
		time.Sleep(fetchTime)
	})
}

func TestShutdownLeavesNobodyWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{calls: map[string]int{}}
		w.fail(func(r *http.Request) (int, string, error) { <-r.Context().Done(); return 0, "", r.Context().Err() })
		both := discovered()
		both.Introspection = opaque().Introspection
		f := New(Config{Egress: w, Publish: w.publish, Head: func() uint64 { return 0 }, Now: time.Now, Log: slog.New(slog.DiscardHandler)})
		if err := f.Set([]Issuer{both}, epoch.Issuers{}); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		all.Go(func() { _ = f.Run(ctx) })
		began := time.Now()
		for range 3 {
			all.Go(func() {
				if _, _, err := f.Introspect(t.Context(), "idp", "op_1"); !errors.Is(err, ErrUnavailable) {
					t.Error(err)
				}
			})
			all.Go(func() {
				if err := f.Refresh(t.Context(), "idp", "k"); !errors.Is(err, ErrUnavailable) {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		cancel()
		all.Wait()
		if time.Since(began) > 0 {
			t.Errorf("shutdown took %v", time.Since(began))
		}
		if _, _, err := f.Introspect(t.Context(), "idp", "op_2"); !errors.Is(err, ErrUnavailable) {
			t.Errorf("after the end: %v", err)
		}
	})
}

func TestAnswersAreBounded(t *testing.T) {
	a := newAnswers()
	now := time.Unix(1, 0)
	for i := range 3 * answersMax {
		var d [32]byte
		copy(d[:], fmt.Sprint(i))
		a.settle(d, &question{done: make(chan struct{}), answer: answer{until: now.Add(time.Hour)}}, now)
	}
	if len(a.known) > answersMax {
		t.Errorf("%d answers kept", len(a.known))
	}
}

func TestTTL(t *testing.T) {
	for header, want := range map[string]time.Duration{
		"": defaultTTL, "no-store": defaultTTL, "public, Max-Age=600": 10 * time.Minute, "max-age=1": minTTL, "max-age=999999": maxTTL,
		"max-age=-1": defaultTTL, "max-age=99999999999999999999": defaultTTL, `max-age="120"`: 2 * time.Minute,
	} {
		if got := ttl(header); got != want {
			t.Errorf("%q: %v, want %v", header, got, want)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add(`{"active":true,"sub":"a","exp":2000000000}`)
	f.Add(`{"active":false}`)
	part := opaque().Part
	f.Fuzz(func(t *testing.T, body string) {
		a, err := read(&part, body, "op_1", time.Unix(1_800_000_000, 0))
		if err == nil && (a.token == nil) == (a.code == mintmark.CodeNone) {
			t.Fatalf("%q: token %v with code %q", body, a.token, a.code)
		}
		if a.token != nil && (a.token.Issuer != iss || a.token.Expires == 0) {
			t.Fatalf("%q: %+v", body, a.token)
		}
	})
}
