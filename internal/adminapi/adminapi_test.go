package adminapi_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/adminapi"
	"github.com/mintmark/mintmark/internal/control/controltest"
)

// auth takes the bearer token for the caller's role.
type auth struct{}

func (auth) Authenticate(w http.ResponseWriter, r *http.Request) (adminapi.Caller, bool) {
	value, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok || value == "" {
		w.Header().Set("WWW-Authenticate", "Bearer")
		w.WriteHeader(http.StatusUnauthorized)
		return adminapi.Caller{}, false
	}
	return adminapi.CallerOf(&mintmark.Token{Subject: "ada", Client: "cli", Scopes: []string{"admin:" + value}}), true
}

// AuthenticateClient takes the secret for the role.
func (a auth) AuthenticateClient(w http.ResponseWriter, r *http.Request) (adminapi.Caller, bool) {
	_, secret, _ := r.BasicAuth()
	r.Header.Set("Authorization", "Bearer "+secret)
	return a.Authenticate(w, r)
}

func serve(t *testing.T) (*controltest.World, *httptest.Server, func(role string) *api.Client) {
	t.Helper()
	w := controltest.New(t)
	s := adminapi.New(adminapi.Config{Control: w.Control, Auth: auth{}, Events: w.Store, Version: "test", Poll: time.Millisecond})
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	return w, server, func(role string) *api.Client {
		c, err := api.NewClient(api.Config{Server: server.URL, Token: mintmark.NewSecret(role)})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
}

// may says, apart from the table, who may call what: a row that is added without
// thought fails here.
var may = map[string]string{
	"listTokens": "vosa", "getToken": "vosa", "traceToken": "vosa", "issueToken": "oa", "revoke": "osa", "restore": "osa",
	"listRevocations": "vosa", "getRevocation": "vosa", "listPendingRevocations": "vosa", "approveRevocation": "sa", "denyRevocation": "osa",
	"listAPIKeys": "vosa", "createAPIKey": "oa", "rotateAPIKey": "oa",
	"startRollout": "poa", "planRollout": "gpvosa", "listRollouts": "gpvosa", "getRollout": "gpvosa", "getRolloutPlan": "gpvosa",
	"weightRollout": "poa", "pauseRollout": "posa", "resumeRollout": "poa", "approveRollout": "vosa", "promoteRollout": "poa", "finaliseRollout": "poa",
	"listStranded": "vosa", "simulateResources": "vosa", "listRecorded": "vosa",
	"rollbackRollout": "posa", "abortRollout": "posa", "undoRollout": "posa", "getRolloutGate": "gpvosa", "followRollout": "gpvosa",
	"flaggerHook": "gpvosa", "spinnakerHook": "gpvosa", "kayentaJudge": "gpvosa",
	"listReleases": "vosa", "getRelease": "vosa", "listReceipts": "vosa", "getReceipt": "gpvosa", "exportReceipts": "vosa", "exportStateLog": "vosa",
	"applyResources": "oa", "diffResources": "vosa", "exportResources": "vosa", "getSchemas": "vosa", "getSchema": "vosa",
	"listClients": "vosa", "getClient": "vosa", "createClient": "oa", "rotateClientSecret": "oa", "disableClient": "osa",
	"listUsers": "vosa", "putUser": "a", "listKeys": "vosa", "rotateKey": "sa", "retireKey": "sa", "keepKey": "sa", "keyNeeds": "vosa", "issuerNeeds": "vosa", "killKey": "sa",
	"getStatus": "vosa", "verify": "oa", "listGateways": "vosa", "inviteGateway": "a", "removeGateway": "osa", "tailEvents": "vosa",
}

// Every operation with every role, with none, and with one that does not exist.
func TestRoles(t *testing.T) {
	_, server, _ := serve(t)
	for _, route := range adminapi.Table() {
		if route.ID == "join" {
			if status, _ := call(t, server, route, "", `{"gateway":"g","nkey":"U"}`); status != http.StatusUnauthorized {
				t.Errorf("join without a token: %d", status)
			}
			continue
		}
		allowed, ok := may[route.ID]
		if !ok {
			t.Errorf("%s is not in the matrix", route.ID)
		}
		if status, _ := call(t, server, route, "", "{}"); status != http.StatusUnauthorized {
			t.Errorf("%s without a token: %d, want 401", route.ID, status)
		}
		if status, _ := call(t, server, route, "root", "{}"); status != http.StatusForbidden {
			t.Errorf("%s with an unknown role: %d, want 403", route.ID, status)
		}
		for _, role := range adminapi.Roles() {
			status, body := call(t, server, route, string(role), "{}")
			if want := strings.ContainsRune(allowed, rune(role[0])); want == (status == http.StatusForbidden) || status == http.StatusUnauthorized {
				t.Errorf("%s as %s: %d %s; allowed should be %v", route.ID, role, status, body, want)
			}
		}
	}
	if len(may)+1 != len(adminapi.Table()) {
		t.Errorf("matrix has %d rows, table %d", len(may)+1, len(adminapi.Table()))
	}
}

func call(t *testing.T, server *httptest.Server, route adminapi.Route, role, body string) (int, string) {
	t.Helper()
	path := strings.NewReplacer("{id}", "x", "{service}", "x", "{name}", "x", "{hook}", "rollout").Replace(route.Path)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	var in io.Reader
	if route.Method == "POST" {
		in = strings.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, route.Method, server.URL+path, in)
	if err != nil {
		t.Fatal(err)
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if role != "" {
		req.Header.Set("Authorization", "Bearer "+role)
	}
	res, err := server.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if strings.HasPrefix(res.Header.Get("Content-Type"), "text/event-stream") {
		return res.StatusCode, ""
	}
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if res.StatusCode >= 400 && res.StatusCode != 401 {
		var p api.Problem
		if json.Unmarshal(b, &p) != nil || p.Code == "" || p.Code.Status() != res.StatusCode && res.StatusCode != 422 || res.Header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s as %s: %d %s %s is not a problem of ours", route.ID, role, res.StatusCode, res.Header.Get("Content-Type"), b)
		}
	}
	if route.Path != "/v1/join" && res.StatusCode == http.StatusNotFound && strings.Contains(string(b), "there is no "+route.Method+" /") {
		t.Errorf("%s: %s is not routed", route.ID, path)
	}
	return res.StatusCode, string(b)
}

func TestStory(t *testing.T) {
	w, _, as := serve(t)
	ctx := t.Context()
	c := as("operator")
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	files := []api.File{{Name: "shop.yaml", Text: controltest.Shop}}
	diff, err := as("viewer").Diff(ctx, api.ApplyRequest{Files: files})
	ok(err)
	if !diff.DryRun || len(diff.Changes) != 6 {
		t.Fatalf("diff: %+v", diff)
	}
	applied, err := c.Apply(ctx, api.ApplyRequest{Files: files, Wait: true})
	ok(err)
	if applied.Receipt == nil || applied.Receipt.Actor != "user:ada" || applied.Secrets["web"] == "" {
		t.Fatalf("apply: %+v", applied)
	}
	_, err = c.Apply(ctx, api.ApplyRequest{Files: []api.File{{Name: "bad.yaml", Text: "kind: Policy\nnam: x\n"}}})
	p, _ := err.(*api.Problem)
	if p == nil || p.Code != api.CodeInvalidFile || api.Exit(err) != api.ExitUsage || !slices.ContainsFunc(p.Errors, func(e api.FieldError) bool { return e.Location == "bad.yaml:2:1" }) {
		t.Fatalf("bad file: %v", err)
	}
	r, err := c.StartRollout(ctx, api.RolloutRequest{Service: "shop", Candidate: "v2", Weight: "5"})
	ok(err)
	id := w.Issue("shop/v2", func(k *mintmark.Token) { k.Scopes = []string{"shop:admin"} })
	_, err = c.StepRollout(ctx, r.Rollout.ID, "finalise", api.StepRequest{})
	if api.Exit(err) != api.ExitConflict {
		t.Errorf("finalise before promote: %v", err)
	}
	key := api.WithKey(ctx, "abc")
	first, err := c.StepRollout(key, r.Rollout.ID, "rollback", api.StepRequest{Reason: "bad", Wait: true})
	ok(err)
	again, err := c.StepRollout(key, r.Rollout.ID, "rollback", api.StepRequest{Reason: "bad", Wait: true})
	ok(err)
	if first.Receipt == nil || first.Receipt.Signature == "" || api.ExitOutcome(first.Receipt.Outcome) != api.ExitOK || again.Receipt.ID != first.Receipt.ID {
		t.Errorf("rollback: %+v, again %+v", first.Receipt, again.Receipt)
	}
	receipt, err := as("viewer").Receipt(ctx, first.Receipt.ID)
	ok(err)
	if receipt.Signature != first.Receipt.Signature {
		t.Errorf("stored receipt: %+v", receipt)
	}
	token, err := c.Token(ctx, id)
	ok(err)
	if token.State != mintmark.StateRevoked {
		t.Errorf("tainted token: %+v", token)
	}
	if _, err = c.Revoke(ctx, api.RevokeRequest{Selector: "client=web", Reason: "x"}); api.Exit(err) != api.ExitConflict || err.(*api.Problem).Confirm != "client=web" {
		t.Errorf("broad: %v", err)
	}
	if _, err = c.Token(ctx, "tok_none"); api.Exit(err) != api.ExitNotFound {
		t.Errorf("unknown token: %v", err)
	}
	if _, err = as("viewer").Revoke(ctx, api.RevokeRequest{Selector: "client=web", Reason: "x"}); api.Exit(err) != api.ExitAuth {
		t.Errorf("viewer revokes: %v", err)
	}
	if _, err = c.Status(ctx); err != nil {
		t.Error(err)
	}
	if _, err = c.Schema(ctx, "Service"); err != nil {
		t.Error(err)
	}
	trace, err := c.Trace(ctx, id)
	ok(err)
	if len(trace.Events) == 0 || strings.Contains(string(trace.Events[0].Data), "handle") {
		t.Errorf("trace: %+v", trace.Events)
	}
	page, err := c.Tokens(ctx, api.TokenQuery{Selector: "release=shop/v2", States: []string{"all"}})
	ok(err)
	if len(page.Tokens) != 1 {
		t.Errorf("tokens: %+v", page)
	}
}

// The stream must show what happened and never what documents hold.
func TestEvents(t *testing.T) {
	w, _, as := serve(t)
	if _, err := as("admin").Apply(t.Context(), api.ApplyRequest{Files: []api.File{{Text: controltest.Shop}}}); err != nil {
		t.Fatal(err)
	}
	id := w.Issue("shop/v1")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	seen, last := false, uint64(0)
	err := as("viewer").Events(ctx, 0, func(e mintmark.Event) error {
		if e.Seq != last+1 {
			t.Errorf("event %d after %d", e.Seq, last)
		}
		last = e.Seq
		if strings.HasPrefix(e.Stream, "client/") && e.Data != nil {
			t.Errorf("a client's document is shown: %s", e.Data)
		}
		if e.Token == id {
			seen = true
			return io.EOF
		}
		return nil
	})
	if err != io.EOF || !seen {
		t.Errorf("stream: %v", err)
	}
}

func TestOpenAPI(t *testing.T) {
	_, server, _ := serve(t)
	res, err := server.Client().Get(server.URL + "/v1/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var doc struct {
		OpenAPI string                    `json:"openapi"`
		Paths   map[string]map[string]any `json:"paths"`
	}
	if err := json.NewDecoder(res.Body).Decode(&doc); err != nil || !strings.HasPrefix(doc.OpenAPI, "3.1") {
		t.Fatalf("%s, %v", doc.OpenAPI, err)
	}
	for _, r := range adminapi.Table() {
		if doc.Paths[r.Path][strings.ToLower(r.Method)] == nil {
			t.Errorf("%s %s is not described", r.Method, r.Path)
		}
	}
}
