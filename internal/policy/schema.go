package policy

import (
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"

	"github.com/google/jsonschema-go/jsonschema"
)

// Schema returns the JSON Schema of a kind, for editors: the same fields, bounds
// and descriptions that the decoder goes by.
func Schema(kind string) (*jsonschema.Schema, error) {
	spec := blank(kind)
	if spec == nil {
		return nil, fmt.Errorf("%q is not a kind; %s", short(kind), suggest(kind, Kinds()))
	}
	return SchemaOf(kind, spec), nil
}

// Schemas returns one schema that takes a document of any kind.
func Schemas() (*jsonschema.Schema, error) {
	all := &jsonschema.Schema{Schema: "https://json-schema.org/draft/2020-12/schema", Title: "Mintmark resource"}
	for _, kind := range Kinds() {
		s, err := Schema(kind)
		if err != nil {
			return nil, err
		}
		s.Schema, s.ID = "", ""
		all.OneOf = append(all.OneOf, s)
	}
	return all, nil
}

func schemaOf(t reflect.Type, rule rules) *jsonschema.Schema {
	switch {
	case t == rawType:
		return &jsonschema.Schema{}
	case t.Kind() == reflect.Pointer:
		return schemaOf(t.Elem(), rule)
	case t == reflect.TypeFor[Duration]():
		return &jsonschema.Schema{Type: "string", Pattern: `^([0-9]+d|([0-9]+(\.[0-9]+)?(ms|s|m|h))+)$`}
	case t == reflect.TypeFor[Percent](), t == reflect.TypeFor[Decimal]():
		return &jsonschema.Schema{Types: []string{"number", "string"}}
	case reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()):
		return &jsonschema.Schema{Type: "string"}
	}
	s := &jsonschema.Schema{}
	switch t.Kind() {
	case reflect.Struct:
		s.Type = "object"
		s.AdditionalProperties = &jsonschema.Schema{Not: &jsonschema.Schema{}}
		s.Properties = map[string]*jsonschema.Schema{}
		for _, f := range fieldsOf(t) {
			p := schemaOf(f.typ, f.rules)
			p.Description = f.doc
			if f.def != "" {
				p.Default, _ = json.Marshal(f.def)
			}
			s.Properties[f.name] = p
			s.PropertyOrder = append(s.PropertyOrder, f.name)
			if f.rules.required {
				s.Required = append(s.Required, f.name)
			}
		}
	case reflect.Map:
		s.Type = "object"
		s.AdditionalProperties = schemaOf(t.Elem(), rule)
	case reflect.Slice:
		s.Type = "array"
		item := rule
		item.required, item.nonempty = false, false
		s.Items = schemaOf(t.Elem(), item)
		if rule.nonempty {
			s.MinItems = jsonschema.Ptr(1)
		}
	case reflect.Bool:
		s.Type = "boolean"
	case reflect.Int, reflect.Int64:
		s.Type = "integer"
		if rule.min != nil {
			s.Minimum = jsonschema.Ptr(float64(*rule.min))
		}
		if rule.max != nil {
			s.Maximum = jsonschema.Ptr(float64(*rule.max))
		}
	default:
		s.Type = "string"
		for _, e := range rule.enum {
			s.Enum = append(s.Enum, e)
		}
		if rule.required && rule.enum == nil {
			s.MinLength = jsonschema.Ptr(1)
		}
	}
	return s
}
