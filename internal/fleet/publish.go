package fleet

import (
	"context"
	"fmt"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/epoch"
	"github.com/mintmark/mintmark/internal/ledger"
)

// hearing is how long Revoke waits for gateways to apply its row.
const hearing = 500 * time.Millisecond

// Revoke commits facts as one row, in one transaction with b's events,
// expectations and marks. When every gateway that may hold a lease answers, they
// have it on return (RFC 7009 §2: immediately); one that is silent is not waited
// for beyond half a second, and no error: the row is durable, and Wait is for who
// must know.
func (f *Fleet) Revoke(ctx context.Context, facts []mintmark.Revocation, b ledger.Batch) (ledger.Committed, error) {
	c := Change{Kind: "revoke", Revocations: facts, Also: b}
	if len(facts) > 0 {
		c.Actor, c.Reason = facts[0].Actor, facts[0].Reason
	}
	r, err := f.Commit(ctx, c)
	if err != nil {
		return r.Committed, err
	}
	ctx, cancel := context.WithTimeout(ctx, hearing)
	defer cancel()
	for {
		changed := f.Changed()
		if f.heard(r.RowSeq) {
			return r.Committed, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return r.Committed, nil
		}
	}
}

// heard reports whether every gateway that may hold a lease has applied a row.
func (f *Fleet) heard(seq uint64) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.cfg.Clock()
	for _, m := range f.members {
		if m.maybeLeased(now, f.cfg.Lease) && m.applied.Seq < seq {
			return false
		}
	}
	return true
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
