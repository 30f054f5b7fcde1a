package lint

import (
	"slices"
	"time"

	"github.com/mintmark/mintmark/internal/policy"
)

func issuerKeyRules() []Rule {
	return []Rule{
		{
			ID: "MM020", Name: "issuer-in-clear", Severity: Error,
			Why: "Keys fetched over http are whoever's is on the way.", Fix: "use https, or declare the keys with jwks",
			Source: "RFC 8414 §2, RFC 9700 §2.6",
			check: func(c *checker) {
				each(c, func(r *policy.Resource, v *policy.Issuer) {
					if v.Discovery && plain(v.Issuer) {
						c.report(r, "issuer", "metadata of %s is fetched in clear", v.Issuer)
					}
					if plain(v.JWKSURI) {
						c.report(r, "jwks_uri", "keys are fetched in clear from %s", v.JWKSURI)
					}
					if v.Introspect != nil && plain(v.Introspect.URL) {
						c.report(r, "introspect.url", "tokens are sent in clear to %s", v.Introspect.URL)
					}
				})
			},
		},
		{
			ID: "MM021", Name: "keys-believed-long", Severity: Warning,
			Why: "A key that its issuer withdrew goes on being believed for as long.", Fix: "set max_age to 24h or less",
			Source: "RFC 8725 §3.10",
			check: func(c *checker) {
				each(c, func(r *policy.Resource, v *policy.Issuer) {
					if time.Duration(v.MaxAge) > 24*time.Hour {
						c.report(r, "max_age", "fetched keys are believed for %s without being confirmed", v.MaxAge)
					}
				})
			},
		},
		{
			ID: "MM023", Name: "algorithm-left-to-keys", Severity: Note,
			Why: "The algorithms are what the issuer's key set says today.", Fix: "list the algorithms that you expect under algs",
			Source: "RFC 8725 §3.1",
			check: func(c *checker) {
				each(c, func(r *policy.Resource, v *policy.Issuer) {
					if len(v.Algs) == 0 && (v.Discovery || v.JWKSURI != "" || v.JWKS != nil) {
						c.report(r, "algs", "no algorithm is pinned")
					}
				})
			},
		},
		{
			ID: "MM025", Name: "keys-fixed", Severity: Note,
			Why: "Keys written into a file are not rotated until somebody edits it.", Fix: "use discovery or jwks_uri where the issuer offers one",
			Source: "RFC 8725 §3.10",
			check: func(c *checker) {
				each(c, func(r *policy.Resource, v *policy.Issuer) {
					if v.JWKS != nil {
						c.report(r, "jwks", "the issuer's keys are fixed")
					}
				})
			},
		},
	}
}

func issuerTokenRules() []Rule {
	return []Rule{
		{
			ID: "MM022", Name: "skew-wide", Severity: Warning,
			Why: "Expired tokens are accepted for as long as the clocks may differ.", Fix: "synchronise the clocks and allow 60s or less",
			Source: "RFC 7519 §4.1.4",
			check: func(c *checker) {
				each(c, func(r *policy.Resource, v *policy.Issuer) {
					if time.Duration(v.Skew) > time.Minute {
						c.report(r, "skew", "clocks may differ by %s", v.Skew)
					}
				})
			},
		},
		{
			ID: "MM024", Name: "type-not-explicit", Severity: Note,
			Why: "Another kind of JWT of this issuer, an ID token say, may be taken for an access token.", Fix: "set types: [at+jwt] if the issuer says so in its tokens",
			Source: "RFC 8725 §3.11, RFC 9068 §4",
			check: func(c *checker) {
				each(c, func(r *policy.Resource, v *policy.Issuer) {
					if len(v.Types) == 0 || slices.Contains(v.Types, "jwt") {
						c.report(r, "types", "typ jwt is accepted")
					}
				})
			},
		},
		{
			ID: "MM026", Name: "mark-never-reached", Severity: Warning,
			Why: "The first rule that fits wins: a rule below one that always fits gives no token its release, and a rollback of that release reaches nothing.", Fix: "put the narrower rule first",
			Source: "the mark",
			check: func(c *checker) {
				each(c, func(r *policy.Resource, v *policy.Issuer) {
					for i, m := range v.Marks {
						for j, before := range v.Marks[:i] {
							if covers(before, m) {
								c.report(r, item("marks", i), "whatever fits this rule fits marks[%d] first", j)
								break
							}
						}
					}
				})
			},
		},
		{
			ID: "MM027", Name: "issuer-unused", Severity: Note,
			Why: "What nobody needs is still believed by whoever adds it to a service.", Fix: "remove it, or name it under a service's issuers",
			Source: "least privilege",
			check: func(c *checker) {
				used := map[string]bool{}
				each(c, func(_ *policy.Resource, v *policy.Service) {
					for _, name := range v.Issuers {
						used[name] = true
					}
				})
				each(c, func(_ *policy.Resource, v *policy.Client) {
					for _, name := range v.AssertionIssuers {
						used[name] = true
					}
				})
				each(c, func(r *policy.Resource, _ *policy.Issuer) {
					if !used[r.Name] {
						c.report(r, "", "no service and no client names this issuer")
					}
				})
			},
		},
	}
}

// covers reports whether every token that fits b fits a.
func covers(a, b policy.Mark) bool {
	from := a.IssuedFrom == 0 || (b.IssuedFrom != 0 && a.IssuedFrom <= b.IssuedFrom)
	to := a.IssuedTo == 0 || (b.IssuedTo != 0 && a.IssuedTo >= b.IssuedTo)
	claim := a.Claim == "" || (a.Claim == b.Claim && a.Value == b.Value)
	return (a.KeyID == "" || a.KeyID == b.KeyID) && claim && from && to
}
