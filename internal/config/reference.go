package config

import (
	"fmt"
	"reflect"
	"strings"
)

// Reference returns the settings as a Markdown table, made of the same
// descriptions as the schema.
func Reference() string {
	var b strings.Builder
	b.WriteString("| setting | environment | meaning |\n|---|---|---|\n")
	describe(&b, reflect.TypeFor[Config](), "", true)
	return b.String()
}

// describe writes a row per scalar or list below t. Below lists and optional
// objects there is no variable.
func describe(b *strings.Builder, t reflect.Type, path string, env bool) {
	for i := range t.NumField() {
		f := t.Field(i)
		name := jsonName(f)
		if name == "" {
			continue
		}
		full, ft, variable := join(path, name), f.Type, env
		if ft.Kind() == reflect.Pointer {
			ft, variable = ft.Elem(), false
		}
		if ft.Kind() == reflect.Slice && ft.Elem().Kind() == reflect.Struct && !reflect.PointerTo(ft.Elem()).Implements(textUnmarshaler) {
			ft, full, variable = ft.Elem(), full+"[]", false
		}
		if ft.Kind() == reflect.Struct && !reflect.PointerTo(ft).Implements(textUnmarshaler) {
			describe(b, ft, full, variable)
			continue
		}
		v := ""
		if variable && ft.Kind() != reflect.Slice {
			v = "`MINTMARK_" + strings.ToUpper(strings.ReplaceAll(full, ".", "_")) + "`"
		}
		fmt.Fprintf(b, "| `%s` | %s | %s |\n", full, v, f.Tag.Get("jsonschema"))
	}
}
