package control

import (
	"context"
	"errors"
	"fmt"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/api"
)

// Revocations lists a page of the facts in force, by id.
func (c *Control) Revocations(ctx context.Context, q api.RevocationQuery) (*api.Revocations, error) {
	most := 500
	if q.Counts {
		most = 50 // each is a query
	}
	limit := q.Limit
	if limit == 0 {
		limit = most
	}
	if limit < 1 || limit > most {
		return nil, fmt.Errorf("%w: limit must be 1 to %d", ErrInvalid, most)
	}
	out := &api.Revocations{Revocations: []mintmark.Revocation{}}
	for fact := range c.cfg.State.Current().Revoked.All() {
		if fact.ID > q.After {
			out.Revocations = insert(out.Revocations, fact, limit+1)
		}
	}
	if len(out.Revocations) > limit {
		out.Revocations = out.Revocations[:limit]
		out.Next = out.Revocations[limit-1].ID
	}
	if !q.Counts {
		return out, nil
	}
	out.Tokens = make(map[mintmark.RevocationID]int64, len(out.Revocations))
	for i := range out.Revocations {
		fact := &out.Revocations[i]
		n, err := c.cfg.Tokens.CountLive(ctx, fact.Selector, fact.Cutoff, c.cfg.Now())
		if err != nil {
			return nil, fmt.Errorf("count tokens of %s: %w", fact.ID, err)
		}
		out.Tokens[fact.ID] = n
	}
	return out, nil
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

// Revocation returns one revocation, in force or pending, and what it reaches.
func (c *Control) Revocation(ctx context.Context, id mintmark.RevocationID) (*api.RevocationDetail, error) {
	out := &api.RevocationDetail{}
	for fact := range c.cfg.State.Current().Revoked.All() {
		if fact.ID == id {
			out.Revocation = &fact
			break
		}
	}
	p, version, err := c.pending(ctx, id)
	switch {
	case err == nil:
		out.Pending = p.at(c.cfg.Now(), version)
	case !errors.Is(err, ErrNotFound):
		return nil, err
	case out.Revocation == nil:
		return nil, fmt.Errorf("%w: no revocation %.80q is in force or pending; one that was restored or forgotten is in its receipt", ErrNotFound, id)
	}
	var w wish
	if out.Revocation != nil {
		w.fact = *out.Revocation
	} else if w, err = c.wish(p.Requester, api.RevokeRequest{Selector: p.Selector, Action: p.Action, Reason: p.Reason}); err != nil {
		return nil, err
	} else if w.fact.Cutoff, err = c.resolve(ctx, w.fact.Selector); err != nil {
		return nil, err
	}
	if w.reach, err = c.cfg.Reach.Reach(ctx, w.fact.Selector, w.fact.Cutoff, c.cfg.Now()); err != nil {
		return nil, fmt.Errorf("count tokens: %w", err)
	}
	for _, r := range w.reach {
		out.Tokens += r.Tokens
	}
	out.ByRelease, out.ByClient = divide(w.reach)
	return out, nil
}
