package epoch

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/mintmark/mintmark"
)

// MaxPart is the largest body of a part, in bytes.
const MaxPart = 4 << 20

// ErrPart reports a body that is not a part: too large, not canonical, of the
// wrong shape, or in need of a feature that this program lacks.
var ErrPart = errors.New("malformed part")

// features are the names that a part may require. A program that lacks one
// refuses to prepare the epoch instead of misreading it.
var features = map[string]bool{FeaturePreview: true, FeatureMirror: true, FeatureStatusList: true}

// FeatureStatusList is what the part of issuers requires when the status lists of
// one of them are to be obeyed: a gateway that can't would accept what they take back.
const FeatureStatusList = "status_list"

// Features that a service's part may require.
const (
	FeaturePreview = "split.preview"
	FeatureMirror  = "split.mirror"
)

// Encode returns the canonical JSON of a part (*Service, *Keys, *Issuers), a
// manifest or a row, and its hash: members sorted by name, no white space, no
// floats, no HTML escapes.
func Encode(part any) (body []byte, hash Hash, err error) {
	loose, err := json.Marshal(part)
	if err != nil {
		return nil, Hash{}, fmt.Errorf("encode part: %w", err)
	}
	if body, err = canonical(loose); err != nil {
		return nil, Hash{}, fmt.Errorf("encode part: %w", err)
	}
	if len(body) > MaxPart {
		return nil, Hash{}, fmt.Errorf("encode part: %w: %d bytes, at most %d", ErrPart, len(body), MaxPart)
	}
	return body, HashOf(body), nil
}

// canonical prints JSON in its one form.
func canonical(text []byte) ([]byte, error) {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrPart, err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%w: text after the end", ErrPart)
	}
	if err := refuseFloats(v); err != nil {
		return nil, err
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrPart, err)
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\n")), nil
}

// refuseFloats: two writers print one float in two ways, and what is hashed must
// have one.
func refuseFloats(v any) error {
	switch v := v.(type) {
	case json.Number:
		if strings.ContainsAny(v.String(), ".eE") || v == "-0" {
			return fmt.Errorf("%w: %s: only whole numbers", ErrPart, v)
		}
	case []any:
		for _, e := range v {
			if err := refuseFloats(e); err != nil {
				return err
			}
		}
	case map[string]any:
		for _, e := range v {
			if err := refuseFloats(e); err != nil {
				return err
			}
		}
	}
	return nil
}

// decode reads a body that must be canonical, which also rules out duplicate
// members and bad UTF-8: either would be printed differently.
func decode(body []byte, into any) error {
	if len(body) > MaxPart {
		return fmt.Errorf("%w: %d bytes, at most %d", ErrPart, len(body), MaxPart)
	}
	c, err := canonical(body)
	if err != nil {
		return err
	}
	if !bytes.Equal(c, body) {
		return fmt.Errorf("%w: not canonical JSON", ErrPart)
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("%w: %w", ErrPart, err)
	}
	return nil
}

func understood(requires []string) error {
	for _, r := range requires {
		if !features[r] {
			return fmt.Errorf("%w: requires %.60q, which this version lacks: upgrade it first", ErrPart, r)
		}
	}
	return nil
}

// DecodeService reads a service's part.
func DecodeService(body []byte) (*Service, error) {
	var s Service
	if err := decode(body, &s); err != nil {
		return nil, err
	}
	return &s, understood(s.Requires)
}

// DecodeKeys reads the part of our keys.
func DecodeKeys(body []byte) (*Keys, error) {
	var k Keys
	if err := decode(body, &k); err != nil {
		return nil, err
	}
	return &k, understood(k.Requires)
}

// DecodeIssuers reads the part of foreign issuers.
func DecodeIssuers(body []byte) (*Issuers, error) {
	var i Issuers
	if err := decode(body, &i); err != nil {
		return nil, err
	}
	return &i, understood(i.Requires)
}

// Hash returns the manifest's hash, which identifies a prepared epoch.
func (m Manifest) Hash() Hash {
	if m.Parts == nil {
		m.Parts = []PartRef{}
	}
	_, h, err := Encode(m)
	if err != nil {
		return Hash{} // names and hashes always encode; zero names nothing
	}
	return h
}

// With returns the manifest with the given parts put in or replaced.
func (m Manifest) With(refs ...PartRef) Manifest {
	for _, r := range refs {
		m = m.Without(r.Name)
		m.Parts = append(m.Parts, r)
	}
	slices.SortFunc(m.Parts, func(a, b PartRef) int { return cmp.Compare(a.Name, b.Name) })
	return m
}

// Without returns the manifest without a part.
func (m Manifest) Without(name PartName) Manifest {
	out := make([]PartRef, 0, len(m.Parts)+1)
	for _, p := range m.Parts {
		if p.Name != name {
			out = append(out, p)
		}
	}
	return Manifest{Parts: out}
}

// Find returns the hash of a part.
func (m Manifest) Find(name PartName) (Hash, bool) {
	for _, p := range m.Parts {
		if p.Name == name {
			return p.Hash, true
		}
	}
	return Hash{}, false
}

// Build encodes parts (*Service, *Keys, *Issuers) into a manifest and the bodies
// by hash: what Compile takes.
func Build(parts ...any) (Manifest, map[Hash][]byte, error) {
	var m Manifest
	bodies := make(map[Hash][]byte, len(parts))
	for _, p := range parts {
		var name PartName
		switch p := p.(type) {
		case *Service:
			name = ServicePartName(p.Name)
		case *Keys:
			name = PartKeys
		case *Issuers:
			name = PartIssuers
		default:
			return Manifest{}, nil, fmt.Errorf("%w: %T is no part", ErrPart, p)
		}
		body, h, err := Encode(p)
		if err != nil {
			return Manifest{}, nil, fmt.Errorf("%s: %w", name, err)
		}
		if _, dup := m.Find(name); dup {
			return Manifest{}, nil, fmt.Errorf("%w: %s given twice", ErrPart, name)
		}
		m = m.With(PartRef{name, h})
		bodies[h] = body
	}
	return m, bodies, nil
}

// service returns the service's name in a part's name.
func (n PartName) service() (string, bool) {
	s, ok := strings.CutPrefix(string(n), "service/")
	return s, ok && mintmark.IsName(s)
}
