package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/api"
)

func (a *app) tokenCmd() *cobra.Command {
	return noun("token", "Find, issue and take back tokens",
		a.tokenList(), a.tokenGet(), a.tokenTrace(), a.tokenIssue(), a.tokenRevoke(), a.tokenSuspend(), a.tokenRestore())
}

func tokenTable(tokens []api.Token) table {
	t := table{head: []string{"TOKEN", "KIND", "STATE", "SUBJECT", "CLIENT", "RELEASE", "EXPIRES", "USES", "LAST SEEN", "GATEWAY", "SCOPES"}, wide: 8}
	for _, k := range tokens {
		t.rows = append(t.rows, []string{
			string(k.ID), k.Kind.String(), k.State.String(), k.Subject, string(k.Client), string(k.Mark.Release),
			atUnix(k.Expires), num(k.Uses), atMilli(k.LastSeen), string(k.LastGateway), strings.Join(k.Scopes, " "),
		})
	}
	return t
}

func tokenPairs(k *api.Token) table {
	return pairs(
		"token", string(k.ID), "kind", k.Kind.String(), "state", k.State.String(), "why", k.Reason, "revocation", revocationOf(k),
		"subject", k.Subject, "client", string(k.Client), "issuer", k.Issuer, "grant", string(k.Grant), "family", string(k.Family),
		"scopes", strings.Join(k.Scopes, " "), "audience", strings.Join(k.Audience, " "),
		"release", string(k.Mark.Release), "policy version", num(k.Mark.Policy), "key", k.Mark.Key, "epoch", num(k.Mark.Epoch),
		"disposition", k.Disposition, "class", k.Class,
		"issued", atUnix(k.IssuedAt), "expires", atUnix(k.Expires), "parent", string(k.Parent), "successor", string(k.By),
		"name", k.Name, "owner", k.Owner, "first seen", atMilli(k.FirstSeen), "last seen", atMilli(k.LastSeen),
		"last gateway", string(k.LastGateway), "last route", k.LastRoute, "uses", num(k.Uses), "refused", num(k.Refused),
	)
}

func revocationOf(k *api.Token) string {
	if k.Revocation == nil {
		return ""
	}
	return string(*k.Revocation)
}

// selection holds the flags that name tokens: --select takes the whole grammar,
// the others are shorthand for one condition each; all are joined by "and".
type selection struct {
	text string
	dims map[string]*string
}

func (s *selection) flags(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&s.text, "select", "l", "", "selector: condition[,condition]… such as release=orders/v2,scope=admin,issued>=2026-01-31T14:00:00Z")
	s.dims = map[string]*string{}
	for _, d := range mintmark.SelectorDimensions() {
		if d != "issued" {
			s.dims[d] = cmd.Flags().String(d, "", d+" of the tokens")
		}
	}
}

func (s *selection) selector() string {
	parts := []string{}
	if s.text != "" {
		parts = append(parts, s.text)
	}
	for _, d := range mintmark.SelectorDimensions() {
		if v := s.dims[d]; v != nil && *v != "" {
			parts = append(parts, d+"="+strings.NewReplacer("%", "%25", ",", "%2C").Replace(*v))
		}
	}
	return strings.Join(parts, ",")
}

// checked is the selector, refused here already when it is malformed.
func (s *selection) checked() (string, error) {
	text := s.selector()
	if _, err := mintmark.ParseSelector(text); err != nil {
		return "", usage(err.Error(), "for instance --select 'release=orders/v2,scope=admin', or --subject NAME")
	}
	return text, nil
}

func (a *app) tokenList() *cobra.Command {
	var sel selection
	var states, kinds []string
	var limit int
	var after string
	return a.call(call{
		use: "list", short: "List tokens, oldest first", args: cobra.NoArgs,
		example: "  mintmark token list --release orders/v2 --state active\n  mintmark token list -l 'client=shop,issued>=2026-01-31T14:00:00Z' -o json",
		flags: func(cmd *cobra.Command) {
			sel.flags(cmd)
			cmd.Flags().StringSliceVar(&states, "state", nil, "states: issued, active, suspended, expired, revoked, superseded (default: the live ones)")
			cmd.Flags().StringSliceVar(&kinds, "kind", nil, "kinds: jwt, opaque, refresh, apikey, foreign")
			cmd.Flags().IntVar(&limit, "limit", 0, "how many, 1 to 1000 (default 100)")
			cmd.Flags().StringVar(&after, "after", "", "go on after this token")
		},
		run: func(ctx context.Context, c *api.Client, _ []string) (result, error) {
			q := api.TokenQuery{Selector: sel.selector(), States: states, Kinds: kinds, Limit: limit, After: mintmark.TokenID(after)}
			if q.Selector != "" {
				if _, err := sel.checked(); err != nil {
					return result{}, err
				}
			}
			p, err := c.Tokens(ctx, q)
			if err != nil {
				return result{}, err
			}
			r := result{value: p, table: tokenTable(p.Tokens)}
			if p.Next != "" {
				r.notes = []string{"more: --after " + string(p.Next)}
			}
			return r, nil
		},
	})
}

func (a *app) tokenGet() *cobra.Command {
	return a.call(call{
		use: "get ID", short: "Show a token: state, mark, where it was seen", args: cobra.ExactArgs(1),
		run: func(ctx context.Context, c *api.Client, args []string) (result, error) {
			k, err := c.Token(ctx, mintmark.TokenID(args[0]))
			if err != nil {
				return result{}, err
			}
			return show(k, tokenPairs(k), nil)
		},
	})
}

func (a *app) tokenTrace() *cobra.Command {
	return a.call(call{
		use: "trace ID", short: "Show a token's life: events, relatives, uses", args: cobra.ExactArgs(1),
		run: func(ctx context.Context, c *api.Client, args []string) (result, error) {
			tr, err := c.Trace(ctx, mintmark.TokenID(args[0]))
			if err != nil {
				return result{}, err
			}
			t := table{head: []string{"AT", "EVENT", "ACTOR", "STREAM", "REASON", "SEQ"}, wide: 5}
			for _, e := range tr.Events {
				t.rows = append(t.rows, []string{at(e.At), string(e.Type), e.Actor, e.Stream, reasonOf(e), num(e.Seq)})
			}
			r := result{value: tr, table: t}
			for _, u := range tr.Usage {
				r.notes = append(r.notes, fmt.Sprintf("%s %s: %d times, %s to %s", u.Route, first(string(u.Code), "admitted"), u.Count, atMilli(u.First), atMilli(u.Last)))
			}
			for _, k := range tr.Family {
				r.notes = append(r.notes, fmt.Sprintf("family: %s %s %s", k.ID, k.Kind, k.State))
			}
			return r, nil
		},
	})
}

// reasonOf is the reason that whoever caused an event gave, if any.
func reasonOf(e mintmark.Event) string {
	var d struct {
		Reason string `json:"reason"`
	}
	if json.Unmarshal(e.Data, &d) != nil {
		return ""
	}
	return d.Reason
}

func (a *app) tokenIssue() *cobra.Command {
	var q api.IssueRequest
	var client string
	return a.call(call{
		use: "issue", short: "Issue an access token for a client; its value is shown once", args: cobra.NoArgs,
		flags: func(cmd *cobra.Command) {
			cmd.Flags().StringVar(&client, "client", "", "client to issue it to")
			cmd.Flags().StringVar(&q.Subject, "subject", "", "subject (default: the client itself)")
			cmd.Flags().StringSliceVar(&q.Scopes, "scope", nil, "scopes (default: the policy's)")
			cmd.Flags().StringSliceVar(&q.Audience, "audience", nil, "audience")
			cmd.Flags().Int64Var(&q.Seconds, "seconds", 0, "lifetime (default, and at most, the policy's)")
			cmd.Flags().StringVar(&q.Reason, "reason", "", "why; token trace shows it")
			_ = cmd.MarkFlagRequired("client")
		},
		run: func(ctx context.Context, c *api.Client, _ []string) (result, error) {
			q.Client = mintmark.ClientID(client)
			i, err := c.Issue(ctx, q)
			if err != nil {
				return result{}, err
			}
			return issued(i), nil
		},
	})
}

// issued shows a value that is shown once.
func issued(i *api.Issued) result {
	return result{value: i, table: tokenPairs(&i.Token), once: i.Value, notes: []string{"", "shown once, and kept nowhere:", i.Value}}
}
