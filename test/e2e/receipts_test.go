package e2e

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A verifier written from docs/receipts.md, with Node's crypto alone, comes to the
// same about the vectors as ours.
func TestReceiptsByStrangers(t *testing.T) {
	t.Parallel()
	npm(t)
	dir := filepath.Join("..", "..", "internal", "receipt", "testdata")
	out, err := exec.CommandContext(t.Context(), "node", filepath.Join("js", "receipts.mjs"), dir).CombinedOutput()
	if err != nil || strings.Count(string(out), "ok ") < 10 {
		t.Errorf("%v\n%s", err, out)
	}
}
