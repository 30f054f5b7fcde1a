package testkit_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/mintmark/mintmark/testkit"
)

var block = regexp.MustCompile("(?s)```\\w+ ([\\w.]+)\n(.*?)```")

// TestDocs plays the example of docs/testkit.md as it is printed, and the pack and
// the first file against the same service.
func TestDocs(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("node"); err != nil {
		t.Skip("there is no node on this machine")
	}
	text, err := os.ReadFile("../docs/testkit.md")
	if err != nil {
		t.Fatal(err)
	}
	files, dir := map[string]string{}, t.TempDir()
	for _, m := range block.FindAllStringSubmatch(string(text), -1) {
		files[m[1]] = m[2]
		if err := os.WriteFile(filepath.Join(dir, m[1]), []byte(m[2]), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	all, err := testkit.Parse("scenarios.yaml", files["scenarios.yaml"])
	if err != nil || len(all) != 2 {
		t.Fatalf("%d scenarios, %v", len(all), err)
	}
	pack, _ := testkit.Pack("rfc8725")
	more, err := testkit.Parse("pack", pack)
	if err != nil {
		t.Fatal(err)
	}
	results, err := testkit.Run(t.Context(), append(all, more...), testkit.Options{Exec: "exec node " + filepath.Join(dir, "server.mjs"), Parallel: 2, Start: 2 * time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range results {
		if !r.Passed {
			t.Errorf("%+v", r)
		}
	}
	if len(more) != 17 {
		t.Errorf("the pack has %d scenarios: say so in docs/testkit.md", len(more))
	}
}

// TestExampleFile: what init writes passes against a service that does its duty.
func TestExampleFile(t *testing.T) {
	t.Parallel()
	all, err := testkit.Parse("example.yaml", testkit.Example)
	if err != nil {
		t.Fatal(err)
	}
	p := world(t, func(s *service) { s.behind = true })
	for _, s := range all {
		if r := p.Play(t.Context(), s); !r.Passed {
			t.Errorf("%+v", r)
		}
	}
}

// TestExecThatFails: a service that ends or never listens is told with what it
// said, and nothing is left running.
func TestExecThatFails(t *testing.T) {
	t.Parallel()
	all, err := testkit.Parse("example.yaml", testkit.Example)
	if err != nil {
		t.Fatal(err)
	}
	_, err = testkit.Run(t.Context(), all[:1], testkit.Options{Exec: "echo out of cheese; exit 3"})
	if err == nil || !regexp.MustCompile("(?s)ended before it listened.*out of cheese").MatchString(err.Error()) {
		t.Errorf("error is %v", err)
	}
}
