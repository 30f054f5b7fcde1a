package control

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/ledger"
	"github.com/mintmark/mintmark/internal/revocation"
)

// Revoke makes tokens unacceptable at every gateway, for good or until restored,
// or says what that would do. A selector that may cover tokens of many subjects
// needs a confirmation.
func (c *Control) Revoke(ctx context.Context, actor string, r api.RevokeRequest) (*api.RevokeAnswer, error) {
	sel, err := mintmark.ParseSelector(r.Selector)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	action := mintmark.ActionRevoke
	if r.Action != "" {
		if err := action.UnmarshalText([]byte(r.Action)); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
		}
	}
	if err := c.checkTimeout(r.Timeout); err != nil {
		return nil, err
	}
	if r.Reason == "" && !r.DryRun {
		return nil, fmt.Errorf("%w: a reason is wanted: it goes into the receipt", ErrInvalid)
	}
	fact := mintmark.Revocation{Action: action, Selector: sel, Reason: r.Reason, Actor: actor}
	if done := earlier(ctx); done != "" {
		return c.revoked(ctx, done, sel, r.Wait, r.Timeout)
	}
	if fact.Cutoff, err = c.resolve(ctx, sel); err != nil {
		return nil, err
	}
	now := c.cfg.Now()
	out := &api.RevokeAnswer{DryRun: r.DryRun, Selector: sel.String(), Gateways: len(c.cfg.State.Gateways())}
	if out.Tokens, err = c.cfg.Tokens.CountLive(ctx, sel, fact.Cutoff, now); err != nil {
		return nil, fmt.Errorf("count tokens: %w", err)
	}
	if sel.Broad() {
		out.Confirm = sel.String()
	}
	if r.DryRun {
		rows, err := c.cfg.Tokens.Tokens(ctx, ledger.TokenFilter{
			Selector: sel, Cutoff: fact.Cutoff, States: liveStates, Now: now, Limit: 10,
		})
		for i := range rows {
			out.Sample = append(out.Sample, c.tokenOf(&rows[i]))
		}
		return out, err
	}
	if out.Confirm != "" && r.Confirm != out.Confirm {
		return nil, &ConfirmError{Text: out.Confirm, Tokens: out.Tokens}
	}
	change := Change{Kind: action.String(), Revocations: []mintmark.Revocation{fact}, Actor: actor, Reason: r.Reason, Tokens: out.Tokens, Release: sel.Release}
	if err := c.mirror(ctx, &change, sel, action.String()); err != nil {
		return nil, err
	}
	done, err := c.commit(ctx, change)
	if err != nil {
		return nil, err
	}
	out.Receipt, err = c.receipt(ctx, done.Receipt, r.Wait, r.Timeout)
	return out, err
}

// revoked answers from the receipt of a change that is durable.
func (c *Control) revoked(ctx context.Context, id mintmark.ReceiptID, sel mintmark.Selector, wait bool, timeout string) (*api.RevokeAnswer, error) {
	r, err := c.receipt(ctx, id, wait, timeout)
	if err != nil {
		return nil, err
	}
	return &api.RevokeAnswer{Selector: sel.String(), Tokens: r.Tokens, Gateways: len(c.cfg.State.Gateways()), Receipt: r}, nil
}

var liveStates = []mintmark.TokenState{mintmark.StateIssued, mintmark.StateActive}

// resolve turns a person's window of time into a cutoff. Without a window the
// fleet bounds the fact by the row's own issuance number where that is right.
func (c *Control) resolve(ctx context.Context, sel mintmark.Selector) (mintmark.Cutoff, error) {
	if sel.IssuedFrom.IsZero() && sel.IssuedTo.IsZero() {
		return mintmark.Cutoff{}, nil
	}
	first, last, err := c.cfg.Tokens.SeqWindow(ctx, sel.IssuedFrom, sel.IssuedTo)
	if err != nil {
		return mintmark.Cutoff{}, fmt.Errorf("resolve the window: %w", err)
	}
	if !sel.IssuedFrom.IsZero() && first == 0 {
		// Nothing of ours was issued in the window so far; 0 would mean unbounded.
		_, newest, err := c.cfg.Tokens.SeqWindow(ctx, time.Time{}, c.cfg.Now())
		if err != nil {
			return mintmark.Cutoff{}, fmt.Errorf("resolve the window: %w", err)
		}
		first = newest + 1
	}
	return revocation.Resolve(sel, first, last), nil
}

// commit makes a change; when the token's own stream moved meanwhile, the row is
// written without it: a revocation must not lose a race against a refresh.
func (c *Control) commit(ctx context.Context, ch Change) (Committed, error) {
	done, err := c.write(ctx, ch)
	if errors.Is(err, ledger.ErrConflict) && len(ch.Also.Events) > 0 {
		ch.Also = ledger.Batch{}
		done, err = c.write(ctx, ch)
	}
	return done, conflict(err)
}

// mirror writes a revocation of one token, family or grant into its own stream
// too, in the same transaction, where that is a legal step of its life: the read
// models then show it. The row alone already makes it effective.
func (c *Control) mirror(ctx context.Context, ch *Change, sel mintmark.Selector, verb string) error {
	if sel.Token == "" || sel != (mintmark.Selector{Token: sel.Token}) {
		return nil
	}
	row, err := c.cfg.Tokens.TokenByID(ctx, sel.Token)
	if errors.Is(err, ledger.ErrNotFound) {
		return nil // a foreign token that was never seen can be revoked ahead
	}
	if err != nil {
		return fmt.Errorf("read token: %w", err)
	}
	types := map[string]mintmark.EventType{"revoke": mintmark.EventTokenRevoked, "suspend": mintmark.EventTokenSuspended, "restore": mintmark.EventTokenRestored}
	legal := row.State.Live() || (row.State == mintmark.StateSuspended && verb != "suspend")
	if verb == "restore" {
		legal = row.State == mintmark.StateSuspended
	}
	if !legal || row.ExpiredAt(c.cfg.Now(), 0) {
		return nil
	}
	e, err := put("token", string(sel.Token), ch.Actor, mintmark.TokenChanged{ID: sel.Token, Reason: ch.Reason})
	if err != nil {
		return err
	}
	e.Type, e.Token, e.Subject, e.Client, e.Release = types[verb], row.ID, row.Subject, row.Client, row.Mark.Release
	ch.Also.Events = append(ch.Also.Events, e)
	ch.Also.Expect = append(ch.Also.Expect, ledger.Expect{Stream: e.Stream, Version: row.Version})
	return nil
}

// Restore ends suspensions: of one id, or all that an exact selector made.
func (c *Control) Restore(ctx context.Context, actor string, r api.RestoreRequest) (*api.RevokeAnswer, error) {
	if (r.ID == "") == (r.Selector == "") {
		return nil, fmt.Errorf("%w: give either the revocation's id or its selector", ErrInvalid)
	}
	if err := c.checkTimeout(r.Timeout); err != nil {
		return nil, err
	}
	text := ""
	if r.Selector != "" {
		sel, err := mintmark.ParseSelector(r.Selector)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
		}
		text = sel.String()
	}
	if done := earlier(ctx); done != "" {
		a, err := c.revoked(ctx, done, mintmark.Selector{}, r.Wait, r.Timeout)
		if err == nil {
			a.Selector = text // what its id stood for is in force no more
		}
		return a, err
	}
	var found []mintmark.Revocation
	final := false
	for fact := range c.cfg.State.Current().Revoked.All() {
		if fact.ID != r.ID && (text == "" || fact.Selector.String() != text) {
			continue
		}
		if fact.Action == mintmark.ActionSuspend {
			found = append(found, fact)
		} else {
			final = true
		}
	}
	switch {
	case len(found) == 0 && final:
		return nil, fmt.Errorf("%w: it was revoked for good, and only a suspension can be restored; issue a new token", ErrInvalid)
	case len(found) == 0:
		return nil, fmt.Errorf("%w: no suspension is in force for it", ErrNotFound)
	}
	change := Change{Kind: "restore", Actor: actor, Reason: r.Reason}
	for _, fact := range found {
		change.Restores = append(change.Restores, fact.ID)
	}
	sel := found[0].Selector
	if err := c.mirror(ctx, &change, sel, "restore"); err != nil {
		return nil, err
	}
	out := &api.RevokeAnswer{Selector: sel.String(), Gateways: len(c.cfg.State.Gateways())}
	done, err := c.commit(ctx, change)
	if err != nil {
		return nil, err
	}
	if out.Tokens, err = c.cfg.Tokens.CountLive(ctx, sel, found[0].Cutoff, c.cfg.Now()); err != nil {
		c.cfg.Log.Warn("restored tokens not counted", "error", err)
	}
	out.Receipt, err = c.receipt(ctx, done.Receipt, r.Wait, r.Timeout)
	return out, err
}

// Revocations lists the facts in force, in no particular order, after an id.
func (c *Control) Revocations(after mintmark.RevocationID, limit int) *api.Revocations {
	out := &api.Revocations{Revocations: []mintmark.Revocation{}}
	for fact := range c.cfg.State.Current().Revoked.All() {
		if fact.ID <= after {
			continue
		}
		out.Revocations = insert(out.Revocations, fact, limit+1)
	}
	if len(out.Revocations) > limit {
		out.Revocations = out.Revocations[:limit]
		out.Next = out.Revocations[limit-1].ID
	}
	return out
}

// insert keeps the limit lowest ids in order.
func insert(list []mintmark.Revocation, fact mintmark.Revocation, limit int) []mintmark.Revocation {
	at := len(list)
	for at > 0 && list[at-1].ID > fact.ID {
		at--
	}
	if at >= limit {
		return list
	}
	list = append(list, mintmark.Revocation{})
	copy(list[at+1:], list[at:])
	list[at] = fact
	return list[:min(len(list), limit)]
}
