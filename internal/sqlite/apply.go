package sqlite

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/mintmark/mintmark/internal/ledger"
)

// Apply implements ledger.Tx, in the order that ledger.Changes gives.
func (t *tx) Apply(ctx context.Context, c *ledger.Changes) error {
	for i := range c.NewTokens {
		if err := t.insertToken(ctx, wToken, &c.NewTokens[i]); err != nil {
			return err
		}
	}
	for i := range c.Seen {
		if err := t.insertToken(ctx, wSeen, &c.Seen[i]); err != nil {
			return err
		}
	}
	for i := range c.Tokens {
		r := &c.Tokens[i]
		if _, err := t.exec(ctx, wTokenState, string(r.ID), int(r.State), r.Reason, string(r.By), r.Version); err != nil {
			return err
		}
	}
	if err := t.applyLines(ctx, c); err != nil {
		return err
	}
	for i := range c.Documents {
		if err := t.document(ctx, &c.Documents[i]); err != nil {
			return err
		}
	}
	if c.Row != nil {
		if err := t.stateRow(ctx, c.Row); err != nil {
			return err
		}
	}
	if c.Usage != nil {
		if err := t.usage(ctx, c.Usage); err != nil {
			return err
		}
	}
	if c.Sealed != nil {
		if _, err := t.exec(ctx, wSealed, string(c.Sealed.Family), c.Sealed.Body, c.Sealed.Until); err != nil {
			return err
		}
	}
	if c.Purge != nil {
		return t.purge(ctx, c.Purge)
	}
	return nil
}

// applyLines changes families and grants.
func (t *tx) applyLines(ctx context.Context, c *ledger.Changes) error {
	for i := range c.Families {
		f := &c.Families[i]
		if _, err := t.exec(ctx, wFamily, string(f.ID), string(f.Grant), string(f.Current), string(f.Previous), f.GraceUntil, f.Revoked, f.Reason, f.Version); err != nil {
			return err
		}
	}
	for i := range c.Grants {
		g := &c.Grants[i]
		body, err := json.Marshal(g.GrantMade)
		if err != nil {
			return err
		}
		if _, err := t.exec(ctx, wGrant, string(g.Grant), g.Subject, string(g.Client), body, g.Revoked, g.Reason, g.Version); err != nil {
			return err
		}
	}
	end := func(name string, e ledger.Ended, args ...any) error {
		_, err := t.exec(ctx, name, append([]any{e.ID, e.Reason}, args...)...)
		return err
	}
	for _, e := range c.RevokeFamilies {
		if err := end(wEndFamily, e); err != nil {
			return err
		}
		if err := end(wEndTokens, e, e.At/1000); err != nil {
			return err
		}
	}
	for _, e := range c.RevokeGrants {
		if err := end(wEndFamilies, e); err != nil {
			return err
		}
		if err := end(wEndGrantTokens, e, e.At/1000); err != nil {
			return err
		}
	}
	return nil
}

func (t *tx) insertToken(ctx context.Context, name string, r *ledger.TokenRow) error {
	body, err := json.Marshal(tokenBody{Token: r.Token, Parent: r.Parent, Name: r.Name, Owner: r.Owner})
	if err != nil {
		return fmt.Errorf("token %s: %w", r.ID, err)
	}
	exp := r.Expires
	if exp == 0 {
		exp = never
	}
	var handle any
	if len(r.Handle) > 0 {
		handle = r.Handle
	}
	_, err = t.exec(ctx, name, string(r.ID), int(r.Kind), r.Issuer, r.Subject, string(r.Client), string(r.Grant), string(r.Family),
		string(r.Mark.Release), r.Mark.Key, r.Mark.Seq, r.IssuedAt, exp, set(r.Scopes), set(r.Audience), handle, body,
		int(r.State), r.Reason, string(r.By), r.Version)
	return err
}

func (t *tx) document(ctx context.Context, d *ledger.Document) error {
	if d.Body == nil {
		_, err := t.exec(ctx, wDropDocument, d.Kind, d.ID)
		return err
	}
	var expires int64
	if !d.Expires.IsZero() {
		expires = d.Expires.Unix()
	}
	_, err := t.exec(ctx, wDocument, d.Kind, d.ID, d.Version, d.Body, d.Ref, expires, d.Updated.UnixMilli())
	return err
}

func (t *tx) stateRow(ctx context.Context, r *ledger.StateRow) error {
	_, err := t.exec(ctx, wStateRow, r.Seq, r.Hash[:], r.Prev[:], r.Term, r.Epoch, r.Issued, r.Event, r.Body, r.Signature)
	if err != nil {
		return err
	}
	for _, v := range r.Revocations {
		if _, err := t.exec(ctx, wRevocation, string(v.ID), v.RowSeq, v.Forget, v.Body); err != nil {
			return err
		}
	}
	for _, id := range r.Restores {
		if _, err := t.exec(ctx, wRestore, string(id), r.Seq); err != nil {
			return err
		}
	}
	return nil
}

// usage folds a coalesced batch.
func (t *tx) usage(ctx context.Context, u *ledger.Usage) error {
	if err := t.boot(ctx, u); err != nil {
		return err
	}
	gateway := string(u.Gateway)
	err := t.fold(ctx, usageTokens, len(u.Tokens), func(args []any, i int) []any {
		r := &u.Tokens[i]
		return append(args, string(r.Token), int64(r.Uses), int64(r.Refused), r.First, r.Last, gateway, r.Route)
	})
	if err != nil {
		return err
	}
	err = t.fold(ctx, usageRoutes, len(u.Routes), func(args []any, i int) []any {
		r := &u.Routes[i]
		return append(args, string(r.Token), r.Route, string(r.Served), string(r.Code), int64(r.N), r.First, r.Last)
	})
	if err != nil {
		return err
	}
	return t.fold(ctx, usageHours, len(u.Hours), func(args []any, i int) []any {
		r := &u.Hours[i]
		return append(args, r.Hour, string(r.Release), string(r.Served), r.Route, string(r.Code), int64(r.N))
	})
}

// fold upserts n rows, whose values add appends to args: as many at a time as a
// bulk takes, the rest one by one.
func (t *tx) fold(ctx context.Context, b bulk, n int, add func(args []any, i int) []any) error {
	args := make([]any, 0, bulkRows*b.columns)
	for i := 0; i < n; {
		name, rows := b.name, 1
		if n-i >= bulkRows {
			name, rows = b.name+bulkSuffix, bulkRows
		}
		args = args[:0]
		for j := range rows {
			args = add(args, i+j)
		}
		if _, err := t.exec(ctx, name, args...); err != nil {
			return err
		}
		i += rows
	}
	return nil
}

func (t *tx) purge(ctx context.Context, p *ledger.Purge) error {
	seconds := p.Before / 1000
	for _, step := range []struct {
		name   string
		before int64
	}{{wPurgeDocuments, seconds}, {wPurgeSealed, p.Before}, {wPurgeOnce, seconds}, {wPurgeRevoked, seconds}} {
		if _, err := t.exec(ctx, step.name, step.before, p.Limit); err != nil {
			return err
		}
	}
	return nil
}
