package lint

import (
	"slices"
	"strings"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/policy"
)

// personal are claims that name a person (OpenID Connect Core §5.1).
var personal = []string{
	"address", "birthdate", "email", "family_name", "given_name", "middle_name", "name", "nickname", "phone_number",
	"picture", "preferred_username", "profile", "website",
}

func lifetimeRules() []Rule {
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
	}
}

func scopeRules() []Rule {
	return []Rule{
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
	}
}

func shapeRules() []Rule {
	return []Rule{
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
	}
}

func policyRules() []Rule {
	return []Rule{
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
