package jose

import "encoding/json"

// Further returns the members that have no field in Claims, as one JSON object;
// nil when there are none. names are those the claims were parsed with.
func (c *Claims) Further(names Names) json.RawMessage {
	if c.further == 0 {
		return nil
	}
	return c.appendFurther(make([]byte, 0, c.further+2), names)
}

func (c *Claims) appendFurther(out []byte, names Names) []byte {
	out = append(out, '{')
	r := reader{names: names.orDefault()}
	for s := Scan(c.text); s.Next(); {
		if r.read(s.Name(), s.Value()) {
			continue
		}
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(out, quote(s.Name())...)
		out = append(out, ':')
		out = append(out, s.Value().Raw()...)
	}
	return append(out, '}')
}

// Lookup returns a top-level member of the payload as it is; false when absent.
func (c *Claims) Lookup(name string) (Value, bool) {
	for s := Scan(c.text); s.Next(); {
		if s.Name() == name {
			return s.Value(), true
		}
	}
	return Value{}, false
}
