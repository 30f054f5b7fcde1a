package whatif

import (
	"slices"
	"sync"
)

// Ring holds the newest shapes, bounded by their number and age. It is safe for
// concurrent use.
type Ring struct {
	size  int
	age   int64
	mu    sync.Mutex
	list  []Shape // guarded by mu; in the order in which they came
	at    int     // guarded by mu; the oldest, once the list is full
	swept int64   // guarded by mu; when what was too old was dropped last
}

// NewRing returns a ring of at most size shapes, none older than age seconds.
func NewRing(size int, age int64) *Ring { return &Ring{size: max(size, 1), age: age} }

// Add takes shapes in at now, in Unix seconds; those that are not well-formed are
// left out. At times it drops what is too old.
func (r *Ring) Add(shapes []Shape, now int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now-r.swept >= 60 || now < r.swept {
		r.sweep(now)
	}
	for i := range shapes {
		if shapes[i].Check() != nil {
			continue
		}
		if len(r.list) < r.size {
			r.list = append(r.list, shapes[i])
			continue
		}
		r.list[r.at] = shapes[i]
		r.at = (r.at + 1) % r.size
	}
}

// Since returns the shapes from a Unix second on that are young enough at now,
// oldest first.
func (r *Ring) Since(from, now int64) []Shape {
	from = max(from, now-r.age)
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]Shape, 0, len(r.list))
	for i := range r.list {
		if s := &r.list[(r.at+i)%len(r.list)]; s.At >= from {
			out = append(out, *s)
		}
	}
	slices.SortStableFunc(out, func(a, b Shape) int { return int(a.At/60 - b.At/60) })
	return out
}

// sweep drops what is too old at now. mu is held.
func (r *Ring) sweep(now int64) {
	r.swept = now
	kept := make([]Shape, 0, len(r.list))
	for i := range r.list {
		if s := r.list[(r.at+i)%len(r.list)]; s.At >= now-r.age {
			kept = append(kept, s)
		}
	}
	r.list, r.at = kept, 0
}
