package e2e

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestFirstHour runs every shell block of docs/first-hour.md, in order, in one
// shell and an empty directory. It takes the default ports, which is what the
// page tells its reader.
func TestFirstHour(t *testing.T) {
	for _, port := range []string{"8080", "8081", "8082", "8083"} {
		l, err := net.Listen("tcp", "127.0.0.1:"+port)
		if err != nil {
			t.Fatalf("docs/first-hour.md uses the default ports: %v", err)
		}
		l.Close()
	}
	script := blocks(t, filepath.Join("..", "..", "docs", "first-hour.md"))
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-c", "set -euo pipefail\n"+script)
	cmd.Dir = t.TempDir()
	cmd.WaitDelay = 5 * time.Second
	path := t.TempDir()
	if err := os.Symlink(binary, filepath.Join(path, "mintmark")); err != nil {
		t.Fatal(err)
	}
	cmd.Env = append(os.Environ(), "PATH="+path+":"+os.Getenv("PATH"), "HOME="+t.TempDir(), "XDG_CONFIG_HOME="+t.TempDir())
	out, err := cmd.CombinedOutput()
	if err != nil {
		served, _ := os.ReadFile(filepath.Join(cmd.Dir, "serve.log"))
		t.Fatalf("%v\n%s\nserve.log:\n%s", err, out, served)
	}
	for _, want := range []string{"effective", "rolled_back"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("the page's commands never said %q:\n%s", want, out)
		}
	}
}

// blocks returns the sh blocks of a Markdown file, joined.
func blocks(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var script strings.Builder
	in := false
	for line := range strings.Lines(string(b)) {
		switch {
		case strings.HasPrefix(line, "```sh"):
			in = true
		case strings.HasPrefix(line, "```"):
			in = false
		case in:
			script.WriteString(line)
		}
	}
	if script.Len() == 0 {
		t.Fatalf("%s has no sh blocks", file)
	}
	return script.String()
}
