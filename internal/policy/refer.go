package policy

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/mintmark/mintmark"
)

// Check judges a complete set: references, contradictions, and what gateways would
// refuse. Resources that were read from files give lines.
func Check(s Set) Errors {
	var es Errors
	each(s, func(r *Resource, p *Policy) { checkPolicy(s, r, p, &es) })
	each(s, func(r *Resource, rel *Release) { checkRelease(s, r, rel, &es) })
	each(s, func(r *Resource, v *Service) { checkService(s, r, v, &es) })
	each(s, func(r *Resource, f *Freeze) { checkFreeze(s, r, f, &es) })
	each(s, func(r *Resource, _ *Rollout) {
		r.fail(&es, "kind", "a rollout is started, not applied", "mintmark rollout start -f FILE")
	})
	checkTies(s, &es)
	checkIssuers(s, &es)
	checkGuards(s, &es)
	each(s, func(r *Resource, c *Client) { checkClient(s, r, c, &es) })
	checkSubjects(s, &es)
	if len(es) == 0 {
		return nil
	}
	return es.sorted()
}

func missing(kind, name string, s Set) (message, fix string) {
	return fmt.Sprintf("there is no %s %q", kind, short(name)), suggest(name, s.names(kind))
}

func checkPolicy(s Set, r *Resource, p *Policy, es *Errors) {
	if p.Extends != "" && s.Get(KindPolicy, p.Extends) == nil {
		m, fix := missing(KindPolicy, p.Extends, s)
		r.fail(es, "extends", m, fix)
		return
	}
	e, err := s.Effective(r.Name)
	if err != nil {
		r.fail(es, "extends", err.Error(), "let one of them extend nothing")
		return
	}
	for i, scope := range e.DefaultScopes {
		if !slices.Contains(e.Scopes, scope) {
			r.fail(es, fmt.Sprintf("default_scopes[%d]", i), fmt.Sprintf("%q is not among scopes", short(scope)), "add it to scopes")
		}
	}
	for path, list := range map[string][]string{"scopes": p.Scopes, "default_scopes": p.DefaultScopes, "forced_scopes": p.ForcedScopes} {
		for i, scope := range list {
			if scope == "" || strings.ContainsFunc(scope, func(c rune) bool { return c <= ' ' || c > '~' || c == '"' || c == '\\' }) {
				r.fail(es, fmt.Sprintf("%s[%d]", path, i), fmt.Sprintf("%q can't be a scope (RFC 6749 §3.3)", short(scope)), "use printable ASCII without spaces, quotes and backslashes")
			}
		}
	}
	if e.Access.Seconds() > 24*3600 {
		r.fail(es, "access", "access tokens may live 24h at most", "use refresh tokens for longer")
	}
	if e.Refresh.Seconds() <= e.Access.Seconds() {
		r.fail(es, "refresh", "refresh tokens must outlive access tokens", "")
	}
	if e.Grace.Seconds() > 300 {
		r.fail(es, "grace", "grace may be 5m at most", "")
	}
	for name := range p.Claims {
		if name == "status" && e.StatusList {
			r.fail(es, "claims."+name, "status_list makes this claim", "leave out one of the two")
		}
		if slices.Contains(ownClaims, name) {
			r.fail(es, "claims."+name, "this claim is the authority's own", "choose another name")
		}
	}
}

// ownClaims can't be declared: they say who speaks for whom (RFC 9068 §2.2).
var ownClaims = []string{"iss", "sub", "aud", "exp", "iat", "nbf", "jti", "client_id", "scope", "cnf", "act", "auth_time", "acr", "mintmark"}

func checkRelease(s Set, r *Resource, rel *Release, es *Errors) {
	service, _, _ := strings.Cut(r.Name, "/")
	svc := s.Get(KindService, service)
	if svc == nil {
		m, fix := missing(KindService, service, s)
		r.fail(es, "name", m, fix)
	}
	if s.Get(KindPolicy, rel.Policy) == nil {
		m, fix := missing(KindPolicy, rel.Policy, s)
		r.fail(es, "policy", m, fix)
	} else if e, err := s.Effective(rel.Policy); err == nil {
		if len(e.Audience) == 0 {
			r.fail(es, "policy", fmt.Sprintf("policy %q mints no audience", rel.Policy), "add audience to the policy")
		} else if svc != nil && !meets(e.Audience, svc.Spec.(*Service).Audience) {
			r.fail(es, "policy", fmt.Sprintf("policy %q mints an audience that service %q does not answer to", rel.Policy, service),
				"mint one of "+strings.Join(svc.Spec.(*Service).Audience, ", "))
		}
	}
	siblings := s.releasesOf(service)
	for i, a := range rel.Accept {
		if a != "*" && !slices.Contains(siblings, a) {
			r.fail(es, fmt.Sprintf("accept[%d]", i), fmt.Sprintf("service %q has no release %q", service, short(a)), suggest(a, siblings))
		}
	}
	for i, m := range rel.Maps {
		at := fmt.Sprintf("maps[%d].from", i)
		switch {
		case !slices.Contains(siblings, m.From):
			r.fail(es, at, fmt.Sprintf("service %q has no release %q", service, short(m.From)), suggest(m.From, siblings))
		case r.Name == service+"/"+m.From:
			r.fail(es, at, "a release needs no map from itself", "remove it")
		case slices.Contains(rel.Accept, m.From):
			r.fail(es, at, fmt.Sprintf("%q is also in accept: as it is, or mapped?", m.From), "keep one of the two")
		}
	}
}

func meets(a, b []string) bool {
	return slices.ContainsFunc(a, func(x string) bool { return slices.Contains(b, x) })
}

// releasesOf lists the names of a service's releases, without the service.
func (s Set) releasesOf(service string) []string {
	var out []string
	for _, name := range s.names(KindRelease) {
		if id := mintmark.ReleaseID(name); id.Service() == service {
			out = append(out, id.Name())
		}
	}
	return out
}

func checkService(s Set, r *Resource, v *Service, es *Errors) {
	releases := s.releasesOf(r.Name)
	if strings.HasPrefix(strings.ToLower(r.Name), "mintmark-") {
		r.fail(es, "name", "names that begin with mintmark- are Mintmark's own services", "choose another name")
	}
	switch {
	case len(releases) == 0:
		r.fail(es, "", "has no release", "declare kind: Release with name: "+r.Name+"/v1")
	case v.Release == "" && len(releases) > 1:
		r.fail(es, "release", "must say which release is stable at first", suggest("", releases))
	case v.Release != "" && !slices.Contains(releases, v.Release):
		r.fail(es, "release", fmt.Sprintf("there is no release %q", short(r.Name+"/"+v.Release)), suggest(v.Release, releases))
	}
	for i, name := range v.Issuers {
		if s.Get(KindIssuer, name) == nil {
			m, fix := missing(KindIssuer, name, s)
			r.fail(es, fmt.Sprintf("issuers[%d]", i), m, fix)
		}
	}
	if v.RefuseOwn && len(v.Issuers) == 0 {
		r.fail(es, "refuse_own", "no issuer is left whose tokens are accepted", "name issuers, or remove it")
	}
	names := map[string]bool{}
	for i, route := range v.Routes {
		at := fmt.Sprintf("routes[%d]", i)
		if names[route.Name] {
			r.fail(es, at+".name", fmt.Sprintf("two routes are called %q", short(route.Name)), "")
		}
		names[route.Name] = true
		checkRoute(r, v, &route, at, es)
	}
}

func checkRoute(r *Resource, v *Service, route *Route, at string, es *Errors) {
	if route.Public && (len(route.Scopes) > 0 || len(route.ACR) > 0 || route.MaxAge > 0 || route.Bound != "" || len(route.Kinds) > 0) {
		r.fail(es, at+".public", "a public route can't demand anything of a token", "remove public, or scopes, acr, max_age, bound and kinds")
	}
	if route.Public && route.RateLimit != nil && route.RateLimit.By != "address" {
		r.fail(es, at+".rate_limit.by", "a public route knows no "+route.RateLimit.By, "write by: address")
	}
	if len(route.Kinds) == 1 && route.Kinds[0] == "foreign" && len(v.Issuers) == 0 {
		r.fail(es, at+".kinds[0]", "the service accepts no foreign issuer", "name issuers on the service")
	}
	for name := range route.Headers {
		if name != strings.ToLower(name) || name == "" {
			r.fail(es, join(at+".headers", name), "names of headers to match are in lower case", "write "+strings.ToLower(name))
		}
	}
	if t := route.Transform; t != nil {
		var set []string
		for _, c := range []*HeaderChange{t.Request, t.Response} {
			if c != nil {
				set = append(append(set, c.Remove...), slices.Sorted(maps.Keys(c.Set))...)
			}
		}
		for _, name := range append(set, slices.Sorted(maps.Values(t.Claims))...) {
			if l := strings.ReplaceAll(strings.ToLower(name), "_", "-"); strings.HasPrefix(l, "mintmark-") || strings.HasPrefix(l, "x-mintmark-") || l == "connection" || l == "host" || l == "content-length" || l == "transfer-encoding" || l == "" {
				r.fail(es, at+".transform", fmt.Sprintf("header %q is the gateway's own", short(name)), "choose another name")
			}
		}
	}
}

// checkTies finds routes of which neither is more specific: gateways refuse them.
func checkTies(s Set, es *Errors) {
	type row struct {
		r       *Resource
		at      string
		name    string
		methods []string
	}
	seen := map[string][]row{}
	each(s, func(r *Resource, v *Service) {
		hosts := v.Hosts
		if len(hosts) == 0 {
			hosts = []string{""}
		}
		for i, route := range v.Routes {
			for _, host := range hosts {
				headers := make([]string, 0, len(route.Headers))
				for _, k := range slices.Sorted(maps.Keys(route.Headers)) {
					headers = append(headers, k+"="+route.Headers[k])
				}
				key := fmt.Sprintf("%s %s %t %q", host, shape(route.Path), len(route.Methods) > 0, headers)
				this := row{r, fmt.Sprintf("routes[%d].path", i), r.Name + "/" + route.Name, route.Methods}
				for _, other := range seen[key] {
					if len(this.methods) == 0 || meets(this.methods, other.methods) {
						r.fail(es, this.at, fmt.Sprintf("matches the same requests as route %s", other.name), "make one of them more specific by host, path, method or header")
						break
					}
				}
				seen[key] = append(seen[key], this)
			}
		}
	})
}

// shape is a path pattern without the names of its segments.
func shape(path string) string {
	segs := strings.Split(path, "/")
	for i, seg := range segs {
		if strings.HasPrefix(seg, "{") {
			segs[i] = "{}"
		}
	}
	return strings.Join(segs, "/")
}

func checkIssuers(s Set, es *Errors) {
	by := map[string]string{}
	each(s, func(r *Resource, v *Issuer) {
		if other := by[v.Issuer]; other != "" {
			r.fail(es, "issuer", fmt.Sprintf("is also issuer %q's", other), "declare it once")
		}
		by[v.Issuer] = r.Name
		sources := 0
		for _, given := range []bool{v.Discovery, v.JWKSURI != "", v.JWKS != nil} {
			if given {
				sources++
			}
		}
		if sources > 1 || (sources == 0 && v.Introspect == nil) {
			r.fail(es, "", "must say once where its keys are", "give one of discovery: true, jwks_uri and jwks; or introspect")
		}
		if v.JWKS != nil {
			if _, err := publicKeys(v.JWKS); err != nil {
				r.fail(es, "jwks", err.Error(), "")
			}
		}
		if v.Skew.Seconds() > 300 {
			r.fail(es, "skew", "may be 5m at most", "")
		}
		for i, m := range v.Marks {
			if s.Get(KindRelease, m.Release) == nil {
				msg, fix := missing(KindRelease, m.Release, s)
				r.fail(es, fmt.Sprintf("marks[%d].release", i), msg, fix)
			}
			if m.Value != "" && m.Claim == "" {
				r.fail(es, fmt.Sprintf("marks[%d].value", i), "needs claim", "")
			}
		}
		for name := range v.Claims {
			if !slices.Contains([]string{"subject", "client", "scopes", "id"}, name) {
				r.fail(es, "claims."+name, "is not a fact that can be renamed", "known: subject, client, scopes, id")
			}
		}
	})
}

// publicKeys reads a JWK set and refuses private and symmetric keys.
func publicKeys(set json.RawMessage) ([]json.RawMessage, error) {
	var in struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(set, &in); err != nil || len(in.Keys) == 0 {
		return nil, fmt.Errorf("is not a JWK set with keys")
	}
	for i, k := range in.Keys {
		var m map[string]json.RawMessage
		if json.Unmarshal(k, &m) != nil || m["kty"] == nil {
			return nil, fmt.Errorf("keys[%d] is not a JWK", i)
		}
		if m["d"] != nil || m["k"] != nil {
			return nil, fmt.Errorf("keys[%d] holds a private or symmetric key: only public keys belong here", i)
		}
	}
	return in.Keys, nil
}

// checkSubjects finds users that would be taken for each other: accounts are found
// by name and by subject.
func checkSubjects(s Set, es *Errors) {
	by := map[string]string{}
	each(s, func(r *Resource, u *User) {
		sub := u.Subject
		if sub == "" {
			sub = u.Name
		}
		for _, as := range mintmark.SortedSet([]string{sub, u.Name}) {
			if other := by[as]; other != "" {
				r.fail(es, "sub", fmt.Sprintf("%q is also user %q", short(as), other), "a subject is one user's")
			}
			by[as] = r.Name
		}
	})
}

func checkClient(s Set, r *Resource, c *Client, es *Errors) {
	switch {
	case c.Auth == "private_key_jwt" && c.JWKS == nil:
		r.fail(es, "auth", "private_key_jwt needs jwks", "add the client's public keys")
	case c.Auth == "tls_client_auth" && c.TLSSubject == "":
		r.fail(es, "auth", "tls_client_auth needs tls_subject", "")
	case c.Auth == "self_signed_tls_client_auth" && len(c.TLSThumbprints) == 0:
		r.fail(es, "auth", "self_signed_tls_client_auth needs tls_thumbprints", "")
	}
	if c.JWKS != nil {
		if _, err := publicKeys(c.JWKS); err != nil {
			r.fail(es, "jwks", err.Error(), "")
		}
	}
	code := len(c.Grants) == 0 || slices.Contains(c.Grants, "authorization_code")
	if code && len(c.RedirectURIs) == 0 {
		r.fail(es, "redirect_uris", "the authorization_code grant needs one", "add redirect_uris, or grants without authorization_code")
	}
	if (c.Auth == "" || c.Auth == "none") && slices.Contains(c.Grants, "client_credentials") {
		r.fail(es, "grants", "a client that can't prove itself may not use client_credentials", "give auth: client_secret_basic or better")
	}
	for i, name := range c.AssertionIssuers {
		if s.Get(KindIssuer, name) == nil {
			m, fix := missing(KindIssuer, name, s)
			r.fail(es, fmt.Sprintf("assertion_issuers[%d]", i), m, fix)
		}
	}
	if c.Hook != nil {
		if c.Hook.Timeout.Milliseconds() > 10_000 {
			r.fail(es, "renewal_hook.timeout", "may be 10s at most", "")
		}
		if (c.Hook.Outage == "allow-until") != (c.Hook.OutageFor > 0) {
			r.fail(es, "renewal_hook.outage_for", "goes with outage: allow-until, and only with it", "")
		}
	}
}
