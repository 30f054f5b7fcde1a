package live

import (
	"context"
	"errors"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/mintmark/mintmark/api"
)

// What a token of a pipeline is good for, and what not, on the real thing; and the
// gate as a shell that knows curl or the command would ask.
func TestLeastPrivilege(t *testing.T) {
	p := Start(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	r := p.Begin()
	id, secret := p.Account("ci", "admin:gate")
	token := p.Token(id, secret, "admin:gate")
	gate := p.Client(token)
	if g, err := gate.RolloutGate(ctx, "shop", 0); err != nil || g.Rollout != r.ID {
		t.Errorf("gate: %+v, %v", g, err)
	}
	forbidden := func(what string, err error) {
		t.Helper()
		var problem *api.Problem
		if !errors.As(err, &problem) || problem.Code != api.CodeForbidden {
			t.Errorf("%s: %v, want not authorised", what, err)
		}
	}
	_, err := gate.StepRollout(ctx, r.ID, "abort", api.StepRequest{Reason: "x"})
	forbidden("abort with the role gate", err)
	_, err = gate.Tokens(ctx, api.TokenQuery{})
	forbidden("tokens with the role gate", err)
	id, secret = p.Account("cd", "admin:pipeline")
	driver := p.Client(p.Token(id, secret, "admin:pipeline"))
	_, err = driver.Export(ctx)
	forbidden("resources with the role pipeline", err)
	_, err = driver.Revoke(ctx, api.RevokeRequest{Selector: "client=ci", DryRun: true})
	forbidden("revoke with the role pipeline", err)

	// Callers that know only a URL come with the client's own id and secret, and to
	// webhooks only.
	basic := func(id, secret, path string) int {
		res, err := http.Post(strings.Replace(p.Admin, "://", "://"+id+":"+secret+"@", 1)+path, "application/json",
			strings.NewReader(`{"name":"shop","namespace":"prod","phase":"Progressing"}`))
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		return res.StatusCode
	}
	if status := basic(id, secret, "/v1/rollouts/shop/flagger/confirm-rollout"); status != http.StatusOK {
		t.Errorf("a client's own secret at a webhook: %d", status)
	}
	if status := basic(id, "mms_wrong", "/v1/rollouts/shop/flagger/confirm-rollout"); status != http.StatusUnauthorized {
		t.Errorf("a wrong secret: %d", status)
	}
	if status := basic(id, secret, "/v1/rollouts/shop:pause"); status != http.StatusUnauthorized && status != http.StatusBadRequest {
		t.Errorf("a client's secret elsewhere: %d", status)
	}

	run := func(args ...string) (int, string) {
		cmd := exec.CommandContext(ctx, p.Binary, append([]string{"rollout", "gate", "shop"}, args...)...)
		cmd.Env = []string{"MINTMARK_SERVER=" + p.Admin, "MINTMARK_TOKEN=" + token, "HOME=" + t.TempDir()}
		out, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			t.Fatal(err)
		}
		return cmd.ProcessState.ExitCode(), string(out)
	}
	p.Step("pause")
	if exit, out := run("--timeout", "10s"); exit != api.ExitInconclusive {
		t.Errorf("paused: exit %d\n%s", exit, out)
	}
	if _, err := driver.StepRollout(ctx, "shop", "abort", api.StepRequest{Reason: "the pipeline says so", Wait: true, Timeout: "30s"}); err != nil {
		t.Errorf("abort with the role pipeline: %v", err)
	}
	if exit, out := run("-o", "github"); exit != api.ExitGateFail || !strings.HasPrefix(out, "::error title=Mintmark fail::") {
		t.Errorf("aborted: exit %d\n%s", exit, out)
	}
}
