package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/api"
)

func (a *app) apikeyCmd() *cobra.Command {
	list := a.call(call{
		use: "list", short: "List API keys", args: cobra.NoArgs,
		run: func(ctx context.Context, c *api.Client, _ []string) (result, error) {
			p, err := c.APIKeys(ctx, "")
			if err != nil {
				return result{}, err
			}
			t := table{head: []string{"KEY", "NAME", "OWNER", "STATE", "EXPIRES", "LAST SEEN", "USES", "SCOPES"}}
			for _, k := range p.Tokens {
				t.rows = append(t.rows, []string{string(k.ID), k.Name, k.Owner, k.State.String(), atUnix(k.Expires), atMilli(k.LastSeen), num(k.Uses), join(k.Scopes)})
			}
			return show(p, t, nil)
		},
	})
	return noun("apikey", "API keys", list, a.apikeyCreate(), a.apikeyRotate(), a.apikeyRevoke())
}

func (a *app) apikeyCreate() *cobra.Command {
	var q api.APIKeyRequest
	var client string
	var life time.Duration
	return a.call(call{
		use: "create NAME", short: "Make an API key; its value is shown once", args: cobra.ExactArgs(1),
		flags: func(cmd *cobra.Command) {
			cmd.Flags().StringVar(&q.Owner, "owner", "", "subject it speaks for")
			cmd.Flags().StringVar(&client, "client", "", "client it belongs to")
			cmd.Flags().StringSliceVar(&q.Scopes, "scope", nil, "scopes")
			cmd.Flags().StringSliceVar(&q.Audience, "audience", nil, "audience")
			cmd.Flags().DurationVar(&life, "expires-in", 0, "lifetime (default: without end)")
			_ = cmd.MarkFlagRequired("client")
			_ = cmd.MarkFlagRequired("owner")
			_ = cmd.MarkFlagRequired("audience")
		},
		run: func(ctx context.Context, c *api.Client, args []string) (result, error) {
			q.Name, q.Client = args[0], mintmark.ClientID(client)
			if life > 0 {
				q.Expires = a.Now().Add(life).UTC()
			}
			i, err := c.CreateAPIKey(ctx, q)
			if err != nil {
				return result{}, err
			}
			return issued(i), nil
		},
	})
}

func (a *app) apikeyRotate() *cobra.Command {
	var q api.RotateRequest
	return a.call(call{
		use: "rotate ID", short: "Replace an API key; the old one goes on for the overlap", args: cobra.ExactArgs(1),
		flags: rotateFlags(&q),
		run: func(ctx context.Context, c *api.Client, args []string) (result, error) {
			i, err := c.RotateAPIKey(ctx, mintmark.TokenID(args[0]), q)
			if err != nil {
				return result{}, err
			}
			return issued(i), nil
		},
	})
}

func rotateFlags(q *api.RotateRequest) func(*cobra.Command) {
	return func(cmd *cobra.Command) {
		cmd.Flags().StringVar(&q.Overlap, "overlap", "", "how long the old one goes on, such as 24h (default: it ends at once)")
		cmd.Flags().StringVar(&q.Reason, "reason", "", "why")
	}
}

func (a *app) apikeyRevoke() *cobra.Command {
	var w waiting
	return a.call(call{
		use: "revoke ID", short: "Revoke an API key", args: cobra.ExactArgs(1),
		flags: func(cmd *cobra.Command) { w.flags(cmd, true) },
		run: func(ctx context.Context, c *api.Client, args []string) (result, error) {
			return a.revoke(ctx, c, api.RevokeRequest{Selector: "token=" + args[0], Reason: w.reason, Wait: w.wait, Timeout: a.bound(), DryRun: w.dryRun})
		},
	})
}
