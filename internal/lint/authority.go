package lint

import (
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/mintmark/mintmark/internal/policy"
)

// plain reports whether an address sends in clear to another machine.
func plain(address string) bool {
	u, err := url.Parse(address)
	return err == nil && u.Scheme == "http" && !loopback(u.Hostname())
}

func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || (err == nil && ip.IsLoopback())
}

func uses(c *policy.Client, grant string) bool {
	if len(c.Grants) == 0 {
		return grant == "authorization_code" || grant == "refresh_token"
	}
	return slices.Contains(c.Grants, grant)
}

func public(c *policy.Client) bool { return c.Auth == "" || c.Auth == "none" }

func clientRules() []Rule {
	return []Rule{
		{
			ID: "MM001", Name: "redirect-in-clear", Severity: Error,
			Why: "A code sent over http to another machine can be read on the way.", Fix: "use https, or a loopback address for a native app",
			Source: "RFC 9700 §2.6, RFC 8252 §7.3",
			check: func(c *checker) {
				each(c, func(r *policy.Resource, v *policy.Client) {
					for i, u := range v.RedirectURIs {
						if plain(u) {
							c.report(r, item("redirect_uris", i), "%s sends codes in clear", u)
						}
					}
				})
			},
		},
		{
			ID: "MM002", Name: "redirect-scheme-anyones", Severity: Warning,
			Why: "Any app may register a scheme without a dot; one under your domain's name in reverse is yours by convention.", Fix: "use https with an app link, or a scheme such as com.example.app",
			Source: "RFC 8252 §7.1, §8.4",
			check: func(c *checker) {
				each(c, func(r *policy.Resource, v *policy.Client) {
					for i, text := range v.RedirectURIs {
						u, err := url.Parse(text)
						if err == nil && u.Scheme != "http" && u.Scheme != "https" && !strings.Contains(u.Scheme, ".") {
							c.report(r, item("redirect_uris", i), "scheme %s belongs to nobody", u.Scheme)
						}
					}
				})
			},
		},
		{
			ID: "MM003", Name: "refresh-token-unbound", Severity: Note,
			Why: "A public client's refresh tokens are rotated, so that theft is noticed when both use it; bound to a key, a stolen one is worth nothing.", Fix: "set bound: dpop",
			Source: "RFC 9700 §2.2.2, §4.14",
			check: func(c *checker) {
				each(c, func(r *policy.Resource, v *policy.Client) {
					if public(v) && uses(v, "refresh_token") && v.Bound == "" {
						c.report(r, "bound", "a public client with refresh tokens that are not bound to a key")
					}
				})
			},
		},
		{
			ID: "MM004", Name: "shared-secret", Severity: Note,
			Why: "A secret is known to both sides and may leak on either; a private key never leaves the client.", Fix: "use auth: private_key_jwt or one of the tls methods",
			Source: "RFC 9700 §2.5",
			check: func(c *checker) {
				each(c, func(r *policy.Resource, v *policy.Client) {
					if strings.HasPrefix(v.Auth, "client_secret_") && uses(v, "client_credentials") {
						c.report(r, "auth", "machine client with a shared secret")
					}
				})
			},
		},
		{
			ID: "MM005", Name: "any-audience", Severity: Warning,
			Why: "A client that may ask for any audience is worth every service's data when it is taken over.", Fix: "list the audiences it needs under audiences",
			Source: "RFC 9700 §2.3",
			check: func(c *checker) {
				each(c, func(r *policy.Resource, v *policy.Client) {
					if len(v.Audiences) == 0 && !v.Disabled {
						c.report(r, "audiences", "may ask for any audience")
					}
				})
			},
		},
		{
			ID: "MM006", Name: "exchange-unauthenticated", Severity: Error,
			Why: "Whoever holds any token can trade it in, if the client that trades need not prove itself.", Fix: "give the client an auth method",
			Source: "RFC 8693 §5, RFC 9700 §2.5",
			check: func(c *checker) {
				each(c, func(r *policy.Resource, v *policy.Client) {
					if public(v) && uses(v, "token_exchange") {
						c.report(r, "grants", "token_exchange for a client that can't prove itself")
					}
				})
			},
		},
		{
			ID: "MM007", Name: "hook-open", Severity: Warning,
			Why: "While the hook is down, users who were dismissed go on renewing.", Fix: "use outage: deny, or allow-until with a short outage_for",
			Source: "fail closed",
			check: func(c *checker) {
				each(c, func(r *policy.Resource, v *policy.Client) {
					if v.Hook != nil && v.Hook.Outage == "allow" {
						c.report(r, "renewal_hook.outage", "renewals are allowed for as long as the hook does not answer")
					}
				})
			},
		},
		{
			ID: "MM008", Name: "hook-in-clear", Severity: Error,
			Why: "Whoever is on the way can answer for the hook.", Fix: "use https",
			Source: "RFC 9700 §2.6",
			check: func(c *checker) {
				each(c, func(r *policy.Resource, v *policy.Client) {
					if v.Hook != nil && plain(v.Hook.URL) {
						c.report(r, "renewal_hook.url", "%s is asked in clear", v.Hook.URL)
					}
				})
			},
		},
		{
			ID: "MM009", Name: "introspects-all", Severity: Warning,
			Why: "A public client that may introspect lets anybody ask what a stolen token is good for.", Fix: "give the client an auth method, or remove introspect",
			Source: "RFC 7662 §2.1, §4",
			check: func(c *checker) {
				each(c, func(r *policy.Resource, v *policy.Client) {
					if v.Introspect && public(v) {
						c.report(r, "introspect", "a client that can't prove itself may ask about others' tokens")
					}
				})
			},
		},
	}
}

func issuerRules() []Rule {
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
