package whatif

import (
	"maps"
	"math"
	"sync"
	"sync/atomic"

	"github.com/mintmark/mintmark"
)

// Reservoir keeps a fair sample of requests for each service and outcome: of all
// since the last Take, each has the same chance. Memory is bounded, and a request
// that is not kept costs one atomic addition.
type Reservoir struct {
	size   int
	random func() float64
	cells  atomic.Pointer[map[cellKey]*cell]
	mu     sync.Mutex // guards replacing cells
}

type cellKey struct {
	service string
	code    mintmark.Code
}

// maxCells bounds the services and outcomes that are told apart; what comes later is
// left out.
const maxCells = 1024

// cell samples by Li's algorithm L: it knows beforehand which request it keeps next.
type cell struct {
	n    atomic.Uint64 // requests since the last take
	next atomic.Uint64 // number of the request to keep next, from 1
	mu   sync.Mutex
	w    float64 // guarded by mu
	kept []Shape // guarded by mu
}

// NewReservoir returns one that keeps size requests of each kind, 1 to 1,000. random
// returns numbers in [0, 1) and may be called concurrently.
func NewReservoir(size int, random func() float64) *Reservoir {
	r := &Reservoir{size: min(max(size, 1), 1000), random: random}
	r.cells.Store(&map[cellKey]*cell{})
	return r
}

// Offer counts a request, and asks for its shape only if it is kept.
func (r *Reservoir) Offer(service string, code mintmark.Code, shape func() Shape) {
	k := cellKey{service, code}
	c := (*r.cells.Load())[k]
	if c == nil {
		if c = r.cell(k); c == nil {
			return
		}
	}
	if n := c.n.Add(1); n >= c.next.Load() {
		c.keep(n, r, shape())
	}
}

func (r *Reservoir) cell(k cellKey) *cell {
	r.mu.Lock()
	defer r.mu.Unlock()
	had := *r.cells.Load()
	if c := had[k]; c != nil || len(had) >= maxCells {
		return c
	}
	c := &cell{}
	c.reset()
	now := maps.Clone(had)
	now[k] = c
	r.cells.Store(&now)
	return c
}

func (c *cell) reset() {
	c.n.Store(0)
	c.next.Store(1)
	c.w, c.kept = 1, nil
}

// keep takes request n in, for a random other one once the cell is full.
func (c *cell) keep(n uint64, r *Reservoir, s Shape) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n < c.next.Load() {
		return // another was kept meanwhile
	}
	if len(c.kept) < r.size {
		c.kept = append(c.kept, s)
		if len(c.kept) < r.size {
			c.next.Store(1) // the next one, whichever it is
			return
		}
	} else {
		c.kept[int(r.random()*float64(r.size))%r.size] = s
	}
	c.w *= math.Exp(math.Log(positive(r.random())) / float64(r.size))
	skip := math.Floor(math.Log(positive(r.random())) / math.Log1p(-c.w))
	if !(skip < 1<<53) {
		skip = 1 << 53
	}
	c.next.Store(n + uint64(skip) + 1)
}

func positive(x float64) float64 { return max(x, math.SmallestNonzeroFloat64) }

// Take returns what was kept since the last call, each with the weight of the
// requests that it stands for, and begins anew.
func (r *Reservoir) Take() []Shape {
	var out []Shape
	for _, c := range *r.cells.Load() {
		c.mu.Lock()
		n, kept := c.n.Load(), c.kept
		c.reset()
		c.mu.Unlock()
		if len(kept) == 0 {
			continue
		}
		// Requests that are counted while this runs may be lost to the estimate.
		weight := int64(min(n, maxWeight/1000)) * 1000 / int64(len(kept))
		for i := range kept {
			kept[i].Weight = max(weight, 1)
		}
		out = append(out, kept...)
	}
	return out
}
