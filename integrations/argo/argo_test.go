package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	metricrpc "github.com/argoproj/argo-rollouts/metricproviders/plugin/rpc"
	"github.com/argoproj/argo-rollouts/metricproviders/webmetric"
	"github.com/argoproj/argo-rollouts/pkg/apis/rollouts/v1alpha1"
	steprpc "github.com/argoproj/argo-rollouts/rollout/steps/plugin/rpc"
	trafficrpc "github.com/argoproj/argo-rollouts/rollout/trafficrouting/plugin/rpc"
	"github.com/argoproj/argo-rollouts/utils/plugin/types"
	"github.com/hashicorp/go-plugin"
	log "github.com/sirupsen/logrus"
	"k8s.io/apimachinery/pkg/util/yaml"

	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/integrations/live"
)

// template reads an AnalysisTemplate of the example and puts arguments in.
func template(t *testing.T, n int, args ...string) v1alpha1.Metric {
	t.Helper()
	b, err := os.ReadFile("analysis-template.yaml")
	if err != nil {
		t.Fatal(err)
	}
	text := strings.NewReplacer(args...).Replace(strings.Split(string(b), "\n---\n")[n])
	var a v1alpha1.AnalysisTemplate
	if err := yaml.UnmarshalStrict([]byte(text), &a); err != nil {
		t.Fatal(err)
	}
	return a.Spec.Metrics[0]
}

// Argo's own web metric provider asks the running product, by the example's templates.
func TestWebMetric(t *testing.T) {
	p := live.Start(t)
	id, secret := p.Account("argo", "admin:gate")
	args := []string{"{{args.control}}", p.Admin, "{{args.service}}", "shop", "{{args.token}}", p.Token(id, secret, "admin:gate")}
	measure := func(n int) v1alpha1.Measurement {
		t.Helper()
		k := template(t, n, args...)
		client, err := webmetric.NewWebMetricHttpClient(k)
		if err != nil {
			t.Fatal(err)
		}
		parser, err := webmetric.NewWebMetricJsonParser(k)
		if err != nil {
			t.Fatal(err)
		}
		return webmetric.NewWebMetricProvider(*log.NewEntry(log.New()), client, parser).Run(&v1alpha1.AnalysisRun{}, k)
	}
	if m := measure(0); m.Phase != v1alpha1.AnalysisPhaseError {
		t.Errorf("without a rollout: %+v", m)
	}
	p.Begin()
	if m := measure(0); m.Phase != v1alpha1.AnalysisPhaseInconclusive {
		t.Errorf("step, no verdict yet: %+v", m)
	}
	if m := measure(1); m.Phase != v1alpha1.AnalysisPhaseSuccessful {
		t.Errorf("background, no verdict yet: %+v", m)
	}
	p.Step("abort")
	for n := range 2 {
		if m := measure(n); m.Phase != v1alpha1.AnalysisPhaseFailed || m.Value != `"fail"` {
			t.Errorf("template %d, taken back: %+v", n, m)
		}
	}
}

// start lets go-plugin's host start our binary as Argo does, and dispenses the plugin.
func start[T any](t *testing.T, binary, credential, kind, key string, p plugin.Plugin) T {
	t.Helper()
	cmd := exec.Command(binary, kind)
	cmd.Env = append(os.Environ(), "MINTMARK_CREDENTIAL="+credential)
	c := plugin.NewClient(&plugin.ClientConfig{HandshakeConfig: handshake(kind), Plugins: map[string]plugin.Plugin{key: p}, Cmd: cmd, Managed: true})
	t.Cleanup(c.Kill)
	rpc, err := c.Client()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := rpc.Dispense(key)
	if err != nil {
		t.Fatal(err)
	}
	out, ok := raw.(T)
	if !ok {
		t.Fatalf("dispensed %T", raw)
	}
	return out
}

// The three plugins through go-plugin's real host and Argo's own RPC clients, against
// the running product: a canary from its start to its abort.
func TestPlugins(t *testing.T) {
	p := live.Start(t)
	binary := filepath.Join(t.TempDir(), "mintmark-argo")
	p.Build(binary, "../argo", ".")
	id, secret := p.Account("argo", "admin:pipeline")
	b, err := json.Marshal(map[string]string{"server": p.Admin, "token_url": p.TokenURL, "client_id": id, "client_secret": secret, "scope": "admin:pipeline", "resource": p.Resource})
	if err != nil {
		t.Fatal(err)
	}
	credential := filepath.Join(t.TempDir(), "credential.json")
	if err := os.WriteFile(credential, b, 0o600); err != nil {
		t.Fatal(err)
	}
	metrics := start[metricrpc.MetricProviderPlugin](t, binary, credential, "metricprovider", "RpcMetricProviderPlugin", &metricrpc.RpcMetricProviderPlugin{})
	router := start[trafficrpc.TrafficRouterPlugin](t, binary, credential, "trafficrouter", "RpcTrafficRouterPlugin", &trafficrpc.RpcTrafficRouterPlugin{})
	steps := start[steprpc.StepPlugin](t, binary, credential, "step", "RpcStepPlugin", &steprpc.RpcStepPlugin{})
	for what, e := range map[string]types.RpcError{"metric": metrics.InitPlugin(), "traffic": router.InitPlugin(), "step": steps.InitPlugin()} {
		if e.HasError() {
			t.Fatalf("init %s: %s", what, e.ErrorString)
		}
	}
	config := json.RawMessage(`{"service":"shop","candidate":"v2","start":true}`)
	ro := &v1alpha1.Rollout{}
	ro.Name, ro.Namespace, ro.UID = "shop", "prod", "u1"
	ro.Status.CurrentPodHash, ro.Status.StableRS = "new", "old"
	ro.Spec.Strategy.Canary = &v1alpha1.CanaryStrategy{TrafficRouting: &v1alpha1.RolloutTrafficRouting{Plugins: map[string]json.RawMessage{name: config}}}
	share := func(weight int32) types.RpcVerified {
		t.Helper()
		if e := router.SetWeight(ro, weight, nil); e.HasError() {
			t.Fatalf("weight %d: %s", weight, e.ErrorString)
		}
		for range 200 { // gateways acknowledge within moments
			if v, e := router.VerifyWeight(ro, weight, nil); e.HasError() || v == types.Verified {
				return v
			}
		}
		return types.NotVerified
	}
	if v := share(0); v != types.Verified {
		t.Error("nothing under way is weight 0")
	}
	for _, weight := range []int32{5, 5, 20} {
		if v := share(weight); v != types.Verified {
			t.Errorf("weight %d was not verified", weight)
		}
	}
	if v, _ := router.VerifyWeight(ro, 60, nil); v == types.Verified {
		t.Error("a weight that was never set is verified")
	}

	k := v1alpha1.Metric{Name: "verdict", Provider: v1alpha1.MetricProvider{Plugin: map[string]json.RawMessage{name: config}}}
	m := metrics.Run(&v1alpha1.AnalysisRun{}, k)
	if m.Phase != v1alpha1.AnalysisPhaseRunning || m.ResumeAt == nil || m.FinishedAt != nil || m.Metadata["rollout"] == "" {
		t.Errorf("no verdict yet: %+v", m)
	}
	c := &types.RpcStepContext{PluginName: name, Config: config}
	res, e := steps.Run(ro, c)
	if e.HasError() || res.Phase != types.PhaseRunning || res.RequeueAfter == 0 || len(res.Status) == 0 {
		t.Fatalf("step: %+v %s", res, e.ErrorString)
	}
	c.Status = res.Status
	for range 2 { // told twice, done once
		if res, e := steps.Abort(ro, c); e.HasError() || res.Phase != types.PhaseSuccessful || !strings.Contains(res.Message, "rolled_back") {
			t.Errorf("abort: %+v %s", res, e.ErrorString)
		}
	}
	if res, e := steps.Run(ro, c); e.HasError() || res.Phase != types.PhaseFailed {
		t.Errorf("step after: %+v %s", res, e.ErrorString)
	}
	if m := metrics.Resume(&v1alpha1.AnalysisRun{}, k, m); m.Phase != v1alpha1.AnalysisPhaseFailed || m.FinishedAt == nil || m.ResumeAt != nil {
		t.Errorf("metric after: %+v", m)
	}
	ro.Status.Abort = true
	if v := share(0); v != types.Verified {
		t.Error("aborted, weight 0 is not verified")
	}
	if e := router.SetHeaderRoute(ro, &v1alpha1.SetHeaderRoute{Name: "x", Match: []v1alpha1.HeaderRoutingMatch{{HeaderName: "a"}}}); !e.HasError() {
		t.Error("a header route is accepted and not made")
	}
	if m := metrics.Run(&v1alpha1.AnalysisRun{}, v1alpha1.Metric{}); m.Phase != v1alpha1.AnalysisPhaseError {
		t.Errorf("no configuration: %+v", m)
	}
}

// A weight is verified only when every gateway with a lease has acknowledged.
func TestVerified(t *testing.T) {
	at := func(percent, state string, gateways ...api.Gateway) *api.Rollout {
		return &api.Rollout{State: state, Percent: percent, Candidate: "v2", Epoch: 7, Gateways: gateways}
	}
	behind, caughtUp := api.Gateway{State: "live", LeaseMS: 900, Epoch: 6}, api.Gateway{State: "live", LeaseMS: 900, Epoch: 7}
	silent, fenced := api.Gateway{State: "silent", LeaseMS: 100, Epoch: 6}, api.Gateway{State: "silent", Epoch: 6}
	for _, c := range []struct {
		what   string
		r      *api.Rollout
		weight int32
		full   bool
		want   types.RpcVerified
	}{
		{"all have it", at("5", "progressing", caughtUp, caughtUp), 5, false, types.Verified},
		{"one is behind", at("5", "progressing", caughtUp, behind), 5, false, types.NotVerified},
		{"one is silent, its lease not over", at("5", "progressing", caughtUp, silent), 5, false, types.NotVerified},
		{"one is fenced", at("5", "progressing", caughtUp, fenced), 5, false, types.Verified},
		{"another share", at("5", "progressing", caughtUp), 20, false, types.NotVerified},
		{"taken back, not everywhere", at("0", rolledBack, behind), 0, false, types.NotVerified},
		{"taken back", at("0", rolledBack, caughtUp), 0, false, types.Verified},
		{"Argo wants none, the candidate has some", at("5", "progressing", caughtUp), 0, false, types.NotVerified},
		{"Argo is done", at("100", finalised, caughtUp), 0, true, types.Verified},
	} {
		if got := verified(c.r, options{Service: "shop", Candidate: "v2"}, c.weight, c.full); got != c.want {
			t.Errorf("%s: %d, want %d", c.what, got, c.want)
		}
	}
}
