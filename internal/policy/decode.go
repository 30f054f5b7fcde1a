package policy

import (
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
)

// maxDepth bounds the nesting of literals; maxItems the length of lists and maps.
const (
	maxDepth  = 16
	maxItems  = 10_000
	maxString = 64 << 10
)

type position struct{ line, col int }

// decoder reads one document into its type and notes where each field stands.
type decoder struct {
	file     string
	resource string
	errs     *Errors
	at       map[string]position
}

func (d *decoder) fail(n *yaml.Node, path, message, fix string) {
	if len(*d.errs) <= MaxErrors {
		*d.errs = append(*d.errs, Error{File: d.file, Line: n.Line, Col: n.Column, Resource: d.resource, Path: path, Message: message, Fix: fix})
	}
}

var (
	rawType  = reflect.TypeFor[json.RawMessage]()
	textType = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// value decodes n into v.
func (d *decoder) value(n *yaml.Node, v reflect.Value, path string, rule rules) {
	if _, known := d.at[path]; !known {
		d.at[path] = position{n.Line, n.Column}
	}
	if n.Kind == yaml.AliasNode || n.Anchor != "" {
		d.fail(n, path, "anchors and aliases are not read", "write the value out")
		return
	}
	switch {
	case v.Type() == rawType:
		x, ok := d.literal(n, path, 0)
		if !ok {
			return
		}
		b, err := json.Marshal(x)
		if err != nil {
			d.fail(n, path, "can't be written as JSON", "")
			return
		}
		v.SetBytes(b)
	case v.Kind() == reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		d.value(n, v.Elem(), path, rule)
	case v.Addr().Type().Implements(textType):
		s, ok := d.text(n, path, true)
		if !ok {
			return
		}
		if err := v.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(s)); err != nil {
			d.fail(n, path, err.Error(), "")
		}
	case v.Kind() == reflect.Struct:
		d.object(n, v, path)
	case v.Kind() == reflect.Map:
		d.table(n, v, path, rule)
	case v.Kind() == reflect.Slice:
		d.list(n, v, path, rule)
	default:
		d.scalar(n, v, path, rule)
	}
}

// fieldsOf lists a struct's fields by their names in documents, embedded ones in
// place.
func fieldsOf(t reflect.Type) []field {
	var out []field
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Anonymous {
			for _, in := range fieldsOf(f.Type) {
				in.index = append([]int{i}, in.index...)
				out = append(out, in)
			}
			continue
		}
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "" || name == "-" {
			continue
		}
		out = append(out, field{name: name, index: []int{i}, typ: f.Type, rules: parseRules(f.Tag.Get("check")), doc: f.Tag.Get("doc"), def: f.Tag.Get("default")})
	}
	return out
}

type field struct {
	name  string
	index []int
	typ   reflect.Type
	rules rules
	doc   string
	def   string
}

func (d *decoder) object(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind != yaml.MappingNode {
		d.fail(n, path, "is "+kindOf(n)+", want fields", "")
		return
	}
	fields := fieldsOf(v.Type())
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = f.name
	}
	given := map[string]*yaml.Node{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, val := n.Content[i], n.Content[i+1]
		if k.Kind != yaml.ScalarNode {
			d.fail(k, path, "a field's name must be plain text", "")
			continue
		}
		if first, dup := given[k.Value]; dup {
			d.fail(k, join(path, k.Value), fmt.Sprintf("given twice, first in line %d", first.Line), "remove one of them")
			continue
		}
		given[k.Value] = k
		known := false
		for _, f := range fields {
			if f.name == k.Value {
				known = true
				d.value(val, v.FieldByIndex(f.index), join(path, f.name), f.rules)
			}
		}
		if !known {
			d.fail(k, join(path, k.Value), "unknown field", suggest(k.Value, names))
		}
	}
	for _, f := range fields {
		if given[f.name] == nil {
			if f.rules.required {
				d.fail(n, join(path, f.name), "is missing", "add "+f.name+": …")
			}
			if f.def != "" {
				_ = v.FieldByIndex(f.index).Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(f.def))
			}
		}
	}
}

func (d *decoder) table(n *yaml.Node, v reflect.Value, path string, rule rules) {
	if n.Kind != yaml.MappingNode || len(n.Content) > 2*maxItems {
		d.fail(n, path, "is "+kindOf(n)+", want names with values", "")
		return
	}
	v.Set(reflect.MakeMapWithSize(v.Type(), len(n.Content)/2))
	for i := 0; i+1 < len(n.Content); i += 2 {
		k := n.Content[i]
		name, ok := d.text(k, path, false)
		if !ok {
			continue
		}
		key := reflect.ValueOf(name)
		if v.MapIndex(key).IsValid() {
			d.fail(k, join(path, name), "given twice", "remove one of them")
			continue
		}
		e := reflect.New(v.Type().Elem()).Elem()
		d.value(n.Content[i+1], e, join(path, name), rule)
		v.SetMapIndex(key, e)
	}
}

func (d *decoder) list(n *yaml.Node, v reflect.Value, path string, rule rules) {
	if n.Kind != yaml.SequenceNode || len(n.Content) > maxItems {
		d.fail(n, path, "is "+kindOf(n)+", want a list", "write [value, …] or lines that begin with -")
		return
	}
	if rule.nonempty && len(n.Content) == 0 {
		d.fail(n, path, "must not be empty", "")
	}
	v.Set(reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content)))
	seen := map[string]bool{}
	for i, item := range n.Content {
		p := fmt.Sprintf("%s[%d]", path, i)
		d.value(item, v.Index(i), p, rule)
		if v.Index(i).Kind() == reflect.String && item.Kind == yaml.ScalarNode {
			if seen[item.Value] {
				d.fail(item, p, fmt.Sprintf("%q is in the list twice", short(item.Value)), "remove one of them")
			}
			seen[item.Value] = true
		}
	}
}

func (d *decoder) scalar(n *yaml.Node, v reflect.Value, path string, rule rules) {
	if n.Kind != yaml.ScalarNode {
		d.fail(n, path, "is "+kindOf(n)+", want "+wantOf(v.Kind()), "")
		return
	}
	switch v.Kind() {
	case reflect.String:
		s, ok := d.text(n, path, false)
		if !ok {
			return
		}
		if message, fix := rule.text(s); message != "" {
			d.fail(n, path, message, fix)
		}
		v.SetString(s)
	case reflect.Bool:
		if n.ShortTag() != "!!bool" || (n.Value != "true" && n.Value != "false") {
			d.fail(n, path, fmt.Sprintf("%q is %s, want true or false", short(n.Value), kindOf(n)), "")
			return
		}
		v.SetBool(n.Value == "true")
	case reflect.Int, reflect.Int64:
		x, err := strconv.ParseInt(n.Value, 10, 64)
		if n.ShortTag() != "!!int" || err != nil {
			d.fail(n, path, fmt.Sprintf("%q is %s, want a whole number", short(n.Value), kindOf(n)), "")
			return
		}
		if message := rule.number(x); message != "" {
			d.fail(n, path, message, "")
		}
		v.SetInt(x)
	default:
		d.fail(n, path, "can't be read", "")
	}
}

// text reads a scalar as text. A bare number or truth value is refused, because
// what it would be written as is a guess; bare lets it pass for types that have
// their own text form.
func (d *decoder) text(n *yaml.Node, path string, bare bool) (string, bool) {
	switch {
	case n.Kind != yaml.ScalarNode:
		d.fail(n, path, "is "+kindOf(n)+", want text", "")
	case !bare && n.ShortTag() != "!!str":
		d.fail(n, path, fmt.Sprintf("%q is %s, want text", short(n.Value), kindOf(n)), fmt.Sprintf("write %q in quotes", short(n.Value)))
	case len(n.Value) > maxString || !utf8.ValidString(n.Value):
		d.fail(n, path, "is too long or not UTF-8", "")
	default:
		return n.Value, true
	}
	return "", false
}

// literal reads any value into JSON's types. Numbers with a fraction are refused:
// what is hashed holds none.
func (d *decoder) literal(n *yaml.Node, path string, depth int) (any, bool) {
	if depth > maxDepth || len(n.Content) > maxItems {
		d.fail(n, path, "is nested too deeply or too long", "")
		return nil, false
	}
	if n.Kind == yaml.AliasNode || n.Anchor != "" {
		d.fail(n, path, "anchors and aliases are not read", "write the value out")
		return nil, false
	}
	switch n.Kind {
	case yaml.MappingNode:
		out := map[string]any{}
		for i := 0; i+1 < len(n.Content); i += 2 {
			k, ok := d.text(n.Content[i], path, false)
			if !ok {
				return nil, false
			}
			if _, dup := out[k]; dup {
				d.fail(n.Content[i], join(path, k), "given twice", "remove one of them")
				return nil, false
			}
			if out[k], ok = d.literal(n.Content[i+1], join(path, k), depth+1); !ok {
				return nil, false
			}
		}
		return out, true
	case yaml.SequenceNode:
		out := make([]any, len(n.Content))
		for i, item := range n.Content {
			var ok bool
			if out[i], ok = d.literal(item, fmt.Sprintf("%s[%d]", path, i), depth+1); !ok {
				return nil, false
			}
		}
		return out, true
	}
	switch n.ShortTag() {
	case "!!str":
		return d.text(n, path, false)
	case "!!bool":
		return n.Value == "true", true
	case "!!null":
		return nil, true
	case "!!int":
		if x, err := strconv.ParseInt(n.Value, 10, 64); err == nil {
			return x, true
		}
	}
	d.fail(n, path, fmt.Sprintf("%q is %s: literals are text, whole numbers, true, false, null, lists and maps", short(n.Value), kindOf(n)), "write it in quotes")
	return nil, false
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

func short(s string) string {
	if len(s) > 60 {
		return strings.ToValidUTF8(s[:60], "") + "…"
	}
	return s
}

func wantOf(k reflect.Kind) string {
	switch k {
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int64:
		return "a whole number"
	}
	return "text"
}

func kindOf(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a map"
	case yaml.SequenceNode:
		return "a list"
	case yaml.ScalarNode:
		switch n.ShortTag() {
		case "!!null":
			return "empty"
		case "!!bool":
			return "a truth value"
		case "!!int":
			return "a number"
		case "!!float":
			return "a number with a fraction"
		case "!!timestamp":
			return "a time"
		}
		return "text"
	}
	return "nothing"
}
