package live

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v4"
)

// Every example is well-formed: YAML, JSON, and what is for a shell.
func TestExamplesParse(t *testing.T) {
	seen := 0
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		switch filepath.Ext(path) {
		case ".yml", ".yaml":
			dec := yaml.NewDecoder(bytes.NewReader(b))
			for {
				var v any
				if err := dec.Decode(&v); err == io.EOF {
					break
				} else if err != nil {
					t.Errorf("%s: %v", path, err)
					break
				}
				seen++
			}
		case ".json":
			seen++
			if !json.Valid(b) {
				t.Errorf("%s is not JSON", path)
			}
		case ".sh":
			seen++
			if out, err := exec.Command("bash", "-n", path).CombinedOutput(); err != nil {
				t.Errorf("%s: %s", path, out)
			}
			if lint, err := exec.LookPath("shellcheck"); err == nil {
				if out, err := exec.Command(lint, path).CombinedOutput(); err != nil {
					t.Errorf("%s: %s", path, out)
				}
			}
		}
		return nil
	})
	if err != nil || seen < 15 {
		t.Errorf("%d examples, %v", seen, err)
	}
}

// actionScript is the shell of the GitHub action's only step.
func actionScript(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("../github/action.yml")
	if err != nil {
		t.Fatal(err)
	}
	var a struct {
		Runs struct {
			Steps []struct {
				Run string `yaml:"run"`
			} `yaml:"steps"`
		} `yaml:"runs"`
	}
	if err := yaml.Unmarshal(b, &a); err != nil || len(a.Runs.Steps) != 1 || a.Runs.Steps[0].Run == "" {
		t.Fatalf("action.yml: %+v, %v", a, err)
	}
	return a.Runs.Steps[0].Run
}

// The shell of the examples does what it says, against the running product: curl's
// script, and the GitHub action's step as the runner starts it.
func TestShellOfExamples(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("no curl here")
	}
	p := Start(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	id, secret := p.Account("ci", "admin:gate")
	token := p.Token(id, secret, "admin:gate")
	dir := t.TempDir()
	env := []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "MINTMARK_SERVER=" + p.Admin, "MINTMARK_TOKEN=" + token, "MINTMARK=" + p.Binary,
		"ROLLOUT=shop", "WAIT=1s", "FAIL_OPEN=false", "SARIF=" + filepath.Join(dir, "gate.sarif"), "GITHUB_OUTPUT=" + filepath.Join(dir, "out"),
	}
	run := func(want int, name string, args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(ctx, name, args...)
		cmd.Env = env
		out, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			t.Fatal(err)
		}
		if got := cmd.ProcessState.ExitCode(); got != want {
			t.Errorf("%s %s: exit %d, want %d\n%s", name, args[len(args)-1], got, want, out)
		}
		return string(out)
	}
	action := filepath.Join(dir, "action.sh")
	if err := os.WriteFile(action, []byte(actionScript(t)), 0o600); err != nil {
		t.Fatal(err)
	}
	run(5, "../curl/gate.sh", "shop", "1")
	p.Begin()
	run(12, "../curl/gate.sh", "shop", "0")
	run(12, "bash", "--noprofile", "--norc", "-eo", "pipefail", action)
	p.Step("promote")
	p.Step("finalise")
	run(0, "../curl/gate.sh", "shop", "1")
	if out := run(0, "bash", "--noprofile", "--norc", "-eo", "pipefail", action); !strings.Contains(out, "::notice title=Mintmark pass::") {
		t.Errorf("action said %s", out)
	}
	for file, says := range map[string]string{"out": "verdict=pass\n", "gate.sarif": `"version": "2.1.0"`} {
		if b, err := os.ReadFile(filepath.Join(dir, file)); err != nil || !strings.Contains(string(b), says) {
			t.Errorf("%s: %s, %v", file, b, err)
		}
	}
	env[2] = "MINTMARK_SERVER=http://127.0.0.1:1"
	run(31, "../curl/gate.sh", "shop", "0")
	run(31, "bash", "--noprofile", "--norc", "-eo", "pipefail", action)
}
