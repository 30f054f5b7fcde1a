package control

import (
	"context"
	"errors"
	"fmt"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/ledger"
)

// ErrTooMany: more tokens are covered than the caller said at most. Nothing was
// done.
var ErrTooMany = errors.New("covers too many tokens")

// Revoke makes tokens unacceptable at every gateway, for good or until restored,
// or says what that would do. A selector that may cover tokens of many subjects
// needs a confirmation; what the guard wants a second person for waits for one,
// and the answer then says so instead of a receipt.
func (c *Control) Revoke(ctx context.Context, actor string, r api.RevokeRequest) (*api.RevokeAnswer, error) {
	return c.revoke(ctx, actor, r, nil)
}

// Withdraw is Revoke for what takes tokens back by more than a revocation: a key
// killed, a client disabled. The deed is done when nothing stands against it, just
// before the revocation is committed, and not at all where the guard wants a second
// person: then the answer says what waits. An approval carries out the revocation;
// for as long as the guard lets a request wait, its requester may then ask again,
// which does the rest. Should the process die between deed and commit, asking again
// does both: a deed must bear to be repeated.
func (c *Control) Withdraw(ctx context.Context, actor string, r api.RevokeRequest, deed func() error) (*api.RevokeAnswer, error) {
	return c.revoke(ctx, actor, r, deed)
}

func (c *Control) revoke(ctx context.Context, actor string, r api.RevokeRequest, deed func() error) (*api.RevokeAnswer, error) {
	w, err := c.wish(actor, r)
	if err != nil {
		return nil, err
	}
	if done := earlier(ctx); done != "" {
		return c.revoked(ctx, done, w.fact.Selector, r.Wait, r.Timeout)
	}
	if err := c.weigh(ctx, &w); err != nil {
		return nil, err
	}
	out := c.outlook(&w)
	out.DryRun = r.DryRun
	guard, err := c.guard(ctx)
	if err != nil {
		return nil, err
	}
	why := guard.Wants(actor, w.fact.Selector, w.tokens)
	if r.DryRun {
		out.SecondPerson = why
		return out, c.preview(ctx, &w, out)
	}
	switch {
	case r.AtMost > 0 && w.tokens > r.AtMost:
		return nil, fmt.Errorf("%w: %d live ones, more than the %d that were said at most", ErrTooMany, w.tokens, r.AtMost)
	case out.Confirm != "" && r.Confirm != out.Confirm:
		return nil, &ConfirmError{Text: out.Confirm, Tokens: w.tokens}
	}
	approver := ""
	if why != "" && deed != nil {
		asked, err := c.askedFor(ctx, actor, &w, guard.Waits())
		switch {
		case err != nil:
			return nil, err
		case asked != nil && asked.State == api.PendingApproved:
			why, approver = "", asked.Approver
		case asked != nil && !r.BreakGlass:
			out.Pending = asked
			return out, nil
		default:
			why += "; once that is approved, ask again: that does the rest"
		}
	}
	switch {
	case why != "" && r.BreakGlass && !guard.BreakGlass:
		return nil, fmt.Errorf("%w: %s, and the guard lets nobody do without", ErrForbidden, why)
	case why != "" && !r.BreakGlass:
		out.Pending, err = c.pend(ctx, &w, why)
		return out, err
	}
	if deed != nil {
		if err := deed(); err != nil {
			return nil, err
		}
	}
	ch := w.change()
	ch.Approver = approver
	if ch.BreakGlass = why != ""; ch.BreakGlass {
		c.cfg.Log.Warn("a revocation was made without its second person", "actor", actor, "selector", out.Selector, "tokens", w.tokens, "reason", r.Reason)
	}
	return out, c.carryOut(ctx, ch, ledger.Batch{}, out, r.Wait, r.Timeout)
}

// carryOut commits a revocation and waits for its receipt when asked to. must is
// written with it or not at all.
func (c *Control) carryOut(ctx context.Context, ch Change, must ledger.Batch, out *api.RevokeAnswer, wait bool, timeout string) error {
	ch.Also = must
	fact := &ch.Revocations[0]
	if err := c.mirror(ctx, &ch, fact.Selector, fact.Action.String()); err != nil {
		return err
	}
	done, err := c.commit(ctx, ch, must)
	if err != nil {
		return err
	}
	out.Receipt, err = c.receipt(ctx, done.Receipt, wait, timeout)
	return err
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

// commit makes a change; when the token's own stream moved meanwhile, the row is
// written without it: a revocation must not lose a race against a refresh. must is
// what stays all the same.
func (c *Control) commit(ctx context.Context, ch Change, must ledger.Batch) (Committed, error) {
	done, err := c.write(ctx, ch)
	if errors.Is(err, ledger.ErrConflict) && len(ch.Also.Events) > len(must.Events) {
		ch.Also = must
		done, err = c.write(ctx, ch)
	}
	return done, conflict(err)
}

// mirror writes a change of one token into its own stream too, in the same
// transaction, where that is a legal step of its life: the read models then show
// it. The row alone already makes it effective.
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
	// Not in place: the caller goes on without it when the token moves meanwhile.
	ch.Also.Events = append(ch.Also.Events[:len(ch.Also.Events):len(ch.Also.Events)], e)
	ch.Also.Expect = append(ch.Also.Expect[:len(ch.Also.Expect):len(ch.Also.Expect)], ledger.Expect{Stream: e.Stream, Version: row.Version})
	return nil
}
