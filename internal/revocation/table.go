package revocation

import "sync/atomic"

// bucketSize is how many entries a bucket holds before it splits: small enough
// that copying one on write and scanning one on read cost next to nothing.
const bucketSize = 16

// maxDepth bounds the directory. Beyond it, and for entries of one hash, buckets
// grow instead.
const maxDepth = 26

// table is an extendible hash table for one writer and readers that never wait.
// Buckets are immutable once published: the writer copies one, changes the copy
// and swaps the pointer. A write costs one bucket whatever the table's size; the
// doubling of the directory copies pointers only.
type table[E any] struct {
	hash func(*E) uint64
	dir  atomic.Pointer[directory[E]]
}

type directory[E any] struct {
	depth   uint8
	buckets []atomic.Pointer[bucket[E]] // 1<<depth; those that agree in the low bits are shared
}

// bucket is one cache line and what it points to: tags answer most misses without
// touching the entries.
type bucket[E any] struct {
	tags    [bucketSize]uint8 // of the first entries, from the hash's top bits
	depth   uint8             // how many low bits its entries agree in
	entries []E
}

func tag(h uint64) uint8 { return uint8(h >> 56) }

// push appends in place; the bucket is not published.
func (b *bucket[E]) push(e E, h uint64) {
	if len(b.entries) < bucketSize {
		b.tags[len(b.entries)] = tag(h)
	}
	b.entries = append(b.entries, e)
}

func newTable[E any](hash func(*E) uint64) *table[E] {
	t := &table[E]{hash: hash}
	d := &directory[E]{buckets: make([]atomic.Pointer[bucket[E]], 1)}
	d.buckets[0].Store(&bucket[E]{})
	t.dir.Store(d)
	return t
}

// at returns the bucket in which entries of hash h are.
func (t *table[E]) at(h uint64) *bucket[E] {
	d := t.dir.Load()
	return d.buckets[h&uint64(len(d.buckets)-1)].Load()
}

// next returns the first entry from place i on that may be of hash h, and its
// place; nil when there is none. The entry must not be changed.
func (b *bucket[E]) next(i int, h uint64) (*E, int) {
	for ; i < len(b.entries); i++ {
		if i >= bucketSize || b.tags[i] == tag(h) {
			return &b.entries[i], i
		}
	}
	return nil, i
}

// put adds an entry. private says that no reader has the table yet, so that
// buckets may grow in place.
func (t *table[E]) put(e E, private bool) {
	h := t.hash(&e)
	for {
		d := t.dir.Load()
		b := d.buckets[h&uint64(len(d.buckets)-1)].Load()
		if len(b.entries) < bucketSize || b.depth == maxDepth || t.uniform(b, h) {
			if private {
				b.push(e, h)
				return
			}
			grown := &bucket[E]{tags: b.tags, depth: b.depth, entries: make([]E, len(b.entries), len(b.entries)+1)}
			copy(grown.entries, b.entries)
			grown.push(e, h)
			d.set(h, grown)
			return
		}
		if b.depth == d.depth {
			d = t.double(d)
		}
		t.split(d, b, h)
	}
}

// uniform reports whether splitting could never part the bucket's entries from h.
func (t *table[E]) uniform(b *bucket[E], h uint64) bool {
	for i := range b.entries {
		if t.hash(&b.entries[i]) != h {
			return false
		}
	}
	return true
}

func (t *table[E]) double(d *directory[E]) *directory[E] {
	n := &directory[E]{depth: d.depth + 1, buckets: make([]atomic.Pointer[bucket[E]], 2*len(d.buckets))}
	for i := range n.buckets {
		n.buckets[i].Store(d.buckets[i&(len(d.buckets)-1)].Load())
	}
	t.dir.Store(n)
	return n
}

func (t *table[E]) split(d *directory[E], b *bucket[E], h uint64) {
	bit := uint64(1) << b.depth
	zero, one := &bucket[E]{depth: b.depth + 1}, &bucket[E]{depth: b.depth + 1}
	for i := range b.entries {
		side := zero
		eh := t.hash(&b.entries[i])
		if eh&bit != 0 {
			side = one
		}
		side.push(b.entries[i], eh)
	}
	d.set(h&^bit, zero)
	d.set(h|bit, one)
}

// set points every directory slot that agrees with h in b.depth bits to b.
func (d *directory[E]) set(h uint64, b *bucket[E]) {
	step := uint64(1) << b.depth
	for i := h & (step - 1); i < uint64(len(d.buckets)); i += step {
		d.buckets[i].Store(b)
	}
}

// each calls f for every bucket once, with a hash of its slot.
func (t *table[E]) each(f func(slot uint64, b *bucket[E]) bool) {
	d := t.dir.Load()
	for i := range d.buckets {
		b := d.buckets[i].Load()
		if uint64(i)>>b.depth != 0 {
			continue // the same bucket under a higher alias
		}
		if !f(uint64(i), b) {
			return
		}
	}
}

// remove drops the entries for which drop is true.
func (t *table[E]) remove(drop func(*E) bool) {
	d := t.dir.Load()
	t.each(func(slot uint64, b *bucket[E]) bool {
		n := 0
		gone := make([]bool, len(b.entries))
		for i := range b.entries {
			if gone[i] = drop(&b.entries[i]); gone[i] {
				n++
			}
		}
		if n == 0 {
			return true
		}
		kept := &bucket[E]{depth: b.depth, entries: make([]E, 0, len(b.entries)-n)}
		for i := range b.entries {
			if !gone[i] {
				kept.push(b.entries[i], t.hash(&b.entries[i]))
			}
		}
		d.set(slot, kept)
		return true
	})
}
