package lint

import (
	"net/url"
	"slices"
	"strings"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/policy"
)

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
	}
}

func wayBackRules() []Rule {
	return []Rule{
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
