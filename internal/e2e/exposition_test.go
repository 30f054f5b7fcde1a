package e2e

import (
	"bytes"
	"os/exec"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
)

// lintExposition judges what a process shows at /metrics as Prometheus would: by its
// own linter, and by promtool where that is installed (scripts/need promtool).
func lintExposition(t *testing.T, process string, text []byte) {
	t.Helper()
	problems, err := promlint.New(bytes.NewReader(text)).Lint()
	if err != nil {
		t.Errorf("%s: /metrics cannot be read: %v", process, err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s: %s", process, p.Metric, p.Text)
	}
	tool, err := exec.LookPath("promtool")
	if err != nil {
		return
	}
	cmd := exec.CommandContext(t.Context(), tool, "check", "metrics")
	cmd.Stdin = bytes.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%s: promtool: %v\n%s", process, err, out)
	}
}
