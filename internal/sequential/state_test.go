package sequential_test

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/mintmark/mintmark/internal/sequential"
)

// restart is what a crash of the process does: only the state survives.
func restart(t testing.TB, a *sequential.Analysis) *sequential.Analysis {
	t.Helper()
	state, err := json.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	var b sequential.Analysis
	if err := json.Unmarshal(state, &b); err != nil {
		t.Fatalf("restoring %s: %v", state, err)
	}
	return &b
}

// several is a configuration with everything in it.
func several() sequential.Config {
	c := sequential.Config{Reserve: 0.2, Metrics: []sequential.Metric{
		{Name: "refused", Weight: 0.5},
		{Name: "reuse", Weight: 0.2, FailOnly: true, Null: 1.5},
		{Name: "watched", FailOnly: true},
		{Name: "stranded", Kind: sequential.Invariant},
	}}
	c.Metrics = append(c.Metrics,
		sequential.Metric{Name: "latency.p50", Kind: sequential.Latency, Level: 0.5, Weight: 0.15},
		sequential.Metric{Name: "latency.p99", Kind: sequential.Latency, Level: 0.99, Weight: 0.15},
	)
	return c
}

// TestRestartLosesNothing goes on with a copy that is restored at random points,
// beside the original, and compares the states byte by byte.
func TestRestartLosesNothing(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 4))
	names := []string{"refused", "reuse", "watched", "latency.p50", "latency.p99"}
	for range 20 {
		a, b := newAnalysis(t, several()), newAnalysis(t, several())
		for i := range 400 {
			m := names[rng.IntN(len(names))]
			batch := events(0.001+0.99*rng.Float64(), rng.Int64N(4), rng.Int64N(9))
			for _, x := range []*sequential.Analysis{a, b} {
				observe(t, x, m, batch)
				if i == 250 {
					if err := x.Trip("stranded", "jti 7"); err != nil {
						t.Fatal(err)
					}
					x.Renew()
					x.Expire()
				}
			}
			if rng.IntN(50) == 0 {
				b = restart(t, b)
			}
		}
		if one, two := mustMarshal(t, a), mustMarshal(t, b); !bytes.Equal(one, two) {
			t.Fatalf("original and restored differ:\n%s\n%s", one, two)
		}
		if a.Segments(0) > 32 {
			t.Fatalf("%d segments: want a bound of 32", a.Segments(0))
		}
	}
}

func mustMarshal(t testing.TB, v any) []byte {
	t.Helper()
	out, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestOldStateReadable: the golden state was written by the first version; every
// later one reads it and says the same.
func TestOldStateReadable(t *testing.T) {
	const golden = "testdata/state-1.json"
	a := newAnalysis(t, several())
	rng := rand.New(rand.NewPCG(5, 5))
	for range 100 {
		observe(t, a, "refused", events(0.1, rng.Int64N(2), rng.Int64N(3)))
		observe(t, a, "latency.p99", events(0.1, rng.Int64N(3), rng.Int64N(3)))
	}
	if os.Getenv("MINTMARK_TEST_UPDATE") != "" {
		if err := os.WriteFile(golden, mustMarshal(t, a), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	state, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	var b sequential.Analysis
	if err := json.Unmarshal(state, &b); err != nil {
		t.Fatal(err)
	}
	v, w := a.Verdict(), b.Verdict()
	for i := range v.Reasons {
		if v.Reasons[i].Metric != w.Reasons[i].Metric || !near(v.Reasons[i].E, w.Reasons[i].E) || !near(v.Reasons[i].Ratio.Lo, w.Reasons[i].Ratio.Lo) {
			t.Errorf("the golden state says %+v, today's %+v", w.Reasons[i], v.Reasons[i])
		}
	}
	// What a later version may add is ignored.
	later := strings.Replace(string(state), `{"version":1,`, `{"version":1,"added_later":[1],`, 1)
	if err := json.Unmarshal([]byte(later), &b); err != nil {
		t.Errorf("an unknown member: %v", err)
	}
}

func near(a, b float64) bool { return a == b || a/b > 1-1e-9 && a/b < 1+1e-9 }

func TestStateRefused(t *testing.T) {
	a := newAnalysis(t, several())
	for range 70 {
		observe(t, a, "refused", events(0.3, 1, 3))
	}
	state := string(mustMarshal(t, a))
	for _, test := range []struct{ name, old, new string }{
		{"no JSON", `{"version"`, `{"version`},
		{"a later version", `"version":1`, `"version":2`},
		{"no version", `"version":1`, `"v":1`},
		{"alpha of 2", `"alpha":0.01`, `"alpha":2`},
		{"negative events", `"canary_events":70`, `"canary_events":-70`},
		{"more informative events than events", `"informative_events":280`, `"informative_events":281`},
		{"a reserve out of nothing", `"reserve":0.084375`, `"reserve":0.9`},
		{"evidence out of nothing", `"log_e":`, `"log_e":9`},
		{"a pass undone", `"max_log_safe":`, `"max_log_safe":-`},
		{"a share of 2", `"low":0.3`, `"low":2`},
		{"a bet too few", `"safe":[`, `"safe":[],"x":[`},
		{"a metric too few", `"metrics":[{"canary_events"`, `"metrics":[],"x":[{"canary_events"`},
		{"trips of a count", `"canary_events":70,`, `"canary_events":70,"trips":1,`},
	} {
		t.Run(test.name, func(t *testing.T) {
			bad := strings.Replace(state, test.old, test.new, 1)
			if bad == state {
				t.Fatalf("%s isn't in the state", test.old)
			}
			b := newAnalysis(t, one(nil))
			before := b.Verdict()
			if err := json.Unmarshal([]byte(bad), b); err == nil {
				t.Fatal("accepted")
			} else {
				t.Log(err)
			}
			if !reflect.DeepEqual(b.Verdict(), before) {
				t.Error("a refused state changed the analysis")
			}
		})
	}
}

// FuzzState: whatever is accepted works on without panicking and comes back as it went.
func FuzzState(f *testing.F) {
	a := newAnalysis(f, several())
	f.Add(mustMarshal(f, a))
	observe(f, a, "refused", events(0.1, 2, 3))
	if err := a.Trip("stranded", "x"); err != nil {
		f.Fatal(err)
	}
	f.Add(mustMarshal(f, a))
	f.Add(mustMarshal(f, newAnalysis(f, one(nil))))
	f.Add([]byte(`{"version":1,"config":{"metrics":[{"name":"bad","kind":"count"}]},"metrics":[{}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var a sequential.Analysis
		if json.Unmarshal(data, &a) != nil {
			return
		}
		b := restart(t, &a)
		if !bytes.Equal(mustMarshal(t, &a), mustMarshal(t, b)) {
			t.Fatal("a restored state is not the one that was written")
		}
		for _, m := range a.Config().Metrics {
			if m.Kind != sequential.Invariant {
				_ = b.Observe(m.Name, events(0.2, 3, 1))
			}
		}
		if _, err := json.Marshal(b.Verdict()); err != nil {
			t.Fatalf("a verdict that can't be printed: %v", err)
		}
		restart(t, b)
	})
}
