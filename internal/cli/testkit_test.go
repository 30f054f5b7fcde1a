package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestTestkit: what init writes is what run reads; a mistake is pointed at and
// starts nothing; a failure exits 1 and is in the table and in JUnit's XML.
func TestTestkit(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	run := func(args ...string) (int, string) {
		var out bytes.Buffer
		code := Main(t.Context(), Config{Args: append([]string{"testkit"}, args...), Stdout: &out, Stderr: &out})
		return code, out.String()
	}
	file := filepath.Join(dir, "s.yaml")
	if code, out := run("init", file); code != 0 {
		t.Fatal(out)
	}
	if code, out := run("init", file); code != 2 || !strings.Contains(out, "does not exist yet") {
		t.Errorf("init over a file: %d %s", code, out)
	}
	if code, out := run("run", "-f", file); code != 2 || !strings.Contains(out, "either a service's URL or a command") {
		t.Errorf("without a service: %d %s", code, out)
	}
	// Nobody listens on port 1: the calls get no answer.
	for form, want := range map[string]string{"table": "gave no answer", "junit": `failures="1"`, "json": `"passed": false`} {
		code, out := run("run", "-f", file, "--only", "tokens-end", "--service", "http://127.0.0.1:1", "-o", form)
		if code != 1 || !strings.Contains(out, want) {
			t.Errorf("%s: %d %s", form, code, out)
		}
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, bytes.Replace(text, []byte("wait: 6m"), []byte("wat: 6m"), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, out := run("run", "-f", file, "--exec", "false"); code != 2 || !strings.Contains(out, "- wat: 6m\n        ^") || !strings.Contains(out, "did you mean wait?") {
		t.Errorf("a mistake: %d %s", code, out)
	}
	if code, out := run("schema"); code != 0 || !strings.Contains(out, `"duplicate-member"`) {
		t.Errorf("schema: %d %s", code, out)
	}
}
