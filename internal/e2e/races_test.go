package e2e

import (
	"bytes"
	"crypto/ecdsa"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/demo"
)

// kinds are the ways to hold a right, each made anew by call. Their scopes are
// ones that nobody else in the world holds.
var kinds = []struct {
	name, path, audience, scope string
	make                        func(r *rig, audience, scope string) *credential
}{
	{"JWT of a machine", "/orders/1", ordersAudience, "orders.write", func(r *rig, a, s string) *credential { return r.machine("machine", a, s) }},
	{"JWT of a person", "/orders/1", ordersAudience, "orders.write", func(r *rig, a, s string) *credential { return r.person("ann", a, s) }},
	{"JWT bound by DPoP", "/orders/1", ordersAudience, "orders.write", func(r *rig, a, s string) *credential { return r.machine("bound", a, s) }},
	{"opaque", "/vault/1", opaqueAudience, "vault.write", func(r *rig, a, s string) *credential { return r.machine("machine", a, s) }},
	{"opaque of a person", "/vault/1", opaqueAudience, "vault.write", func(r *rig, a, s string) *credential { return r.person("ann", a, s) }},
	{"API key", "/orders/1", ordersAudience, "orders.write", func(r *rig, a, s string) *credential { return r.apiKey("partner-1", a, s) }},
}

// selectors read off a token how to take it back; "" when it has no such
// dimension.
var selectors = []struct {
	name string
	of   func(*api.Token) string
}{
	{"token", func(t *api.Token) string { return "token=" + string(t.ID) }},
	{"family", func(t *api.Token) string { return condition("family", string(t.Family)) }},
	{"grant", func(t *api.Token) string { return condition("grant", string(t.Grant)) }},
	{"subject", func(t *api.Token) string { return condition("subject", t.Subject) }},
	{"client", func(t *api.Token) string { return condition("client", string(t.Client)) }},
	{"scope", func(t *api.Token) string { return "scope=" + t.Scopes[0] }},
	{"release", func(t *api.Token) string { return condition("release", string(t.Mark.Release)) }},
	{"audience", func(t *api.Token) string { return "audience=" + t.Audience[0] }},
	{"subject and scope", func(t *api.Token) string { return condition("subject", t.Subject) + ",scope=" + t.Scopes[0] }},
	{"issued", func(t *api.Token) string {
		return "subject=" + t.Subject + ",issued>=" + time.Unix(t.IssuedAt-1, 0).UTC().Format(time.RFC3339) +
			",issued<=" + time.Unix(t.IssuedAt+1, 0).UTC().Format(time.RFC3339)
	}},
	{"key", func(t *api.Token) string { return condition("key", t.Mark.Key) }},
	{"issuer", func(t *api.Token) string { return condition("issuer", t.Issuer) }},
}

func condition(name, value string) string {
	if value == "" {
		return ""
	}
	return name + "=" + value
}

// RB05, RB10: every selector takes back every kind of token that it covers at
// every gateway, and no gateway refuses what it does not cover.
func TestRB05RB10EverySelectorEveryKindEveryGateway(t *testing.T) {
	r := newRig(t, rigConfig{gateways: 3})
	pairs := 0
	for _, s := range selectors {
		for _, k := range kinds {
			final := s.name == "key" || s.name == "issuer" // hits everybody, the operator too
			c := k.make(r, k.audience, k.scope+" "+strings.Replace(k.scope, "write", "read", 1))
			var first answer
			for _, g := range r.gates {
				if first = r.present(g, k.path, c); first.status != http.StatusOK {
					t.Fatalf("%s before %s at %s: %s", k.name, s.name, g.id, first)
				}
			}
			tok := r.look(first)
			selector := s.of(tok)
			if selector == "" || strings.HasPrefix(selector, ",") {
				continue
			}
			bystander := r.machine("other", shopAudience, "shop.read")
			for _, g := range r.gates {
				r.admits(g, "/shop/1", bystander)
			}
			r.revoke(selector)
			pairs++
			if final {
				r.reconnect()
			}
			for _, g := range r.gates {
				if a := r.present(g, k.path, c); a.status != http.StatusUnauthorized || a.code != string(mintmark.CodeRevoked) {
					t.Errorf("%s after revoking %s at %s: %s", k.name, selector, g.id, a)
				}
				if a := r.present(g, "/shop/1", bystander); !final && a.status != http.StatusOK {
					t.Errorf("bystander after revoking %s at %s: %s", selector, g.id, a)
				}
			}
			// A key signs access tokens alone; one access token is not its family.
			if c.refresh != "" {
				refused(t, r, c.refresh, "after "+selector, s.name != "token" && s.name != "key")
			}
		}
	}
	if pairs < 55 {
		t.Errorf("only %d pairs of selector and kind were tried", pairs)
	}
	r.verify()
}

// refused checks that a refresh token gives nothing any more, or still does.
func refused(t *testing.T, r *rig, refresh, when string, want bool) {
	t.Helper()
	_, err := r.renew(refresh)
	var e *demo.Refused
	if want && (!errors.As(err, &e) || e.Code != "invalid_grant") {
		t.Errorf("refresh token %s: %v", when, err)
	}
	if !want && err != nil {
		t.Errorf("refresh token %s: %v", when, err)
	}
}

// RB05 by value: the revocation endpoint (RFC 7009) takes the token itself.
func TestRB05RevokeByValue(t *testing.T) {
	r := newRig(t, rigConfig{gateways: 3})
	for _, k := range kinds[:2] {
		for _, form := range []string{"access", "refresh"} {
			for _, opaque := range []bool{false, true} {
				k := k
				if opaque {
					k.path, k.audience, k.scope = "/vault/1", opaqueAudience, "vault.read"
				} else {
					k.scope = "orders.read"
				}
				c := k.make(r, k.audience, k.scope)
				value := c.value
				if form == "refresh" {
					if value = c.refresh; value == "" {
						continue
					}
				}
				for _, g := range r.gates {
					r.admits(g, k.path, c)
				}
				r.revokeValue(k.name, value)
				for _, g := range r.gates {
					// RFC 7009 answers when it is committed; the gateways follow.
					r.eventually(3*time.Second, fmt.Sprintf("%s, opaque %v, by its %s token, refused at %s", k.name, opaque, form, g.id), func() (bool, string) {
						a := r.present(g, k.path, c)
						return a.code == string(mintmark.CodeRevoked), a.String()
					})
				}
			}
		}
	}
}

// revokeValue calls the revocation endpoint as the client that holds the token.
func (r *rig) revokeValue(kind, value string) {
	r.t.Helper()
	body := "token=" + value
	if strings.Contains(kind, "person") {
		body += "&client_id=portal"
	}
	req, err := http.NewRequestWithContext(r.t.Context(), http.MethodPost, r.issuer+"/revoke", bytes.NewReader([]byte(body)))
	must(r.t, err)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if !strings.Contains(kind, "person") {
		req.SetBasicAuth("machine", r.secrets["machine"])
	}
	res, err := r.http.Do(req)
	must(r.t, err)
	_ = res.Body.Close()
	if res.StatusCode != http.StatusOK {
		r.t.Fatalf("revocation endpoint: %d", res.StatusCode)
	}
}

// RB06: a token presented a thousand times a second while it is being taken back
// is never admitted by a request that began after the answer.
func TestRB06PresentedAroundTheAcknowledgement(t *testing.T) {
	r := newRig(t, rigConfig{gateways: 3})
	rounds := 6
	if soak {
		rounds = 100
	}
	for i := range rounds {
		k := kinds[i%len(kinds)]
		c := k.make(r, k.audience, strings.Replace(k.scope, "write", "read", 1))
		h := hammer(r, k.path, c, 3*time.Millisecond) // three gateways: 1 kHz in all
		h.until(t, func(a answer) bool { return a.status == http.StatusOK })
		id := r.look(r.present(r.gates[0], k.path, c)).ID
		r.revoke("token=" + string(id))
		acknowledged := time.Now()
		h.until(t, func(a answer) bool { return a.began.After(acknowledged.Add(30 * time.Millisecond)) })
		after := 0
		for _, a := range h.stop() {
			switch {
			case a.status == http.StatusOK && a.began.After(acknowledged):
				t.Errorf("%s: admitted by a request that began %s after the acknowledgement", k.name, a.began.Sub(acknowledged))
			case a.status == http.StatusUnauthorized && a.code == string(mintmark.CodeRevoked):
				after++
			case a.status == 0 && a.began.Before(acknowledged):
				// In flight when it was taken back: cut.
			case c.key != nil && a.code == string(mintmark.CodeBinding) && a.began.Before(acknowledged):
				// Cut as well; net/http sent the request again, with a proof that is used up.
			case a.status != http.StatusOK:
				t.Errorf("%s: %s", k.name, a)
			}
		}
		if after < 6 {
			t.Errorf("%s: presented only %d times after it was taken back", k.name, after)
		}
	}
}

// hammering presents one credential at every gateway again and again.
type hammering struct {
	mu      sync.Mutex
	answers map[mintmark.GatewayID][]answer // guarded by mu
	gates   int
	done    chan struct{}
	wg      sync.WaitGroup
}

func hammer(r *rig, path string, c *credential, every time.Duration) *hammering {
	h := &hammering{answers: map[mintmark.GatewayID][]answer{}, gates: len(r.gates), done: make(chan struct{})}
	for _, g := range r.gates {
		h.wg.Go(func() {
			tick := time.NewTicker(every)
			defer tick.Stop()
			for {
				a := r.present(g, path, c)
				h.mu.Lock()
				h.answers[g.id] = append(h.answers[g.id], a)
				h.mu.Unlock()
				select {
				case <-h.done:
					return
				case <-tick.C:
				}
			}
		})
	}
	return h
}

// until waits until every gateway's last answer is as wanted.
func (h *hammering) until(t *testing.T, want func(answer) bool) {
	t.Helper()
	deadline := time.Now().Add(15 * time.Second)
	for time.Now().Before(deadline) {
		h.mu.Lock()
		ok := len(h.answers) > 0
		for _, list := range h.answers {
			ok = ok && want(list[len(list)-1])
		}
		h.mu.Unlock()
		if ok {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatal("the gateways do not answer as wanted")
}

// after waits until every gateway has answered several questions that were asked
// after a moment.
func (h *hammering) after(t *testing.T, moment time.Time) {
	t.Helper()
	const enough = 5
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		h.mu.Lock()
		ok := len(h.answers) == h.gates
		for _, list := range h.answers {
			ok = ok && len(list) >= enough && list[len(list)-enough].began.After(moment)
		}
		h.mu.Unlock()
		if ok {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the gateways do not answer any more")
		}
	}
}

// stop ends it and returns all answers.
func (h *hammering) stop() []answer {
	var all []answer
	for _, list := range h.each() {
		all = append(all, list...)
	}
	return all
}

// each ends it and returns the answers by gateway.
func (h *hammering) each() map[mintmark.GatewayID][]answer {
	close(h.done)
	h.wg.Wait()
	return h.answers
}

// RB07: what was narrowed is narrow at every gateway when apply returns.
func TestRB07NarrowedPolicyReachesEveryGateway(t *testing.T) {
	r := newRig(t, rigConfig{gateways: 3})
	c := r.machine("machine", ordersAudience, "orders.read")
	key := r.apiKey("partner-1", ordersAudience, "orders.read")
	other := r.machine("machine", shopAudience, "shop.read")
	for _, g := range r.gates {
		r.admits(g, "/orders/1", c)
		r.admits(g, "/orders/1", key)
		r.admits(g, "/shop/1", other)
	}
	expect := func(what, path string, c *credential, status int, code mintmark.Code) {
		t.Helper()
		for _, g := range r.gates {
			if a := r.present(g, path, c); a.status != status || a.code != string(code) {
				t.Errorf("%s at %s: %s", what, g.id, a)
			}
		}
	}
	narrow := strings.Replace(plain, `path: "/orders/*", scopes: [orders.read]`, `path: "/orders/*", scopes: [orders.read, orders.write]`, 1)
	r.apply(narrow)
	expect("narrowed route", "/orders/1", c, http.StatusForbidden, mintmark.CodeScope)
	expect("narrowed route with API key", "/orders/1", key, http.StatusForbidden, mintmark.CodeScope)
	expect("another route", "/shop/1", other, http.StatusOK, mintmark.CodeNone)
	r.apply(plain)
	expect("widened again", "/orders/1", c, http.StatusOK, mintmark.CodeNone)

	if _, err := r.api().DisableClient(r.t.Context(), "machine", api.DisableRequest{Reason: "test", Wait: true, Timeout: "20s"}); err != nil {
		t.Fatal(err)
	}
	expect("disabled client", "/orders/1", c, http.StatusUnauthorized, mintmark.CodeRevoked)
	expect("disabled client elsewhere", "/shop/1", other, http.StatusUnauthorized, mintmark.CodeRevoked)
	expect("another client's key", "/orders/1", key, http.StatusOK, mintmark.CodeNone)
}

// RB12, RB13: of any number of concurrent uses of one refresh token one line
// survives; retries inside the grace window get the same successor and never end
// the family; a use after it ends that family and no other, at every gateway.
func TestRB12RB13ConcurrentRefresh(t *testing.T) {
	r := newRig(t, rigConfig{gateways: 2})
	rounds := 8
	if soak {
		rounds = 1000
	}
	untouched := r.person("ann", ordersAudience, "orders.read")
	c := r.person("ann", ordersAudience, "orders.read")
	var predecessor string
	access := []string{c.value}
	for round := range rounds {
		predecessor = c.refresh
		next, ok := r.renewAtOnce(64, predecessor)
		if ok == 0 || len(next) != 1 {
			t.Fatalf("round %d: %d of 64 concurrent uses were answered, with %d different successors", round, ok, len(next))
		}
		for refresh, a := range next {
			c = &credential{value: a, refresh: refresh}
		}
		access = append(access, c.value)
		for _, g := range r.gates {
			if a := r.present(g, "/orders/1", c); a.status != http.StatusOK {
				t.Fatalf("round %d: the survivor's access token at %s: %s", round, g.id, a)
			}
		}
	}
	// Benign retries, one after the other, get what the first one got.
	for range 3 {
		got, err := r.renew(predecessor)
		if err != nil || got.Refresh != c.refresh {
			t.Fatalf("retry inside grace: other successor %v, %v", got.Refresh != c.refresh, err)
		}
	}
	time.Sleep(2100 * time.Millisecond) // grace is two seconds
	var e *demo.Refused
	if _, err := r.renew(predecessor); !errors.As(err, &e) || e.Code != "invalid_grant" {
		t.Fatalf("re-use after grace: %v", err)
	}
	if _, err := r.renew(c.refresh); !errors.As(err, &e) || e.Code != "invalid_grant" {
		t.Errorf("the family's newest refresh token after re-use: %v", err)
	}
	for _, g := range r.gates {
		for i, v := range access {
			r.eventually(3*time.Second, fmt.Sprintf("access token %d of the family refused at %s", i, g.id), func() (bool, string) {
				a := r.present(g, "/orders/1", &credential{value: v})
				return a.status == http.StatusUnauthorized && a.code == string(mintmark.CodeRevoked), a.String()
			})
		}
		r.admits(g, "/orders/1", untouched)
	}
	if _, err := r.renew(untouched.refresh); err != nil {
		t.Errorf("another family of the same user: %v", err)
	}
	r.verify()
}

// renewAtOnce uses a refresh token n times at once and returns the successors
// with their access tokens, and how many uses were answered with one. What is not
// answered so must be an error that invites a retry.
func (r *rig) renewAtOnce(n int, refresh string) (map[string]string, int) {
	var mu sync.Mutex
	next, ok := map[string]string{}, 0
	var wg sync.WaitGroup
	gun := make(chan struct{})
	for range n {
		wg.Go(func() {
			<-gun
			got, err := r.renew(refresh)
			mu.Lock()
			defer mu.Unlock()
			var e *demo.Refused
			switch {
			case err == nil:
				next[got.Refresh] = got.Access
				ok++
			case errors.As(err, &e) && e.Status < 500 && e.Status != http.StatusTooManyRequests:
				r.t.Errorf("concurrent use of a refresh token: %v", err)
			}
		})
	}
	close(gun)
	wg.Wait()
	return next, ok
}

// RB04: a client assertion is good once, also after a restart.
func TestRB04AssertionReplay(t *testing.T) {
	r := newRig(t, rigConfig{gateways: 1})
	key := newECKey()
	r.apply(plain + "---\n" + assertingClient(t, key))
	use := func(a string) error {
		_, err := r.ask(nil, map[string]string{
			"grant_type": "client_credentials", "scope": "orders.read", "resource": ordersAudience,
			"client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer", "client_assertion": a,
		}, "", "")
		return err
	}
	replayed := func(when, a string) {
		t.Helper()
		var e *demo.Refused
		if err := use(a); !errors.As(err, &e) || e.Code != "invalid_client" {
			t.Errorf("assertion replayed %s: %v", when, err)
		}
	}
	a, b := assertion(key, "asserting", r.issuer), assertion(key, "asserting", r.issuer)
	must(t, use(a))
	replayed("at once", a)
	must(t, use(b))
	r.control.Kill()
	r.start(r.control)
	replayed("after a kill and restart", a)
	replayed("after a kill and restart", b)
	must(t, use(assertion(key, "asserting", r.issuer)))
	// Many uses at once: one is the first.
	c := assertion(key, "asserting", r.issuer)
	var wg sync.WaitGroup
	var mu sync.Mutex
	good := 0
	for range 32 {
		wg.Go(func() {
			if use(c) == nil {
				mu.Lock()
				good++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if good != 1 {
		t.Errorf("%d of 32 concurrent uses of one assertion were accepted", good)
	}
}

func assertingClient(t *testing.T, key *ecdsa.PrivateKey) string {
	k := jwk(key)
	k["kid"], k["alg"], k["use"] = "k1", "ES256", "sig"
	set, err := json.Marshal(map[string]any{"keys": []any{k}})
	must(t, err)
	return fmt.Sprintf(`apiVersion: mintmark/v1
kind: Client
name: asserting
auth: private_key_jwt
grants: [client_credentials]
scopes: [orders.read]
jwks: %s
`, set)
}

// G4: while a service goes to and fro between two releases, no request is decided
// by parts of two epochs: what one epoch routes where, and mints under, is one
// thing at all gateways and at all times.
func TestG4OneRequestOneEpoch(t *testing.T) {
	r := newRig(t, rigConfig{gateways: 3})
	c := r.machine("machine", ordersAudience, "orders.read")
	for _, g := range r.gates {
		r.admits(g, "/orders/1", c)
	}
	h := hammer(r, "/orders/1", c, time.Millisecond)
	rounds := 6
	if soak {
		rounds = 100
	}
	for range rounds {
		a, err := r.api().StartRollout(t.Context(), api.RolloutRequest{Service: "orders", Candidate: "v2", Strategy: "canary", Weight: "100", Reason: "test", ManualRollback: true, Wait: true, Timeout: "20s"})
		must(t, err)
		time.Sleep(20 * time.Millisecond)
		b, err := r.api().StepRollout(t.Context(), a.Rollout.ID, "rollback", api.StepRequest{Reason: "test", Wait: true, Timeout: "20s"})
		must(t, err)
		if b.Receipt == nil || b.Receipt.Outcome != mintmark.OutcomeEffective {
			t.Fatalf("rollback: %+v", b.Receipt)
		}
	}
	routed := map[string]map[string]int{} // by epoch, by release
	for id, list := range h.each() {
		last := 0
		for _, a := range list {
			if a.status != http.StatusOK {
				t.Errorf("%s: %s", id, a)
				continue
			}
			epoch := a.told.Header.Get("Mintmark-Token-Epoch")
			if routed[epoch] == nil {
				routed[epoch] = map[string]int{}
			}
			routed[epoch][a.told.Release]++
			n, err := strconv.Atoi(epoch)
			if err != nil || n < last {
				t.Errorf("%s: epoch %q after %d", id, epoch, last)
			}
			last = n
		}
	}
	for epoch, releases := range routed {
		if len(releases) != 1 {
			t.Errorf("epoch %s routed to several releases: %v", epoch, releases)
		}
	}
	if len(routed) < rounds {
		t.Errorf("only %d epochs were seen", len(routed))
	}
}
