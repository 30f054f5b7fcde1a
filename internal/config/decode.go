package config

import (
	"encoding"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"sort"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
)

// position remembers where each path stood, so that Validate can point there.
type position struct {
	lines []string
	at    map[string][2]int
}

// decoder walks a YAML tree into a struct and collects every mistake.
type decoder struct {
	file  string
	pos   *position
	errs  Errors
	depth int
}

// decode fills c from text. c keeps its values where text is silent.
func decode(file string, text []byte, c *Config) Errors {
	d := &decoder{file: file, pos: &position{lines: strings.Split(string(text), "\n"), at: map[string][2]int{}}}
	c.origin = d.pos
	if strings.TrimSpace(string(text)) == "" {
		return nil
	}
	var root yaml.Node
	if err := yaml.Unmarshal(text, &root); err != nil {
		return Errors{syntaxError(file, err)}
	}
	if root.Kind != yaml.DocumentNode || len(root.Content) == 0 {
		return nil // comments only
	}
	d.value(root.Content[0], reflect.ValueOf(c).Elem(), "")
	return d.errs
}

// syntaxError takes the position out of the parser's error, which names it in
// one of two types depending on the stage that failed.
func syntaxError(file string, err error) Error {
	e := Error{File: file, What: "not YAML: " + strings.TrimPrefix(err.Error(), "yaml: "), Fix: "check indentation and quotes"}
	var load *yaml.LoadErrors
	if errors.As(err, &load) && len(load.Errors) > 0 {
		e.Line, e.Col = load.Errors[0].Mark.Line, load.Errors[0].Mark.Column
	}
	return e
}

func (d *decoder) fail(n *yaml.Node, path, what, fix string) {
	d.errs = append(d.errs, d.pos.fill(Error{File: d.file, Line: n.Line, Col: n.Column, Path: path, What: what, Fix: fix}))
}

// fill adds the text of the line.
func (p *position) fill(e Error) Error {
	if p != nil && e.Line > 0 && e.Line <= len(p.lines) {
		e.Text = strings.TrimRight(strings.ReplaceAll(p.lines[e.Line-1], "\t", " "), "\r")
		if len(e.Text) > 120 {
			e.Text = e.Text[:120]
		}
	}
	return e
}

var textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()

func (d *decoder) value(n *yaml.Node, v reflect.Value, path string) {
	if d.depth++; d.depth > 20 {
		d.fail(n, path, "nested too deeply", "")
		return
	}
	defer func() { d.depth-- }()
	if path != "" {
		d.pos.at[path] = [2]int{n.Line, n.Column}
	}
	if n.Kind == yaml.AliasNode {
		d.fail(n, path, "aliases are not accepted", "write the value out")
		return
	}
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		v = v.Elem()
	}
	if v.CanAddr() && v.Addr().Type().Implements(textUnmarshaler) {
		d.scalar(n, v, path)
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		d.object(n, v, path)
	case reflect.Slice:
		d.list(n, v, path)
	default:
		d.scalar(n, v, path)
	}
}

func (d *decoder) object(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind != yaml.MappingNode {
		d.fail(n, path, "want a mapping of "+strings.Join(fieldNames(v.Type()), ", "), "")
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, val := n.Content[i], n.Content[i+1]
		full := join(path, key.Value)
		if seen[key.Value] {
			d.fail(key, full, "given twice", "keep one")
			continue
		}
		seen[key.Value] = true
		f, ok := fieldNamed(v, key.Value)
		if !ok {
			fix := "known here: " + strings.Join(fieldNames(v.Type()), ", ")
			if near := nearest(key.Value, fieldNames(v.Type())); near != "" {
				fix = "did you mean " + near + "?"
			}
			d.fail(key, full, "unknown key", fix)
			continue
		}
		d.value(val, f, full)
	}
}

func (d *decoder) list(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind != yaml.SequenceNode {
		d.fail(n, path, "want a list", "write - before each entry")
		return
	}
	out := reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content))
	for i, c := range n.Content {
		d.value(c, out.Index(i), fmt.Sprintf("%s[%d]", path, i))
	}
	v.Set(out)
}

func (d *decoder) scalar(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind != yaml.ScalarNode {
		d.fail(n, path, "want a single value", "")
		return
	}
	if v.Kind() == reflect.String && n.Tag != "!!str" && !v.Addr().Type().Implements(textUnmarshaler) {
		if n.Tag == "!!null" {
			d.fail(n, path, "empty value", "remove the key or give it a value")
			return
		}
	}
	if err := setScalar(v, n.Value); err != nil {
		d.fail(n, path, err.Error(), "")
	}
}

// setScalar sets v, a scalar field, from text: used by the file and by the
// environment.
func setScalar(v reflect.Value, text string) error {
	if u, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		err := u.UnmarshalText([]byte(text))
		if _, network := u.(*netip.Prefix); network && err != nil {
			return fmt.Errorf("%.60q is not a network: write for instance 10.0.0.0/8", text)
		}
		return err
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(text)
	case reflect.Bool:
		if text != "true" && text != "false" {
			return fmt.Errorf("%.40q: want true or false", text)
		}
		v.SetBool(text == "true")
	case reflect.Int:
		n, err := strconv.ParseInt(strings.ReplaceAll(text, "_", ""), 10, 64)
		if err != nil {
			return fmt.Errorf("%.40q: want a whole number", text)
		}
		v.SetInt(n)
	default:
		return fmt.Errorf("cannot be set from a single value")
	}
	return nil
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

func jsonName(f reflect.StructField) string {
	if !f.IsExported() {
		return ""
	}
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	return name
}

func fieldNamed(v reflect.Value, name string) (reflect.Value, bool) {
	for i := range v.NumField() {
		if n := jsonName(v.Type().Field(i)); n != "" && n == name {
			return v.Field(i), true
		}
	}
	return reflect.Value{}, false
}

func fieldNames(t reflect.Type) []string {
	var names []string
	for i := range t.NumField() {
		if n := jsonName(t.Field(i)); n != "" {
			names = append(names, n)
		}
	}
	sort.Strings(names)
	return names
}
