package e2e

import (
	"context"
	"encoding/json"
	"os/exec"
	"testing"
	"time"

	"github.com/mintmark/mintmark"
)

// TestDemoNoticesByItself plays the demonstration: a fault in the candidate's policy
// and one in its servers (all of them in a soak), noticed by the right metric
// without anybody's help.
func TestDemoNoticesByItself(t *testing.T) {
	faults := []string{"over-scoped", "5xx"}
	if soak {
		faults = append(faults, "wrong-audience", "stranded", "slow", "upstream-401", "none")
	}
	for _, fault := range faults {
		t.Run(fault, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
			defer cancel()
			cmd := exec.CommandContext(ctx, binary, "demo", "--script", "--fault", fault, "--clients", "150", "--after", "1s", "-o", "json")
			cmd.WaitDelay = 10 * time.Second
			out, err := cmd.Output()
			var got struct {
				OK        bool              `json:"ok"`
				Error     string            `json:"error"`
				NoticedNS time.Duration     `json:"noticed_ns"`
				Receipt   *mintmark.Receipt `json:"receipt"`
			}
			if bad := json.Unmarshal(out, &got); bad != nil {
				t.Fatalf("%v: %s", bad, out)
			}
			if err != nil || !got.OK {
				t.Fatalf("%v: %s", err, got.Error)
			}
			if fault == "none" {
				return
			}
			if got.Receipt == nil || got.Receipt.Evidence == nil {
				t.Fatalf("no evidence: %s", out)
			}
			t.Logf("noticed by %s after %s, applied %s after the commit", got.Receipt.Evidence.Metric, got.NoticedNS, got.Receipt.Elapsed)
		})
	}
}
