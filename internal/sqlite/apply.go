package sqlite

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"

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

// usage folds a coalesced batch: three statements, whatever its size.
func (t *tx) usage(ctx context.Context, u *ledger.Usage) error {
	if err := t.boot(ctx, u); err != nil {
		return err
	}
	var b []byte
	for i := range u.Tokens {
		r := &u.Tokens[i]
		b = begin(b, i)
		b = quote(b, string(r.Token))
		b = number(b, int64(r.Uses), int64(r.Refused), r.First, r.Last)
		b = append(b, ',')
		b = append(quote(b, r.Route), ']')
	}
	if err := t.fold(ctx, wUsageTokens, b, string(u.Gateway)); err != nil {
		return err
	}
	b = b[:0]
	for i := range u.Routes {
		r := &u.Routes[i]
		b = begin(b, i)
		b = append(quote(b, string(r.Token)), ',')
		b = append(quote(b, r.Route), ',')
		b = append(quote(b, string(r.Served)), ',')
		b = quote(b, string(r.Code))
		b = append(number(b, int64(r.N), r.First, r.Last), ']')
	}
	if err := t.fold(ctx, wUsageRoutes, b); err != nil {
		return err
	}
	b = b[:0]
	for i := range u.Hours {
		r := &u.Hours[i]
		b = begin(b, i)
		b = append(strconv.AppendInt(b, r.Hour, 10), ',')
		b = append(quote(b, string(r.Release)), ',')
		b = append(quote(b, string(r.Served)), ',')
		b = append(quote(b, r.Route), ',')
		b = quote(b, string(r.Code))
		b = append(number(b, int64(r.N)), ']')
	}
	return t.fold(ctx, wUsageHours, b)
}

// fold runs a statement over a JSON array of arrays, unless it is empty.
func (t *tx) fold(ctx context.Context, name string, rows []byte, args ...any) error {
	if len(rows) == 0 {
		return nil
	}
	_, err := t.exec(ctx, name, append([]any{string(append(rows, ']'))}, args...)...)
	return err
}

// begin opens the i-th row.
func begin(b []byte, i int) []byte {
	if i == 0 {
		return append(b, '[', '[')
	}
	return append(b, ',', '[')
}

func number(b []byte, values ...int64) []byte {
	for _, v := range values {
		b = strconv.AppendInt(append(b, ','), v, 10)
	}
	return b
}

// quote appends s as a JSON string; names are plain nearly always.
func quote(b []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < 0x20 || c == '"' || c == '\\' || c >= 0x7f {
			q, _ := json.Marshal(s) // a string always marshals
			return append(b, q...)
		}
	}
	return append(append(append(b, '"'), s...), '"')
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
