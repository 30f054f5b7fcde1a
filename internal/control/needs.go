package control

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/api"
)

// KeyNeeds says which live tokens a signing key signed.
func (c *Control) KeyNeeds(ctx context.Context, kid string) (*api.Needs, error) {
	return c.needs(ctx, "key", kid, mintmark.Selector{Key: kid})
}

// IssuerNeeds says which live tokens of another issuer are known, and which
// services accept it. Of tokens that were never presented nothing is known.
func (c *Control) IssuerNeeds(ctx context.Context, name string) (*api.Needs, error) {
	table := c.cfg.State.Current().Table
	for _, i := range table.Issuers() {
		if i.Name != name && i.Issuer.Issuer != name {
			continue
		}
		out, err := c.needs(ctx, "issuer", i.Name, mintmark.Selector{Issuer: i.Issuer.Issuer})
		if err != nil {
			return nil, err
		}
		for _, s := range table.Services() {
			if slices.Contains(s.Issuers, i.Name) {
				out.Services = append(out.Services, s.Name)
			}
		}
		return out, nil
	}
	return nil, fmt.Errorf("%w: there is no issuer %.200q", ErrNotFound, name)
}

func (c *Control) needs(ctx context.Context, kind, name string, sel mintmark.Selector) (*api.Needs, error) {
	reached, err := c.cfg.Reach.Reach(ctx, sel, mintmark.Cutoff{}, c.cfg.Now())
	if err != nil {
		return nil, fmt.Errorf("count tokens of %s %s: %w", kind, name, err)
	}
	out := &api.Needs{Kind: kind, Name: name}
	for _, r := range reached {
		n := api.NeedCount{Release: r.Release, Client: r.Client, Tokens: r.Tokens, Never: r.Last == 0}
		if r.Last > 0 {
			n.Last = time.Unix(r.Last, 0).UTC()
		}
		out.Tokens, out.Never = out.Tokens+n.Tokens, out.Never || n.Never
		if n.Last.After(out.Last) {
			out.Last = n.Last
		}
		out.By = append(out.By, n)
	}
	if out.Never {
		out.Last = time.Time{}
	}
	slices.SortFunc(out.By, func(a, b api.NeedCount) int {
		return cmp.Or(cmp.Compare(b.Tokens, a.Tokens), cmp.Compare(a.Release, b.Release), cmp.Compare(a.Client, b.Client))
	})
	return out, nil
}
