package policy

import (
	"fmt"
	"reflect"

	"github.com/google/jsonschema-go/jsonschema"
)

// kinds are the kinds of document that a file may hold.
type kinds struct {
	names func() []string
	blank func(kind string) any // nil for a kind that is none of these
}

var resourceKinds = kinds{names: Kinds, blank: blank}

// ParseKind reads a file whose documents are all of one kind that is not a
// resource, such as the test kit's scenarios, as strictly as Parse reads
// resources. blank returns a pointer to a new struct that embeds Header and whose
// fields carry the same tags. The documents come in the file's order; on any error
// none is returned.
func ParseKind(f File, kind string, blank func() any) ([]*Resource, Errors) {
	var errs Errors
	docs := parseFile(f, kinds{
		names: func() []string { return []string{kind} },
		blank: func(k string) any {
			if k != kind {
				return nil
			}
			return blank()
		},
	}, &errs)
	seen := map[string]bool{}
	for _, d := range docs {
		if seen[d.Name] {
			d.fail(&errs, "name", fmt.Sprintf("%q is declared twice", short(d.Name)), "give it another name")
		}
		seen[d.Name] = true
	}
	if len(errs) > 0 {
		return nil, errs.sorted()
	}
	return docs, nil
}

// Fail adds what is wrong with a field, named by its path such as steps[2].call,
// where it stands in the file.
func (r *Resource) Fail(es *Errors, path, message, fix string) { r.fail(es, path, message, fix) }

// SchemaOf returns the JSON Schema of a kind whose type is what spec points to: see
// ParseKind.
func SchemaOf(kind string, spec any) *jsonschema.Schema {
	s := schemaOf(reflect.TypeOf(spec).Elem(), rules{})
	s.Schema = "https://json-schema.org/draft/2020-12/schema"
	s.ID = "https://mintmark.dev/schemas/v1/" + kind + ".json"
	s.Title = kind
	s.Properties["kind"].Enum = []any{kind}
	return s
}
