package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/api"
)

// TestStatusListOfOurs lets @sd-jwt/jwt-status-list and jose read what we publish.
func TestStatusListOfOurs(t *testing.T) {
	t.Parallel()
	w := newWorld(t, option{instead: func(up string) string { return replaceOnce(shop(up), "access: 5m", "access: 5m\nstatus_list: true") }})
	var tokens []string
	var ids []string
	for range 4 {
		a, err := w.admin.Issue(t.Context(), api.IssueRequest{Client: "machine", Audience: []string{audience}, Scopes: []string{"orders.read"}, Reason: "test"})
		if err != nil {
			t.Fatal(err)
		}
		tokens, ids = append(tokens, a.Value), append(ids, string(a.Token.ID))
	}
	for _, k := range tokens {
		if a := w.get(w.client, w.gateway+"/orders/1", "Authorization", "Bearer "+k); a.status != http.StatusOK {
			t.Fatalf("the gateway: %d %s", a.status, a.body)
		}
	}
	read := func() (got []int) {
		out := node(t, "statuslist.mjs", "STRANGER", map[string]any{"issuer": w.issuer, "tokens": tokens})
		if err := json.Unmarshal([]byte(out), &got); err != nil {
			t.Fatal(err, out)
		}
		return got
	}
	if got := read(); !reflect.DeepEqual(got, []int{0, 0, 0, 0}) {
		t.Errorf("before: %v", got)
	}
	w.revoke("token=" + ids[1])
	if _, err := w.admin.Revoke(t.Context(), api.RevokeRequest{Selector: "token=" + ids[2], Action: "suspend", Reason: "test", For: "15s", Wait: true}); err != nil {
		t.Fatal(err)
	}
	// The list follows within a second; so does what a suspension's end does to it.
	w.eventually(20*time.Second, "revoked and suspended", func() bool { return reflect.DeepEqual(read(), []int{0, 1, 2, 0}) })
	w.eventually(60*time.Second, "the suspension ended", func() bool { return reflect.DeepEqual(read(), []int{0, 1, 0, 0}) })
	if a := w.get(w.client, w.gateway+"/orders/1", "Authorization", "Bearer "+tokens[2]); a.status != http.StatusOK {
		t.Errorf("after the suspension: %d %s", a.status, a.body)
	}
}

// eventually polls until a thing is so.
func (w *world) eventually(within time.Duration, what string, so func() bool) {
	w.t.Helper()
	for end := time.Now().Add(within); !so(); {
		if time.Now().After(end) {
			w.t.Fatalf("not within %s: %s", within, what)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// TestStatusListOfOthers lets our gateway obey a list that @sd-jwt/jwt-status-list
// made.
func TestStatusListOfOthers(t *testing.T) {
	t.Parallel()
	issuer, end := startScript(t, "statusissuer.mjs")
	w := newWorld(t, option{instead: func(up string) string {
		return replaceOnce(shop(up), "routes:", "issuers: [partner]\nroutes:") + fmt.Sprintf(`---
apiVersion: mintmark/v1
kind: Issuer
name: partner
issuer: %[1]s
jwks_uri: %[1]s/jwks
status_list: true
marks: [{release: orders/v1}]
`, issuer)
	}})
	token := func(idx, list string) string {
		return w.get(w.client, issuer+"/token?"+url.Values{"idx": {idx}, "list": {list}}.Encode()).body
	}
	for _, c := range []struct {
		idx, list, code string
		status          int
	}{
		{"0", "/status/1", "", 200},
		{"1", "/status/1", "token_revoked", 401},
		{"2", "/status/1", "token_suspended", 401},
		{"3", "/status/1", "token_revoked", 401},
		{"0", "/status/none", "state_unknown", 503},
		{"9999999", "/status/1", "state_unknown", 503},
	} {
		k := token(c.idx, c.list)
		w.eventually(20*time.Second, fmt.Sprintf("place %s of %s: %d", c.idx, c.list, c.status), func() bool {
			a := w.get(w.client, w.gateway+"/orders/1", "Authorization", "Bearer "+k)
			return a.status == c.status && a.code() == c.code
		})
	}
	// What is known goes on without the issuer.
	k := token("5", "/status/1")
	if a := w.get(w.client, w.gateway+"/orders/1", "Authorization", "Bearer "+k); a.status != 200 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	end()
	if a := w.get(w.client, w.gateway+"/orders/1", "Authorization", "Bearer "+k); a.status != 200 {
		t.Errorf("issuer gone: %d %s", a.status, a.body)
	}
}

// TestGlobalRevocation ends everything of a person by any of three names.
func TestGlobalRevocation(t *testing.T) {
	t.Parallel()
	w := newWorld(t, option{resources: "---\napiVersion: mintmark/v1\nkind: User\nname: alice\nclaims: {email: Alice@Example.com}\n"})
	var meta struct {
		Endpoint string `json:"global_token_revocation_endpoint"`
	}
	if err := json.Unmarshal([]byte(w.get(w.client, w.issuer+"/.well-known/oauth-authorization-server").body), &meta); err != nil || meta.Endpoint == "" {
		t.Fatalf("metadata: %+v, %v", meta, err)
	}
	operator := w.operatorToken().Access
	post := func(bearer, body string) int {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, meta.Endpoint, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		if bearer != "" {
			req.Header.Set("Authorization", "Bearer "+bearer)
		}
		res, err := w.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b, _ := io.ReadAll(res.Body)
		if res.StatusCode == http.StatusNoContent && len(b) > 0 {
			t.Errorf("204 with a body: %s", b)
		}
		return res.StatusCode
	}
	for name, id := range map[string]string{
		"iss_sub": `{"format":"iss_sub","iss":"` + w.issuer + `","sub":"alice"}`,
		"email":   `{"format":"email","email":"alice@example.com"}`,
		"opaque":  `{"format":"opaque","id":"alice"}`,
	} {
		a, err := w.admin.Issue(t.Context(), api.IssueRequest{Client: "machine", Subject: user, Audience: []string{audience}, Scopes: []string{"orders.read"}, Reason: "test"})
		if err != nil {
			t.Fatal(err)
		}
		call := func() int {
			return w.get(w.client, w.gateway+"/orders/1", "Authorization", "Bearer "+a.Value).status
		}
		if s := call(); s != 200 {
			t.Fatalf("%s: before: %d", name, s)
		}
		if s := post(operator, `{"sub_id":`+id+`}`); s != http.StatusNoContent {
			t.Errorf("%s: %d", name, s)
		}
		// 204 comes when every gateway that answers has it.
		if s := call(); s != 401 {
			t.Errorf("%s: after: %d", name, s)
		}
	}
	for body, want := range map[string]int{
		`{"sub_id":{"format":"opaque","id":"nobody"}}`:                                    404,
		`{"sub_id":{"format":"email","email":"nobody@example.com"}}`:                      404,
		`{"sub_id":{"format":"iss_sub","iss":"https://elsewhere.example","sub":"alice"}}`: 404,
		`{"sub_id":{"format":"phone_number","phone_number":"+1"}}`:                        400,
		`{"sub_id":{"format":"opaque"}}`:                                                  400,
		`{"sub_id":{"format":"opaque","id":"alice","email":"x@y.example"}}`:               400,
		`{"sub_id":"alice"}`: 400, `not json`: 400, ``: 400,
	} {
		if s := post(operator, body); s != want {
			t.Errorf("%s: %d, want %d", body, s, want)
		}
	}
	ok := `{"sub_id":{"format":"opaque","id":"alice"}}`
	if s := post("", ok); s != 401 {
		t.Errorf("by nobody: %d", s)
	}
	if s := post(w.machine(), ok); s != 401 {
		t.Errorf("by a client of a service: %d", s)
	}
}

// TestSecondPerson has one operator ask and another approve, on the real API.
func TestSecondPerson(t *testing.T) {
	t.Parallel()
	w := newWorld(t, option{})
	w.apply(`apiVersion: mintmark/v1
kind: Guard
name: revocations
second_person: broad
---
apiVersion: mintmark/v1
kind: Client
name: second
auth: client_secret_basic
grants: [client_credentials]
audiences: ["` + w.issuer + `/admin"]
scopes: ["admin:security"]
---
apiVersion: mintmark/v1
kind: Client
name: helper
auth: client_secret_basic
grants: [client_credentials]
audiences: ["` + w.issuer + `/admin"]
scopes: ["admin:operator"]
`)
	as := func(client, scope string) *api.Client {
		a := w.token(w.client, url.Values{"grant_type": {"client_credentials"}, "scope": {scope}, "resource": {w.issuer + "/admin"}}, client, w.secrets[client])
		c, err := api.NewClient(api.Config{Server: w.adminURL, Token: mintmark.NewSecret(a.Access), HTTP: &http.Client{Timeout: 30 * time.Second}})
		if err != nil || a.Access == "" {
			t.Fatal(err, a)
		}
		return c
	}
	second, helper := as("second", "admin:security"), as("helper", "admin:operator")
	k := w.machine()
	call := func() int { return w.get(w.client, w.gateway+"/orders/1", "Authorization", "Bearer "+k).status }
	const all = "release=orders/v1"
	q := api.RevokeRequest{Selector: all, Reason: "over-scoped", Confirm: all, Wait: true}
	code := func(err error) api.Code {
		p := &api.Problem{}
		if !errors.As(err, &p) {
			t.Errorf("%v is no problem", err)
		}
		return p.Code
	}
	broken := q
	broken.BreakGlass = true
	if _, err := helper.Revoke(t.Context(), broken); code(err) != api.CodeForbidden {
		t.Errorf("break glass as operator: %v", err)
	}
	asked, err := helper.Revoke(t.Context(), q)
	if err != nil || asked.Pending == nil || asked.Receipt != nil || call() != 200 {
		t.Fatalf("asked: %+v, %v", asked, err)
	}
	id := asked.Pending.ID
	yes := api.DecideRequest{Confirm: all, Wait: true}
	if _, err := helper.ApproveRevocation(t.Context(), id, yes); code(err) != api.CodeForbidden {
		t.Errorf("approved by its requester: %v", err)
	}
	done, err := second.ApproveRevocation(t.Context(), id, yes)
	if err != nil || call() != 401 {
		t.Fatalf("approved: %+v, %v; the gateway answers %d", done, err, call())
	}
	if r := done.Receipt; r.Actor != "client:helper" || r.Approver != "client:second" || r.Outcome != mintmark.OutcomeEffective || r.Revocations[0].ID != id {
		t.Errorf("receipt: %+v", r)
	}
	again, err := helper.Revoke(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := second.DenyRevocation(t.Context(), again.Pending.ID, api.DecideRequest{Reason: "done already"}); err != nil {
		t.Error(err)
	}
	if _, err := second.ApproveRevocation(t.Context(), again.Pending.ID, yes); code(err) != api.CodePrecondition {
		t.Errorf("approved after it was denied: %v", err)
	}
}
