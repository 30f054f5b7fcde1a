package authority_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/html"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/authority"
	"github.com/mintmark/mintmark/internal/bus"
	"github.com/mintmark/mintmark/internal/jose"
	"github.com/mintmark/mintmark/internal/ledger"
)

// keepCookies is a browser that stays signed in.
func keepCookies() *http.Client {
	jar, _ := cookiejar.New(nil)
	return &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// A code can't be traded for scopes that its user was never shown.
func TestScopesBeyondConsent(t *testing.T) {
	w := newWorld(t)
	w.client(webApp())
	for _, scope := range []string{"", "openid"} {
		f := redeem(w.code("scope", scope))
		f.Set("scope", "orders:write")
		if status, ans := w.post("/token", f); status == http.StatusOK {
			t.Errorf("authorized %q, got %v", scope, ans["scope"])
		}
		status, ans := w.post("/token", redeem(w.code("scope", scope)))
		if status != http.StatusOK {
			t.Fatalf("authorized %q: %d %v", scope, status, ans)
		}
		f = url.Values{"grant_type": {"refresh_token"}, "refresh_token": {ans["refresh_token"].(string)}, "client_id": {"web"}, "scope": {"orders:write"}}
		if status, ans := w.post("/token", f); status == http.StatusOK {
			t.Errorf("authorized %q, refreshed to %v", scope, ans["scope"])
		}
	}
}

// A revocation up to now also ends what was allowed before it and not minted yet:
// codes, approved devices, and browsers that are signed in.
func TestRevokedSubjectGetsNothingFromBefore(t *testing.T) {
	for name, sel := range map[string]mintmark.Selector{
		"subject": {Subject: "ada"}, "client": {Client: "web"}, "scope": {Scope: "orders:read"}, "audience": {Audience: ordersAudience},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.client(webApp())
			person := keepCookies()
			start := w.server.URL + "/authorize?" + authorizeQuery("resource", ordersAudience).Encode()
			to, err := w.browse(person, start, "ada", "correct horse")
			must(t, err)
			_, d := w.post("/device_authorization", url.Values{"client_id": {"web"}, "scope": {"orders:read"}, "resource": {ordersAudience}})
			_, err = w.browser(d["verification_uri_complete"].(string), "ada", "correct horse")
			must(t, err)
			_, err = w.state.Revoke(t.Context(), []mintmark.Revocation{{
				Action: mintmark.ActionRevoke, Selector: sel, Cutoff: mintmark.Cutoff{ToSeq: w.ledger.Reserve(), To: w.clock.now().Unix() + 1},
			}}, ledger.Batch{})
			must(t, err)
			if status, ans := w.post("/token", redeem(to.Query().Get("code"))); status == http.StatusOK {
				t.Errorf("a code from before was good for %v", ans["scope"])
			}
			poll := url.Values{"grant_type": {authority.GrantDevice}, "device_code": {d["device_code"].(string)}, "client_id": {"web"}}
			if status, ans := w.post("/token", poll); status == http.StatusOK {
				t.Errorf("a device approved before got %v", ans["scope"])
			}
			// Who is signed in stays so, unless it was the subject that was revoked.
			to, err = w.browse(person, start, "ada", "wrong")
			if name == "subject" {
				if err == nil {
					t.Errorf("a browser signed in before was let through to %s", to)
				}
				to, err = w.browse(person, start, "ada", "correct horse")
			}
			must(t, err)
			if status, ans := w.post("/token", redeem(to.Query().Get("code"))); status != http.StatusOK {
				t.Errorf("a code from after: %d %v", status, ans)
			}
		})
	}
}

// A grant that was revoked before its code was used gives nothing.
func TestRevokedGrantsCode(t *testing.T) {
	w := newWorld(t)
	w.client(webApp())
	ans := w.tokens()
	code := w.code()
	_, err := w.state.Revoke(t.Context(), []mintmark.Revocation{{Action: mintmark.ActionRevoke, Selector: mintmark.Selector{Issuer: w.server.URL}, Cutoff: mintmark.Cutoff{ToSeq: w.ledger.Reserve()}}}, ledger.Batch{})
	must(t, err)
	if status, _ := w.refresh(ans["refresh_token"]); status == http.StatusOK {
		t.Error("a revoked family was refreshed")
	}
	if status, _ := w.post("/token", redeem(code)); status == http.StatusOK {
		t.Error("a code from before was good")
	}
}

// Signing in at a client of the admin API makes nobody an administrator: the user
// must have been given the role.
func TestUserIsNoAdmin(t *testing.T) {
	w := newWorld(t)
	c := webApp()
	c.ID, c.Audiences, c.FirstParty = "console", []string{w.auth.AdminAudience()}, true
	c.Scopes = append(authority.AdminScopes(), "openid")
	w.client(c)
	try := func() (int, map[string]any) {
		to, err := w.browser(w.server.URL+"/authorize?"+authorizeQuery("client_id", "console", "scope", "openid admin:viewer admin:admin").Encode(), "ada", "correct horse")
		must(t, err)
		f := redeem(to.Query().Get("code"))
		f.Set("client_id", "console")
		return w.post("/token", f)
	}
	if status, ans := try(); status == http.StatusOK && strings.Contains(ans["scope"].(string), "admin:") {
		t.Fatalf("anybody is an administrator: %v", ans["scope"])
	}
	w.claim("ada", "mintmark_roles", `["viewer"]`)
	if status, ans := try(); status != http.StatusOK || ans["scope"] != "admin:viewer openid" {
		t.Fatalf("a viewer got %d %v", status, ans)
	}
}

// claim changes a user's claim.
func (w *world) claim(user, name, value string) {
	w.t.Helper()
	doc, err := w.store.Document(w.t.Context(), ledger.DocUser, user)
	must(w.t, err)
	var u authority.User
	must(w.t, json.Unmarshal(doc.Body, &u))
	u.Claims[name] = json.RawMessage(value)
	body, err := json.Marshal(u)
	must(w.t, err)
	_, err = w.ledger.Append(w.t.Context(), ledger.Batch{Events: []mintmark.Event{{Stream: "user/" + user, Type: "user.written", Data: body}}})
	must(w.t, err)
}

// A service whose policy mints the admin API's audience does not make
// administrators.
func TestServiceCannotSpeakForAdmin(t *testing.T) {
	w := newWorld(t)
	secret := w.client(machine())
	svc := orders()
	svc.Audience = append(svc.Audience, w.auth.AdminAudience())
	svc.Releases[0].Mint.Audience = append(svc.Releases[0].Mint.Audience, w.auth.AdminAudience())
	svc.Releases[0].Mint.ForcedScopes = []string{"admin:admin"}
	w.state.setService(t, svc)
	status, ans := w.post("/token", url.Values{"grant_type": {"client_credentials"}, "resource": {ordersAudience}, "basic": {"machine:" + secret}})
	if status != http.StatusOK {
		return // not minted at all is as good
	}
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, w.server.URL+"/v1/status", nil)
	must(t, err)
	req.Header.Set("Authorization", "Bearer "+ans["access_token"].(string))
	if tok, err := w.auth.Present(nil, req, w.auth.AdminAudience(), ""); err == nil {
		t.Errorf("the admin API takes %+v", tok)
	}
}

// Nobody fills the ledger by beginning what he never ends.
func TestStartsAreLimited(t *testing.T) {
	w := newWorld(t)
	w.client(webApp())
	c := keepCookies()
	begin := func(client string) int {
		res, err := c.Get(w.server.URL + "/authorize?" + authorizeQuery("client_id", client).Encode())
		must(t, err)
		must(t, res.Body.Close())
		return res.StatusCode
	}
	refused := false
	for n := 0; n < 6000 && !refused; n++ {
		refused = begin("nobody") == http.StatusTooManyRequests
	}
	if !refused {
		t.Error("thousands of beginnings in a row were all written down")
	}
	if status, _ := w.post("/device_authorization", url.Values{"client_id": {"web"}}); status != http.StatusTooManyRequests {
		t.Errorf("another beginning: %d", status)
	}
	w.clock.advance(time.Minute)
	if status := begin("web"); status != http.StatusSeeOther {
		t.Errorf("a minute later: %d", status)
	}
}

// Guesses at once are no more than guesses in a row.
func TestGuessesAtOnce(t *testing.T) {
	w := newWorld(t)
	w.client(webApp())
	c := keepCookies()
	res, err := c.Get(w.server.URL + "/authorize?" + authorizeQuery().Encode())
	must(t, err)
	must(t, res.Body.Close())
	res, err = c.Get(w.server.URL + res.Header.Get("Location"))
	must(t, err)
	page, err := html.Parse(res.Body)
	must(t, err)
	must(t, res.Body.Close())
	f, action := fill(page, "ada", "wrong")
	var looked atomic.Int32
	var all sync.WaitGroup
	for range 24 {
		all.Go(func() {
			res, err := c.PostForm(w.server.URL+action, f)
			if err != nil {
				t.Error(err)
				return
			}
			_ = res.Body.Close()
			if res.StatusCode == http.StatusUnauthorized {
				looked.Add(1)
			}
		})
	}
	all.Wait()
	if n := looked.Load(); n == 0 || n > 11 {
		t.Errorf("%d guesses at once were looked at", n)
	}
}

// What a gateway forwards in place of a token says so: a server that got it must
// not be able to use it as the token itself.
func TestInternalTokensSaySo(t *testing.T) {
	w := newWorld(t)
	w.client(machine())
	own, err := w.auth.IssueFor(t.Context(), authority.IssueRequest{Client: "machine", Actor: "user:root"})
	must(t, err)
	r := w.auth.Reissue(t.Context(), bus.ReissueRequest{V: 1, Token: own.Token, Service: "orders", Release: "orders/v1"})
	if r.Error != "" {
		t.Fatal(r.Error)
	}
	for value, want := range map[string]bool{r.Value: true, own.Value.Reveal(): false} {
		c, err := jose.Parse([]byte(value))
		must(t, err)
		claims, err := jose.ParseClaims(c.Payload, jose.Names{})
		must(t, err)
		if claims.Internal != want {
			t.Errorf("internal is %v, want %v", claims.Internal, want)
		}
	}
}
