package epoch

import (
	"strings"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/jose"
)

// Table is one epoch, compiled: everything a decision looks up. It is immutable
// and safe for concurrent use; nothing it returns may be changed.
type Table struct {
	tag       uint64
	authority string
	services  []*ServiceEntry // by name
	byName    map[string]*ServiceEntry
	byAud     map[string]*ServiceEntry
	releases  map[mintmark.ReleaseID]*ReleaseEntry
	retired   map[mintmark.ReleaseID][]*Retired
	routes    []*RouteEntry
	router    router
	own       map[string]*KeyEntry
	issuers   map[string]*IssuerEntry // by exact iss
	byIssuer  []*IssuerEntry          // by name
	asked     []*IssuerEntry          // introspected, longest prefix first
}

// Tag names the table's content in 64 bits, never 0: two tables of one manifest
// have the same.
func (t *Table) Tag() uint64 { return t.tag }

// Authority is our own authority's issuer identifier; empty before the first keys
// part.
func (t *Table) Authority() string { return t.authority }

// OwnKey returns one of our authority's keys, or nil. Mind Allows.
func (t *Table) OwnKey(kid string) *KeyEntry { return t.own[kid] }

// Issuer returns the foreign issuer with exactly this iss, or nil.
func (t *Table) Issuer(iss string) *IssuerEntry { return t.issuers[iss] }

// Issuers lists the foreign issuers by name.
func (t *Table) Issuers() []*IssuerEntry { return t.byIssuer }

// Introspected returns the foreign issuer to ask about a value that is not a JWT,
// or nil: the one with the longest prefix that the value starts with.
func (t *Table) Introspected(value string) *IssuerEntry {
	for _, i := range t.asked {
		if strings.HasPrefix(value, i.Prefix) {
			return i
		}
	}
	return nil
}

// Service returns a service by name, or nil.
func (t *Table) Service(name string) *ServiceEntry { return t.byName[name] }

// Services lists the services by name.
func (t *Table) Services() []*ServiceEntry { return t.services }

// ServiceForAudience returns the service that answers to an audience, or nil;
// where several do, the first by name.
func (t *Table) ServiceForAudience(aud string) *ServiceEntry { return t.byAud[aud] }

// Release returns a release of any service, or nil.
func (t *Table) Release(id mintmark.ReleaseID) *ReleaseEntry { return t.releases[id] }

// Routes lists all routes; RouteEntry.Index is the position.
func (t *Table) Routes() []*RouteEntry { return t.routes }

// Match returns the route of a request, or nil: default deny. host may carry a
// port; path is the path as it was sent, without the query, and must satisfy
// PathOK; header returns a header's value by lower-case name and may be nil. It
// does not allocate.
func (t *Table) Match(method, host, path string, header func(string) string) *RouteEntry {
	return t.router.match(method, host, path, header)
}

// ServiceEntry is a service, compiled.
type ServiceEntry struct {
	*Service
	Stable    *ReleaseEntry
	Candidate *ReleaseEntry // nil when there is none

	releases []*ReleaseEntry
	salt     saltKey
}

// Accepts reports whether tokens of an issuer are accepted here: our authority's
// (own), or a foreign one's by its name.
func (s *ServiceEntry) Accepts(own bool, issuer string) bool {
	if own {
		return s.OwnIssuer
	}
	for _, i := range s.Issuers {
		if i == issuer {
			return true
		}
	}
	return false
}

// AnswersTo reports whether one of a token's audiences is the service's.
func (s *ServiceEntry) AnswersTo(audience []string) bool {
	for _, a := range audience {
		for _, own := range s.Audience {
			if a == own {
				return true
			}
		}
	}
	return false
}

// Entries lists the service's releases in the part's order.
func (s *ServiceEntry) Entries() []*ReleaseEntry { return s.releases }

// ReleaseEntry is a release, compiled.
type ReleaseEntry struct {
	*Release
	ID      mintmark.ReleaseID
	Service *ServiceEntry

	acceptAll bool
	accept    map[mintmark.ReleaseID]bool
	maps      map[mintmark.ReleaseID]*ShapeMap
}

// RouteEntry is a route, compiled.
type RouteEntry struct {
	*Route
	Service *ServiceEntry
	// ID is "service/route", the form of records and receipts.
	ID string
	// Index is the position in Table.Routes.
	Index int
	// Budget is the staleness in force: strict while the service is on probation.
	Budget mintmark.Staleness

	kinds   uint16 // bit per TokenKind
	methods uint16 // see methodBits
	headers []headerWant
}

// Takes reports whether the route accepts tokens of a kind.
func (e *RouteEntry) Takes(k mintmark.TokenKind) bool { return e.kinds&(1<<k) != 0 }

// IssuerEntry is a foreign issuer, compiled.
type IssuerEntry struct {
	*Issuer
	keys  map[string]*KeyEntry
	only  *KeyEntry // when there is just one
	names jose.Names
	tag   uint64
}

// Tag names everything that a verification under this issuer depended on but the
// time of its keys' last confirmation; never 0.
func (i *IssuerEntry) Tag() uint64 { return i.tag }

// Key returns one of the issuer's keys, or nil. An empty kid finds the only key,
// if there is just one.
func (i *IssuerEntry) Key(kid string) *KeyEntry {
	if kid == "" {
		return i.only
	}
	return i.keys[kid]
}

// TypeOK reports whether a token's typ (lower case, without "application/") is
// one that the issuer's access tokens have.
func (i *IssuerEntry) TypeOK(typ string) bool {
	if len(i.Types) == 0 {
		return typ == "at+jwt" || typ == "jwt" || typ == ""
	}
	for _, t := range i.Types {
		if t == typ {
			return true
		}
	}
	return false
}

// Names says where the issuer keeps its claims.
func (i *IssuerEntry) Names() jose.Names { return i.names }

// Believed reports whether the issuer's keys may still be believed at now (Unix
// seconds).
func (i *IssuerEntry) Believed(now int64) bool {
	return i.MaxAge == 0 || now <= i.Fetched+i.MaxAge
}

// KeyEntry is a verification key, compiled.
type KeyEntry struct {
	*Key
	JOSE *jose.Key
	uses []string
	tag  uint64
}

// Tag names the key, its algorithm, its uses and our authority's issuer; never 0.
func (k *KeyEntry) Tag() uint64 { return k.tag }

// Allows reports whether the key may sign tokens of a use: access, internal, id.
func (k *KeyEntry) Allows(use string) bool {
	if len(k.uses) == 0 {
		return use == "access"
	}
	for _, u := range k.uses {
		if u == use {
			return true
		}
	}
	return false
}
