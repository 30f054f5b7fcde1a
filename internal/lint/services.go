package lint

import (
	"slices"
	"time"

	"github.com/mintmark/mintmark/internal/policy"
)

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

func stalenessRules() []Rule {
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
	}
}

func publicRules() []Rule {
	return []Rule{
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

func accessRules() []Rule {
	return []Rule{
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
	}
}
