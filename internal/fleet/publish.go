package fleet

import (
	"context"
	"fmt"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/epoch"
	"github.com/mintmark/mintmark/internal/ledger"
)

// Revoke commits facts as one row, in one transaction with b's events,
// expectations and marks.
func (f *Fleet) Revoke(ctx context.Context, facts []mintmark.Revocation, b ledger.Batch) (ledger.Committed, error) {
	c := Change{Kind: "revoke", Revocations: facts, Also: b}
	if len(facts) > 0 {
		c.Actor, c.Reason = facts[0].Actor, facts[0].Reason
	}
	r, err := f.Commit(ctx, c)
	return r.Committed, err
}

// PublishKeys commits the part of our verification keys and returns once every
// gateway that may hold a lease has acknowledged it, or with ctx's error when it
// ends first (the commit stands).
func (f *Fleet) PublishKeys(ctx context.Context, keys epoch.Keys, actor, reason string) error {
	body, _, err := epoch.Encode(&keys)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrPart, err)
	}
	r, err := f.Commit(ctx, Change{
		Kind: "keys", Parts: map[epoch.PartName][]byte{epoch.PartKeys: body}, Actor: actor, Reason: reason,
	})
	if err != nil {
		return err
	}
	for {
		changed := f.Changed()
		if f.Settled().Epoch >= r.Epoch {
			return nil
		}
		// A lease that runs out makes no noise: look again now and then.
		t := time.NewTimer(f.cfg.Lease / 10)
		select {
		case <-changed:
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return fmt.Errorf("wait for gateways to know the keys of epoch %d: %w", r.Epoch, ctx.Err())
		}
		t.Stop()
	}
}
