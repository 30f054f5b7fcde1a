package policy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sort"
	"strings"

	"go.yaml.in/yaml/v4"
)

// Export prints a set as YAML documents that Parse reads back to the same set.
func Export(s Set) (string, error) {
	var b bytes.Buffer
	for i, r := range s.Resources {
		body, err := r.JSON()
		if err != nil {
			return "", err
		}
		// JSON is YAML: reading it keeps the order of fields.
		var doc yaml.Node
		if err := yaml.Unmarshal(body, &doc); err != nil {
			return "", fmt.Errorf("export %s: %w", r.ID(), err)
		}
		plain(&doc)
		if i > 0 {
			b.WriteString("---\n")
		}
		if err := write(&b, &doc); err != nil {
			return "", fmt.Errorf("export %s: %w", r.ID(), err)
		}
	}
	return b.String(), nil
}

// plain takes JSON's quotes and braces away where YAML needs none.
func plain(n *yaml.Node) {
	if len(n.Content) > 0 || n.Kind == yaml.ScalarNode {
		n.Style = 0
	}
	for _, c := range n.Content {
		plain(c)
	}
}

func write(b *bytes.Buffer, doc *yaml.Node) error {
	enc := yaml.NewEncoder(b)
	enc.SetIndent(2)
	if err := enc.Encode(doc); err != nil {
		return err
	}
	return enc.Close()
}

// Format returns a file in its usual form: two spaces, apiVersion, kind and name
// first, comments kept. A file that is not YAML is refused.
func Format(f File) (string, Errors) {
	if len(f.Text) > MaxFile {
		return "", Errors{{File: f.Name, Message: fmt.Sprintf("is larger than %d bytes", MaxFile)}}
	}
	var b bytes.Buffer
	dec := yaml.NewDecoder(strings.NewReader(f.Text))
	for n := 0; ; {
		var doc yaml.Node
		err := decodeNode(dec, &doc)
		if errors.Is(err, io.EOF) {
			return b.String(), nil
		}
		if err != nil {
			return "", Errors{syntaxError(f.Name, err)}
		}
		if doc.Kind != yaml.DocumentNode || len(doc.Content) == 0 || doc.Content[0].ShortTag() == "!!null" {
			continue
		}
		headFirst(doc.Content[0])
		if n++; n > 1 {
			b.WriteString("---\n")
		}
		if err := write(&b, &doc); err != nil {
			return "", Errors{{File: f.Name, Line: doc.Line, Col: doc.Column, Message: "can't be printed: " + err.Error()}}
		}
	}
}

func headFirst(n *yaml.Node) {
	if n.Kind != yaml.MappingNode {
		return
	}
	var head, rest []*yaml.Node
	for _, name := range []string{"apiVersion", "kind", "name"} {
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == name {
				head = append(head, n.Content[i], n.Content[i+1])
			}
		}
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		switch n.Content[i].Value {
		case "apiVersion", "kind", "name":
		default:
			rest = append(rest, n.Content[i], n.Content[i+1])
		}
	}
	n.Content = append(head, rest...)
}

// Change is what differs in one resource between two sets.
type Change struct {
	Kind, Name string
	Verb       string // create, update, delete
	Fields     []FieldChange
}

// FieldChange is one field that differs; Old or New is nil when it was or is absent.
type FieldChange struct {
	Path     string
	Old, New json.RawMessage
}

// Diff lists what leads from old to now, in the order of the sets, unchanged
// resources left out.
func Diff(old, now Set) ([]Change, error) {
	var out []Change
	for _, r := range NewSet(append(append([]*Resource(nil), old.Resources...), now.Resources...)).Resources {
		a, b := old.Get(r.Kind, r.Name), now.Get(r.Kind, r.Name)
		c := Change{Kind: r.Kind, Name: r.Name, Verb: "update"}
		var from, to any
		for _, side := range []struct {
			r    *Resource
			into *any
			verb string
		}{{a, &from, "create"}, {b, &to, "delete"}} {
			if side.r == nil {
				c.Verb = side.verb
				continue
			}
			body, err := side.r.JSON()
			if err != nil {
				return nil, err
			}
			if err := json.Unmarshal(body, side.into); err != nil {
				return nil, fmt.Errorf("compare %s: %w", r.ID(), err)
			}
		}
		if c.Verb == "update" {
			differ(from, to, "", &c.Fields)
			if len(c.Fields) == 0 {
				continue
			}
		}
		out = append(out, c)
	}
	return out, nil
}

func differ(a, b any, path string, out *[]FieldChange) {
	ma, okA := a.(map[string]any)
	mb, okB := b.(map[string]any)
	if okA && okB {
		for _, k := range sortedKeys(ma, mb) {
			differ(ma[k], mb[k], join(path, k), out)
		}
		return
	}
	la, okA := a.([]any)
	lb, okB := b.([]any)
	if okA && okB && len(la) == len(lb) {
		for i := range la {
			differ(la[i], lb[i], fmt.Sprintf("%s[%d]", path, i), out)
		}
		return
	}
	ja, _ := json.Marshal(a)
	jb, _ := json.Marshal(b)
	if bytes.Equal(ja, jb) {
		return
	}
	c := FieldChange{Path: path}
	if a != nil {
		c.Old = ja
	}
	if b != nil {
		c.New = jb
	}
	*out = append(*out, c)
}

func sortedKeys(ms ...map[string]any) []string {
	seen := map[string]bool{}
	var out []string
	for _, m := range ms {
		for k := range m {
			if !seen[k] {
				seen[k] = true
				out = append(out, k)
			}
		}
	}
	sort.Strings(out)
	return out
}
