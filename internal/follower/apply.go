package follower

import (
	"context"
	"fmt"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/bus"
	"github.com/mintmark/mintmark/internal/epoch"
)

// take applies a row that came by itself; one that is not the next starts a walk.
func (f *Follower) take(ctx context.Context, row epoch.SignedRow) error {
	f.work <- struct{}{}
	defer func() { <-f.work }()
	r, err := epoch.VerifyRow(row, f.cfg.StateKey)
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", ErrForged, err)
	case r.Seq <= f.applied.Seq:
		return nil // delivered twice
	case r.Seq != f.applied.Seq+1:
		f.want()
		return nil
	}
	return f.apply(ctx, []epoch.SignedRow{row})
}

// apply verifies rows that follow what is applied, persists what they come to,
// puts it in force and acknowledges. Call with work held. On an error nothing of
// them is in force.
func (f *Follower) apply(ctx context.Context, rows []epoch.SignedRow) error {
	next := f.applied
	now := f.current.Load()
	e := &ready{manifest: now.Manifest, table: now.Table}
	var add []mintmark.Revocation
	var drop []mintmark.RevocationID
	var over []horizon
	for _, signed := range rows {
		r, err := epoch.VerifyRow(signed, f.cfg.StateKey)
		if err == nil {
			err = epoch.Follows(&r, next.Seq, next.Term, next.RowHash)
		}
		if err != nil {
			return fmt.Errorf("%w: row after %d: %w", ErrForged, next.Seq, err)
		}
		next.Term, next.Seq, next.RowHash = r.Term, r.Seq, signed.Hash()
		if r.Commit != nil {
			if r.Commit.Epoch <= next.Epoch {
				return fmt.Errorf("%w: row %d: epoch %d after %d", ErrForged, r.Seq, r.Commit.Epoch, next.Epoch)
			}
			next.Epoch, next.Manifest = r.Commit.Epoch, r.Commit.Manifest
		}
		add = append(add, r.Revocations...)
		drop = append(drop, r.Restores...)
		if r.Forget != 0 {
			over = append(over, horizon{len(add), r.Forget})
		}
	}
	drop = append(drop, f.forgotten(add, over)...)
	if len(rows) > 0 {
		next.Evidence = &bus.Evidence{Row: &rows[len(rows)-1]}
	}
	if next.Manifest != f.applied.Manifest {
		var err error
		if e, err = f.fetch(ctx, next.Manifest, nil); err != nil {
			return fmt.Errorf("make epoch %d ready: %w", next.Epoch, err)
		}
	}
	// Durable before it is in force and before anybody is told. Dying here comes
	// back with these rows applied.
	if err := f.cfg.Store.Apply(ctx, next, add, drop, false); err != nil {
		return fmt.Errorf("persist row %d: %w", next.Seq, err)
	}
	// What a row refuses is in force before its epoch, what it lifts after it.
	f.set.Apply(add...)
	f.install(next, e, f.set)
	f.set.Restore(drop...)
	f.acknowledge(ctx)
	return nil
}

// acknowledge cuts refused streams, then tells control, then lets leases take
// effect that waited for this. A lost acknowledgement is made up by the next
// renewal.
func (f *Follower) acknowledge(ctx context.Context) {
	s := f.current.Load()
	cut := 0
	if f.cfg.Cut != nil {
		cut = f.cfg.Cut(s)
	}
	f.lease.reached(s.Seq)
	data, err := bus.Encode(bus.Ack{
		V: bus.Version, Gateway: f.cfg.Gateway, Boot: f.cfg.Boot, Term: s.Term, Epoch: s.Epoch, Seq: s.Seq, StreamsCut: cut,
	})
	if err == nil {
		err = f.cfg.Bus.Publish(ctx, bus.SubjectAck+string(f.cfg.Gateway), data)
	}
	if err != nil {
		f.cfg.Log.Warn("acknowledgement not sent", "seq", s.Seq, "error", err)
	}
}

// walk applies everything up to the head, by rows or, when they are too many or
// gone, by a snapshot; then answers those who waited for it from before it began.
func (f *Follower) walk(ctx context.Context) error {
	waiters := f.waiters()
	f.work <- struct{}{}
	err := f.toHead(ctx)
	<-f.work
	for _, w := range waiters {
		w <- err
	}
	return err
}

// farBehind is from how many rows on a snapshot is the shorter way.
const farBehind = 5000

func (f *Follower) toHead(ctx context.Context) error {
	for {
		t, err := ask[bus.Tail](ctx, f, f.cfg.Wait, bus.SubjectTail, bus.TailRequest{V: bus.Version, From: f.applied.Seq})
		if err == nil {
			err = unknown("ask for the state log's tail", t.Error)
		}
		switch {
		case err != nil:
			return fmt.Errorf("%w: %w", ErrBehind, err)
		case t.Reset || t.Head < f.applied.Seq:
			return fmt.Errorf("control's log ends at %d, this gateway has applied %d: its ledger is older", t.Head, f.applied.Seq)
		case f.applied.Seq == 0 && t.Head > 0, t.Head > f.applied.Seq+farBehind:
			if err := f.reset(ctx); err != nil {
				return err
			}
			continue
		case len(t.Rows) == 0 && t.Head > f.applied.Seq:
			return fmt.Errorf("%w: control names row %d and sends none", ErrBehind, t.Head)
		case len(t.Rows) == 0:
			return nil
		}
		if err := f.apply(ctx, t.Rows); err != nil {
			return err
		}
		if !t.Truncated {
			return nil
		}
	}
}
