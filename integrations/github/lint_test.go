// Package github_test lints the action and the workflow that uses it.
package github_test

import (
	"bytes"
	"path/filepath"
	"testing"

	"github.com/rhysd/actionlint"
)

// The workflow, and with it the inputs and outputs of the action that it uses, pass
// actionlint.
func TestActionlint(t *testing.T) {
	root, err := filepath.Abs(".")
	if err != nil {
		t.Fatal(err)
	}
	project, err := actionlint.NewProject(root)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	linter, err := actionlint.NewLinter(&out, &actionlint.LinterOptions{WorkingDir: root, Shellcheck: "shellcheck"})
	if err != nil {
		t.Fatal(err)
	}
	found, err := linter.LintFiles([]string{filepath.Join(root, ".github", "workflows", "deploy.yml")}, project)
	if err != nil || len(found) > 0 {
		t.Errorf("%v\n%s", err, out.String())
	}
}
