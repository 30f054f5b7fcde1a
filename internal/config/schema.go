package config

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"reflect"

	"github.com/google/jsonschema-go/jsonschema"
)

// Schema returns the JSON Schema of mintmark.yaml, indented, for editors. The
// descriptions are those of the fields' tags, from which the reference in docs
// is made too.
func Schema() ([]byte, error) {
	text := &jsonschema.Schema{Type: "string"}
	s, err := jsonschema.For[Config](&jsonschema.ForOptions{TypeSchemas: map[reflect.Type]*jsonschema.Schema{
		reflect.TypeFor[Duration]():     text,
		reflect.TypeFor[netip.Prefix](): text,
	}})
	if err != nil {
		return nil, fmt.Errorf("derive schema: %w", err)
	}
	s.Schema = "https://json-schema.org/draft/2020-12/schema"
	s.Title = FileName
	s.Description = "How a process of Mintmark runs."
	out, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode schema: %w", err)
	}
	return append(out, '\n'), nil
}
