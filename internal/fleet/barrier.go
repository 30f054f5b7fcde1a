package fleet

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/epoch"
)

// Wait returns when every gateway has applied the receipt's row or is fenced from
// deciding without it, or when ctx ends, and completes the stored receipt: signed,
// and pending when ctx ended first. A pending one is completed later by Run; a
// second Wait for it returns the same.
//
// An error means that the receipt could not be read or stored; what was committed
// stands.
func (f *Fleet) Wait(ctx context.Context, id mintmark.ReceiptID) (mintmark.Receipt, error) {
	r, err := f.Receipt(ctx, id)
	if err != nil || r.Outcome != mintmark.OutcomePending {
		return r, err
	}
	b, err := f.barrier(ctx, &r)
	if err != nil {
		return r, err
	}
	for {
		changed := f.Changed()
		open, next := b.look(f)
		if !open {
			break
		}
		if !f.await(ctx, changed, next) {
			// Look again: a caller's deadline and an acknowledgement may race, and the
			// better answer is true as well.
			b.look(f)
			break
		}
	}
	b.write(&r, f)
	return r, f.complete(context.WithoutCancel(ctx), &r)
}

// await waits for a change or for the moment at which a budget is over; false
// when ctx ended.
func (f *Fleet) await(ctx context.Context, changed <-chan struct{}, next time.Duration) bool {
	// Our clock and the timer's may differ in rate: look at least ten times a lease.
	t := time.NewTimer(min(max(next-f.cfg.Clock(), time.Millisecond), f.cfg.Lease/10))
	defer t.Stop()
	select {
	case <-changed:
		return true
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// barrier is one row's way to every gateway. Owned by one Wait.
type barrier struct {
	seq       uint64
	epoch     uint64          // in force before the row, the highest that a gateway without it can be on
	services  map[string]bool // affected; nil is all
	committed time.Duration   // on our clock; when it is not known, our start
	reach     map[mintmark.GatewayID]mintmark.GatewayReach
}

// barrier finds out what a receipt's row affects.
func (f *Fleet) barrier(ctx context.Context, r *mintmark.Receipt) (*barrier, error) {
	rows, _, err := f.rowsAfter(ctx, r.Seq-1, 1)
	if err != nil {
		return nil, err
	}
	b := &barrier{seq: r.Seq, epoch: r.Epoch, reach: map[mintmark.GatewayID]mintmark.GatewayReach{}}
	if len(rows) == 1 {
		row, err := epoch.VerifyRow(rows[0], f.StateKey)
		if err != nil {
			return nil, err
		}
		r.RowHash = rows[0].Hash().String()
		r.Revocations = row.Revocations
		if row.Commit != nil {
			b.epoch--
		}
		b.services = f.affected(&row)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	var known bool
	if b.committed, known = f.when[r.Seq]; !known {
		b.committed = f.started
	}
	return b, nil
}

// affected returns the services whose routes a row can change the answer of; nil
// is all of them. Only a commit that replaces nothing but services is less.
func (f *Fleet) affected(row *epoch.Row) map[string]bool {
	if len(row.Revocations) > 0 || len(row.Restores) > 0 || row.Commit == nil {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	before, after := f.epochs[row.Commit.Epoch-1], f.epochs[row.Commit.Epoch]
	if before == nil || after == nil {
		return nil
	}
	out := map[string]bool{}
	note := func(a, b epoch.Manifest) bool {
		for _, ref := range a.Parts {
			if h, ok := b.Find(ref.Name); ok && h == ref.Hash {
				continue
			}
			service, ok := strings.CutPrefix(string(ref.Name), "service/")
			if !ok {
				return false
			}
			out[service] = true
		}
		return true
	}
	if !note(before.snapshot.Manifest, after.snapshot.Manifest) || !note(after.snapshot.Manifest, before.snapshot.Manifest) {
		return nil
	}
	return out
}

// look says how far the row has come. open reports that a gateway is still
// pending; next is when, on our clock, the first of those is fenced.
func (b *barrier) look(f *Fleet) (open bool, next time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.cfg.Clock()
	next = now + f.cfg.Lease
	for id, m := range f.members {
		if m.doc.Joined >= b.seq {
			continue // it started from a snapshot that has the row
		}
		if m.doc.Gone != 0 && m.doc.Gone < b.seq {
			continue // it had stopped deciding before the row
		}
		if was, ok := b.reach[id]; ok && was.Reach != mintmark.ReachPending {
			continue // neither is ever taken back
		}
		reach := mintmark.GatewayReach{Gateway: id, Reach: mintmark.ReachPending, Applied: now - b.committed}
		switch {
		case m.applied.Seq >= b.seq:
			reach.Reach, reach.StreamsCut = mintmark.ReachApplied, m.cut
		case m.left:
			continue // it decides nothing, and comes back fenced
		default:
			budget := f.allowed(m, b)
			over := m.answers.before(b.seq) + provablyOver(max(budget.Max, f.cfg.Lease))
			reach.Static = budget.Static
			switch {
			case now < over:
				open, next = true, min(next, over)
			case len(budget.Static) > 0:
				reach.Reach = mintmark.ReachStatic
			default:
				reach.Reach = mintmark.ReachFenced
			}
		}
		b.reach[id] = reach
	}
	return open, next
}

// allowed returns the longest that a silent gateway may decide affected routes
// by: under any epoch from the one it last acknowledged to the one before the
// row. Call with mu held.
func (f *Fleet) allowed(m *member, b *barrier) budget {
	var all budget
	take := func(budgets map[string]budget) {
		for service, x := range budgets {
			if b.services != nil && !b.services[service] {
				continue
			}
			all.Max = max(all.Max, x.Max)
			all.Static = append(all.Static, x.Static...)
		}
	}
	if m.doc.Applied.Epoch == m.applied.Epoch {
		take(m.doc.Budgets)
	}
	for n := m.applied.Epoch; n <= b.epoch; n++ {
		p := f.epochs[n]
		if p == nil {
			if n == m.applied.Epoch && m.doc.Applied.Epoch == n && m.doc.Budgets != nil {
				continue
			}
			// An epoch that we have no more: it may have allowed anything finite. The
			// numbers in between that were never seen cost no more than this.
			all.Max = mintmark.MaxStaleness
			break
		}
		take(p.budgets)
	}
	slices.Sort(all.Static)
	all.Static = slices.Compact(all.Static)
	return all
}

// write puts the outcome into a receipt.
func (b *barrier) write(r *mintmark.Receipt, f *Fleet) {
	r.Gateways = r.Gateways[:0]
	for _, g := range b.reach {
		r.Gateways = append(r.Gateways, g)
	}
	slices.SortFunc(r.Gateways, func(x, y mintmark.GatewayReach) int { return strings.Compare(string(x.Gateway), string(y.Gateway)) })
	r.Outcome = outcome(r.Gateways)
	r.Returned = f.cfg.Now().UTC()
	r.Elapsed = f.cfg.Clock() - b.committed
}

// outcome is the answer as a whole: the weakest of its lines.
func outcome(lines []mintmark.GatewayReach) mintmark.Outcome {
	weight := map[mintmark.Reach]int{mintmark.ReachApplied: 0, mintmark.ReachFenced: 1, mintmark.ReachStatic: 2, mintmark.ReachPending: 3}
	worst := 0
	for _, l := range lines {
		worst = max(worst, weight[l.Reach])
	}
	return [...]mintmark.Outcome{mintmark.OutcomeEffective, mintmark.OutcomeByLease, mintmark.OutcomeStatic, mintmark.OutcomePending}[worst]
}
