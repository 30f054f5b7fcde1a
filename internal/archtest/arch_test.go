package archtest

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"
	"testing"
)

const module = "github.com/mintmark/mintmark"

var update = flag.Bool("update", false, "rewrite the golden files; sizes only where they shrank")

// pkg is what go list says of a package.
type pkg struct {
	ImportPath string
	Dir        string
	GoFiles    []string
	CgoFiles   []string
	Imports    []string
	Deps       []string
}

// name is the path within the module; "" is the root.
func (p pkg) name() string { return inModule(p.ImportPath) }

func inModule(path string) string {
	return strings.TrimPrefix(strings.TrimPrefix(path, module), "/")
}

var list = sync.OnceValues(func() ([]pkg, error) {
	out, err := goList("-json=ImportPath,Dir,GoFiles,CgoFiles,Imports,Deps", module+"/...")
	if err != nil {
		return nil, err
	}
	var pkgs []pkg
	d := json.NewDecoder(bytes.NewReader(out))
	for {
		var p pkg
		switch err := d.Decode(&p); {
		case errors.Is(err, io.EOF):
			return pkgs, nil
		case err != nil:
			return nil, err
		}
		pkgs = append(pkgs, p)
	}
})

func goList(args ...string) ([]byte, error) {
	cmd := exec.Command("go", append([]string{"list"}, args...)...)
	cmd.Dir = "../.."
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list %s: %w\n%s", strings.Join(args, " "), err, stderr.String())
	}
	return out, nil
}

func packages(t *testing.T) []pkg {
	t.Helper()
	pkgs, err := list()
	if err != nil {
		t.Fatal(err)
	}
	if len(pkgs) < 10 {
		t.Fatalf("go list found %d packages", len(pkgs))
	}
	return pkgs
}

// layerOf returns a package's layer; a package of fakes has its contract's.
func layerOf(name string) (int, bool) {
	if l, ok := layers[name]; ok {
		return l, true
	}
	if parent, base := filepath.Dir(name), filepath.Base(name); strings.HasSuffix(base, "test") && strings.HasPrefix(base, filepath.Base(parent)) {
		name = parent
	}
	l, ok := layers[name]
	return l, ok
}

// mayImport says whether one package may import another, and why not.
func mayImport(from, to string) error {
	a, known := layerOf(from)
	if !known {
		return fmt.Errorf("%s has no layer: name it in layers_test.go", from)
	}
	b, known := layerOf(to)
	if !known {
		return fmt.Errorf("%s has no layer: name it in layers_test.go", to)
	}
	contract := strings.HasPrefix(from, to+"/") // fakes know their contract
	switch {
	case contract, slices.Contains(sameLayer[from], to):
		return nil
	case a == engines && b == roles:
		return fmt.Errorf("%s (engine) imports %s (role): an engine serves contracts, not roles", from, to)
	case b >= a:
		return fmt.Errorf("%s (%s) imports %s (%s): arrows point down", from, layerNames[a], to, layerNames[b])
	}
	return nil
}

func TestImportDirection(t *testing.T) {
	var arrows []string
	for _, p := range packages(t) {
		for _, imp := range p.Imports {
			if imp != module && !strings.HasPrefix(imp, module+"/") {
				continue
			}
			if err := mayImport(p.name(), inModule(imp)); err != nil {
				t.Error(err)
			}
			arrows = append(arrows, label(p.name())+" -> "+label(inModule(imp)))
		}
		if _, ok := layerOf(p.name()); !ok {
			t.Errorf("%s has no layer: name it in layers_test.go", p.name())
		}
	}
	sort.Strings(arrows)
	golden(t, "arrows.txt", arrows)
}

func label(name string) string {
	if name == "" {
		return "mintmark"
	}
	return strings.TrimPrefix(name, "internal/")
}

// The rule itself can fail: a wrong arrow of each kind is refused.
func TestRuleRefuses(t *testing.T) {
	for _, arrow := range [][2]string{
		{"", "api"},
		{"api", "internal/jose"},
		{"internal/jose", "internal/handle"},
		{"internal/revocation", "internal/epoch"},
		{"internal/gateway", "internal/sqlite"},
		{"internal/sqlite", "internal/fleet"},
		{"internal/gateway", "internal/control"},
		{"internal/control", "internal/adminapi"},
		{"internal/nowhere", ""},
	} {
		if mayImport(arrow[0], arrow[1]) == nil {
			t.Errorf("%s -> %s is allowed", arrow[0], arrow[1])
		}
	}
	if err := mayImport("internal/gateway", "internal/upstream"); err != nil {
		t.Error(err)
	}
}

func TestPureLayers(t *testing.T) {
	for _, p := range packages(t) {
		l, _ := layerOf(p.name())
		if l > decisions {
			continue
		}
		banned := impure
		if l == messages {
			banned = nil // the client of the admin API speaks HTTP; it keeps off clocks only
		}
		if p.name() == "" {
			banned = slices.DeleteFunc(slices.Clone(impure), func(s string) bool { return s == "log/slog" }) // Secret's LogValue
		}
		for _, imp := range p.Imports {
			if slices.Contains(banned, imp) {
				t.Errorf("%s imports %s: pure layers are handed what they need", p.name(), imp)
			}
		}
		for _, f := range p.GoFiles {
			for _, at := range clockCalls(t, filepath.Join(p.Dir, f)) {
				t.Errorf("%s reads the clock: take now as an argument", at)
			}
		}
	}
}

func clockCalls(t *testing.T, file string) (found []string) {
	set := token.NewFileSet()
	f, err := parser.ParseFile(set, file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(f, func(n ast.Node) bool {
		s, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		if x, ok := s.X.(*ast.Ident); ok && x.Name == "time" && x.Obj == nil && clocks[s.Sel.Name] {
			found = append(found, fmt.Sprintf("%s: time.%s", set.Position(s.Pos()), s.Sel.Name))
		}
		return true
	})
	return found
}

func TestDataPlaneReachesNoStore(t *testing.T) {
	for _, p := range packages(t) {
		if !slices.Contains(dataPlane, p.name()) {
			continue
		}
		for _, dep := range p.Deps {
			if slices.Contains(outOfReach, dep) {
				t.Errorf("%s reaches %s: it decides from memory", p.name(), dep)
			}
		}
	}
}

func TestVerifyingReachesNothing(t *testing.T) {
	found := false
	for _, p := range packages(t) {
		if p.name() != "cmd/mintmark-verify" {
			continue
		}
		found = true
		for _, dep := range p.Deps {
			ours := dep == module || strings.HasPrefix(dep, module+"/")
			first, _, _ := strings.Cut(dep, "/")
			switch {
			case ours && !offline[inModule(dep)]:
				t.Errorf("mintmark-verify reaches %s: what verifies offline is meant to be little to read", dep)
			case !ours && strings.Contains(first, "."):
				t.Errorf("mintmark-verify reaches %s: it is made of the standard library alone", dep)
			case dep == "net" || dep == "net/http" || dep == "database/sql" || dep == "os/exec":
				t.Errorf("mintmark-verify reaches %s: it asks nobody", dep)
			}
		}
	}
	if !found {
		t.Error("there is no cmd/mintmark-verify")
	}
}

func TestEveryPackageSaysWhatItIsFor(t *testing.T) {
	for _, p := range packages(t) {
		texts := 0
		for _, f := range p.GoFiles {
			file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, f), nil, parser.ParseComments|parser.PackageClauseOnly)
			if err != nil {
				t.Fatal(err)
			}
			if file.Doc != nil && len(file.Doc.Text()) > 40 {
				texts++
			}
		}
		if texts != 1 {
			t.Errorf("%s has %d package comments, want 1", label(p.name()), texts)
		}
	}
}

// The binary links what is listed and nothing else: a new module is a decision.
func TestLinkedModules(t *testing.T) {
	out, err := goList("-deps", "-f", "{{with .Module}}{{.Path}}{{end}}", "./cmd/mintmark")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Fields(string(out))
	sort.Strings(lines)
	golden(t, "modules.txt", slices.Compact(lines))
}

func golden(t *testing.T, name string, got []string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	got = slices.Compact(got)
	if *update {
		if err := os.WriteFile(file, []byte(strings.Join(got, "\n")+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Split(strings.TrimSpace(string(b)), "\n")
	for _, g := range got {
		if !slices.Contains(want, g) {
			t.Errorf("%s lacks %q: if it is meant, run with -update and say why in the commit", file, g)
		}
	}
	for _, w := range want {
		if !slices.Contains(got, w) {
			t.Errorf("%s names %q, which is gone: run with -update", file, w)
		}
	}
}

// Sizes are a ratchet: what is over the measure today may not grow, and nothing
// new may join it. -update writes smaller numbers and drops lines, never more.
func TestSizes(t *testing.T) {
	now := map[string]int{}
	for _, p := range packages(t) {
		total := 0
		for _, f := range p.GoFiles {
			total += measure(t, p, f, now)
		}
		if total > maxPackage {
			now["package "+label(p.name())] = total
		}
	}
	file := filepath.Join("testdata", "sizes.txt")
	allowed, err := readSizes(file)
	if errors.Is(err, fs.ErrNotExist) && *update {
		allowed, err = now, nil // the first measure
	}
	if err != nil {
		t.Fatal(err)
	}
	next := map[string]int{}
	for what, n := range now {
		limit, ok := allowed[what]
		switch {
		case !ok:
			t.Errorf("%s has %d lines: divide it", what, n)
		case n > limit:
			t.Errorf("%s grew from %d to %d lines: divide it", what, limit, n)
			next[what] = limit
		default:
			next[what] = n
		}
	}
	if !*update {
		return
	}
	lines := make([]string, 0, len(next))
	for what, n := range next {
		lines = append(lines, fmt.Sprintf("%d %s\n", n, what))
	}
	sort.Strings(lines)
	if err := os.WriteFile(file, []byte(strings.Join(lines, "")), 0o644); err != nil {
		t.Fatal(err)
	}
}

// measure notes a file's and its functions' lines when they are over the measure,
// and returns the file's.
func measure(t *testing.T, p pkg, name string, into map[string]int) int {
	set := token.NewFileSet()
	f, err := parser.ParseFile(set, filepath.Join(p.Dir, name), nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	if ast.IsGenerated(f) {
		return 0
	}
	lines := set.File(f.Pos()).LineCount()
	if lines > maxFile {
		into["file "+label(p.name())+"/"+name] = lines
	}
	for _, d := range f.Decls {
		fn, ok := d.(*ast.FuncDecl)
		if !ok {
			continue
		}
		if n := set.Position(fn.End()).Line - set.Position(fn.Pos()).Line + 1; n > maxFunction {
			into["function "+label(p.name())+"/"+name+" "+fn.Name.Name] = n
		}
	}
	return lines
}

func readSizes(file string) (map[string]int, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	out := map[string]int{}
	for line := range strings.Lines(string(b)) {
		n, what, ok := strings.Cut(strings.TrimSpace(line), " ")
		size, err := strconv.Atoi(n)
		if !ok || err != nil {
			return nil, fmt.Errorf("%s: %q: want a number and what it measures", file, line)
		}
		out[what] = size
	}
	return out, nil
}
