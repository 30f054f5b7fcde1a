package jose

import (
	"slices"
	"strings"

	"github.com/mintmark/mintmark"
)

// ClaimMark is the private claim in which our authority puts the mark: an object
// with release, policy, epoch, seq, grt (grant), fam (family), via (the tokens it
// was exchanged from, separated by spaces) and ori (see Line).
const ClaimMark = "mintmark"

// Bounds of the lists in a payload.
const (
	maxScopes   = 256
	maxAudience = 64
)

var (
	errClaimType  = malformed("a registered claim has the wrong type")
	errClaimText  = malformed("an identifying claim has control characters")
	errClaimMany  = malformed("too many scopes or audiences")
	errClaimDate  = malformed("a time claim is not a usable NumericDate")
	errNoClaims   = malformed("payload is empty")
	errNoExpiry   = malformed("exp is missing")
	errNoIdentity = malformed("iss is missing")
)

// Names says where an issuer keeps facts that RFC 9068 names otherwise. Empty
// members mean the RFC's: sub, client_id (or azp), scope, jti.
type Names struct{ Subject, Client, Scopes, ID string }

// Claims are the facts of a JWT's payload (RFC 7519 §4, RFC 9068 §2.2). All
// strings are views of one text.
type Claims struct {
	Issuer, Subject, ID, Client string
	// Scopes and Audience are sorted, without duplicates.
	Scopes, Audience []string
	// Times are Unix seconds, 0 when absent. A fractional exp is rounded down, a
	// fractional nbf up: never longer than was said.
	Expires, NotBefore, IssuedAt, AuthTime int64
	ACR, Nonce, Actor                      string
	Binding                                mintmark.Binding
	// Mark, Grant, Family and Via are the claim ClaimMark. Believe them only of our
	// own authority.
	Mark   mintmark.Mark
	Grant  mintmark.GrantID
	Family mintmark.FamilyID
	// Via are ids separated by spaces, nearest first.
	Via string
	// Internal is of what stands in behind a gateway, for a server alone.
	Internal bool

	line    []origin // of Via's tokens
	text    string
	further int // bytes of members that are not named above
}

// ParseClaims reads a payload. Identifying claims may not hold control
// characters: they end up in headers and logs. Nothing is required: see Complete.
func ParseClaims(payload string, names Names) (Claims, error) {
	return parseClaims(payload, names, nil)
}

func parseClaims(payload string, names Names, scratch *Scratch) (Claims, error) {
	if payload == "" {
		return Claims{}, errNoClaims
	}
	r := reader{c: Claims{text: payload}, names: names.orDefault()}
	s := Scan(payload)
	for s.Next() {
		if !r.read(s.Name(), s.Value()) {
			r.c.further += len(s.Name()) + len(s.Value().Raw()) + 8
		}
	}
	if s.Err() != nil {
		return Claims{}, s.Err()
	}
	if r.err != nil {
		return Claims{}, r.err
	}
	r.c.Scopes, r.c.Audience, r.err = lists(r.scopes, r.au, scratch)
	return r.c, r.err
}

// Complete reports what every access token must have (RFC 9068 §2.2): iss and
// exp.
func (c *Claims) Complete() error {
	switch {
	case c.Issuer == "":
		return errNoIdentity
	case c.Expires == 0:
		return errNoExpiry
	}
	return nil
}

func (n Names) orDefault() Names {
	if n.Subject == "" {
		n.Subject = "sub"
	}
	if n.Client == "" {
		n.Client = "client_id"
	}
	if n.Scopes == "" {
		n.Scopes = "scope"
	}
	if n.ID == "" {
		n.ID = "jti"
	}
	return n
}

// reader fills Claims; err is the first error. It holds them by value: a pointer
// would send them to the heap.
type reader struct {
	c          Claims
	names      Names
	scopes, au Value
	err        error
}

// read takes one member; false when it is none that Claims has a field for.
func (r *reader) read(name string, v Value) bool {
	c := &r.c
	switch name {
	case r.names.Subject:
		r.text(&c.Subject, v)
	case r.names.Client:
		r.text(&c.Client, v)
	case r.names.Scopes:
		r.scopes = v
	case r.names.ID:
		r.text(&c.ID, v)
	case "iss":
		r.text(&c.Issuer, v)
	case "azp":
		// OIDC's name of the client: what is left when there is no client_id.
		if c.Client == "" {
			r.text(&c.Client, v)
		}
	case "aud":
		r.au = v
	case "exp":
		r.date(&c.Expires, v, 0)
	case "nbf":
		r.date(&c.NotBefore, v, 1)
	case "iat":
		r.date(&c.IssuedAt, v, 0)
	case "auth_time":
		r.date(&c.AuthTime, v, 0)
	case "acr":
		r.text(&c.ACR, v)
	case "nonce":
		r.text(&c.Nonce, v)
	case "act", "cnf", ClaimMark:
		r.object(name, v)
	default:
		return false
	}
	return true
}

func (r *reader) fail(err error) {
	if r.err == nil {
		r.err = err
	}
}

func (r *reader) text(into *string, v Value) {
	text, ok := v.Str()
	switch {
	case !ok:
		r.fail(errClaimType)
	case hasControl(text):
		r.fail(errClaimText)
	}
	*into = text
}

func (r *reader) date(into *int64, v Value, roundUp int64) {
	seconds, fraction, ok := v.Date()
	if !ok {
		r.fail(errClaimDate)
	}
	if fraction {
		seconds += roundUp
	}
	// 0 means absent to everybody else; an expiry in 1970 is over all the same.
	*into = max(seconds, 1)
}

func (r *reader) number(into *uint64, v Value) {
	n, ok := v.Uint()
	if !ok {
		r.fail(errClaimType)
	}
	*into = n
}

// object reads the members of act, cnf or ClaimMark. A switch and not a function
// value: through one, the claims would go to the heap.
func (r *reader) object(claim string, v Value) {
	if v.Kind() != Object {
		r.fail(errClaimType)
		return
	}
	for s := v.Members(); s.Next(); {
		switch claim {
		case "act":
			r.actor(s.Name(), s.Value())
		case "cnf":
			r.binding(s.Name(), s.Value())
		case ClaimMark:
			r.mark(s.Name(), s.Value())
		}
	}
}

func (r *reader) actor(name string, v Value) {
	if name == "sub" {
		r.text(&r.c.Actor, v)
	}
}

func (r *reader) binding(name string, v Value) {
	switch name {
	case "jkt":
		r.text(&r.c.Binding.JKT, v)
	case "x5t#S256":
		r.text(&r.c.Binding.X5T, v)
	default:
		// RFC 7800 §3.1 lets one ignore what one does not understand; to ignore a
		// confirmation would turn a bound token into a bearer token.
		r.fail(errConfirmation)
	}
}

var errConfirmation = malformed("cnf has a method that is not understood")

func (r *reader) mark(name string, v Value) {
	c := &r.c
	var text string
	switch name {
	case "release":
		r.text(&text, v)
		c.Mark.Release = mintmark.ReleaseID(text)
	case "policy":
		r.number(&c.Mark.Policy, v)
	case "epoch":
		r.number(&c.Mark.Epoch, v)
	case "seq":
		r.number(&c.Mark.Seq, v)
	case "grt":
		r.text(&text, v)
		c.Grant = mintmark.GrantID(text)
	case "fam":
		r.text(&text, v)
		c.Family = mintmark.FamilyID(text)
	case "via":
		r.text(&c.Via, v)
	case "ori":
		line, err := parseLine(v)
		if err != nil {
			r.fail(err)
		}
		c.line = line
	case "int":
		c.Internal = v.Raw() != "false" // whatever else it says
	}
}

// lists builds both sets in one backing array. A function of values, not a method
// of the reader: the array would take the reader to the heap with it.
func lists(scope, aud Value, scratch *Scratch) (scopes, audience []string, err error) {
	s, a := countList(scope, true), countList(aud, false)
	switch {
	case s < 0 || a < 0:
		return nil, nil, errClaimType
	case s > maxScopes || a > maxAudience:
		return nil, nil, errClaimMany
	case s+a == 0:
		return nil, nil, nil
	}
	var all []string
	if scratch != nil {
		all = list(scratch.list(s+a), scope, true)
	} else {
		all = list(make([]string, 0, s+a), scope, true)
	}
	first := len(all)
	all = list(all, aud, false)
	for _, word := range all {
		if hasControl(word) {
			return nil, nil, errClaimText
		}
	}
	// A duplicate leaves a hole in the middle: the two sets never share a cell.
	return sortedSet(all[:first:first]), sortedSet(all[first:len(all):len(all)]), nil
}

// countList returns an upper bound of the entries, -1 for a wrong type.
func countList(v Value, split bool) int {
	switch v.Kind() {
	case None:
		return 0
	case String:
		if !split {
			return 1
		}
		return strings.Count(v.Raw(), " ") + 1
	case Array:
		n := 0
		for e := range v.Elements {
			if e.Kind() != String {
				return -1
			}
			n++
		}
		return n
	}
	return -1
}

func list(all []string, v Value, split bool) []string {
	if text, ok := v.Str(); ok {
		if !split {
			return append(all, text)
		}
		for word := range strings.SplitSeq(text, " ") {
			all = append(all, word)
		}
		return all
	}
	for e := range v.Elements {
		text, _ := e.Str()
		all = append(all, text)
	}
	return all
}

func sortedSet(s []string) []string {
	slices.Sort(s)
	s = slices.Compact(s)
	if len(s) > 0 && s[0] == "" {
		s = s[1:]
	}
	if len(s) == 0 {
		return nil
	}
	return s[:len(s):len(s)]
}

// Token returns the token that the claims describe, signed by key kid. It is for
// a verified payload. For a token that is not our authority's, everything under
// ClaimMark is dropped (anybody may write that claim) and the caller sets ID and
// Mark.Release.
func (c *Claims) Token(kind mintmark.TokenKind, kid string) *mintmark.Token {
	t := &mintmark.Token{}
	c.Fill(t, kind, kid)
	return t
}

// Fill is Token into a place that the caller has.
func (c *Claims) Fill(t *mintmark.Token, kind mintmark.TokenKind, kid string) {
	*t = mintmark.Token{
		ID: mintmark.TokenID(c.ID), Kind: kind, Issuer: c.Issuer, Subject: c.Subject,
		Client: mintmark.ClientID(c.Client), Grant: c.Grant, Family: c.Family,
		Scopes: c.Scopes, Audience: c.Audience, Mark: c.Mark, Binding: c.Binding,
		IssuedAt: c.IssuedAt, NotBefore: c.NotBefore, Expires: c.Expires,
		AuthTime: c.AuthTime, ACR: c.ACR, Actor: c.Actor,
	}
	if !t.Own() {
		t.Mark, t.Grant, t.Family = mintmark.Mark{}, "", ""
	} else if c.Via != "" {
		for id := range strings.SplitSeq(c.Via, " ") {
			t.Via = append(t.Via, mintmark.TokenID(id))
		}
	}
	t.Mark.Key = kid
	if t.Via != nil && c.line != nil {
		t.Origins = origins(t, c.line[:min(len(c.line), len(t.Via))])
	}
}
