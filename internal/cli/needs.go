package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/mintmark/mintmark/api"
)

func whenSafe(w *api.KeyWish) string {
	if w == nil {
		return ""
	}
	return "when safe"
}

func needsResult(n *api.Needs, err error) (result, error) {
	if err != nil {
		return result{}, err
	}
	t := table{head: []string{"CLIENT", "RELEASE", "LIVE TOKENS", "LAST EXPIRES"}}
	for _, b := range n.By {
		last := at(b.Last)
		if b.Never {
			last = "never"
		}
		t.rows = append(t.rows, []string{string(b.Client), string(b.Release), num(b.Tokens), last})
	}
	return result{value: n, table: t, notes: needsNotes(n)}, nil
}

func needsNotes(n *api.Needs) []string {
	notes := []string{""}
	switch {
	case n.Never:
		notes = append(notes, fmt.Sprintf("%s %s is needed by %s, one of which never expires", n.Kind, n.Name, many(n.Tokens, "live token")))
	case !n.Last.IsZero():
		notes = append(notes, fmt.Sprintf("%s %s is needed by %s, suspended ones not counted; the last is over at %s", n.Kind, n.Name, many(n.Tokens, "live token"), at(n.Last)))
	default:
		notes = append(notes, "no token needs "+n.Kind+" "+n.Name)
	}
	if len(n.Services) > 0 {
		notes = append(notes, "services that accept it: "+strings.Join(n.Services, ", "))
	}
	if n.Kind == "issuer" {
		notes = append(notes, "tokens of other issuers are known once they were presented")
	}
	if n.WhenSafe != nil {
		notes = append(notes, "it is to be retired when safe, says "+n.WhenSafe.Actor+" since "+at(n.WhenSafe.Since))
	}
	return notes
}

func (a *app) keyNeeds() *cobra.Command {
	return a.call(call{
		use: "needs KID", short: "Say which live tokens still need a key, and until when", args: cobra.ExactArgs(1), complete: keyNames,
		run: func(ctx context.Context, c *api.Client, args []string) (result, error) {
			return needsResult(c.KeyNeeds(ctx, args[0]))
		},
	})
}

func (a *app) keyKeep() *cobra.Command {
	return a.call(call{
		use: "keep KID", short: "Take back: key retire --when-safe", args: cobra.ExactArgs(1), complete: keyNames,
		run: func(ctx context.Context, c *api.Client, args []string) (result, error) {
			return keyStep(c.KeepKey(ctx, args[0], api.KeyRequest{}))
		},
	})
}

func (a *app) issuerCmd() *cobra.Command {
	needs := a.call(call{
		use: "needs NAME", short: "Say which live tokens and services still need another issuer", args: cobra.ExactArgs(1),
		run: func(ctx context.Context, c *api.Client, args []string) (result, error) {
			return needsResult(c.IssuerNeeds(ctx, args[0]))
		},
	})
	return noun("issuer", "Other issuers whose tokens are accepted", needs)
}
