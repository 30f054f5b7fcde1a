package verifier

import (
	"math/bits"
	"sync/atomic"
	"unsafe"
)

const (
	ways = 16 // slots in a set
	// A full table has slack/slackOf slots per token.
	slack, slackOf = 5, 4
)

// table is a flat table of slots in sets. A token is in one of two sets, so that
// with four slots in five taken hardly a set is full. Tags tell which slot of a
// set to look at; they are few enough to stay near the processor. Three tokens in
// five are in the slot that their digest names: the trip to it begins while the
// tags are still on their way.
type table struct {
	sets  uint64
	tags  []atomic.Uint64 // two words per set, a byte per slot; 0 is empty
	dirty []atomic.Uint64 // a bit per slot whose count is not 0
	slots []slot
}

func newTable(sets int) *table {
	t := &table{
		sets: uint64(sets), tags: make([]atomic.Uint64, 2*sets),
		dirty: make([]atomic.Uint64, (ways*sets+63)/64), slots: make([]slot, ways*sets),
	}
	adviseHuge(unsafe.Pointer(unsafe.SliceData(t.slots)), uintptr(len(t.slots))*slotSize) // before they are touched
	for i := range t.slots {
		t.slots[i].state.Store(dead)
	}
	return t
}

// places returns the two sets of a digest and its tag.
func (t *table) places(d *digest) (sets [2]uint64, tag uint8) {
	sets[0], _ = bits.Mul64(d[0], t.sets)
	sets[1], _ = bits.Mul64(d[1], t.sets)
	return sets, max(uint8(d[1]), 1)
}

// home returns the slot that a digest names in its first set.
func home(d *digest, sets *[2]uint64) uint64 { return sets[0]*ways + d[1]>>8%ways }

const ones, highs = 0x0101010101010101, 0x8080808080808080

// find copies out the record of a digest.
func (t *table) find(d *digest, r *record) (i uint32, generation uint32, ok bool) {
	sets, tag := t.places(d)
	at := home(d, &sets)
	_ = t.slots[at].digest[0].Load() // only to have it fetched
	if uint8(t.tags[at/8].Load()>>(at%8*8)) == tag {
		if g, ok := t.slots[at].read(d, r); ok {
			return uint32(at), g, true
		}
	}
	pattern := ones * uint64(tag)
	for _, set := range sets {
		for half := range uint64(2) {
			x := t.tags[2*set+half].Load() ^ pattern
			// A zero byte of x is a match; there may be false ones above it.
			for m := (x - ones) &^ x & highs; m != 0; m &= m - 1 {
				i := set*ways + half*8 + uint64(bits.TrailingZeros64(m)/8)
				if g, ok := t.slots[i].read(d, r); ok {
					return uint32(i), g, true
				}
			}
		}
	}
	return 0, 0, false
}

// where returns the slot of a digest, or -1. The segment's mu is held, here and
// below.
func (t *table) where(d *digest) int {
	sets, _ := t.places(d)
	for _, set := range sets {
		for i := int(set) * ways; i < int(set+1)*ways; i++ {
			if t.slots[i].is(d) {
				return i
			}
		}
	}
	return -1
}

// ample is how many slots the first set must have left for a token to come home
// though the other set may be emptier.
const ample = 4

// room returns an empty slot: the one that the digest names, or one in the emptier
// set, or -1.
func (t *table) room(d *digest) int {
	sets, _ := t.places(d)
	at := home(d, &sets)
	best, most := -1, 0
	for n, set := range sets {
		free, some := 0, -1
		for half := range uint64(2) {
			w := t.tags[2*set+half].Load()
			for way := range 8 {
				if w>>(8*way)&0xff == 0 {
					free, some = free+1, int(set*ways+half*8)+way
				}
			}
		}
		if free > most {
			best, most = some, free
		}
		if n == 0 && free > 0 && t.tags[at/8].Load()>>(at%8*8)&0xff == 0 {
			if best = int(at); free >= ample {
				return best
			}
		}
	}
	return best
}

func (t *table) setTag(i int, tag uint8) {
	word, shift := &t.tags[i/8], uint(i%8)*8
	word.Store(word.Load()&^(0xff<<shift) | uint64(tag)<<shift)
}

// put writes a record into an empty slot.
func (t *table) put(i int, r *record) {
	_, tag := t.places(&r.digest)
	t.slots[i].write(r)
	t.setTag(i, tag) // only now can it be found
}

func (t *table) mark(i uint32) { t.dirty[i/64].Or(1 << (i % 64)) }
