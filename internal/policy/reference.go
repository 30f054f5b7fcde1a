package policy

import (
	"encoding"
	"fmt"
	"reflect"
	"strings"
)

// Reference returns every kind and field as Markdown, made of the same
// descriptions as the schema.
func Reference() string {
	var b strings.Builder
	for _, kind := range Kinds() {
		fmt.Fprintf(&b, "## %s\n\n| field | meaning |\n|---|---|\n", kind)
		refer(&b, reflect.TypeOf(blank(kind)).Elem(), "")
		b.WriteString("\n")
	}
	return b.String()
}

// refer writes a row per scalar or list below t.
func refer(b *strings.Builder, t reflect.Type, path string) {
	text := reflect.TypeFor[encoding.TextUnmarshaler]()
	for f := range fields(t) {
		if f.Anonymous {
			continue // the header is the same for all
		}
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		full, ft := path+name, f.Type
		if ft.Kind() == reflect.Pointer {
			ft = ft.Elem()
		}
		if ft.Kind() == reflect.Slice && ft.Elem().Kind() == reflect.Struct {
			ft, full = ft.Elem(), full+"[]"
		}
		if ft.Kind() == reflect.Struct && !reflect.PointerTo(ft).Implements(text) {
			refer(b, ft, full+".")
			continue
		}
		required := ""
		if strings.Contains(f.Tag.Get("check"), "required") {
			required = " Required."
		}
		fmt.Fprintf(b, "| `%s` | %s%s |\n", full, strings.ReplaceAll(f.Tag.Get("doc"), "|", "\\|"), required)
	}
}

func fields(t reflect.Type) func(func(reflect.StructField) bool) {
	return func(yield func(reflect.StructField) bool) {
		for i := range t.NumField() {
			if !yield(t.Field(i)) {
				return
			}
		}
	}
}
