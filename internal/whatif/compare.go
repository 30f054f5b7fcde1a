package whatif

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/mintmark/mintmark/internal/policy"
)

// Difference is what differs in one resource, and what depends on it.
type Difference struct {
	Kind string `json:"kind"`
	Name string `json:"name"`
	Verb string `json:"verb"` // create, update, delete
	// Fields differ by meaning: order and repetition in lists that are sets, and what
	// is written out though it is the default, are no difference.
	Fields []Field `json:"fields,omitempty"`
	// Services, Releases and Clients are affected, by name.
	Services []string `json:"services,omitempty"`
	Releases []string `json:"releases,omitempty"`
	Clients  []string `json:"clients,omitempty"`
	// Notes say what it means for them.
	Notes []string `json:"notes,omitempty"`
}

// Field is one field that differs. Lists of names say what came and went instead.
type Field struct {
	Path    string          `json:"path"`
	Old     json.RawMessage `json:"old,omitempty"`
	New     json.RawMessage `json:"new,omitempty"`
	Added   []string        `json:"added,omitempty"`
	Removed []string        `json:"removed,omitempty"`
}

// Compare lists what leads from one set of resources to another. An inherited change
// shows at every policy that inherits it.
func Compare(old, now policy.Set) ([]Difference, error) {
	var out []Difference
	for _, r := range policy.NewSet(slices.Concat(old.Resources, now.Resources)).Resources {
		a, err := spec(old, r.Kind, r.Name)
		if err != nil {
			return nil, err
		}
		b, err := spec(now, r.Kind, r.Name)
		if err != nil {
			return nil, err
		}
		d := Difference{Kind: r.Kind, Name: r.Name, Verb: "update"}
		switch {
		case a == nil:
			d.Verb = "create"
		case b == nil:
			d.Verb = "delete"
		default:
			differ(a, b, "", &d.Fields)
			if len(d.Fields) == 0 {
				continue
			}
		}
		reach(&d, old, now)
		d.Notes = notes(&d, old, now)
		out = append(out, d)
	}
	return out, nil
}

// spec is a resource as a JSON value; a policy with what it inherits. Nil when there
// is none.
func spec(s policy.Set, kind, name string) (any, error) {
	r := s.Get(kind, name)
	if r == nil {
		return nil, nil
	}
	var from any = r.Spec
	if kind == policy.KindPolicy {
		p, err := s.Effective(name)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", r.ID(), err)
		}
		p.Extends, p.Description = "", ""
		from = p
	}
	body, err := json.Marshal(from)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", r.ID(), err)
	}
	var out map[string]any
	if err := json.Unmarshal(body, &out); err != nil {
		return nil, fmt.Errorf("read %s: %w", r.ID(), err)
	}
	delete(out, "description")
	return out, nil
}

// differ lists the fields that differ between two JSON values.
func differ(a, b any, path string, out *[]Field) {
	ma, okA := a.(map[string]any)
	mb, okB := b.(map[string]any)
	if okA && okB {
		keys := maps.Clone(ma)
		maps.Copy(keys, mb)
		for _, k := range slices.Sorted(maps.Keys(keys)) {
			at := k
			if path != "" {
				at = path + "." + k
			}
			differ(ma[k], mb[k], at, out)
		}
		return
	}
	if reflect.DeepEqual(a, b) {
		return
	}
	if x, y, ok := names(a, b); ok {
		f := Field{Path: path, Added: without(y, x), Removed: without(x, y)}
		if len(f.Added)+len(f.Removed) > 0 {
			*out = append(*out, f)
		}
		return
	}
	if x, y, ok := named(a, b); ok {
		keys := maps.Clone(x)
		maps.Copy(keys, y)
		for _, k := range slices.Sorted(maps.Keys(keys)) {
			differ(x[k], y[k], path+"["+k+"]", out)
		}
		return
	}
	f := Field{Path: path}
	f.Old, f.New = raw(a), raw(b)
	*out = append(*out, f)
}

func raw(v any) json.RawMessage {
	if v == nil {
		return nil
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(v) // it was JSON before
	return bytes.TrimSpace(b.Bytes())
}

// names reads two lists of texts, one of which may be absent, as sets.
func names(a, b any) (x, y []string, ok bool) {
	read := func(v any) ([]string, bool) {
		list, isList := v.([]any)
		if v != nil && !isList {
			return nil, false
		}
		var out []string
		for _, e := range list {
			s, isText := e.(string)
			if !isText {
				return nil, false
			}
			out = append(out, s)
		}
		return out, true
	}
	x, okX := read(a)
	y, okY := read(b)
	return x, y, okX && okY && (a != nil || b != nil)
}

// named reads two lists of objects as maps by their member name; from stands for it
// in maps.
func named(a, b any) (x, y map[string]any, ok bool) {
	read := func(v any) (map[string]any, bool) {
		list, isList := v.([]any)
		if v != nil && !isList {
			return nil, false
		}
		out := map[string]any{}
		for _, e := range list {
			m, _ := e.(map[string]any)
			name, _ := m["name"].(string)
			if name == "" {
				name, _ = m["from"].(string)
			}
			if name == "" || out[name] != nil {
				return nil, false
			}
			out[name] = m
		}
		return out, true
	}
	x, okX := read(a)
	y, okY := read(b)
	return x, y, okX && okY && (a != nil || b != nil)
}

// without lists what is in list and not in other, sorted, each once.
func without(list, other []string) []string {
	var out []string
	for _, s := range list {
		if !slices.Contains(other, s) {
			out = append(out, s)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// reach fills in what depends on a resource, before or after.
func reach(d *Difference, sets ...policy.Set) {
	services, releases, clients := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, s := range sets {
		switch d.Kind {
		case policy.KindService:
			services[d.Name] = true
		case policy.KindRelease:
			releases[d.Name] = true
		case policy.KindClient:
			clients[d.Name] = true
		}
		for _, r := range s.Resources {
			switch v := r.Spec.(type) {
			case *policy.Release:
				if d.Kind == policy.KindPolicy && v.Policy == d.Name {
					releases[r.Name] = true
				}
			case *policy.Service:
				if d.Kind == policy.KindIssuer && slices.Contains(v.Issuers, d.Name) {
					services[r.Name] = true
				}
			}
		}
		for r := range releases {
			service, _, _ := strings.Cut(r, "/")
			services[service] = true
		}
		if d.Kind == policy.KindClient {
			continue
		}
		for _, r := range s.Resources {
			if c, ok := r.Spec.(*policy.Client); ok && asks(s, c, services) {
				clients[r.Name] = true
			}
		}
	}
	d.Services, d.Releases, d.Clients = slices.Sorted(maps.Keys(services)), slices.Sorted(maps.Keys(releases)), slices.Sorted(maps.Keys(clients))
}

// asks reports whether a client may ask for tokens of one of the services.
func asks(s policy.Set, c *policy.Client, services map[string]bool) bool {
	for name := range services {
		r := s.Get(policy.KindService, name)
		if r == nil {
			continue
		}
		audience := append([]string{name}, r.Spec.(*policy.Service).Audience...)
		if len(c.Audiences) == 0 || slices.ContainsFunc(audience, func(a string) bool { return slices.Contains(c.Audiences, a) }) {
			return true
		}
	}
	return false
}

// notes say what a difference means, as far as it can be said without traffic.
func notes(d *Difference, old, now policy.Set) (out []string) {
	say := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	for _, f := range d.Fields {
		switch {
		case d.Kind == policy.KindPolicy && (f.Path == "scopes" || f.Path == "default_scopes"):
			if len(f.Removed) > 0 {
				say("new tokens no longer get %s", strings.Join(f.Removed, ", "))
			}
		case d.Kind == policy.KindPolicy && f.Path == "forced_scopes" && len(f.Added) > 0:
			say("every new token gets %s, whatever was asked for", strings.Join(f.Added, ", "))
		case d.Kind == policy.KindPolicy && f.Path == "audience" && len(f.Removed) > 0:
			say("new tokens are no longer for %s", strings.Join(f.Removed, ", "))
		case d.Kind == policy.KindService && strings.HasPrefix(f.Path, "routes[") && strings.HasSuffix(f.Path, "].scopes") && len(f.Added) > 0:
			if lacking := lack(now, d.Clients, f.Added); len(lacking) > 0 {
				say("%s now demands %s, which these clients may not be granted: %s", strings.TrimSuffix(f.Path, ".scopes"), strings.Join(f.Added, ", "), strings.Join(lacking, ", "))
			} else {
				say("%s now demands %s: tokens without it are refused until they are renewed with it", strings.TrimSuffix(f.Path, ".scopes"), strings.Join(f.Added, ", "))
			}
		case d.Kind == policy.KindService && (f.Path == "audience" || f.Path == "issuers") && len(f.Removed) > 0:
			say("tokens of %s %s are refused", strings.TrimSuffix(f.Path, "s"), strings.Join(f.Removed, ", "))
		case d.Kind == policy.KindClient && f.Path == "scopes" && len(f.Removed) > 0:
			say("it may no longer be granted %s; tokens that it has go on", strings.Join(f.Removed, ", "))
		}
	}
	switch {
	case d.Verb == "delete" && (d.Kind == policy.KindClient || d.Kind == policy.KindUser):
		say("its tokens are revoked")
	case d.Verb == "delete" && d.Kind == policy.KindService:
		say("its routes answer 404")
	case d.Verb == "delete" && d.Kind == policy.KindIssuer && old.Get(d.Kind, d.Name) != nil:
		say("its tokens are refused")
	}
	return out
}

// lack lists the clients that may not be granted all of the scopes.
func lack(s policy.Set, clients, scopes []string) (out []string) {
	for _, name := range clients {
		r := s.Get(policy.KindClient, name)
		if r == nil {
			continue
		}
		if len(without(scopes, r.Spec.(*policy.Client).Scopes)) > 0 {
			out = append(out, name)
		}
	}
	return out
}
