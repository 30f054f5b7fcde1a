package authority_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"testing"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/authority"
	"github.com/mintmark/mintmark/internal/epoch"
	"github.com/mintmark/mintmark/internal/ledger"
)

// What was exchanged from a token ends with it, also where there is no family, at
// any distance; its origin and its siblings do not.
func TestExchangedTokensEndWithTheirOrigin(t *testing.T) {
	for _, format := range []string{"jwt", "opaque"} {
		t.Run(format, func(t *testing.T) {
			w := newWorld(t)
			w.state.setService(t, minting(format))
			secret := w.client(machine())
			who := "machine:" + secret
			_, ans := w.post("/token", url.Values{"grant_type": {"client_credentials"}, "scope": {"orders:read"}, "basic": {who}})
			origin := ans["access_token"].(string)
			child := w.exchange(t, who, origin)
			grandchild, sibling := w.exchange(t, who, child), w.exchange(t, who, origin)

			w.revoke(t, who, child)
			for name, c := range map[string]struct {
				token string
				want  bool
			}{"origin": {origin, true}, "revoked": {child, false}, "exchanged from it": {grandchild, false}, "sibling": {sibling, true}} {
				if w.active(c.token, who) != c.want {
					t.Errorf("%s: active %v", name, !c.want)
				}
			}
			if status, ans := w.postExchange(who, grandchild); status != http.StatusBadRequest {
				t.Errorf("exchanged again after its origin was revoked: %d %v", status, ans)
			}
			w.revoke(t, who, origin)
			if w.active(sibling, who) {
				t.Error("what was exchanged outlived its origin")
			}
		})
	}
}

// The line of a token is bounded: each of it costs a look-up at the gateways.
func TestExchangeIsBounded(t *testing.T) {
	w := newWorld(t)
	who := "machine:" + w.client(machine())
	_, ans := w.post("/token", url.Values{"grant_type": {"client_credentials"}, "scope": {"orders:read"}, "basic": {who}})
	token := ans["access_token"].(string)
	for range mintmark.MaxVia {
		token = w.exchange(t, who, token)
	}
	if status, ans := w.postExchange(who, token); status != http.StatusBadRequest || ans["error"] != "invalid_request" {
		t.Errorf("one more: %d %v", status, ans)
	}
}

func minting(format string) *epoch.Service {
	s := orders()
	s.Releases[0].Mint.Format = format
	return s
}

func (w *world) postExchange(who, subject string) (int, map[string]any) {
	w.t.Helper()
	return w.post("/token", url.Values{
		"grant_type": {authority.GrantExchange}, "subject_token": {subject},
		"subject_token_type": {"urn:ietf:params:oauth:token-type:access_token"}, "resource": {ordersAudience}, "basic": {who},
	})
}

func (w *world) exchange(t *testing.T, who, subject string) string {
	t.Helper()
	status, ans := w.postExchange(who, subject)
	if status != http.StatusOK {
		t.Fatalf("exchange: %d %v", status, ans)
	}
	return ans["access_token"].(string)
}

func (w *world) revoke(t *testing.T, who, token string) {
	t.Helper()
	if status, ans := w.post("/revoke", url.Values{"token": {token}, "basic": {who}}); status != http.StatusOK {
		t.Fatalf("revoke: %d %v", status, ans)
	}
}

// Why a token was made by hand stays with it.
func TestReasonOfATokenByHand(t *testing.T) {
	w := newWorld(t)
	w.client(machine())
	k, err := w.auth.IssueFor(t.Context(), authority.IssueRequest{Client: "machine", Scopes: []string{"orders:read"}, Actor: "user:root", Reason: "drill"})
	must(t, err)
	events, err := w.store.EventsOf(t.Context(), "token", string(k.Token.ID), 0, 10)
	must(t, err)
	var d mintmark.TokenIssued
	if len(events) != 1 || json.Unmarshal(events[0].Data, &d) != nil || d.Reason != "drill" || events[0].Actor != "user:root" {
		t.Errorf("the ledger has %+v of it", events)
	}
}

// What takes back a token takes back what was made of it at another service, by
// whatever selector and though it is harmless itself; what was made of a harmless
// one stays.
func TestWhatWasExchangedEndsWithItsOriginBySelector(t *testing.T) {
	for _, format := range []string{"jwt", "opaque"} {
		for name, selector := range map[string]func(bad *mintmark.Token) mintmark.Selector{
			"release": func(bad *mintmark.Token) mintmark.Selector { return mintmark.Selector{Release: bad.Mark.Release} },
			"release and scope": func(bad *mintmark.Token) mintmark.Selector {
				return mintmark.Selector{Release: bad.Mark.Release, Scope: "orders:admin"}
			},
			"audience":  func(bad *mintmark.Token) mintmark.Selector { return mintmark.Selector{Audience: ordersAudience} },
			"client":    func(bad *mintmark.Token) mintmark.Selector { return mintmark.Selector{Client: bad.Client} },
			"its token": func(bad *mintmark.Token) mintmark.Selector { return mintmark.Selector{Token: bad.ID} },
		} {
			t.Run(format+" by "+name, func(t *testing.T) {
				w := newWorld(t)
				svc, stock := minting(format), minting(format)
				svc.Split.Stable = "v2" // forces a scope on
				w.state.setService(t, svc)
				w.state.setService(t, toStock(stock))
				who := "machine:" + w.client(machine())
				other := machine()
				other.ID = "broker"
				broker := "broker:" + w.client(other)
				_, ans := w.post("/token", url.Values{"grant_type": {"client_credentials"}, "scope": {"orders:read"}, "resource": {ordersAudience}, "basic": {who}})
				origin := ans["access_token"].(string)
				child := w.exchangeAt(t, broker, origin, stockAudience)
				grandchild := w.exchangeAt(t, broker, child, stockAudience)
				_, ans = w.post("/token", url.Values{"grant_type": {"client_credentials"}, "scope": {"orders:read"}, "resource": {stockAudience}, "basic": {broker}})
				harmless := w.exchangeAt(t, broker, ans["access_token"].(string), stockAudience)

				_, facts := w.post("/introspect", url.Values{"token": {origin}, "basic": {who}})
				row, err := w.store.TokenByID(t.Context(), mintmark.TokenID(facts["jti"].(string)))
				must(t, err)
				bad := row.Token
				_, err = w.state.Revoke(t.Context(), []mintmark.Revocation{{
					Action: mintmark.ActionRevoke, Selector: selector(&bad), Cutoff: mintmark.Cutoff{ToSeq: bad.Mark.Seq, To: w.clock.now().Unix() + 1},
				}}, ledger.Batch{})
				must(t, err)
				for what, c := range map[string]struct {
					token string
					want  bool
				}{"origin": {origin, false}, "exchanged": {child, false}, "exchanged again": {grandchild, false}, "made of another": {harmless, true}} {
					if w.active(c.token, broker) != c.want {
						t.Errorf("%s: active %v", what, !c.want)
					}
				}
				if status, ans := w.postExchange(broker, grandchild); status != http.StatusBadRequest {
					t.Errorf("exchanged once more: %d %v", status, ans)
				}
			})
		}
	}
}

const stockAudience = "https://api.example/stock"

// toStock makes of the service orders another one, harmless.
func toStock(s *epoch.Service) *epoch.Service {
	s.Name, s.Audience, s.Split.Stable = "stock", []string{stockAudience}, "v1"
	for i := range s.Releases {
		s.Releases[i].Mint.Policy, s.Releases[i].Mint.Audience = "stock", s.Audience
	}
	for i := range s.Routes {
		s.Routes[i].Path = "/stock/*"
	}
	return s
}

func (w *world) exchangeAt(t *testing.T, who, subject, resource string) string {
	t.Helper()
	status, ans := w.post("/token", url.Values{
		"grant_type": {authority.GrantExchange}, "subject_token": {subject}, "scope": {"orders:read"},
		"subject_token_type": {"urn:ietf:params:oauth:token-type:access_token"}, "resource": {resource}, "basic": {who},
	})
	if status != http.StatusOK {
		t.Fatalf("exchange: %d %v", status, ans)
	}
	if ans["refresh_token"] != nil {
		t.Error("an exchange gave a refresh token: it would outlive what it was made of")
	}
	return ans["access_token"].(string)
}
