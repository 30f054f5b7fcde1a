package cli

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/api"
)

func join(values []string) string { return strings.Join(values, " ") }

func clientPairs(k *api.OAuthClient) table {
	state := "enabled"
	if k.Disabled {
		state = "disabled"
	}
	return pairs("client", string(k.ID), "name", k.Name, "state", state, "authentication", k.Auth, "grants", join(k.Grants),
		"redirect URIs", join(k.RedirectURIs), "scopes", join(k.Scopes), "audience", join(k.Audience))
}

func clientNames(ctx context.Context, c *api.Client) (out []string) {
	if cs, err := c.Clients(ctx); err == nil {
		for _, k := range cs.Clients {
			out = append(out, string(k.ID))
		}
	}
	return out
}

func (a *app) clientCmd() *cobra.Command {
	list := a.call(call{
		use: "list", short: "List OAuth clients", args: cobra.NoArgs,
		run: func(ctx context.Context, c *api.Client, _ []string) (result, error) {
			cs, err := c.Clients(ctx)
			if err != nil {
				return result{}, err
			}
			t := table{head: []string{"CLIENT", "NAME", "AUTH", "GRANTS", "DISABLED", "SCOPES", "AUDIENCE"}, wide: 5}
			for _, k := range cs.Clients {
				t.rows = append(t.rows, []string{string(k.ID), k.Name, k.Auth, join(k.Grants), yes(k.Disabled), join(k.Scopes), join(k.Audience)})
			}
			return show(cs, t, nil)
		},
	})
	get := a.call(call{
		use: "get ID", short: "Show a client", args: cobra.ExactArgs(1), complete: clientNames,
		run: func(ctx context.Context, c *api.Client, args []string) (result, error) {
			k, err := c.Client(ctx, mintmark.ClientID(args[0]))
			if err != nil {
				return result{}, err
			}
			return show(k, clientPairs(k), nil)
		},
	})
	var rotate api.RotateRequest
	secret := a.call(call{
		use: "rotate-secret ID", short: "Give a client a new secret, shown once", args: cobra.ExactArgs(1), complete: clientNames,
		flags: rotateFlags(&rotate),
		run: func(ctx context.Context, c *api.Client, args []string) (result, error) {
			return clientAnswer(c.RotateClientSecret(ctx, mintmark.ClientID(args[0]), rotate))
		},
	})
	return noun("client", "OAuth clients", list, get, a.clientAdd(), secret, a.clientDisable())
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return ""
}

func clientAnswer(k *api.ClientAnswer, err error) (result, error) {
	if err != nil {
		return result{}, err
	}
	if k.Pending != nil {
		return waitsFor(k, k.Pending), nil
	}
	r := result{value: k, table: clientPairs(&k.Client)}
	if k.Receipt != nil {
		r.exit, r.notes = api.ExitOutcome(k.Receipt.Outcome), receiptNotes(k.Receipt)
	}
	if k.Secret != "" {
		r.once, r.notes = k.Secret, []string{"", "secret, shown once and kept nowhere:", k.Secret}
	}
	return r, nil
}

func (a *app) clientAdd() *cobra.Command {
	var q api.OAuthClient
	return a.call(call{
		use: "add ID", short: "Make a client; a secret is made for it and shown once", args: cobra.ExactArgs(1),
		flags: func(cmd *cobra.Command) {
			f := cmd.Flags()
			f.StringVar(&q.Name, "name", "", "name for people")
			f.StringVar(&q.Auth, "auth", "client_secret_basic", "client_secret_basic, client_secret_post, private_key_jwt, tls_client_auth or none")
			f.StringSliceVar(&q.Grants, "grant", []string{"client_credentials"}, "grant types")
			f.StringSliceVar(&q.RedirectURIs, "redirect-uri", nil, "redirect URIs, matched exactly")
			f.StringSliceVar(&q.Scopes, "scope", nil, "scopes it may ask for")
			f.StringSliceVar(&q.Audience, "audience", nil, "audience it may ask for")
		},
		run: func(ctx context.Context, c *api.Client, args []string) (result, error) {
			q.ID = mintmark.ClientID(args[0])
			return clientAnswer(c.CreateClient(ctx, q))
		},
	})
}

func (a *app) clientDisable() *cobra.Command {
	var w waiting
	var breakGlass bool
	return a.call(call{
		use: "disable ID", short: "Refuse a client everywhere and revoke its tokens", args: cobra.ExactArgs(1), complete: clientNames,
		long: "Where the guard wants a second person nothing happens until one approves: 15, with the id to approve;\n" +
			"the tokens are revoked on approval, and the same command then disables the client.",
		flags: func(cmd *cobra.Command) {
			w.flags(cmd, true)
			breakGlassFlag(cmd, &breakGlass)
		},
		run: func(ctx context.Context, c *api.Client, args []string) (result, error) {
			if w.dryRun {
				return a.revoke(ctx, c, api.RevokeRequest{Selector: mintmark.Selector{Client: mintmark.ClientID(args[0])}.String(), Reason: w.reason, DryRun: true})
			}
			return clientAnswer(c.DisableClient(ctx, mintmark.ClientID(args[0]), api.DisableRequest{Reason: w.reason, BreakGlass: breakGlass, Wait: w.wait, Timeout: a.bound()}))
		},
	})
}

func (a *app) userCmd() *cobra.Command {
	list := a.call(call{
		use: "list", short: "List local users", args: cobra.NoArgs,
		run: func(ctx context.Context, c *api.Client, _ []string) (result, error) {
			us, err := c.Users(ctx)
			if err != nil {
				return result{}, err
			}
			t := table{head: []string{"USER", "EMAIL", "ROLES", "DISABLED"}}
			for _, u := range us.Users {
				t.rows = append(t.rows, []string{u.Name, u.Email, join(u.Roles), yes(u.Disabled)})
			}
			return show(us, t, nil)
		},
	})
	var q api.UserRequest
	var stdin bool
	add := a.call(call{
		use: "add NAME", short: "Make or change a local user; the password comes from standard input", args: cobra.ExactArgs(1),
		example: "  mintmark user add ann --email ann@example.com --password-stdin < password",
		flags: func(cmd *cobra.Command) {
			cmd.Flags().StringVar(&q.Email, "email", "", "e-mail address")
			cmd.Flags().StringSliceVar(&q.Roles, "role", nil, "roles of the admin API: viewer, operator, security, admin")
			cmd.Flags().BoolVar(&stdin, "password-stdin", false, "read the password from standard input")
		},
		run: func(ctx context.Context, c *api.Client, args []string) (result, error) {
			q.Name = args[0]
			if stdin {
				password, err := a.readSecret()
				if err != nil {
					return result{}, err
				}
				q.Password = password.Reveal()
			}
			u, err := c.PutUser(ctx, q)
			if err != nil {
				return result{}, err
			}
			return show(u, pairs("user", u.Name, "email", u.Email, "roles", join(u.Roles), "disabled", yes(u.Disabled)), nil)
		},
	})
	return noun("user", "Local users", list, add)
}
