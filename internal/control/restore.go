package control

import (
	"context"
	"fmt"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/ledger"
)

// Restore ends suspensions: of one id, or all that an exact selector made; or says
// what that would give back.
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
	found, err := c.suspensions(r.ID, text)
	if err != nil {
		return nil, err
	}
	w := wish{fact: found[0]}
	if w.reach, err = c.cfg.Reach.Reach(ctx, w.fact.Selector, w.fact.Cutoff, c.cfg.Now()); err != nil {
		return nil, fmt.Errorf("count tokens: %w", err)
	}
	for _, n := range w.reach {
		w.tokens += n.Tokens
	}
	out := c.outlook(&w)
	out.Confirm = ""
	if r.DryRun {
		out.DryRun = true
		return out, c.preview(ctx, &w, out)
	}
	done, err := c.restore(ctx, actor, r.Reason, found)
	if err != nil {
		return nil, err
	}
	// Those whose own state was suspended are live only now.
	if out.Tokens, err = c.cfg.Tokens.CountLive(ctx, w.fact.Selector, w.fact.Cutoff, c.cfg.Now()); err != nil {
		c.cfg.Log.Warn("restored tokens not counted", "error", err)
	}
	out.Receipt, err = c.receipt(ctx, done.Receipt, r.Wait, r.Timeout)
	return out, err
}

// suspensions finds those in force by id or by text of their selector; at least
// one, or an error that says why there is none.
func (c *Control) suspensions(id mintmark.RevocationID, text string) ([]mintmark.Revocation, error) {
	var found []mintmark.Revocation
	final := false
	for fact := range c.cfg.State.Current().Revoked.All() {
		if fact.ID != id && (text == "" || fact.Selector.String() != text) {
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
	return found, nil
}

// restore lifts suspensions that share a selector.
func (c *Control) restore(ctx context.Context, actor, reason string, found []mintmark.Revocation) (Committed, error) {
	ch := Change{Kind: "restore", Actor: actor, Reason: reason}
	for _, fact := range found {
		ch.Restores = append(ch.Restores, fact.ID)
	}
	if err := c.mirror(ctx, &ch, found[0].Selector, "restore"); err != nil {
		return Committed{}, err
	}
	return c.commit(ctx, ch, ledger.Batch{})
}

// EndSuspensions restores the suspensions whose time is over. Each is a row and a
// receipt of its own; when control is down, or the ledger, they last until it is
// back.
func (c *Control) EndSuspensions(ctx context.Context) error {
	for _, fact := range c.cfg.State.Current().Revoked.Ending(c.cfg.Now().Unix()) {
		if _, err := c.restore(ctx, "system:control", "the suspension's time is over", []mintmark.Revocation{fact}); err != nil {
			return fmt.Errorf("end suspension %s: %w", fact.ID, err)
		}
		c.cfg.Log.Info("suspension ended", "revocation", fact.ID, "selector", fact.Selector.String())
	}
	return nil
}

// WatchSuspensions calls EndSuspensions every second until ctx ends.
func (c *Control) WatchSuspensions(ctx context.Context) error {
	t := time.NewTicker(time.Second)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
		if err := c.EndSuspensions(ctx); err != nil && ctx.Err() == nil {
			c.cfg.Log.Warn("a suspension goes on past its time", "error", err)
		}
	}
}
