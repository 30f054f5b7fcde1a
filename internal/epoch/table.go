package epoch

import (
	"github.com/mintmark/mintmark"
)

// Table is one epoch, compiled: everything a decision looks up. It is immutable
// and safe for concurrent use; nothing it returns may be changed.
type Table struct {
	authority string
	services  []*ServiceEntry // by name
	byName    map[string]*ServiceEntry
	byAud     map[string]*ServiceEntry
	releases  map[mintmark.ReleaseID]*ReleaseEntry
	routes    []*RouteEntry
	router    router
	own       map[string]*KeyEntry
	issuers   map[string]*IssuerEntry // by exact iss
	byIssuer  []*IssuerEntry          // by name
	prefixes  []*IssuerEntry          // introspected, longest prefix first
}

// Authority is our own authority's issuer identifier; empty before the first keys
// part.
func (t *Table) Authority() string { return t.authority }

// OwnKey returns one of our authority's keys, or nil.
func (t *Table) OwnKey(kid string) *KeyEntry { return t.own[kid] }

// Issuer returns the foreign issuer with exactly this iss, or nil.
func (t *Table) Issuer(iss string) *IssuerEntry { return t.issuers[iss] }

// Issuers lists the foreign issuers by name.
func (t *Table) Issuers() []*IssuerEntry { return t.byIssuer }

// Introspected returns the foreign issuer to ask about a value that is not a JWT,
// or nil: the one with the longest prefix that the value starts with.
func (t *Table) Introspected(value string) *IssuerEntry { return nil }

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
	return nil
}

// ServiceEntry is a service, compiled.
type ServiceEntry struct {
	*Service
	Stable    *ReleaseEntry
	Candidate *ReleaseEntry // nil when there is none

	releases []*ReleaseEntry
}

// ReleaseEntry is a release, compiled.
type ReleaseEntry struct {
	*Release
	ID      mintmark.ReleaseID
	Service *ServiceEntry
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
}

// IssuerEntry is a foreign issuer, compiled.
type IssuerEntry struct {
	*Issuer
}

// Key returns one of the issuer's keys. An empty kid finds the only key, if there
// is just one.
func (i *IssuerEntry) Key(kid string) *KeyEntry { return nil }

// KeyEntry is a verification key, compiled.
type KeyEntry struct {
	*Key
}

type router struct{}

// Arm returns the release that serves and mints for a subject (without one, the
// client): the candidate for members of its cohort, else the stable one.
func (s *ServiceEntry) Arm(subject string) *ReleaseEntry { return nil }

// Fate is what becomes of a token at a release.
type Fate struct {
	Disposition mintmark.Disposition
	// Class names the condition that decided: a retired rule's class, or native,
	// mapped, lossy, unmapped, unmarked, elsewhere.
	Class string
	// Map is how the token's claims become readable, or nil.
	Map *ShapeMap
	// Renew says that the client had better renew: the token is accepted for now
	// but belongs to a release that was taken back, or is mapped.
	Renew bool
}

// Dispose says what becomes of a token when release serving meets it at now (Unix
// seconds). A token without a mark, or marked by another service, is kept.
func (t *Table) Dispose(tok *mintmark.Token, serving *ReleaseEntry, now int64) Fate { return Fate{} }

// DisposeByArm is Dispose with the release in whose cohort the token's subject
// is.
func (t *Table) DisposeByArm(tok *mintmark.Token, now int64) Fate { return Fate{} }
