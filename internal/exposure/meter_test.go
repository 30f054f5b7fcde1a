package exposure

import (
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/bus"
	"github.com/mintmark/mintmark/internal/epoch"
	"github.com/mintmark/mintmark/internal/health"
)

var at = time.UnixMilli(1_800_000_000_000)

// snapshot has a service in a rollout at a weight, and one that is not.
func snapshot(t testing.TB, weight int) *epoch.Snapshot {
	t.Helper()
	up := []epoch.Upstream{{URL: "http://127.0.0.1:9001"}}
	releases := []epoch.Release{{Name: "v1", Upstreams: up}, {Name: "v2", Upstreams: up}}
	m, bodies, err := epoch.Build(&epoch.Service{
		Name: "calm", Audience: []string{"https://calm.example"}, Hosts: []string{"calm.example"}, Routes: []epoch.Route{{Name: "all", Path: "/*"}},
		Releases: releases, Split: epoch.Split{Stable: "v1"},
	}, &epoch.Service{
		Name: "shop", Audience: []string{"https://shop.example"}, Hosts: []string{"shop.example"}, Routes: []epoch.Route{{Name: "all", Path: "/*"}},
		Releases: releases, Split: epoch.Split{Stable: "v1", Candidate: "v2", Weight: weight, Salt: "pepper", Rollout: "ro_1"},
	})
	if err != nil {
		t.Fatal(err)
	}
	table, err := epoch.Compile(m, bodies)
	if err != nil {
		t.Fatal(err)
	}
	return &epoch.Snapshot{Epoch: 1, Table: table}
}

func observed(snap *epoch.Snapshot, service, subject string, upstream int) *health.Observed {
	var route *epoch.RouteEntry
	for _, r := range snap.Table.Routes() {
		if r.Service.Name == service {
			route = r
		}
	}
	s := snap.Table.Service(service)
	return &health.Observed{
		Snapshot: snap, Route: route, Served: s.Arm(subject), Token: &mintmark.Token{Subject: subject},
		Upstream: upstream, Status: upstream, Latency: time.Millisecond, Now: at,
	}
}

// clocked is a meter whose clock the test turns.
func clocked(c Config) (*Meter, *time.Time) {
	now := at
	c.Now = func() time.Time { return now }
	return New(c), &now
}

func drained(t testing.TB, m *Meter) *health.Delta {
	t.Helper()
	var b bus.RecordBatch
	m.Drain(&b)
	all := &health.Delta{}
	for _, packed := range b.Health {
		d, err := health.DecodeDelta(packed)
		if err != nil {
			t.Fatal(err)
		}
		all.Sections = append(all.Sections, d.Sections...)
		all.Latency = append(all.Latency, d.Latency...)
	}
	return all
}

func TestEachIsToldOnce(t *testing.T) {
	m, now := clocked(Config{})
	snap := snapshot(t, 500)
	for range 3 {
		m.Observe(observed(snap, "shop", "ada", 200))
		m.Observe(observed(snap, "shop", "bob", 503))
		m.Observe(observed(snap, "calm", "eve", 503))
	}
	d := drained(t, m)
	if len(d.Sections) != 1 || len(d.Sections[0].Exposed) != 2 || d.Sections[0].Weight != 500 || d.Sections[0].Rollout != "ro_1" {
		t.Fatalf("%+v", d.Sections)
	}
	bob := snap.Table.Service("shop").Key("bob")
	if bad := d.Sections[0].Bad; len(bad) != 1 || bad[0].Place != health.PlaceServerError || len(bad[0].Keys) != 1 || bad[0].Keys[0] != bob {
		t.Errorf("%+v, want bob %x", bad, bob)
	}
	m.Observe(observed(snap, "shop", "bob", 503))
	*now = now.Add(time.Second)
	if d := drained(t, m); len(d.Sections) != 0 {
		t.Errorf("told again: %+v", d.Sections)
	}
	*now = now.Add(beat)
	if d := drained(t, m); len(d.Sections) != 1 || len(d.Sections[0].Exposed) != 0 || d.Sections[0].Weight != 500 {
		t.Errorf("no sign of life: %+v", d.Sections)
	}
	// Another metric of bob's, and another weight.
	more := snapshot(t, 2500)
	m.Observe(observed(more, "shop", "bob", 401))
	m.Observe(observed(snap, "shop", "eve", 200)) // still under the epoch before
	d = drained(t, m)
	weights := map[int]health.Section{}
	for _, s := range d.Sections {
		weights[s.Weight] = s
	}
	if len(weights) != 2 || len(weights[2500].Exposed) != 0 || weights[2500].Bad[0].Place != health.PlaceUpstreamRefused || len(weights[500].Exposed) != 1 {
		t.Errorf("%+v", d.Sections)
	}
}

func TestDurationsAreCountedWithoutARollout(t *testing.T) {
	m, now := clocked(Config{})
	snap := snapshot(t, 0)
	for range 100 {
		m.Observe(observed(snap, "calm", "ada", 200))
	}
	*now = now.Add(slow)
	d := drained(t, m)
	if len(d.Latency) != 1 || d.Latency[0].Release != "calm/v1" || d.Latency[0].Counts.Total() != 100 || d.Latency[0].Counts[health.Bucket(time.Millisecond)] != 100 {
		t.Errorf("%+v", d.Latency)
	}
	if d := drained(t, m); len(d.Latency) != 0 {
		t.Errorf("told again: %+v", d.Latency)
	}
}

func TestNewsHurry(t *testing.T) {
	hurried := 0
	m, _ := clocked(Config{Hurry: func() { hurried++ }})
	snap := snapshot(t, 500)
	observe := func(subject string, after time.Duration) {
		o := observed(snap, "shop", subject, 200)
		o.Now = at.Add(after)
		m.Observe(o)
	}
	observe("a", 0)
	observe("b", 100*time.Millisecond)
	if hurried != 1 {
		t.Errorf("hurried %d times within a quarter of a second, want 1", hurried)
	}
	drained(t, m)
	observe("a", 300*time.Millisecond) // no news
	observe("c", 200*time.Millisecond)
	if hurried != 1 {
		t.Errorf("hurried %d times, want 1", hurried)
	}
	observe("d", 300*time.Millisecond)
	if hurried != 2 {
		t.Errorf("hurried %d times, want 2", hurried)
	}
}

// TestPreviewsAreLeftOut: who asked for the candidate says nothing about it; who
// previews by cohort is in its arm.
func TestPreviewsAreLeftOut(t *testing.T) {
	m, _ := clocked(Config{})
	snap := snapshot(t, 0)
	s := snap.Table.Service("shop")
	s.Split.Preview = &epoch.Preview{Header: "x-preview", Value: "sesame", Share: 5000}
	told := 0
	for i := range 100 {
		o := observed(snap, "shop", fmt.Sprint("user-", i), 500)
		o.Served = s.Candidate
		if s.Cohort(o.Token.Subject) < 5000 {
			told++
		}
		m.Observe(o)
	}
	d := drained(t, m)
	if len(d.Sections) != 1 || d.Sections[0].Weight != 5000 || len(d.Sections[0].Exposed) != told || told < 30 || told > 70 {
		t.Errorf("told of %+v, want %d", d.Sections, told)
	}
}

// TestMemoryIsBounded: more subjects than it may hold are thinned out, and those
// that are told of are the ones that are followed.
func TestMemoryIsBounded(t *testing.T) {
	const limit, subjects = 6400, 100_000
	m, _ := clocked(Config{Limit: limit})
	snap := snapshot(t, 500)
	all := health.NewCohorts(0)
	level := uint8(0)
	for i := range subjects {
		m.Observe(observed(snap, "shop", fmt.Sprint("user-", i), 200))
		if i%5000 == 0 || i == subjects-1 {
			for _, s := range drained(t, m).Sections {
				level = s.Level
				for _, k := range s.Exposed {
					all.Add(k)
				}
			}
		}
	}
	held := 0
	for i := range m.open["ro_1"].shards {
		s := &m.open["ro_1"].shards[i]
		held += s.n
		if len(s.entries) > 256 {
			t.Fatalf("a shard has %d places", len(s.entries))
		}
	}
	if held > limit || level < 4 || level > 6 {
		t.Errorf("%d held at level %d, limit %d", held, level, limit)
	}
	all.Raise(level)
	want := 0
	for i := range subjects {
		if health.Followed(snap.Table.Service("shop").Key(fmt.Sprint("user-", i)), level) {
			want++
		}
	}
	if all.Len() != want {
		t.Errorf("%d followed subjects were told of, want all %d", all.Len(), want)
	}
}

// TestConcurrentNewsAreWhole: whatever is observed while others drain comes out.
func TestConcurrentNewsAreWhole(t *testing.T) {
	m := New(Config{})
	snap := snapshot(t, 500)
	const workers, subjects = 8, 2000
	got := health.NewCohorts(0)
	take := func() {
		for _, s := range drained(t, m).Sections {
			for _, k := range s.Exposed {
				got.Add(k)
			}
			for _, b := range s.Bad {
				for _, k := range b.Keys {
					got.Fail(k, b.Place)
				}
			}
		}
	}
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := range subjects {
				status := 200
				if i%3 == w%3 {
					status = 500
				}
				m.Observe(observed(snap, "shop", fmt.Sprint("user-", i), status))
			}
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	for {
		take()
		select {
		case <-done:
			take()
			if e := got.Exposed(10_000).Candidate; e != subjects {
				t.Errorf("%d exposed, want %d", e, subjects)
			}
			if r := got.AtRisk(health.PlaceServerError, 10_000).Candidate; r != 0 {
				t.Errorf("%d never failed, want 0", r)
			}
			return
		default:
			runtime.Gosched()
		}
	}
}

func TestObservingAgainDoesNotAllocate(t *testing.T) {
	m := New(Config{})
	snap := snapshot(t, 500)
	shop, calm := observed(snap, "shop", "ada", 500), observed(snap, "calm", "ada", 500)
	m.Observe(shop)
	if n := testing.AllocsPerRun(100, func() { m.Observe(shop); m.Observe(calm) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkObserve(b *testing.B) {
	snap := snapshot(b, 500)
	subjects := make([]string, 100_000)
	for i := range subjects {
		subjects[i] = fmt.Sprint("user-", i)
	}
	b.Run("no rollout", func(b *testing.B) {
		m, o := New(Config{}), observed(snap, "calm", "ada", 200)
		b.ReportAllocs()
		for b.Loop() {
			m.Observe(o)
		}
	})
	for _, n := range []int{1, len(subjects)} {
		b.Run(fmt.Sprintf("known, %d subjects", n), func(b *testing.B) {
			m, o := New(Config{}), observed(snap, "shop", "ada", 200)
			t := &mintmark.Token{}
			o.Token = t
			for i := range n {
				t.Subject = subjects[i]
				m.Observe(o)
			}
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				if i++; i >= n {
					i = 0
				}
				t.Subject = subjects[i]
				m.Observe(o)
			}
		})
	}
	b.Run("new", func(b *testing.B) {
		m, o := New(Config{}), observed(snap, "shop", "ada", 200)
		t := &mintmark.Token{}
		o.Token = t
		b.ReportAllocs()
		i := 0
		for b.Loop() {
			if i++; i >= len(subjects) {
				i = 0
				b.StopTimer()
				m = New(Config{})
				b.StartTimer()
			}
			t.Subject = subjects[i]
			m.Observe(o)
		}
	})
}
