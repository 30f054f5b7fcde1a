package verifier

import (
	"math/bits"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/admission"
	"github.com/mintmark/mintmark/internal/bus"
	"github.com/mintmark/mintmark/internal/epoch"
)

// Counts is where the uses counted with cached tokens go; see usage.Counter.
type Counts interface {
	// Include makes each flush call drain first, and take what it appends.
	Include(drain func(*bus.RecordBatch))
	// Add adds d to what is counted there.
	Add(d *bus.UsageDelta)
}

// uses numbers the pairs of a route and a release that served, for the counts kept
// with cached tokens, and has what else is remembered of an epoch's entries.
type uses struct {
	passes atomic.Pointer[admission.Passes]
	recent atomic.Pointer[[512]atomic.Pointer[pair]] // by hash, of the present epoch
	known  atomic.Pointer[[]pair]                    // by number

	mu     sync.Mutex
	number map[pairName]uint32 // guarded by mu
}

type pairName struct {
	route  string
	served mintmark.ReleaseID
}

type pair struct {
	route  *epoch.RouteEntry // nil in known: an old epoch is not kept
	served *epoch.ReleaseEntry
	number uint32
	name   pairName
}

// maxUses bounds the pairs; further ones are counted elsewhere.
const maxUses = 65_536

// of returns the number of a pair, never 0; 0 when there are too many.
func (u *uses) of(route *epoch.RouteEntry, served *epoch.ReleaseEntry) uint32 {
	recent := u.recent.Load()
	h := (uintptr(unsafe.Pointer(route))>>4*31 ^ uintptr(unsafe.Pointer(served))>>5) % uintptr(len(recent))
	p := recent[h].Load()
	if p == nil || p.route != route || p.served != served {
		if p = u.add(route, served); p == nil {
			return 0
		}
		recent[h].Store(p)
	}
	return p.number
}

func (u *uses) add(route *epoch.RouteEntry, served *epoch.ReleaseEntry) *pair {
	p := &pair{route: route, served: served, name: pairName{route: route.ID}}
	if served != nil {
		p.name.served = served.ID
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if p.number = u.number[p.name]; p.number == 0 {
		known := *u.known.Load()
		if len(known) >= maxUses {
			return nil
		}
		p.number = uint32(len(known))
		known = append(known, pair{name: p.name})
		u.known.Store(&known)
		u.number[p.name] = p.number
	}
	return p
}

// forget lets go of an epoch's entries.
func (u *uses) forget() {
	u.recent.Store(new([512]atomic.Pointer[pair]))
	u.passes.Store(new(admission.Passes))
}

func newUses() *uses {
	u := &uses{number: map[pairName]uint32{}}
	u.known.Store(&[]pair{{}}) // number 0 is none
	u.forget()
	return u
}

// Count counts a decision with the cached token and reports whether it did: false
// when the token is not cached any more, or the decision is another than the one
// counted there since the last flush. Then it has to be counted elsewhere. A
// refusal always has.
func (o *Verified) Count(route *epoch.RouteEntry, served *epoch.ReleaseEntry, code mintmark.Code, now time.Time) bool {
	p, v := &o.place, o.by
	if code != mintmark.CodeNone || v == nil || v.counts == nil || p.table == nil || route == nil {
		return false
	}
	ms := now.UnixMilli()
	if !v.near(ms) {
		return false
	}
	use := v.uses.of(route, served)
	s := &p.table.slots[p.slot]
	if use == 0 || !s.lock(p.generation) {
		return false
	}
	at, ok := uint32(ms), true
	switch {
	case s.n == 0:
		s.n, s.use, s.first, s.last = 1, use, at, at
		p.table.mark(p.slot)
	case s.use == use && s.n < 1<<31:
		s.n++
		// Half the circle of 49 days: what is counted is flushed long before.
		if int32(at-s.last) > 0 {
			s.last = at
		}
		if int32(at-s.first) < 0 {
			s.first = at
		}
	default:
		ok = false
	}
	s.unlock()
	return ok
}

// near reports whether a time is so near to the one kept in v.clock that its low
// half can be completed from there, and keeps the clock up.
func (v *Verifier) near(ms int64) bool {
	clock := v.clock.Load()
	since := ms - clock
	switch {
	case v.paused.Load():
		return false
	case since >= -1<<20 && since <= 1<<20:
		return true
	case since > 0 && since < 1<<28, clock == 0:
		v.clock.Store(ms)
		return true
	}
	v.jumped.Store(ms)
	return false
}

// whole completes the low half of a time.
func (v *Verifier) whole(low uint32) int64 {
	clock := v.clock.Load()
	return clock + int64(int32(low-uint32(clock)))
}

// delta is what a slot counted. Its lock bit is held.
func (v *Verifier) delta(s *slot) bus.UsageDelta {
	r := s.record()
	t, name := &r.about.token, &(*v.uses.known.Load())[s.use].name
	return bus.UsageDelta{
		Token: r.id(), Release: t.Mark.Release, Served: name.served, Client: t.Client, Issuer: t.Issuer,
		Route: name.route, N: uint64(s.n), First: v.whole(s.first), Last: v.whole(s.last),
	}
}

// gone takes the count of a slot that is given up.
func (v *Verifier) gone(s *slot) {
	d := v.delta(s)
	v.counts.Add(&d)
}

// drain appends what was counted with cached tokens since the last call.
func (v *Verifier) drain(b *bus.RecordBatch) {
	for i := range v.cache.segments {
		seg := &v.cache.segments[i]
		seg.mu.Lock()
		t := seg.table.Load()
		for w := range t.dirty {
			if t.dirty[w].Load() == 0 {
				continue
			}
			for m := t.dirty[w].Swap(0); m != 0; m &= m - 1 {
				s := &t.slots[w*64+bits.TrailingZeros64(m)]
				s.seize()
				if s.n != 0 {
					b.Usage = append(b.Usage, v.delta(s))
					s.n = 0
				}
				s.unlock()
			}
		}
		seg.mu.Unlock()
	}
	// The clock jumped. Count elsewhere until what was counted by the old one is
	// drained for certain, then start anew.
	switch jumped := v.jumped.Load(); {
	case jumped == 0:
	case !v.paused.Load():
		v.paused.Store(true)
	default:
		v.clock.Store(jumped)
		v.jumped.Store(0)
		v.paused.Store(false)
	}
}
