package exposure

import (
	"math/bits"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/epoch"
	"github.com/mintmark/mintmark/internal/health"
)

const shards = 64

// watched is an open rollout: the subjects that were reported, and what is new. It
// outlives epochs of the same rollout.
type watched struct {
	id       mintmark.RolloutID
	programs []program
	limit    int // of one shard
	level    atomic.Uint32
	shards   [shards]shard

	weight atomic.Uint32 // of the newest table
	beaten time.Time     // owned by drain: when something was last said
}

// program is one metric of the user's.
type program struct {
	run func(*health.Observed) bool // nil: it could not be compiled
}

// shard holds a share of the subjects by a keyed hash of their names, so that a
// subject seen again costs no HMAC. Two names of one hash would be one subject: with
// a secret seed that is one in 2^64 pairs.
type shard struct {
	mu      sync.Mutex
	entries []entry // open-addressed, a power of two long; guarded by mu
	n       int
	level   uint8
	news    []news
	_       [64]byte
}

type entry struct {
	hash uint64 // 0: empty
	key  uint64
	bad  uint32
}

// news is what was not reported yet: an exposure when bad is 0.
type news struct {
	key    uint64
	bad    uint32
	weight uint16
	first  bool
}

func (m *Meter) newWatched(s *epoch.ServiceEntry) *watched {
	w := &watched{id: s.Split.Rollout, limit: max(m.cfg.Limit/shards, 16)}
	if s.Split.Watch == nil || m.cfg.Compile == nil {
		return w
	}
	for _, x := range s.Split.Watch.User {
		run, err := m.cfg.Compile(x.When)
		if err != nil {
			run = nil // control compiled it before: an older gateway than the expression
		}
		w.programs = append(w.programs, program{run: run})
	}
	return w
}

// note notes a subject and reports whether that was news.
func (w *watched) note(hash uint64, bad uint32, t *target, who string, address netip.Addr) bool {
	if hash == 0 {
		hash = 1
	}
	s := &w.shards[hash>>58]
	s.mu.Lock()
	defer s.mu.Unlock()
	if level := uint8(w.level.Load()); s.level != level {
		s.thin(level)
	}
	var e *entry
	if len(s.entries) > 0 {
		if e = s.find(hash); e.hash == hash {
			if bad&^e.bad == 0 {
				return false
			}
			s.news = append(s.news, news{key: e.key, bad: bad &^ e.bad, weight: t.weight})
			e.bad |= bad
			return true
		}
	}
	var key uint64
	if who != "" {
		key = t.service.Key(who)
	} else {
		a := address.As16()
		key = t.service.KeyOf(a[:])
	}
	if !health.Followed(key, s.level) {
		return false
	}
	if s.n >= w.limit {
		w.level.CompareAndSwap(uint32(s.level), uint32(s.level)+1)
		s.thin(uint8(w.level.Load()))
		if !health.Followed(key, s.level) {
			return false
		}
	}
	if 8*(s.n+1) > 7*len(s.entries) {
		s.resize(max(2*len(s.entries), 64))
	}
	e = s.find(hash)
	*e = entry{hash: hash, key: key, bad: bad}
	s.n++
	s.news = append(s.news, news{key: key, bad: bad, weight: t.weight, first: true})
	return true
}

func (s *shard) find(hash uint64) *entry {
	m := uint64(len(s.entries) - 1)
	for i := hash & m; ; i = (i + 1) & m {
		if e := &s.entries[i]; e.hash == 0 || e.hash == hash {
			return e
		}
	}
}

func (s *shard) resize(places int) {
	had := s.entries
	s.entries = make([]entry, places)
	s.n = 0
	for i := range had {
		if e := &had[i]; e.hash != 0 && health.Followed(e.key, s.level) {
			*s.find(e.hash) = *e
			s.n++
		}
	}
}

// thin forgets who is not followed at a level.
func (s *shard) thin(level uint8) {
	s.level = level
	if len(s.entries) > 0 {
		s.resize(len(s.entries))
	}
}

// drain moves what is new into a delta, a section for each weight it was seen
// under.
func (w *watched) drain(d *health.Delta, now time.Time) {
	by := map[uint16]*gathered{}
	for i := range w.shards {
		s := &w.shards[i]
		s.mu.Lock()
		list := s.news
		s.news = nil
		s.mu.Unlock()
		for _, n := range list {
			g := by[n.weight]
			if g == nil {
				g = &gathered{}
				by[n.weight] = g
			}
			if n.first {
				g.exposed = append(g.exposed, n.key)
			}
			for m := n.bad; m != 0; m &= m - 1 {
				p := bits.TrailingZeros32(m)
				g.bad[p] = append(g.bad[p], n.key)
			}
		}
	}
	level := uint8(w.level.Load())
	if len(by) == 0 {
		if !w.beaten.IsZero() && now.Sub(w.beaten) < beat {
			return
		}
		by[uint16(w.weight.Load())] = &gathered{}
	}
	w.beaten = now
	for weight, g := range by {
		s := health.Section{Rollout: w.id, Weight: int(weight), Level: level, Exposed: g.exposed}
		for p, keys := range g.bad {
			if len(keys) > 0 {
				s.Bad = append(s.Bad, health.Bad{Place: health.Place(p), Keys: keys})
			}
		}
		s.Sort()
		d.Sections = append(d.Sections, s)
	}
}

type gathered struct {
	exposed []uint64
	bad     [health.Places][]uint64
}
