package authority_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"testing"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/authority"
	"github.com/mintmark/mintmark/internal/epoch"
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
