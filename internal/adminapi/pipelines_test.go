package adminapi_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/control/controltest"
)

// post sends a body as a role, as a password of HTTP Basic as Flagger does, and
// returns the status, the body and the headers.
func post(t *testing.T, server *httptest.Server, role, path, body string) (int, string, http.Header) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, server.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.SetBasicAuth("token", role)
	r.Header.Set("Content-Type", "application/json")
	res, err := server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(b), res.Header
}

func canary(phase, candidate string) string {
	return `{"name":"shop","namespace":"prod","phase":"` + phase + `","checksum":"c1","metadata":{"candidate":"` + candidate + `","type":"x"},"later":1}`
}

// A canary of Flagger's from its start to its failure, each hook asked twice.
func TestFlaggerCanaryThatFails(t *testing.T) {
	_, server, as := serve(t)
	op := as("operator")
	if _, err := op.Apply(t.Context(), api.ApplyRequest{Files: []api.File{{Name: "s.yaml", Text: controltest.Shop}}}); err != nil {
		t.Fatal(err)
	}
	want := func(status int, role, hook, phase, candidate, says string) {
		t.Helper()
		if got, body, _ := post(t, server, role, "/v1/rollouts/shop/flagger/"+hook, canary(phase, candidate)); got != status || !strings.Contains(body, says) {
			t.Errorf("%s as %s: %d %s, want %d with %q", hook, role, got, body, status, says)
		}
	}
	// Nothing is under way: nothing is said to be good, nor to be taken back.
	want(404, "gate", "confirm-rollout", "Progressing", "v2", "there is no rollout")
	want(404, "gate", "rollback", "Progressing", "v2", "there is no rollout")
	want(403, "gate", "pre-rollout", "Progressing", "v2", "admin:pipeline")
	for range 2 {
		want(200, "pipeline", "pre-rollout", "Progressing", "v2", "rol_")
	}
	want(409, "pipeline", "pre-rollout", "Progressing", "v1", "under way")
	// Without an analysis the verdict is inconclusive: no promotion, no rollback.
	want(200, "gate", "confirm-rollout", "Progressing", "v2", "inconclusive")
	want(409, "gate", "confirm-promotion", "Progressing", "v2", "inconclusive")
	want(409, "gate", "confirm-traffic-increase", "Progressing", "v2", "inconclusive")
	want(409, "gate", "rollback", "Progressing", "v2", "no reason to roll back")
	want(409, "gate", "confirm-promotion", "Progressing", "v3", "not to")
	want(403, "gate", "post-rollout", "Failed", "v2", "admin:pipeline")
	want(400, "pipeline", "post-rollout", "Progressing", "v2", "Succeeded or Failed")
	for range 2 {
		want(200, "pipeline", "post-rollout", "Failed", "v2", "rolled back")
	}
	// A late retry starts nothing anew, and success after that is a contradiction.
	want(412, "pipeline", "pre-rollout", "Progressing", "v2", "taken back")
	want(412, "pipeline", "post-rollout", "Succeeded", "v2", "rolled back")
	for _, hook := range []string{"confirm-rollout", "rollout", "confirm-traffic-increase", "confirm-promotion"} {
		want(412, "gate", hook, "Progressing", "v2", "verdict fail")
	}
	want(200, "gate", "rollback", "Progressing", "v2", "verdict fail")
	// Whoever names no candidate is not judged by what is over.
	want(409, "gate", "rollback", "Progressing", "", "no rollout of shop is under way")
	want(409, "gate", "rollout", "Progressing", "", "no rollout of shop is under way")
	want(200, "gate", "event", "Failed", "v2", "")
}

// A canary that succeeds ends finalised, however often it is told.
func TestFlaggerCanaryThatSucceeds(t *testing.T) {
	_, server, as := serve(t)
	op := as("operator")
	if _, err := op.Apply(t.Context(), api.ApplyRequest{Files: []api.File{{Name: "s.yaml", Text: controltest.Shop}}}); err != nil {
		t.Fatal(err)
	}
	for _, hook := range []string{"pre-rollout", "post-rollout", "post-rollout"} {
		if status, body, _ := post(t, server, "pipeline", "/v1/rollouts/shop/flagger/"+hook, canary("Succeeded", "v2")); status != 200 {
			t.Errorf("%s: %d %s", hook, status, body)
		}
	}
	if r, err := op.Rollout(t.Context(), "shop"); err != nil || r.State != "finalised" {
		t.Errorf("after: %+v, %v", r, err)
	}
	if status, body, _ := post(t, server, "gate", "/v1/rollouts/shop/flagger/confirm-promotion", canary("Progressing", "v2")); status != 200 {
		t.Errorf("a late question: %d %s", status, body)
	}
	if status, body, _ := post(t, server, "pipeline", "/v1/rollouts/shop/flagger/post-rollout", canary("Failed", "v2")); status != 412 {
		t.Errorf("failed after all: %d %s", status, body)
	}
}

// A webhook stage: 202, a Location to poll, and an address that takes back.
func TestSpinnakerStage(t *testing.T) {
	_, server, as := serve(t)
	if _, err := as("operator").Apply(t.Context(), api.ApplyRequest{Files: []api.File{{Name: "s.yaml", Text: controltest.Shop}}}); err != nil {
		t.Fatal(err)
	}
	var a struct {
		Rollout, Verdict string
		Cancel           string `json:"cancel_url"`
	}
	var locations []string
	for range 2 {
		status, body, h := post(t, server, "pipeline", "/v1/rollouts/shop/spinnaker", `{"candidate":"v2","execution":"01H","other":{}}`)
		if status != http.StatusAccepted || json.Unmarshal([]byte(body), &a) != nil {
			t.Fatalf("%d %s", status, body)
		}
		locations = append(locations, h.Get("Location"))
	}
	if locations[0] != locations[1] || !strings.HasPrefix(locations[0], server.URL+"/v1/rollouts/rol_") {
		t.Errorf("locations %q", locations)
	}
	poll := func() string {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, locations[0], nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer gate")
		res, err := server.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		var g api.Gate
		if err := json.NewDecoder(res.Body).Decode(&g); err != nil || res.StatusCode != 200 {
			t.Fatalf("poll: %d, %v", res.StatusCode, err)
		}
		return g.Verdict
	}
	if v := poll(); v != a.Verdict || v != "inconclusive" {
		t.Errorf("verdict %q at first, %q", a.Verdict, v)
	}
	r, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, a.Cancel, strings.NewReader(`{"reason":"stage cancelled"}`))
	r.Header.Set("Authorization", "Bearer pipeline")
	r.Header.Set("Content-Type", "application/json")
	res, err := server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if v := poll(); res.StatusCode != 200 || v != "fail" {
		t.Errorf("cancelled: %d, then %s", res.StatusCode, v)
	}
	if status, body, _ := post(t, server, "pipeline", "/v1/rollouts/shop/spinnaker", `{"candidate":"v2","execution":"01H"}`); status != 412 {
		t.Errorf("the same execution again: %d %s", status, body)
	}
}

// What Kayenta's remote judge sends (RemoteJudgeRequest, CanaryConfig and
// MetricSetPair, by their Java sources), and the score that each verdict is.
func TestKayentaRemoteJudge(t *testing.T) {
	_, server, as := serve(t)
	op := as("operator")
	if _, err := op.Apply(t.Context(), api.ApplyRequest{Files: []api.File{{Name: "s.yaml", Text: controltest.Shop}}}); err != nil {
		t.Fatal(err)
	}
	request := func(service, thresholds string) string {
		return `{"canaryConfig":{"createdTimestamp":1,"applications":["shop"],"name":"tokens","configVersion":"1","metrics":[],
			"classifier":{"groupWeights":{"a":100.0}},"judge":{"name":"RemoteJudge-v1.0","judgeConfigurations":{"service":"` + service + `","candidate":"v2"}}},
			"scoreThresholds":` + thresholds + `,
			"metricSetPairList":[{"name":"errors","id":"m1","tags":{},"values":{"control":[1.0,"NaN"],"experiment":[2.0]},
			"scopes":{"control":{"startTimeIso":"2018-01-01T00:00:00Z","startTimeMillis":1,"stepMillis":60000,"endTimeMillis":2}},"attributes":{}}]}`
	}
	judge := func(body string) (int, string, float64, string) {
		status, answer, _ := post(t, server, "gate", "/v1/kayenta/judge", body)
		var out struct {
			JudgeName string
			Results   []struct{ ID, Classification, Criticality string }
			Score     struct {
				Score          float64
				Classification string
			}
		}
		if err := json.Unmarshal([]byte(answer), &out); err != nil {
			t.Fatal(err)
		}
		if status == 200 && (out.JudgeName != "RemoteJudge-v1.0" || len(out.Results) != 1 || out.Results[0].ID != "m1") {
			t.Errorf("answer %s", answer)
		}
		return status, answer, out.Score.Score, out.Score.Classification
	}
	const usual = `{"pass":95.0,"marginal":75.0}`
	if status, body, _, _ := judge(request("shop", usual)); status != 404 {
		t.Errorf("no rollout: %d %s", status, body)
	}
	if _, err := op.StartRollout(t.Context(), api.RolloutRequest{Service: "shop", Candidate: "v2", Strategy: "canary"}); err != nil {
		t.Fatal(err)
	}
	if status, body, score, class := judge(request("shop", usual)); status != 200 || score != 75 || class != "Marginal" {
		t.Errorf("no verdict yet: %d %s", status, body)
	}
	if _, _, score, class := judge(request("shop", `{"pass":80,"marginal":80}`)); score != 0 || class != "Fail" {
		t.Errorf("no room for marginal: %g %s", score, class)
	}
	for _, bad := range []string{request("", usual), request("shop", `{"pass":0,"marginal":0}`), request("shop", `{"pass":50,"marginal":75}`)} {
		if status, body, _, _ := judge(bad); status != 400 {
			t.Errorf("%s: %d %s", bad, status, body)
		}
	}
	if _, err := op.StepRollout(t.Context(), "shop", "promote", api.StepRequest{}); err != nil {
		t.Fatal(err)
	}
	if _, err := op.StepRollout(t.Context(), "shop", "finalise", api.StepRequest{}); err != nil {
		t.Fatal(err)
	}
	if _, body, score, class := judge(request("shop", usual)); score != 100 || class != "Pass" {
		t.Errorf("finalised: %s", body)
	}
}
