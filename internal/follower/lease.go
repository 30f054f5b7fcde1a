package follower

import (
	"context"
	"encoding/hex"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mintmark/mintmark/internal/admission"
	"github.com/mintmark/mintmark/internal/bus"
)

// driftPercent is ρ: how far a clock's rate may be off. See package fleet for the
// other half of this arithmetic.
const driftPercent = 10

// longest returns how long an interval may truly have been that our clock
// measured: it may run slow by ρ.
func longest(measured time.Duration) time.Duration {
	return measured * 100 / (100 - driftPercent)
}

// renewal is one that control has answered.
type renewal struct {
	sent time.Duration // on our clock, when the request left
	head uint64        // must be applied before it takes effect
	ms   time.Duration // length
}

// leaseState is what we know of our lease.
type leaseState struct {
	clock func() time.Duration
	// sent and length of the renewal in effect; sent is -1 when there is none.
	sent   atomic.Int64
	length atomic.Int64
	// read is the clock when it was last read, and mono Go's clock then: reading
	// the boot-time clock is a system call, so a reading serves for readGrain.
	read, mono atomic.Int64
	zero       time.Time

	mu      sync.Mutex
	waiting []renewal // guarded by mu; answered, head not applied yet; few
}

// readGrain is how long one reading of the boot-time clock serves. A suspend
// within it goes unnoticed for that long afterwards: it is part of the slack δ.
const readGrain = 5 * time.Millisecond

func (l *leaseState) init(clock func() time.Duration, length time.Duration) {
	l.clock, l.zero = clock, time.Now()
	l.sent.Store(-1)
	l.length.Store(int64(length))
	l.mono.Store(-int64(time.Hour))
}

// answered notes an answered renewal; it takes effect at once when its head is
// applied already.
func (l *leaseState) answered(r renewal, applied uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r.head > applied {
		// Older ones wait for less: a gateway that is always a little behind still
		// gets those.
		if len(l.waiting) == 16 {
			l.waiting = append(l.waiting[:0], l.waiting[1:]...)
		}
		l.waiting = append(l.waiting, r)
		return
	}
	l.effect(r)
}

// effect puts a renewal in effect unless a later one is. Call with mu held.
func (l *leaseState) effect(r renewal) {
	if int64(r.sent) > l.sent.Load() {
		l.length.Store(int64(r.ms))
		l.sent.Store(int64(r.sent))
	}
}

// reached puts in effect what waited for rows up to applied.
func (l *leaseState) reached(applied uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	rest := l.waiting[:0]
	for _, r := range l.waiting {
		if r.head <= applied {
			l.effect(r)
		} else {
			rest = append(rest, r)
		}
	}
	l.waiting = rest
}

// now reads the clock, at most once per readGrain.
func (l *leaseState) now() time.Duration {
	mono := int64(time.Since(l.zero))
	if d := mono - l.mono.Load(); d >= 0 && d < int64(readGrain) {
		return time.Duration(l.read.Load() + d)
	}
	now := l.clock()
	// Two readers may mix their pairs; both are readings of this moment, so that
	// the error is below the grain.
	l.read.Store(int64(now))
	l.mono.Store(mono)
	return now
}

// LeaseLeft is how much longer the lease in effect lasts: negative once it is
// over, and when there is none.
func (f *Follower) LeaseLeft() time.Duration {
	sent := f.lease.sent.Load()
	if sent < 0 {
		return -1
	}
	return time.Duration(f.lease.length.Load()) - longest(f.lease.now()-time.Duration(sent))
}

// Freshness says how old the state may be, for admission. It does not allocate.
func (f *Follower) Freshness() admission.Freshness {
	sent := f.lease.sent.Load()
	if sent < 0 {
		return admission.Freshness{Age: -1}
	}
	age := longest(f.lease.now() - time.Duration(sent))
	return admission.Freshness{Leased: age <= time.Duration(f.lease.length.Load()), Age: age}
}

// renewals renews the lease three times as often as it would run out.
func (f *Follower) renewals(ctx context.Context) {
	for {
		wait := time.Duration(f.lease.length.Load()) / 3
		t := time.NewTimer(wait)
		if f.Current().Seq > 0 || f.Current().Term > 0 {
			if err := f.renew(ctx, wait, false); err != nil && ctx.Err() == nil {
				f.cfg.Log.Warn("lease not renewed", "error", err)
			}
		} else {
			// Without any state there is nothing to hold a lease for.
			t.Reset(5 * minPause)
		}
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-f.hurry:
			t.Stop()
		case <-t.C:
		}
	}
}

// renew asks once.
func (f *Follower) renew(ctx context.Context, wait time.Duration, leaving bool) error {
	s := f.Current()
	q := bus.LeaseRequest{
		V: bus.Version, Gateway: f.cfg.Gateway, Boot: f.cfg.Boot, Term: s.Term, Epoch: s.Epoch, Seq: s.Seq,
		Version: f.cfg.Version, Leaving: leaving, RowHash: s.RowHash,
	}
	for _, r := range s.Table.Routes() {
		if r.Budget.IsStatic() && len(q.Static) < 100 {
			q.Static = append(q.Static, r.ID)
		}
		q.MaxBudgetMS = max(q.MaxBudgetMS, r.Budget.Budget.Milliseconds())
	}
	var nonce [16]byte
	if _, err := f.cfg.Random.Read(nonce[:]); err != nil {
		return fmt.Errorf("renew lease: %w", err)
	}
	q.Nonce = hex.EncodeToString(nonce[:])
	sent := f.cfg.Clock()
	a, err := ask[bus.Lease](ctx, f, wait, bus.SubjectLease, q)
	if err == nil && a.Nonce == q.Nonce && a.Prove {
		// Control does not hold what is applied here: its ledger was restored from an
		// old backup. It believes so only what it signed itself.
		if q.Evidence = f.shown.Load(); q.Evidence != nil {
			a, err = ask[bus.Lease](ctx, f, wait, bus.SubjectLease, q)
		}
	}
	switch {
	case err != nil:
		return fmt.Errorf("renew lease: %w", err)
	case a.Nonce != q.Nonce:
		return fmt.Errorf("renew lease: %w: answer to another question", ErrForged)
	case a.Term < s.Term || a.Head < s.Seq:
		// A control process that others have left behind, or a restored ledger.
		return fmt.Errorf("renew lease: control is at term %d, row %d; this gateway has applied %d, %d", a.Term, a.Head, s.Term, s.Seq)
	case a.MS <= 0 && leaving:
		return nil
	case a.MS <= 0:
		return fmt.Errorf("renew lease: refused: %.200s", a.Reason)
	}
	if a.Renew {
		signal(f.expiring)
	}
	f.lease.answered(renewal{sent: sent, head: a.Head, ms: time.Duration(min(a.MS, 60_000)) * time.Millisecond}, s.Seq)
	// It may have been applied between the reading above and the noting.
	f.lease.reached(f.Current().Seq)
	if a.Head > f.Current().Seq {
		f.want()
	}
	return nil
}

// goodbye tells control that this gateway decides no more, so that no barrier
// waits for it, and gives up the lease first so that this is true.
func (f *Follower) goodbye(ctx context.Context) {
	f.lease.sent.Store(-1)
	if f.Current().Seq == 0 {
		return
	}
	if err := f.renew(ctx, f.cfg.Wait/4, true); err != nil {
		f.cfg.Log.Warn("control not told of the end", "error", err)
	}
}
