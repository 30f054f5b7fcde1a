package verifier

import (
	"math/bits"
	"sync"
	"sync/atomic"
	"unsafe"
)

// cache holds verified tokens in segments that grow with what they hold. Readers
// take no lock. A token that is given up too early costs one verification, never a
// wrong answer.
type cache struct {
	segments []segment
	limit    int         // of a segment, in tokens
	bytes    int64       // of a segment
	gone     func(*slot) // takes the count of a slot that is given up; its lock bit is held
}

// segment is a share of the cache.
type segment struct {
	table atomic.Pointer[table]
	_     [56]byte // what follows changes, what is above is read by everybody

	hits    atomic.Uint64
	mu      sync.Mutex // held to add, give up and move tokens
	count   int        // guarded by mu
	held    int64      // bytes, about; guarded by mu
	hand    int        // CLOCK's; guarded by mu
	evicted uint64     // guarded by mu
	_       [16]byte
}

var _ [0]struct{} = [unsafe.Sizeof(segment{}) % 64]struct{}{}

// perSegment is how many tokens a segment is for: few, so that moving them into a
// larger table takes well under a millisecond.
const perSegment = 4096

func newCache(entries int, bytes int64, gone func(*slot)) *cache {
	n := min(1<<bits.Len(uint((entries-1)/perSegment)), 4096)
	c := &cache{segments: make([]segment, n), limit: (entries + n - 1) / n, bytes: bytes / int64(n), gone: gone}
	for i := range c.segments {
		c.segments[i].table.Store(newTable(1))
	}
	return c
}

func (c *cache) segment(d *digest) *segment { return &c.segments[d[0]&uint64(len(c.segments)-1)] }

// place is where a token was found: it stays the token's as long as the slot's
// generation is the same.
type place struct {
	table      *table
	slot       uint32
	generation uint32
}

// get copies out the record of a digest.
func (c *cache) get(d *digest, r *record) (p place, ok bool) {
	t := c.segment(d).table.Load()
	i, generation, ok := t.find(d, r)
	return place{t, i, generation}, ok
}

// put adds a record, or replaces the one of the same digest.
func (c *cache) put(r *record, now int64) place {
	s := c.segment(&r.digest)
	size := r.size()
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.table.Load()
	if i := t.where(&r.digest); i >= 0 {
		c.clear(s, t, i)
	}
	for s.count >= c.limit || s.count > 0 && s.held+size > c.bytes {
		c.clear(s, t, s.victim(t, now))
		s.evicted++
	}
	full := s.count*slack >= len(t.slots)*slackOf
	i := t.room(&r.digest)
	if full || i < 0 {
		if bigger := c.grow(s, t); bigger != nil {
			t = bigger
			i = t.room(&r.digest)
		}
	}
	if i < 0 { // both sets are full, though the table is not
		sets, _ := t.places(&r.digest)
		i = int(sets[r.digest[1]>>8&1]*ways + r.digest[1]>>9%ways)
		c.clear(s, t, i)
		s.evicted++
	}
	t.put(i, r)
	s.count++
	s.held += size
	return place{t, uint32(i), t.slots[i].state.Load() >> slotBits}
}

// victim is the slot to give up: the first from the hand on that is past its time
// or was not used since the hand came by. There is one.
func (s *segment) victim(t *table, now int64) int {
	for {
		i := s.hand % len(t.slots)
		s.hand = i + 1
		o := &t.slots[i]
		if o.empty() {
			continue
		}
		r := o.record()
		if r.expired(now) || o.state.Load()&used == 0 {
			return i
		}
		o.state.And(^uint32(used))
	}
}

// clear empties a slot. The segment's mu is held.
func (c *cache) clear(s *segment, t *table, i int) {
	o := &t.slots[i]
	r := o.record()
	t.setTag(i, 0)
	o.seize()
	if o.n != 0 {
		c.gone(o)
		o.n = 0
	}
	o.kill()
	s.count--
	s.held -= r.size()
}

// grow moves a segment into a larger table; nil when it is as large as it gets.
// Readers of the old one go on undisturbed.
func (c *cache) grow(s *segment, old *table) *table {
	most := c.limit*slack/slackOf/ways + 1
	if int(old.sets) >= most {
		return nil
	}
	t := newTable(min(2*int(old.sets), most))
	s.hand = 0
	for i := range old.slots {
		o := &old.slots[i]
		if o.empty() {
			continue
		}
		// From here on nothing is counted in the old slot.
		o.seize()
		o.state.Or(frozen)
		r := o.record()
		n := t.room(&r.digest)
		if n < 0 {
			if o.n != 0 {
				c.gone(o)
				o.n = 0
			}
			s.count--
			s.held -= r.size()
			s.evicted++
			continue
		}
		to := &t.slots[n]
		to.n, to.use, to.first, to.last, o.n = o.n, o.use, o.first, o.last, 0
		if to.n != 0 {
			t.mark(uint32(n))
		}
		t.put(n, &r)
	}
	s.table.Store(t)
	return t
}

// record copies a slot out. The segment's mu is held.
func (s *slot) record() record {
	return record{
		digest: digest{s.digest[0].Load(), s.digest[1].Load()},
		about:  s.about.Load(), text: s.text.Load(),
		lengths: s.lengths.Load(), times: s.times.Load(), seq: s.seq.Load(),
		table: s.table.Load(), revoked: s.revoked.Load(), cohort: s.cohort.Load(),
	}
}

// drop removes a token if it is still where it was found.
func (c *cache) drop(d *digest) {
	s := c.segment(d)
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.table.Load()
	if i := t.where(d); i >= 0 {
		c.clear(s, t, i)
	}
}

// learn writes a memo back.
func (p *place) learn(revoked, cohort uint64) {
	if p.table == nil {
		return
	}
	s := &p.table.slots[p.slot]
	if !s.lock(p.generation) {
		return // given up meanwhile: the next request finds out anew
	}
	s.revoked.Store(revoked)
	s.cohort.Store(cohort)
	s.unlock()
}

// found notes under which table a token's key was found good.
func (p *place) found(number uint32) {
	s := &p.table.slots[p.slot]
	if s.lock(p.generation) {
		s.table.Store(number)
		s.unlock()
	}
}

// stats adds up.
func (c *cache) stats(into *Stats) {
	for i := range c.segments {
		s := &c.segments[i]
		s.mu.Lock()
		into.Entries += s.count
		into.Bytes += s.held
		into.Evicted += s.evicted
		s.mu.Unlock()
		into.Hits += s.hits.Load()
	}
}
