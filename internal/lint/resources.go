package lint

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/policy"
)

func item(path string, i int) string { return fmt.Sprintf("%s[%d]", path, i) }

// personal are claims that name a person (OpenID Connect Core §5.1).
var personal = []string{
	"address", "birthdate", "email", "family_name", "given_name", "middle_name", "name", "nickname", "phone_number",
	"picture", "preferred_username", "profile", "website",
}

func policyRules() []Rule {
	return []Rule{
		{
			ID: "MM040", Name: "access-long", Severity: Warning,
			Why: "Where a token is verified without a gateway, its lifetime is how long a revocation takes.", Fix: "set access to 1h or less; renewing is cheap",
			Source: "RFC 9700 §2.2.1",
			check: func(c *checker) {
				each(c, func(r *policy.Resource, v *policy.Policy) {
					if time.Duration(v.Access) > time.Hour {
						c.report(r, "access", "access tokens live %s", v.Access)
					}
				})
			},
		},
		{
			ID: "MM041", Name: "refresh-long", Severity: Warning,
			Why: "A grant nobody looks after stays open as long as its refresh tokens live.", Fix: "set refresh to 90d or less",
			Source: "RFC 9700 §4.14.2",
			check: func(c *checker) {
				each(c, func(r *policy.Resource, v *policy.Policy) {
					if time.Duration(v.Refresh) > 90*24*time.Hour {
						c.report(r, "refresh", "refresh tokens live %s", v.Refresh)
					}
				})
			},
		},
		{
			ID: "MM042", Name: "grace-long", Severity: Warning,
			Why: "Within the grace a stolen refresh token gets the same answer as its owner, and the theft goes unnoticed.", Fix: "set grace to 60s or less",
			Source: "RFC 9700 §4.14.2",
			check: func(c *checker) {
				each(c, func(r *policy.Resource, v *policy.Policy) {
					if time.Duration(v.Grace) > time.Minute {
						c.report(r, "grace", "re-use is not noticed for %s", v.Grace)
					}
				})
			},
		},
		{
			ID: "MM043", Name: "forced-scopes", Severity: Warning,
			Why: "Tokens get more than their client asked for.", Fix: "let clients ask, or use default_scopes",
			Source: "RFC 9700 §2.3",
			check: func(c *checker) {
				each(c, func(r *policy.Resource, v *policy.Policy) {
					if len(v.ForcedScopes) > 0 {
						c.report(r, "forced_scopes", "every token gets %s, asked for or not", strings.Join(v.ForcedScopes, " "))
					}
				})
			},
		},
		{
			ID: "MM044", Name: "default-everything", Severity: Note,
			Why: "A client that asks for nothing gets everything.", Fix: "leave out of default_scopes what only some need",
			Source: "RFC 9700 §2.3",
			check: func(c *checker) {
				each(c, func(r *policy.Resource, v *policy.Policy) {
					if len(v.Scopes) > 1 && len(v.DefaultScopes) >= len(v.Scopes) {
						c.report(r, "default_scopes", "all of the %d scopes are granted by default", len(v.Scopes))
					}
				})
			},
		},
		{
			ID: "MM045", Name: "accept-everything", Severity: Warning,
			Why: "Tokens of a release that turns out bad are understood too, and a plan can't tell which shapes are meant.", Fix: "name the releases whose tokens are understood",
			Source: "tokens across releases",
			check: func(c *checker) {
				each(c, func(r *policy.Resource, v *policy.Policy) {
					if slices.Contains(v.Accept, "*") {
						c.report(r, "accept", "understands the tokens of every release")
					}
				})
				each(c, func(r *policy.Resource, v *policy.Release) {
					if slices.Contains(v.Accept, "*") {
						c.report(r, "accept", "understands the tokens of every release")
					}
				})
			},
		},
		{
			ID: "MM046", Name: "audience-of-many", Severity: Warning,
			Why: "A token that several services accept can be played by one of them against another.", Fix: "mint one audience, and let clients exchange tokens for others",
			Source: "RFC 9700 §2.3, §4.9.1",
			check: func(c *checker) {
				owner := map[string]string{}
				each(c, func(r *policy.Resource, v *policy.Service) {
					for _, aud := range v.Audience {
						owner[aud] = r.Name
					}
				})
				each(c, func(r *policy.Resource, v *policy.Policy) {
					var services []string
					for _, aud := range v.Audience {
						if s := owner[aud]; s != "" {
							services = append(services, s)
						}
					}
					if services = mintmark.SortedSet(services); len(services) > 1 {
						c.report(r, "audience", "its tokens are accepted by %s", strings.Join(services, " and "))
					}
				})
			},
		},
		{
			ID: "MM047", Name: "scope-all", Severity: Warning,
			Why: "One scope for everything can't be narrowed, and every leak of it is the worst one.", Fix: "divide it by what it allows",
			Source: "RFC 9700 §2.3",
			check: func(c *checker) {
				each(c, func(r *policy.Resource, v *policy.Policy) {
					for i, s := range v.Scopes {
						if s == "*" || s == "all" || s == "root" || strings.HasSuffix(s, ":*") || strings.HasSuffix(s, ".*") {
							c.report(r, item("scopes", i), "%s allows everything of its kind", s)
						}
					}
				})
			},
		},
		{
			ID: "MM048", Name: "policy-unused", Severity: Note,
			Why: "A policy that nothing mints under is one more to keep right.", Fix: "remove it",
			Source: "least surprise",
			check: func(c *checker) {
				used := map[string]bool{}
				each(c, func(_ *policy.Resource, v *policy.Release) { used[v.Policy] = true })
				each(c, func(_ *policy.Resource, v *policy.Policy) { used[v.Extends] = true })
				each(c, func(r *policy.Resource, _ *policy.Policy) {
					if !used[r.Name] {
						c.report(r, "", "no release mints under it and no policy extends it")
					}
				})
			},
		},
		{
			ID: "MM049", Name: "personal-claim", Severity: Note,
			Why: "A JWT is readable by whoever sees it: clients, logs, browsers.", Fix: "let services ask userinfo, or set format: opaque",
			Source: "RFC 9068 §6",
			check: func(c *checker) {
				each(c, func(r *policy.Resource, v *policy.Policy) {
					e, err := c.set.Effective(r.Name)
					if err != nil || e.Format != "jwt" {
						return
					}
					for name := range v.Claims {
						if slices.Contains(personal, name) {
							c.report(r, "claims."+name, "access tokens carry %s in clear", name)
						}
					}
				})
			},
		},
		{
			ID: "MM050", Name: "rsa-minting", Severity: Note,
			Why: "An RSA signature costs some thirty times an ES256 one: it bounds how fast a rollback's tokens are minted anew.", Fix: "use ES256 or EdDSA unless a verifier can't",
			Source: "RFC 8725 §3.2; docs/performance.md",
			check: func(c *checker) {
				each(c, func(r *policy.Resource, v *policy.Policy) {
					if strings.HasPrefix(v.Alg, "RS") || strings.HasPrefix(v.Alg, "PS") {
						c.report(r, "alg", "mints with %s", v.Alg)
					}
				})
			},
		},
	}
}

// safeMethods change nothing (RFC 9110 §9.2.1).
var safeMethods = []string{"GET", "HEAD", "OPTIONS", "TRACE"}

// writes reports whether a route lets requests through that change something.
func writes(route *policy.Route) bool {
	return len(route.Methods) == 0 || slices.ContainsFunc(route.Methods, func(m string) bool { return !slices.Contains(safeMethods, m) })
}

// routes visits every route.
func routes(c *checker, visit func(r *policy.Resource, v *policy.Service, route *policy.Route, at string)) {
	each(c, func(r *policy.Resource, v *policy.Service) {
		for i := range v.Routes {
			visit(r, v, &v.Routes[i], item("routes", i))
		}
	})
}

func serviceRules() []Rule {
	return []Rule{
		{
			ID: "MM060", Name: "staleness-static", Severity: Warning,
			Why: "A gateway that is cut off goes on accepting what was revoked, without end: receipts except the route.", Fix: "give a duration; 30s when left out",
			Source: "guarantee G1",
			check: func(c *checker) {
				routes(c, func(r *policy.Resource, _ *policy.Service, route *policy.Route, at string) {
					if route.Staleness.IsStatic() && !route.Public {
						c.report(r, at+".staleness", "route %s never notices that it is cut off", route.Name)
					}
				})
			},
		},
		{
			ID: "MM061", Name: "staleness-long", Severity: Warning,
			Why: "A rollback or revoke waits for the longest budget of a gateway that is silent.", Fix: "set 5m or less",
			Source: "guarantees G1, G2",
			check: func(c *checker) {
				routes(c, func(r *policy.Resource, _ *policy.Service, route *policy.Route, at string) {
					if d := route.Staleness.Budget; d > 5*time.Minute {
						c.report(r, at+".staleness", "route %s may decide for %s without hearing from control", route.Name, d)
					}
				})
			},
		},
		{
			ID: "MM062", Name: "public-everything", Severity: Warning,
			Why: "Every path that no other route names is open.", Fix: "list the public paths",
			Source: "default deny",
			check: func(c *checker) {
				routes(c, func(r *policy.Resource, _ *policy.Service, route *policy.Route, at string) {
					if route.Public && route.Path == "/*" {
						c.report(r, at+".public", "route %s opens all paths", route.Name)
					}
				})
			},
		},
		{
			ID: "MM063", Name: "public-write", Severity: Warning,
			Why: "Anybody may change something.", Fix: "list the methods; GET and HEAD if it is to be read only",
			Source: "default deny",
			check: func(c *checker) {
				routes(c, func(r *policy.Resource, _ *policy.Service, route *policy.Route, at string) {
					if route.Public && writes(route) {
						c.report(r, at+".public", "route %s lets anybody write", route.Name)
					}
				})
			},
		},
		{
			ID: "MM064", Name: "no-scope", Severity: Warning,
			Why: "Any token for the service may write, whatever it was granted for.", Fix: "name the scopes that it takes",
			Source: "RFC 9700 §2.3",
			check: func(c *checker) {
				routes(c, func(r *policy.Resource, _ *policy.Service, route *policy.Route, at string) {
					if !route.Public && len(route.Scopes) == 0 && writes(route) {
						c.report(r, at, "route %s asks for no scope", route.Name)
					}
				})
			},
		},
		{
			ID: "MM065", Name: "no-limit", Severity: Note,
			Why: "One caller can take all that the service has.", Fix: "give rate_limit",
			Source: "RFC 9110 §17.12",
			check: func(c *checker) {
				routes(c, func(r *policy.Resource, _ *policy.Service, route *policy.Route, at string) {
					if route.Public && route.RateLimit == nil {
						c.report(r, at, "public route %s has no limit", route.Name)
					}
				})
			},
		},
		{
			ID: "MM066", Name: "token-passed-on", Severity: Warning,
			Why: "The service gets a token that it can play elsewhere; the gateway's headers already say who calls.", Fix: "remove pass_token, or bind the tokens",
			Source: "RFC 9700 §4.9.1, §4.9.3",
			check: func(c *checker) {
				routes(c, func(r *policy.Resource, _ *policy.Service, route *policy.Route, at string) {
					if route.Transform != nil && route.Transform.PassToken && route.Bound == "" {
						c.report(r, at+".transform.pass_token", "route %s hands the caller's bearer token to the service", route.Name)
					}
				})
			},
		},
		{
			ID: "MM067", Name: "any-host", Severity: Note,
			Why: "Requests for any name reach the service, one that rebinds DNS included.", Fix: "list the names under hosts",
			Source: "RFC 9110 §17.1",
			check: func(c *checker) {
				each(c, func(r *policy.Resource, v *policy.Service) {
					if len(v.Hosts) == 0 {
						c.report(r, "hosts", "is served under any host name")
					}
				})
			},
		},
		{
			ID: "MM068", Name: "audience-shared", Severity: Warning,
			Why: "A token for one of the services is good at the other.", Fix: "give each service an audience of its own",
			Source: "RFC 9700 §2.3, RFC 8725 §3.9",
			check: func(c *checker) {
				first := map[string]string{}
				each(c, func(r *policy.Resource, v *policy.Service) {
					for i, aud := range v.Audience {
						if other := first[aud]; other != "" {
							c.report(r, item("audience", i), "%s is service %s's audience too", aud, other)
							continue
						}
						first[aud] = r.Name
					}
				})
			},
		},
		{
			ID: "MM069", Name: "body-unbounded", Severity: Note,
			Why: "A caller may send without end.", Fix: "set max_body",
			Source: "RFC 9110 §17.5",
			check: func(c *checker) {
				routes(c, func(r *policy.Resource, _ *policy.Service, route *policy.Route, at string) {
					if route.Public && writes(route) && route.MaxBody == 0 {
						c.report(r, at, "public route %s takes bodies of any length", route.Name)
					}
				})
			},
		},
	}
}

func releaseRules() []Rule {
	return []Rule{
		{
			ID: "MM080", Name: "upstream-in-clear", Severity: Warning,
			Why: "Who calls is said in headers: whoever is on the way can read and change them.", Fix: "use https",
			Source: "RFC 9700 §4.13",
			check: func(c *checker) {
				each(c, func(r *policy.Resource, v *policy.Release) {
					for i, up := range v.Upstreams {
						u, err := url.Parse(up.URL)
						if err == nil && u.Scheme != "https" && !loopback(u.Hostname()) {
							c.report(r, item("upstreams", i)+".url", "%s is reached in clear", up.URL)
						}
					}
				})
			},
		},
		{
			ID: "MM081", Name: "not-watched", Severity: Note,
			Why: "An upstream that died goes on getting its share until a connection fails.", Fix: "give health",
			Source: "docs/operations.md",
			check: func(c *checker) {
				each(c, func(r *policy.Resource, v *policy.Release) {
					if len(v.Upstreams) > 1 && v.Health == nil {
						c.report(r, "", "%d upstreams, and none is checked", len(v.Upstreams))
					}
				})
			},
		},
		{
			ID: "MM082", Name: "map-lossy", Severity: Note,
			Why: "Tokens mapped this way are replaced as soon as can be: a rollback costs mints.", Fix: "keep what is lost in a claim of its own, if you can",
			Source: "tokens across releases",
			check: func(c *checker) {
				each(c, func(r *policy.Resource, v *policy.Release) {
					for i, m := range v.Maps {
						if m.Lossy {
							c.report(r, item("maps", i), "tokens of %s lose something", m.From)
						}
					}
				})
			},
		},
		{
			ID: "MM083", Name: "one-way", Severity: Warning,
			Why: "The tokens of the other release could only be revoked when it is taken back: its users would be logged out.", Fix: "let the release accept or map the other's tokens",
			Source: "rollout plan",
			check: func(c *checker) {
				siblings(c, func(r *policy.Resource, v, other *policy.Release, svc *policy.Service) {
					if !svc.RefuseOwn {
						return // our authority can mint the shape that is read
					}
					_, from, _ := strings.Cut(other.Name, "/")
					e, err := c.set.Effective(v.Policy)
					reads := err == nil && understands(slices.Concat(v.Accept, e.Accept), from)
					if !reads && !slices.ContainsFunc(v.Maps, func(m policy.Map) bool { return m.From == from }) {
						c.report(r, "", "can't read the tokens of %s, and they are not ours to mint anew", other.Name)
					}
				})
			},
		},
		{
			ID: "MM084", Name: "widens", Severity: Warning,
			Why: "What only one of two releases may mint counts as harm when it is taken back: such tokens are revoked at once.", Fix: "grant new scopes in a release of their own, after the rollout",
			Source: "tokens across releases",
			check: func(c *checker) {
				siblings(c, func(r *policy.Resource, v, other *policy.Release, svc *policy.Service) {
					if other.Name != stableOf(svc) {
						return
					}
					mine, err := c.set.Effective(v.Policy)
					theirs, err2 := c.set.Effective(other.Policy)
					if err != nil || err2 != nil {
						return
					}
					var more []string
					for _, s := range slices.Concat(mine.Scopes, mine.ForcedScopes) {
						if !slices.Contains(theirs.Scopes, s) && !slices.Contains(theirs.ForcedScopes, s) {
							more = append(more, s)
						}
					}
					if len(more) > 0 {
						c.report(r, "policy", "may mint %s, which %s never would", strings.Join(mintmark.SortedSet(more), " "), other.Name)
					}
				})
			},
		},
	}
}

// siblings visits every ordered pair of releases of one service.
func siblings(c *checker, visit func(r *policy.Resource, v, other *policy.Release, svc *policy.Service)) {
	services := map[string]*policy.Service{}
	each(c, func(r *policy.Resource, v *policy.Service) { services[r.Name] = v })
	each(c, func(r *policy.Resource, v *policy.Release) {
		of, _, _ := strings.Cut(r.Name, "/")
		each(c, func(o *policy.Resource, other *policy.Release) {
			if o.Name != r.Name && strings.HasPrefix(o.Name, of+"/") && services[of] != nil {
				visit(r, v, other, services[of])
			}
		})
	})
}

// stableOf is the release that is stable at first, in full.
func stableOf(svc *policy.Service) string { return svc.Name + "/" + svc.Release }

func understands(accept []string, release string) bool {
	return slices.Contains(accept, "*") || slices.Contains(accept, release)
}
