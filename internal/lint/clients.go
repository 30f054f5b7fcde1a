package lint

import (
	"net/netip"
	"net/url"
	"slices"
	"strings"

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

func redirectRules() []Rule {
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
	}
}

func clientRules() []Rule {
	return []Rule{
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
	}
}

func hookRules() []Rule {
	return []Rule{
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
