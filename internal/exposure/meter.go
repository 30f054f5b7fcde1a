package exposure

import (
	"cmp"
	"hash/maphash"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/bus"
	"github.com/mintmark/mintmark/internal/epoch"
	"github.com/mintmark/mintmark/internal/health"
)

// Config of a Meter. Zero values mean the defaults.
type Config struct {
	// Limit is how many subjects a rollout's set holds before it is thinned out; 0
	// is 1,048,576 (32 MiB).
	Limit int
	// Hurry asks for an early flush; nil asks nobody. It must not block.
	Hurry func()
	// Compile makes a program of an expression; nil leaves the users' metrics out.
	Compile Compile
	// Now is the clock of Drain; nil is time.Now.
	Now func() time.Time
}

// Compile turns an expression into a program that may be run concurrently: true is
// bad. An error leaves the metric out.
type Compile func(when string) (func(*health.Observed) bool, error)

// Flush intervals.
const (
	// hurry is how soon what is new goes out while a rollout is open.
	hurry = 250 * time.Millisecond
	// beat is how often a gateway says that it is there though it has nothing new;
	// slow how often durations go out while no rollout is open.
	beat = 5 * time.Second
	slow = 10 * time.Second
)

// Meter is safe for concurrent use.
type Meter struct {
	cfg   Config
	seed  maphash.Seed
	views atomic.Pointer[[]*view] // newest first
	mu    sync.Mutex              // guards building views, and what follows
	open  map[mintmark.RolloutID]*watched
	spans map[mintmark.ReleaseID]*durations
	last  time.Time    // of the last drain with anything in it
	due   atomic.Int64 // Unix milliseconds from which what is new hurries
}

// view is what the meter looks up for one table.
type view struct {
	table    *epoch.Table
	services map[*epoch.ServiceEntry]*target
	releases map[*epoch.ReleaseEntry]*durations
}

// target is an open rollout under one table.
type target struct {
	*watched
	service *epoch.ServiceEntry
	weight  uint16
	watch   *epoch.Watch
}

// durations are one release's answers since the last drain.
type durations struct{ counts [health.Buckets]atomic.Uint64 }

// New returns a meter; it starts nothing.
func New(c Config) *Meter {
	if c.Limit <= 0 {
		c.Limit = 1 << 20
	}
	if c.Hurry == nil {
		c.Hurry = func() {}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	m := &Meter{cfg: c, seed: maphash.MakeSeed(), open: map[mintmark.RolloutID]*watched{}, spans: map[mintmark.ReleaseID]*durations{}}
	m.views.Store(&[]*view{})
	return m
}

// Observe takes one request, after its answer. It does not allocate for a subject
// and outcome that were reported already, and nothing at all while no rollout is
// open.
func (m *Meter) Observe(o *health.Observed) {
	v := m.view(o.Snapshot)
	if o.Served != nil && o.Upstream != 0 && o.Upstream != 101 {
		if d := v.releases[o.Served]; d != nil {
			d.counts[health.Bucket(o.Latency)].Add(1)
		}
	}
	if o.Route == nil || len(v.services) == 0 {
		return
	}
	t := v.services[o.Route.Service]
	if t == nil {
		return
	}
	if t.service.Split.Preview != nil && previewed(t, o) {
		return
	}
	bad := o.Failures(t.watch)
	for i := range t.programs {
		if p := &t.programs[i]; p.run != nil && p.run(o) {
			bad |= 1 << (health.PlaceUser + health.Place(i))
		}
	}
	who, address := o.Who()
	m.note(t, who, address, bad, o.Now)
}

// previewed reports whether a request met the candidate because it asked to, and
// not because of its subject's arm: it says nothing about either.
func previewed(t *target, o *health.Observed) bool {
	if o.Served == nil || o.Served != t.service.Candidate {
		return false
	}
	key, ok := o.Key(t.service)
	return !ok || epoch.CohortOfKey(key) >= t.weight
}

// judged is the weight that a service's events are judged by: that of its traffic,
// or the share of cohorts that previews, whichever is more; in a shadow rollout the
// share of cohorts whose requests are copied.
func judged(s *epoch.ServiceEntry) int {
	if m := s.Split.Mirror; m != nil {
		return m.Share
	}
	if p := s.Split.Preview; p != nil {
		return max(s.Split.Weight, p.Share)
	}
	return s.Split.Weight
}

// Subject notes that something happened to a subject (without one, the client) of
// a service at the authority: exposed it was in any case, bad are the metrics by
// which it fared badly, as bits by place.
func (m *Meter) Subject(snap *epoch.Snapshot, s *epoch.ServiceEntry, subject string, bad uint32, now time.Time) {
	v := m.view(snap)
	if t := v.services[s]; t != nil {
		m.note(t, subject, netip.Addr{}, bad, now)
	}
}

// Stranded notes that the candidate minted a token that the stable release would
// refuse: an invariant, one is enough.
func (m *Meter) Stranded(snap *epoch.Snapshot, s *epoch.ServiceEntry, subject string, now time.Time) {
	m.Subject(snap, s, subject, 1<<health.PlaceStranded, now)
}

// note notes a subject, and hurries when that is news.
func (m *Meter) note(t *target, who string, address netip.Addr, bad uint32, now time.Time) {
	var hash uint64
	switch {
	case who != "":
		hash = maphash.String(m.seed, who)
	case address.IsValid():
		hash = maphash.Comparable(m.seed, address)
	default:
		return
	}
	if !t.note(hash, bad, t, who, address) {
		return
	}
	ms := now.UnixMilli()
	if due := m.due.Load(); ms >= due && m.due.CompareAndSwap(due, ms+hurry.Milliseconds()) {
		m.cfg.Hurry()
	}
}

// view returns what to look up for a snapshot's table, made at its first request.
func (m *Meter) view(snap *epoch.Snapshot) *view {
	for _, v := range *m.views.Load() {
		if v.table == snap.Table {
			return v
		}
	}
	return m.build(snap)
}

const maxViews = 4 // requests in flight may be under an epoch or two before

func (m *Meter) build(snap *epoch.Snapshot) *view {
	m.mu.Lock()
	defer m.mu.Unlock()
	had := *m.views.Load()
	for _, v := range had {
		if v.table == snap.Table {
			return v
		}
	}
	v := &view{table: snap.Table, services: map[*epoch.ServiceEntry]*target{}, releases: map[*epoch.ReleaseEntry]*durations{}}
	for _, s := range snap.Table.Services() {
		for _, r := range s.Entries() {
			if m.spans[r.ID] == nil {
				m.spans[r.ID] = &durations{}
			}
			v.releases[r] = m.spans[r.ID]
		}
		if s.Split.Rollout == "" {
			continue
		}
		w := m.open[s.Split.Rollout]
		if w == nil {
			w = m.newWatched(s)
			m.open[s.Split.Rollout] = w
		}
		w.weight.Store(uint32(judged(s)))
		v.services[s] = &target{watched: w, service: s, weight: uint16(judged(s)), watch: s.Split.Watch}
	}
	views := append([]*view{v}, had...)
	views = views[:min(len(views), maxViews)]
	m.views.Store(&views)
	m.forget(views)
	return v
}

// forget lets go of rollouts and releases that no view knows. mu is held.
func (m *Meter) forget(views []*view) {
	for id := range m.open {
		if !slices.ContainsFunc(views, func(v *view) bool {
			for _, t := range v.services {
				if t.id == id {
					return true
				}
			}
			return false
		}) {
			delete(m.open, id)
		}
	}
	for id := range m.spans {
		if !slices.ContainsFunc(views, func(v *view) bool { return v.table.Release(id) != nil }) {
			delete(m.spans, id)
		}
	}
}

// Drain appends what is new to a batch of records; see usage.Counter.Include. One
// at a time.
func (m *Meter) Drain(b *bus.RecordBatch) {
	now := m.cfg.Now()
	m.mu.Lock()
	open := make([]*watched, 0, len(m.open))
	for _, w := range m.open {
		open = append(open, w)
	}
	quick := len(open) > 0
	spans := make(map[mintmark.ReleaseID]*durations, len(m.spans))
	if since := now.Sub(m.last); since >= slow || quick && since >= time.Second || since < 0 {
		for id, d := range m.spans {
			spans[id] = d
		}
		m.last = now
	}
	m.mu.Unlock()
	m.due.Store(now.Add(hurry).UnixMilli())
	d := health.Delta{Latency: drainDurations(spans)}
	slices.SortFunc(open, func(a, b *watched) int { return cmp.Compare(a.id, b.id) })
	for _, w := range open {
		w.drain(&d, now)
	}
	for _, part := range d.Split() {
		if packed, err := part.Append(nil); err == nil {
			b.Health = append(b.Health, packed)
		}
	}
}

func drainDurations(spans map[mintmark.ReleaseID]*durations) (out []health.Latency) {
	for id, d := range spans {
		l := health.Latency{Release: id}
		for i := range d.counts {
			l.Counts[i] = d.counts[i].Swap(0)
		}
		if l.Counts.Total() > 0 {
			out = append(out, l)
		}
	}
	slices.SortFunc(out, func(a, b health.Latency) int { return cmp.Compare(a.Release, b.Release) })
	return out
}
