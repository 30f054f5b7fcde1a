package analysis

import (
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/mintmark/mintmark/internal/epoch"
	"github.com/mintmark/mintmark/internal/exposure"
	"github.com/mintmark/mintmark/internal/health"
)

var opening = health.Opening{Rollout: "ro_1", Service: "shop", Stable: "v1", Candidate: "v2"}

// TestCandidateThatFailsIsFound: two gateways, a candidate that answers 500 to
// everybody in its cohort, a restart in the middle, and every batch twice.
func TestCandidateThatFailsIsFound(t *testing.T) {
	w := newWorld(t, nil)
	w.must(w.analysis.Open(t.Context(), opening))
	snap := shop(t, 1000, nil)
	gateways := map[string]*exposure.Meter{
		"east": exposure.New(exposure.Config{Now: func() time.Time { return w.now }}),
		"west": exposure.New(exposure.Config{Now: func() time.Time { return w.now }}),
	}
	candidate := snap.Table.Service("shop").Candidate
	drive := func(from, to int) {
		for i := from; i < to; i++ {
			status := 200
			if snap.Table.Service("shop").Arm(subject(i)) == candidate {
				status = 500
			}
			for _, g := range []string{"east", "west"} { // each subject meets both
				o := request(snap, subject(i), status, w.now)
				gateways[g].Observe(o)
				gateways[g].Observe(o) // and tries again
			}
		}
		w.tick(time.Second)
		for name, m := range gateways {
			w.deliver(name, m, true)
		}
	}
	drive(0, 20)
	before := w.settled("ro_1")
	if before.Outcome != health.Wait {
		t.Errorf("after 20 subjects: %s %v", before.Outcome, before.Reasons)
	}
	w.restart()
	if after := w.settled("ro_1"); after.LogE != before.LogE || after.Exposed != before.Exposed {
		t.Errorf("after a restart log E is %v of %+v, was %v of %+v", after.LogE, after.Exposed, before.LogE, before.Exposed)
	}
	drive(20, 200)
	r := w.settled("ro_1")
	if r.Outcome != health.Fail || r.Tripped != health.ServerError {
		t.Errorf("%s, %q: %v", r.Outcome, r.Tripped, r.Reasons)
	}
	if n := r.Exposed.Stable + r.Exposed.Candidate; n != 200 {
		t.Errorf("%d subjects exposed, want 200", n)
	}
	if m := metric(t, r, health.ServerError); m.Events.Stable != 0 || m.Events.Candidate != r.Exposed.Candidate || m.AtRisk.Candidate != 0 {
		t.Errorf("events %+v at risk %+v of %+v", m.Events, m.AtRisk, r.Exposed)
	}
	if len(r.Sources) != 2 || r.Sources[0].Name != "gateway:east" || r.Sources[0].Heard == 0 {
		t.Errorf("sources %+v", r.Sources)
	}
}

func metric(t *testing.T, r health.Report, name health.Metric) health.MetricReport {
	t.Helper()
	for _, m := range r.Metrics {
		if m.Name == name {
			return m
		}
	}
	t.Fatalf("no metric %s", name)
	return health.MetricReport{}
}

// TestRestartsChangeNothing: however often the process ends, with snapshots or
// without, with batches delivered twice, the report is that of a process that
// never did.
func TestRestartsChangeNothing(t *testing.T) {
	for seed := range uint64(3) {
		rng := rand.New(rand.NewPCG(seed, 7))
		snapshots := 1
		crashing := newWorld(t, func(c *Config) { c.SnapshotBytes = snapshots })
		steady := newWorld(t, nil)
		for _, w := range []*world{crashing, steady} {
			w.must(w.analysis.Open(t.Context(), opening))
		}
		crash := exposure.New(exposure.Config{Now: func() time.Time { return crashing.now }})
		calm := exposure.New(exposure.Config{Now: func() time.Time { return steady.now }})
		for step := range 40 {
			snap := shop(t, 500+step/20*1000, nil)
			for range 50 {
				i, status := rng.IntN(2000), 200
				if rng.IntN(10) == 0 {
					status = 500
				}
				crash.Observe(request(snap, subject(i), status, crashing.now))
				calm.Observe(request(snap, subject(i), status, steady.now))
			}
			for _, w := range []*world{crashing, steady} {
				w.tick(time.Second)
			}
			crashing.deliver("east", crash, rng.IntN(2) == 0)
			steady.deliver("east", calm, false)
			if rng.IntN(3) == 0 {
				crashing.restart()
			}
		}
		a, b := crashing.settled("ro_1"), steady.settled("ro_1")
		if a.LogE != b.LogE || a.LogSafe != b.LogSafe || a.Exposed != b.Exposed || a.Seq != b.Seq || len(a.History) != len(b.History) {
			t.Errorf("seed %d: with restarts %v %v %+v %d %d, without %v %v %+v %d %d", seed,
				a.LogE, a.LogSafe, a.Exposed, a.Seq, len(a.History), b.LogE, b.LogSafe, b.Exposed, b.Seq, len(b.History))
		}
		if m, n := metric(t, a, health.ServerError), metric(t, b, health.ServerError); m != n || m.Events.Stable == 0 {
			t.Errorf("seed %d: %+v, want %+v", seed, m, n)
		}
	}
}

func TestOpenTwice(t *testing.T) {
	w := newWorld(t, nil)
	w.must(w.analysis.Open(t.Context(), opening))
	w.must(w.analysis.Open(t.Context(), opening))
	w.restart()
	w.must(w.analysis.Open(t.Context(), opening))
	other := opening
	other.Spec.Alpha = 0.1
	if err := w.analysis.Open(t.Context(), other); !errors.Is(err, ErrOpen) {
		t.Errorf("another specification: %v", err)
	}
	other.Rollout, other.Spec.Alpha = "ro_2", 3
	if err := w.analysis.Open(t.Context(), other); !errors.Is(err, health.ErrSpec) {
		t.Errorf("a bad specification: %v", err)
	}
	w.must(w.analysis.Close(t.Context(), "ro_1"))
	w.must(w.analysis.Close(t.Context(), "ro_1"))
	w.restart()
	if _, ok := w.analysis.Health("ro_1"); ok {
		t.Error("a closed rollout is judged after a restart")
	}
	if err := w.analysis.Open(t.Context(), opening); !errors.Is(err, ErrOpen) {
		t.Errorf("a closed rollout is opened again: %v", err)
	}
}

func TestInvariantTripsAtOnce(t *testing.T) {
	w := newWorld(t, nil)
	w.must(w.analysis.Open(t.Context(), opening))
	m := exposure.New(exposure.Config{Now: func() time.Time { return w.now }})
	snap := shop(t, 100, nil)
	m.Stranded(snap, snap.Table.Service("shop"), "ada", w.now)
	w.deliver("east", m, false)
	if r := w.settled("ro_1"); r.Outcome != health.Fail || r.Tripped != health.Stranded {
		t.Errorf("%s, %q: %v", r.Outcome, r.Tripped, r.Reasons)
	}
}

func TestBaselineIsTheStableReleases(t *testing.T) {
	w := newWorld(t, nil)
	m := exposure.New(exposure.Config{Now: func() time.Time { return w.now }})
	snap := shop(t, 0, nil)
	if b := w.analysis.Baseline("shop/v1"); b != nil {
		t.Errorf("a baseline of nothing: %v", b)
	}
	for i := range 2000 {
		o := request(snap, subject(i), 200, w.now)
		o.Latency = time.Duration(i+1) * time.Millisecond
		m.Observe(o)
	}
	w.tick(time.Second)
	w.deliver("east", m, true)
	b := w.analysis.Baseline("shop/v1")
	if len(b) != 3 || b[0] < 1_000_000 || b[0] > 1_130_000 || b[1] < 1_800_000 || b[1] > 2_030_000 || b[2] < 1_980_000 {
		t.Errorf("baseline %v", b)
	}
	w.tick(11 * time.Minute)
	if b := w.analysis.Baseline("shop/v1"); b != nil {
		t.Errorf("after eleven minutes: %v", b)
	}
	// A candidate that is slow for its cohort.
	o := opening
	o.Latency = true
	w.must(w.analysis.Open(t.Context(), o))
	snap = shop(t, 5000, &epoch.Watch{LatencyUS: b})
	m = exposure.New(exposure.Config{Now: func() time.Time { return w.now }})
	for i := range 400 {
		r := request(snap, subject(i), 200, w.now)
		if r.Served.Name == "v2" {
			r.Latency = 4 * time.Second
		}
		m.Observe(r)
	}
	w.deliver("east", m, false)
	if r := w.settled("ro_1"); r.Outcome != health.Fail {
		t.Errorf("%s: %v", r.Outcome, r.Reasons)
	}
}
