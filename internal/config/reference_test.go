package config

import (
	"flag"
	"os"
	"reflect"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite docs/configuration.md")

const preface = `# Configuration

How a process of Mintmark runs, in mintmark.yaml. The file may be empty: by
default everything listens on loopback. ` + "`mintmark config check`" + ` checks a file,
` + "`mintmark schema config`" + ` prints its JSON Schema for editors. Mistakes are
reported together, each with line and column, and refuse the whole file.

Variables override single settings. Secrets are read from files or from variables
of your choice, never from this file.

`

func TestReferenceInDocs(t *testing.T) {
	const file = "../../docs/configuration.md"
	want := preface + Reference()
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s is out of date: go test ./internal/config -update", file)
	}
}

// What the reference calls a variable works, and every setting is described.
func TestReferenceNamesTheVariables(t *testing.T) {
	c := Default()
	fields := map[string]reflect.Value{}
	scalars(reflect.ValueOf(&c).Elem(), "", fields)
	ref := Reference()
	for name := range fields {
		if !strings.Contains(ref, "`MINTMARK_"+name+"`") {
			t.Errorf("MINTMARK_%s is not in the reference", name)
		}
	}
	if n := strings.Count(ref, "`MINTMARK_"); n != len(fields) {
		t.Errorf("the reference has %d variables, the program %d", n, len(fields))
	}
	if strings.Contains(ref, "|  |\n") {
		t.Error("a setting is not described")
	}
}
