package policy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"sort"
	"strings"

	"github.com/mintmark/mintmark"
	"go.yaml.in/yaml/v4"
)

// MaxFile is the largest file read, in bytes.
const MaxFile = 4 << 20

// File is a file's name, for messages, and its text.
type File struct {
	Name string
	Text string
}

// Resource is one declared thing.
type Resource struct {
	Kind, Name string
	// Spec is a pointer to the kind's type.
	Spec any

	file string
	at   map[string]position // by path of field; nil when not from a file
}

// ID returns Kind/name.
func (r *Resource) ID() string { return r.Kind + "/" + r.Name }

// JSON returns the resource as it is stored.
func (r *Resource) JSON() (json.RawMessage, error) {
	b, err := json.Marshal(r.Spec)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", r.ID(), err)
	}
	return b, nil
}

func (r *Resource) fail(es *Errors, path, message, fix string) {
	e := Error{File: r.file, Resource: r.ID(), Path: path, Message: message, Fix: fix}
	_, e.Line, e.Col = r.Position(path)
	*es = append(*es, e)
}

func parent(path string) string {
	if i := strings.LastIndexAny(path, ".["); i >= 0 {
		return path[:i]
	}
	return ""
}

// Set is a set of resources, sorted by kind and name, each at most once.
type Set struct {
	Resources []*Resource
}

// Parse reads files strictly. It judges each document by itself; references are
// judged by Check, on the complete set. On any error the set is empty.
func Parse(files []File) (Set, Errors) {
	var errs Errors
	byID := map[string]*Resource{}
	for _, f := range files {
		for _, r := range parseFile(f, resourceKinds, &errs) {
			if first := byID[r.ID()]; first != nil {
				at := first.at[""]
				r.fail(&errs, "name", fmt.Sprintf("declared twice, first at %s:%d", first.file, at.line), "remove one of them")
				continue
			}
			byID[r.ID()] = r
		}
	}
	if len(errs) > 0 {
		return Set{}, errs.sorted()
	}
	return newSet(byID), nil
}

func newSet(byID map[string]*Resource) Set {
	s := Set{Resources: make([]*Resource, 0, len(byID))}
	for _, r := range byID {
		s.Resources = append(s.Resources, r)
	}
	order := map[string]int{}
	for i, k := range Kinds() {
		order[k] = i
	}
	sort.Slice(s.Resources, func(i, j int) bool {
		a, b := s.Resources[i], s.Resources[j]
		if a.Kind != b.Kind {
			return order[a.Kind] < order[b.Kind]
		}
		return a.Name < b.Name
	})
	return s
}

func parseFile(f File, of kinds, errs *Errors) []*Resource {
	if len(f.Text) > MaxFile {
		*errs = append(*errs, Error{File: f.Name, Message: fmt.Sprintf("is larger than %d bytes", MaxFile), Fix: "split it"})
		return nil
	}
	var out []*Resource
	dec := yaml.NewDecoder(strings.NewReader(f.Text))
	for {
		var doc yaml.Node
		err := decodeNode(dec, &doc)
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			*errs = append(*errs, syntaxError(f.Name, err))
			return out
		}
		if doc.Kind != yaml.DocumentNode || len(doc.Content) == 0 || doc.Content[0].ShortTag() == "!!null" {
			continue // an empty document between two lines of ---
		}
		if r := parseDocument(f.Name, doc.Content[0], of, errs); r != nil {
			out = append(out, r)
		}
	}
}

// decodeNode keeps a defect of the YAML library from taking the process down:
// what it can't read is a syntax error.
func decodeNode(dec *yaml.Decoder, n *yaml.Node) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("can't be read: %v", p)
		}
	}()
	return dec.Decode(n)
}

func syntaxError(file string, err error) Error {
	e := Error{File: file, Line: 1, Col: 1, Message: "is not YAML: " + err.Error(), Fix: "indent with spaces; put text with : or # in quotes"}
	var one *yaml.LoadError
	var many *yaml.LoadErrors
	if errors.As(err, &many) && len(many.Errors) > 0 {
		one = many.Errors[0]
	}
	if one != nil || errors.As(err, &one) {
		mark := one.Mark
		if mark.Line == 0 {
			mark = one.ContextMark
		}
		e.Line, e.Col, e.Message = max(mark.Line, 1), max(mark.Column, 1), "is not YAML: "+one.Message
	}
	return e
}

func parseDocument(file string, n *yaml.Node, of kinds, errs *Errors) *Resource {
	d := &decoder{file: file, errs: errs, at: map[string]position{}}
	if n.Kind != yaml.MappingNode {
		d.fail(n, "", "a document is "+kindOf(n)+", want fields", "begin with apiVersion: "+APIVersion)
		return nil
	}
	var kind, name string
	kindAt := n
	for i := 0; i+1 < len(n.Content); i += 2 {
		switch n.Content[i].Value {
		case "kind":
			kind, kindAt = n.Content[i+1].Value, n.Content[i+1]
		case "name":
			name = n.Content[i+1].Value
		}
	}
	spec := of.blank(kind)
	if spec == nil {
		if kind == "" {
			d.fail(kindAt, "kind", "is missing", "add kind: one of "+strings.Join(of.names(), ", "))
		} else {
			d.fail(kindAt, "kind", fmt.Sprintf("%q is not a kind", short(kind)), suggest(kind, of.names()))
		}
		return nil
	}
	d.resource = kind + "/" + short(name)
	d.value(n, reflect.ValueOf(spec).Elem(), "", rules{})
	r := &Resource{Kind: kind, Name: name, Spec: spec, file: file, at: d.at}
	if name != "" {
		checkName(r, errs)
	}
	return r
}

// checkName judges the name by its kind: releases are service/name, clients and
// users are whatever OAuth allows, the others are plain names.
func checkName(r *Resource, errs *Errors) {
	switch r.Kind {
	case KindRelease:
		if _, err := mintmark.ParseReleaseID(r.Name); err != nil {
			r.fail(errs, "name", fmt.Sprintf("%q does not name a release", short(r.Name)), "write service/release, such as shop/v2")
		}
	case KindClient, KindUser:
		if len(r.Name) > 128 || strings.ContainsFunc(r.Name, func(c rune) bool { return c <= ' ' || c > '~' || c == '"' || c == '\\' }) {
			r.fail(errs, "name", fmt.Sprintf("%q can't be a name here", short(r.Name)), "use 1 to 128 printable ASCII characters without spaces and quotes")
		}
	default:
		if m, fix := (rules{form: "name"}).text(r.Name); m != "" {
			r.fail(errs, "name", m, fix)
		}
	}
}

// FromJSON reads a resource as it was stored. Members that this version does not
// know are ignored: a newer version may have written them.
func FromJSON(kind string, body []byte) (*Resource, error) {
	spec := blank(kind)
	if spec == nil {
		return nil, fmt.Errorf("stored resource of unknown kind %.40q: written by a newer version?", kind)
	}
	if err := json.NewDecoder(bytes.NewReader(body)).Decode(spec); err != nil {
		return nil, fmt.Errorf("decode stored %s: %w", kind, err)
	}
	h := reflect.ValueOf(spec).Elem().FieldByName("Header").Interface().(Header)
	return &Resource{Kind: kind, Name: h.Name, Spec: spec, file: "(stored)"}, nil
}

// NewSet makes a set of resources; a later one replaces an earlier of the same id.
func NewSet(resources []*Resource) Set {
	byID := map[string]*Resource{}
	for _, r := range resources {
		byID[r.ID()] = r
	}
	return newSet(byID)
}

// Get returns the resource of a kind and name, or nil.
func (s Set) Get(kind, name string) *Resource {
	for _, r := range s.Resources {
		if r.Kind == kind && r.Name == name {
			return r
		}
	}
	return nil
}

// Merge returns the set with over's resources added or put in place. With prune
// it is over alone.
func (s Set) Merge(over Set, prune bool) Set {
	if prune {
		return over
	}
	return NewSet(append(append([]*Resource(nil), s.Resources...), over.Resources...))
}

// names lists the names of a kind.
func (s Set) names(kind string) []string {
	var out []string
	for _, r := range s.Resources {
		if r.Kind == kind {
			out = append(out, r.Name)
		}
	}
	return out
}

// each returns the specs of one type with their resources.
func each[T any](s Set, visit func(r *Resource, spec *T)) {
	for _, r := range s.Resources {
		if spec, ok := r.Spec.(*T); ok {
			visit(r, spec)
		}
	}
}

// Position says where a resource's field was read: file, line and column from 1.
// A field that is not written out is where what holds it is. All are zero for
// resources that do not come from a file.
func (r *Resource) Position(path string) (file string, line, col int) {
	if r.at == nil {
		return "", 0, 0
	}
	for p := path; ; p = parent(p) {
		if at, ok := r.at[p]; ok {
			return r.file, at.line, at.col
		}
		if p == "" {
			return r.file, 0, 0
		}
	}
}
