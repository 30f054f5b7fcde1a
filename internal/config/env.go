package config

import (
	"reflect"
	"strings"
)

// notOurs are variables of the command line and of secrets; they are not
// overrides of the file.
var notOurs = map[string]bool{
	"SERVER": true, "TOKEN": true, "CONTEXT": true, "OUTPUT": true, "CONFIG": true,
	"PEPPER": true, "KEK": true, "JOIN": true,
}

// applyEnv overrides scalars from MINTMARK_<PATH>. A variable that names no
// field is refused: a misspelt override must not be silently without effect.
func applyEnv(c *Config, environ []string) Errors {
	fields := map[string]reflect.Value{}
	scalars(reflect.ValueOf(c).Elem(), "", fields)
	var errs Errors
	for _, line := range environ {
		name, value, _ := strings.Cut(line, "=")
		rest, ok := strings.CutPrefix(name, "MINTMARK_")
		if !ok || notOurs[rest] || strings.HasPrefix(rest, "SECRET_") || strings.HasPrefix(rest, "TEST_") {
			continue
		}
		v, ok := fields[rest]
		if !ok {
			e := Error{File: "environment", Path: name, What: "names no setting"}
			if near := nearest(rest, keys(fields)); near != "" {
				e.Fix = "did you mean MINTMARK_" + near + "?"
			}
			errs = append(errs, e)
			continue
		}
		if err := setScalar(v, value); err != nil {
			errs = append(errs, Error{File: "environment", Path: name, What: err.Error()})
		}
	}
	return errs
}

// scalars collects the settable scalars below v by environment name. Pointers
// and lists are left to the file.
func scalars(v reflect.Value, path string, into map[string]reflect.Value) {
	for i := range v.NumField() {
		name := jsonName(v.Type().Field(i))
		if name == "" {
			continue
		}
		f, full := v.Field(i), strings.ToUpper(name)
		if path != "" {
			full = path + "_" + full
		}
		switch {
		case f.Addr().Type().Implements(textUnmarshaler), f.Kind() == reflect.String, f.Kind() == reflect.Bool, f.Kind() == reflect.Int:
			into[full] = f
		case f.Kind() == reflect.Struct:
			scalars(f, full, into)
		}
	}
}

func keys(m map[string]reflect.Value) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	return out
}
