package epoch

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/jose"
)

// MaxParts bounds a manifest.
const MaxParts = 10_000

// CompileError is one thing that is wrong with a part.
type CompileError struct {
	Part  PartName
	Field string // path of the field, "routes[2].path"; empty for the whole part
	Err   error
}

// Error implements error.
func (e *CompileError) Error() string {
	if e.Field == "" {
		return fmt.Sprintf("%s: %v", e.Part, e.Err)
	}
	return fmt.Sprintf("%s: %s: %v", e.Part, e.Field, e.Err)
}

// Unwrap returns the cause.
func (e *CompileError) Unwrap() error { return e.Err }

// compiler builds a table and collects what is wrong.
type compiler struct {
	table *Table
	names map[string]bool // of foreign issuers
	part  PartName
	errs  []error
}

func (c *compiler) fail(field string, format string, args ...any) {
	c.errs = append(c.errs, &CompileError{c.part, field, fmt.Errorf(format, args...)})
}

// Compile validates an epoch's parts as a whole and builds its table. bodies hold
// every part of the manifest by hash. The error joins everything that is wrong,
// each a *CompileError with the part and the path of the field; nothing is half
// compiled.
func Compile(m Manifest, bodies map[Hash][]byte) (*Table, error) {
	c := compiler{names: map[string]bool{}, table: &Table{
		byName: map[string]*ServiceEntry{}, byAud: map[string]*ServiceEntry{},
		releases: map[mintmark.ReleaseID]*ReleaseEntry{}, retired: map[mintmark.ReleaseID][]*Retired{},
		own: map[string]*KeyEntry{}, issuers: map[string]*IssuerEntry{},
	}}
	if len(m.Parts) > MaxParts {
		return nil, fmt.Errorf("compile: %d parts, at most %d", len(m.Parts), MaxParts)
	}
	var services []PartRef
	var issuers *PartRef
	for i := range m.Parts {
		p := m.Parts[i]
		c.part = p.Name
		if i > 0 && m.Parts[i-1].Name >= p.Name {
			c.fail("", "parts are not sorted by name, or one is there twice")
		}
		if body, ok := bodies[p.Hash]; !ok || HashOf(body) != p.Hash {
			c.fail("", "its body is missing or is not the one of hash %s", p.Hash)
			continue
		}
		_, isService := p.Name.service()
		switch {
		case p.Name == PartKeys:
			c.keys(bodies[p.Hash])
		case p.Name == PartIssuers:
			issuers = &p
		case isService:
			services = append(services, p)
		default:
			c.fail("", "unknown kind of part: upgrade this program first")
		}
	}
	if issuers != nil { // after our own keys, before the services that name them
		c.part = PartIssuers
		c.issuers(bodies[issuers.Hash])
	}
	for _, p := range services {
		c.part = p.Name
		c.service(bodies[p.Hash])
	}
	h := m.Hash()
	c.table.tag = binary.BigEndian.Uint64(h[:8]) | 1
	if len(c.errs) > 0 {
		return nil, errors.Join(c.errs...)
	}
	return c.table, nil
}

func (c *compiler) keys(body []byte) {
	k, err := DecodeKeys(body)
	if err != nil {
		c.fail("", "%w", err)
		return
	}
	if k.Issuer == "" {
		c.fail("issuer", "is empty")
	}
	c.table.authority = k.Issuer
	for i := range k.Keys {
		c.key(fmt.Sprintf("keys[%d]", i), &k.Keys[i], c.table.own)
	}
}

func (c *compiler) key(field string, k *Key, into map[string]*KeyEntry) {
	switch {
	case len(k.ID) > 256:
		c.fail(field+".kid", "is longer than 256 bytes")
	case into[k.ID] != nil:
		c.fail(field+".kid", "%.60q is there twice", k.ID)
	}
	if !slices.Contains([]string{"", "pending", "active", "verifying"}, k.State) {
		c.fail(field+".state", "%.40q: want pending, active or verifying", k.State)
	}
	for _, u := range k.Uses {
		if u != "access" && u != "internal" && u != "id" {
			c.fail(field+".uses", "%.40q: want access, internal or id", u)
		}
	}
	if alg := jose.ParseAlgorithm(k.Alg); alg == 0 || alg.Symmetric() {
		c.fail(field+".alg", "%.40q: want one of %v", k.Alg, jose.AsymmetricNames())
		return
	}
	parsed, err := jose.ParseKey(k.JWK, k.Alg)
	if err != nil {
		c.fail(field+".jwk", "%w", err)
		return
	}
	into[k.ID] = &KeyEntry{Key: k, JOSE: parsed, uses: k.Uses, tag: tagOf([]any{c.table.authority, k.ID, k.Alg, parsed.Thumbprint(), k.Uses})}
}

func (c *compiler) issuers(body []byte) {
	part, err := DecodeIssuers(body)
	if err != nil {
		c.fail("", "%w", err)
		return
	}
	for n := range part.Issuers {
		i := &part.Issuers[n]
		field := fmt.Sprintf("issuers[%d]", n)
		e := &IssuerEntry{Issuer: i, keys: map[string]*KeyEntry{}, names: jose.Names{
			Subject: i.Claims["subject"], Client: i.Claims["client"], Scopes: i.Claims["scopes"], ID: i.Claims["id"],
		}}
		c.issuer(field, i)
		for k := range i.Keys {
			c.key(fmt.Sprintf("%s.keys[%d]", field, k), &i.Keys[k], e.keys)
		}
		undated := *i
		undated.Fetched = 0
		e.tag = tagOf(undated)
		if len(e.keys) == 1 {
			for _, k := range e.keys {
				e.only = k
			}
		}
		c.names[i.Name] = true
		c.table.issuers[i.Issuer] = e
		c.table.byIssuer = append(c.table.byIssuer, e)
		if i.Introspect {
			c.table.asked = append(c.table.asked, e)
		}
	}
	slices.SortFunc(c.table.byIssuer, func(a, b *IssuerEntry) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortStableFunc(c.table.asked, func(a, b *IssuerEntry) int { return cmp.Compare(len(b.Prefix), len(a.Prefix)) })
}

// tagOf names a value by the first 64 bits of its hash, never 0.
func tagOf(v any) uint64 {
	_, h, _ := Encode(v) // strings and numbers only: always encodes
	return binary.BigEndian.Uint64(h[:8]) | 1
}

func (c *compiler) issuer(field string, i *Issuer) {
	switch {
	case !mintmark.IsName(i.Name):
		c.fail(field+".name", "%.70q is not a name", i.Name)
	case c.names[i.Name]:
		c.fail(field+".name", "%s is there twice", i.Name)
	}
	switch {
	case i.Issuer == "":
		c.fail(field+".issuer", "is empty")
	case i.Issuer == c.table.authority:
		c.fail(field+".issuer", "%s is our own authority", i.Issuer)
	case c.table.issuers[i.Issuer] != nil:
		c.fail(field+".issuer", "%.120q is there twice", i.Issuer)
	}
	if i.SkewSeconds < 0 || i.SkewSeconds > 300 {
		c.fail(field+".skew", "%d: want 0 to 300 seconds", i.SkewSeconds)
	}
	if i.MaxAge < 0 || i.Fetched < 0 {
		c.fail(field+".max_age", "is negative")
	}
	for name := range i.Claims {
		if !slices.Contains([]string{"subject", "client", "scopes", "id"}, name) {
			c.fail(field+".claims", "%.40q: want subject, client, scopes or id", name)
		}
	}
	for n, m := range i.Marks {
		if _, err := mintmark.ParseReleaseID(string(m.Release)); err != nil {
			c.fail(fmt.Sprintf("%s.marks[%d].release", field, n), "%w", err)
		}
	}
}
