// Package flagger_test lets Flagger's own webhook-calling code ask the running product.
package flagger_test

import (
	"os"
	"strings"
	"testing"

	flaggerv1 "github.com/fluxcd/flagger/pkg/apis/flagger/v1beta1"
	"github.com/fluxcd/flagger/pkg/controller"
	"k8s.io/apimachinery/pkg/util/yaml"

	"github.com/mintmark/mintmark/integrations/live"
)

// example reads the Canary of canary.yaml with its places filled in.
func example(t *testing.T, p *live.Plane, gate, drive [2]string) flaggerv1.Canary {
	t.Helper()
	b, err := os.ReadFile("canary.yaml")
	if err != nil {
		t.Fatal(err)
	}
	host := strings.TrimPrefix(p.Admin, "http://")
	text := strings.NewReplacer("https://GATE_ID:GATE_SECRET@control.example", "http://"+gate[0]+":"+gate[1]+"@"+host,
		"https://DRIVE_ID:DRIVE_SECRET@control.example", "http://"+drive[0]+":"+drive[1]+"@"+host).Replace(string(b))
	var c flaggerv1.Canary
	if err := yaml.UnmarshalStrict([]byte(text), &c); err != nil {
		t.Fatal(err)
	}
	return c
}

// A canary's life by Flagger's own caller, with the hooks of the example: it starts,
// is held while there is no verdict, is taken back, and stays so however often it is
// told.
func TestCanary(t *testing.T) {
	p := live.Start(t)
	var accounts [2][2]string
	for i, scope := range []string{"admin:gate", "admin:pipeline"} {
		id, secret := p.Account("flagger"+string(rune('a'+i)), scope)
		accounts[i] = [2]string{id, secret}
	}
	c := example(t, p, accounts[0], accounts[1])
	call := func(hook flaggerv1.HookType, phase flaggerv1.CanaryPhase) error {
		t.Helper()
		for _, w := range c.Spec.Analysis.Webhooks {
			if w.Type == hook {
				w.Retries = 0 // 5xx would be asked again, and the body lost
				return controller.CallWebhook(c, phase, w)
			}
		}
		t.Fatalf("the example has no hook of type %s", hook)
		return nil
	}
	goes := func(hook flaggerv1.HookType, phase flaggerv1.CanaryPhase) {
		t.Helper()
		if err := call(hook, phase); err != nil {
			t.Errorf("%s: %v", hook, err)
		}
	}
	halts := func(hook flaggerv1.HookType, phase flaggerv1.CanaryPhase, says string) {
		t.Helper()
		if err := call(hook, phase); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want a halt that says %q", hook, err, says)
		}
	}
	goes(flaggerv1.PreRolloutHook, flaggerv1.CanaryPhaseProgressing)
	goes(flaggerv1.PreRolloutHook, flaggerv1.CanaryPhaseProgressing)
	goes(flaggerv1.RolloutHook, flaggerv1.CanaryPhaseProgressing) // waiting is no failure
	halts(flaggerv1.ConfirmTrafficIncreaseHook, flaggerv1.CanaryPhaseProgressing, "verdict wait")
	halts(flaggerv1.ConfirmPromotionHook, flaggerv1.CanaryPhaseWaitingPromotion, "verdict wait")
	halts(flaggerv1.RollbackHook, flaggerv1.CanaryPhaseProgressing, "no reason to roll back")
	goes(flaggerv1.PostRolloutHook, flaggerv1.CanaryPhaseFailed)
	goes(flaggerv1.PostRolloutHook, flaggerv1.CanaryPhaseFailed)
	if r, err := p.Operator.Rollout(t.Context(), "shop"); err != nil || r.State != "rolled_back" {
		t.Errorf("after: %+v, %v", r, err)
	}
	goes(flaggerv1.RollbackHook, flaggerv1.CanaryPhaseProgressing) // inverted: roll back now
	halts(flaggerv1.RolloutHook, flaggerv1.CanaryPhaseProgressing, "verdict fail")
	halts(flaggerv1.PreRolloutHook, flaggerv1.CanaryPhaseProgressing, "taken back")
	halts(flaggerv1.PostRolloutHook, flaggerv1.CanaryPhaseSucceeded, "rolled back")
}
