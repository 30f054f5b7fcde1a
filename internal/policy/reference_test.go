package policy

import (
	"flag"
	"os"
	"path/filepath"
	"testing"
)

var updateDocs = flag.Bool("update-docs", false, "rewrite docs/resources.md")

const preface = `# Resources

What is declared: YAML documents, several in a file separated by ` + "`---`" + `, applied with ` + "`mintmark apply -f`" + `. All or nothing:
an unknown field, a wrong type, a value out of bounds or a reference to something that is not there refuses the whole set,
with file, line, column and how to mend it. ` + "`mintmark diff`" + ` shows what would change, ` + "`mintmark export`" + ` prints what is in
force, ` + "`mintmark schema KIND`" + ` the JSON Schema for an editor.

Every document begins with ` + "`apiVersion: mintmark/v1`" + `, ` + "`kind`" + ` and ` + "`name`" + `. This page is made from the fields themselves.

`

// TestReferenceInDocs keeps docs/resources.md to the code.
func TestReferenceInDocs(t *testing.T) {
	file := filepath.Join("..", "..", "docs", "resources.md")
	want := preface + Reference()
	if *updateDocs {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil || string(got) != want {
		t.Errorf("docs/resources.md is not what the fields say (%v): go test ./internal/policy -run Reference -update-docs", err)
	}
}
