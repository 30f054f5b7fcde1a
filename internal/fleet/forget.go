package fleet

import (
	"context"
	"slices"
	"time"
)

// A fact that no live token can meet any more is dropped by a row that says so
// (epoch.Row.Forget): control and gateways hold the same facts at the same row,
// whatever their clocks say, and so does a snapshot. What is certainly over is told
// by the least of what we know of the time, with a margin for gateways whose clocks
// are behind: a wall clock that jumps makes us forget later, never sooner.

const (
	// forgetMargin is by how much a gateway's clock may be behind ours.
	forgetMargin = time.Hour
	// forgetEvery is how often facts are looked through, and forgetAtMost how many
	// one row drops, more or less: their number is what a row costs a gateway.
	forgetEvery  = 10 * time.Minute
	forgetAtMost = 10_000
	// forgetAlone is after how long a row is written for nothing else.
	forgetAlone = 10 * time.Minute
)

// Over is a moment that is certainly over: by the wall clock, and not more than the
// ledger's last time before the start plus the time since. After an absence it is
// behind by that; what is dropped for good is dropped by it.
func (f *Fleet) Over() time.Time {
	known := f.anchor.Add(f.cfg.Clock() - f.started)
	if now := f.cfg.Now(); now.Before(known) {
		return now
	}
	return known
}

// planForget looks which facts are over, for the next row.
func (f *Fleet) planForget() {
	until := f.Over().Add(-forgetMargin).Unix()
	var over []int64
	for fact := range f.current.Load().Revoked.All() {
		if fact.Forget != 0 && fact.Forget < until {
			over = append(over, fact.Forget)
		}
	}
	if len(over) > forgetAtMost {
		slices.Sort(over)
		until = over[forgetAtMost] // those before it; the rest next time
		if until == over[0] {
			until++ // all at one second
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.planned = f.cfg.Clock()
	if f.due = 0; len(over) > 0 {
		f.due = until
	}
}

// takeDue is what the row being written drops; it stays due until the row is known
// to be in force.
func (f *Fleet) takeDue() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.due
}

// forget plans now and then, and writes a row for what no other row has dropped.
func (f *Fleet) forget(ctx context.Context) {
	f.mu.Lock()
	now := f.cfg.Clock()
	plan, alone := now >= f.planned+forgetEvery && f.due == 0, f.due != 0 && now >= f.planned+forgetAlone
	f.mu.Unlock()
	switch {
	case plan:
		f.planForget()
	case alone:
		if _, err := f.Commit(ctx, Change{Kind: "forget", Actor: "system:fleet"}); err != nil && ctx.Err() == nil {
			f.cfg.Log.Warn("facts that are over not dropped", "error", err)
		}
	}
}
