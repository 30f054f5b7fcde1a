package epoch

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/mintmark/mintmark"
)

// presentable are the kinds of token that a route may take; defaultKinds those it
// takes when it names none.
var (
	presentable  = []mintmark.TokenKind{mintmark.KindAccessJWT, mintmark.KindOpaque, mintmark.KindAPIKey, mintmark.KindForeign}
	defaultKinds = kindBits(presentable)
)

func kindBits(kinds []mintmark.TokenKind) (b uint16) {
	for _, k := range kinds {
		b |= 1 << k
	}
	return b
}

func (c *compiler) routes(s *ServiceEntry) {
	seen := map[string]bool{}
	for i := range s.Routes {
		r := &s.Routes[i]
		field := fmt.Sprintf("routes[%d]", i)
		if !mintmark.IsName(r.Name) || seen[r.Name] {
			c.fail(field+".name", "%.70q: want a name, once", r.Name)
		}
		seen[r.Name] = true
		before := len(c.errs)
		c.route(field, r)
		if len(c.errs) > before {
			continue // a bad pattern cannot be put into the tree
		}
		e := &RouteEntry{
			Route: r, Service: s, ID: s.Name + "/" + r.Name, Index: len(c.table.routes),
			Budget: r.Staleness, kinds: defaultKinds, methods: methodBits(r.Methods),
		}
		if len(r.Kinds) > 0 {
			e.kinds = kindBits(r.Kinds)
		}
		if s.Split.Rollout != "" || s.Candidate != nil {
			e.Budget = mintmark.Strict // on probation
		}
		for _, name := range slices.Sorted(maps.Keys(r.Headers)) {
			e.headers = append(e.headers, headerWant{name, r.Headers[name]})
		}
		c.table.routes = append(c.table.routes, e)
		hosts := s.Hosts
		if len(hosts) == 0 {
			hosts = []string{""}
		}
		for _, h := range hosts {
			if err := c.table.router.add(h, e); err != nil {
				c.fail(field+".path", "%w", err)
			}
		}
	}
}

func (c *compiler) route(field string, r *Route) {
	if err := checkPattern(r.Path); err != nil {
		c.fail(field+".path", "%w", err)
	}
	for _, m := range r.Methods {
		if !token(m) || m != strings.ToUpper(m) {
			c.fail(field+".methods", "%.40q: want an upper-case method", m)
		}
	}
	for h := range r.Headers {
		if !token(h) || h != strings.ToLower(h) {
			c.fail(field+".headers", "%.60q: want a lower-case name", h)
		}
	}
	for _, k := range r.Kinds {
		if !slices.Contains(presentable, k) {
			c.fail(field+".kinds", "%v: want jwt, opaque, apikey or foreign", k)
		}
	}
	if r.Public && (len(r.Scopes) > 0 || len(r.ACR) > 0 || r.MaxAge != 0 || r.Bound != "") {
		c.fail(field+".public", "a public route cannot demand anything of a token")
	}
	if r.Staleness.Budget > mintmark.MaxStaleness {
		c.fail(field+".staleness", "%v: at most %v", r.Staleness, mintmark.MaxStaleness)
	}
	if !slices.Contains([]string{"", "any", "dpop", "mtls"}, r.Bound) {
		c.fail(field+".bound", "%.40q: want any, dpop or mtls", r.Bound)
	}
	if r.Audit != "" && r.Audit != "every_use" {
		c.fail(field+".audit", "%.40q: want every_use", r.Audit)
	}
	if r.MaxAge < 0 || r.TimeoutMS < 0 || r.MaxBody < 0 || r.Retries < 0 || r.Retries > 5 {
		c.fail(field, "max_age, timeout_ms and max_body may not be negative, retries is 0 to 5")
	}
	if l := r.RateLimit; l != nil && (l.PerMinute <= 0 || l.Burst <= 0 || !slices.Contains([]string{"token", "subject", "client", "address"}, l.By)) {
		c.fail(field+".rate_limit", "want positive per_minute and burst, by token, subject, client or address")
	}
	if t := r.Transform; t != nil {
		c.transform(field+".transform", t)
	}
}

func (c *compiler) transform(field string, t *Transform) {
	if t.AddPrefix != "" && !PathOK(t.AddPrefix) || t.StripPrefix != "" && !PathOK(t.StripPrefix) {
		c.fail(field, "strip_prefix and add_prefix: want a path that starts with /")
	}
	check := func(part, name, value string) {
		if !token(name) || reserved(name) {
			c.fail(field+"."+part, "%.60q: not a header's name, or one that only the gateway sets", name)
		}
		if strings.ContainsFunc(value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
			c.fail(field+"."+part, "%s: the value has control characters", name)
		}
	}
	for part, h := range map[string]HeaderChange{"request": t.Request, "response": t.Response} {
		for name, v := range h.Set {
			check(part+".set", name, v)
		}
		for _, name := range h.Remove {
			check(part+".remove", name, "")
		}
	}
	for claim, name := range t.Claims {
		check("claims."+claim, name, "")
	}
}

// reserved reports whether a header is one that frames messages or says who
// somebody is: no document may name it, in any spelling.
func reserved(name string) bool {
	n := strings.ReplaceAll(strings.ToLower(name), "_", "-")
	switch n {
	case "host", "connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade", "content-length", "authorization", "proxy-authorization":
		return true
	}
	return strings.HasPrefix(n, "mintmark-")
}

// token reports whether s is a token of RFC 9110 §5.6.2.
func token(s string) bool {
	if s == "" || len(s) > 256 {
		return false
	}
	for _, b := range []byte(s) {
		if !unreserved(b) && !strings.ContainsRune("!#$%&'*+^`|", rune(b)) {
			return false
		}
	}
	return true
}
