// Package usage counts every decision exactly, in memory, for the batches that a
// gateway sends to the recorder.
package usage

import (
	"hash/maphash"
	"runtime"
	"sync"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/bus"
	"github.com/mintmark/mintmark/internal/epoch"
)

// Config of a Counter. Zero values mean the defaults.
type Config struct {
	// Cells bounds the distinct (token, route, release, code) between two flushes;
	// 0 is 262,144. Past half of it Full asks for an early flush; past it counts
	// go on exactly, but new ones under no token's name (an empty UsageDelta.Token).
	Cells int
	// Singles is how many refusals a flush records singly; 0 is 200. Those beyond
	// are counted like everything else, and how many says RecordBatch.Sampled.
	Singles int
}

// Counter is safe for concurrent use.
type Counter struct {
	seed    maphash.Seed
	stripes []stripe
	cells   int // bound of one stripe's cells
	full    chan struct{}

	mu         sync.Mutex // guards what follows
	singles    int
	refusals   []bus.Refusal
	sampledOut uint64
	foreign    []mintmark.Token
	drains     []func(*bus.RecordBatch)
}

// stripe counts a share of the tokens. Stripes are chosen by token, so that each
// combination has one cell, and padded, so that cores do not share lines.
type stripe struct {
	mu    sync.Mutex
	now   counts // guarded by mu
	spare counts // owned by Flush
	_     [64]byte
}

// counts is an open-addressed index over dense cells.
type counts struct {
	index []uint32 // place in cells + 1; a power of two long, at most half full
	cells []cell
	// kinds interns what cells say beside the token: there are few. Cells point
	// into it, so that each fills one cache line.
	kinds map[kind]*kind
}

type cell struct {
	hash        uint64
	token       mintmark.TokenID
	kind        *kind
	n           uint64
	first, last int64
	_           uint64
}

// kind is a decision but for the token and the time.
type kind struct {
	release mintmark.ReleaseID
	client  mintmark.ClientID
	route   string
	served  mintmark.ReleaseID
	issuer  string
	code    mintmark.Code
}

// maxForeign bounds the foreign tokens reported between two flushes; a quarter of
// it asks for an early one.
const maxForeign = 65_536

// maxKinds is how many kinds a stripe keeps for the next interval.
const maxKinds = 1024

// New returns a counter; it starts nothing.
func New(c Config) *Counter {
	if c.Cells <= 0 {
		c.Cells = 262_144
	}
	if c.Singles <= 0 {
		c.Singles = 200
	}
	n := 1
	for n < 8*runtime.GOMAXPROCS(0) {
		n *= 2
	}
	u := &Counter{seed: maphash.MakeSeed(), stripes: make([]stripe, n), cells: max(c.Cells/n, 8), full: make(chan struct{}, 1), singles: c.Singles}
	for i := range u.stripes {
		u.stripes[i].now.index = make([]uint32, 64)
		u.stripes[i].spare.index = make([]uint32, 64)
	}
	return u
}

// Count counts one decision: t may be nil (nobody was identified), route and
// served too (nothing matched, nothing served). It does not allocate for a
// combination already counted since the last flush.
func (c *Counter) Count(t *mintmark.Token, route *epoch.RouteEntry, served *epoch.ReleaseEntry, code mintmark.Code, now time.Time) {
	what := kind{code: code}
	ms := now.UnixMilli()
	k := cell{n: 1, first: ms, last: ms}
	if t != nil {
		k.token, what.release, what.client, what.issuer = t.ID, t.Mark.Release, t.Client, t.Issuer
	}
	if route != nil {
		what.route = route.ID
	}
	if served != nil {
		what.served = served.ID
	}
	index := 0
	if route != nil {
		index = route.Index
	}
	c.add(&k, &what, uint64(index))
}

// Include makes each flush call drain, which appends what was counted elsewhere
// since its last call: one combination may then have two deltas.
func (c *Counter) Include(drain func(*bus.RecordBatch)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.drains = append(c.drains, drain)
}

// Add adds what was counted elsewhere and could not wait for a flush.
func (c *Counter) Add(d *bus.UsageDelta) {
	k := cell{token: d.Token, n: d.N, first: d.First, last: d.Last}
	what := kind{release: d.Release, client: d.Client, issuer: d.Issuer, route: d.Route, served: d.Served, code: d.Code}
	c.add(&k, &what, uint64(len(d.Route)))
}

// add adds a cell to the one of its combination. variety tells routes apart, more
// or less: a combination that is counted in two ways may have two cells.
func (c *Counter) add(k *cell, what *kind, variety uint64) {
	h := maphash.String(c.seed, string(k.token))
	s := &c.stripes[h&uint64(len(c.stripes)-1)]
	// Routes, releases and codes are few per token: lengths and a pointer's worth
	// of variety part them well enough, and the cells are compared in full.
	k.hash = h>>8 ^ uint64(len(what.code))<<40 ^ variety*0x9e3779b97f4a7c15
	s.mu.Lock()
	used := len(s.now.cells)
	if used >= c.cells && k.token != "" && s.now.find(k, what) == nil {
		// No room for another name. The count itself is never dropped: it goes on
		// under the release, client and route alone.
		k.token = ""
		k.hash ^= h >> 8
	}
	s.now.add(k, what)
	s.mu.Unlock()
	if used >= c.cells/2 {
		select {
		case c.full <- struct{}{}:
		default:
		}
	}
}

func (c *counts) find(k *cell, what *kind) *cell {
	mask := uint64(len(c.index) - 1)
	for i := k.hash & mask; c.index[i] != 0; i = (i + 1) & mask {
		if o := &c.cells[c.index[i]-1]; o.hash == k.hash && o.token == k.token && *o.kind == *what {
			return o
		}
	}
	return nil
}

func (c *counts) add(k *cell, what *kind) {
	if o := c.find(k, what); o != nil {
		o.n += k.n
		o.first, o.last = min(o.first, k.first), max(o.last, k.last)
		return
	}
	c.cells = append(c.cells, cell{hash: k.hash, token: k.token, kind: c.intern(what), n: k.n, first: k.first, last: k.last})
	if 2*len(c.cells) > len(c.index) {
		c.index = make([]uint32, 2*len(c.index))
		for i := range c.cells {
			c.point(i)
		}
		return
	}
	c.point(len(c.cells) - 1)
}

// intern returns the kept copy of a kind; k itself stays on its caller's stack.
func (c *counts) intern(k *kind) *kind {
	if o := c.kinds[*k]; o != nil {
		return o
	}
	if c.kinds == nil {
		c.kinds = map[kind]*kind{}
	}
	kept := *k
	c.kinds[kept] = &kept
	return &kept
}

func (c *counts) point(place int) {
	mask := uint64(len(c.index) - 1)
	i := c.cells[place].hash & mask
	for c.index[i] != 0 {
		i = (i + 1) & mask
	}
	c.index[i] = uint32(place + 1)
}

// Refuse records a refused request singly, or leaves it out when this interval
// has had enough of them. Count it as well.
func (c *Counter) Refuse(r bus.Refusal) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.refusals) >= c.singles {
		c.sampledOut++
		return
	}
	c.refusals = append(c.refusals, r)
}

// Foreign reports a foreign token seen for the first time. Past the bound only
// its counts, which name it, will tell of it.
func (c *Counter) Foreign(t *mintmark.Token) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.foreign) < maxForeign {
		c.foreign = append(c.foreign, *t)
	}
	if len(c.foreign) >= maxForeign/4 {
		select {
		case c.full <- struct{}{}:
		default:
		}
	}
}

// Flush moves everything counted since the last flush into b: Usage, Refusals,
// Sampled and Foreign are appended. One flush at a time.
func (c *Counter) Flush(b *bus.RecordBatch) {
	c.mu.Lock()
	drains := c.drains
	c.mu.Unlock()
	for _, drain := range drains {
		drain(b)
	}
	for i := range c.stripes {
		s := &c.stripes[i]
		s.mu.Lock()
		s.now, s.spare = s.spare, s.now
		s.mu.Unlock()
		for j := range s.spare.cells {
			k := &s.spare.cells[j]
			b.Usage = append(b.Usage, bus.UsageDelta{
				Token: k.token, Release: k.kind.release, Served: k.kind.served, Client: k.kind.client,
				Route: k.kind.route, Code: k.kind.code, N: k.n, First: k.first, Last: k.last, Issuer: k.kind.issuer,
			})
		}
		clear(s.spare.cells) // let go of the strings
		s.spare.cells = s.spare.cells[:0]
		clear(s.spare.index)
		if len(s.spare.kinds) > maxKinds {
			s.spare.kinds = nil // what they were may be gone
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	b.Refusals = append(b.Refusals, c.refusals...)
	b.Sampled += c.sampledOut
	b.Foreign = append(b.Foreign, c.foreign...)
	c.refusals, c.sampledOut, c.foreign = nil, 0, nil
}

// Hurry makes Full receive.
func (c *Counter) Hurry() {
	select {
	case c.full <- struct{}{}:
	default:
	}
}

// Full receives when a flush should not wait for its turn.
func (c *Counter) Full() <-chan struct{} { return c.full }
