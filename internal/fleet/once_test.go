package fleet

import (
	"math"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/mintmark/mintmark/internal/bus"
)

func TestCheckOnce(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	in := func(d time.Duration) int64 { return now.Add(d).Unix() }
	for name, c := range map[string]struct {
		q  bus.OnceRequest
		ok bool
	}{
		"a proof":               {bus.OnceRequest{Space: "dpop", Key: "k", Expires: in(time.Minute)}, true},
		"the longest":           {bus.OnceRequest{Space: "dpop", Key: strings.Repeat("k", bus.MaxOnceKey), Expires: in(bus.MaxOnceLife)}, true},
		"the authority's marks": {bus.OnceRequest{Space: "assertion", Key: "k", Expires: in(time.Minute)}, false},
		"no kind":               {bus.OnceRequest{Key: "k", Expires: in(time.Minute)}, false},
		"no key":                {bus.OnceRequest{Space: "dpop", Expires: in(time.Minute)}, false},
		"a long key":            {bus.OnceRequest{Space: "dpop", Key: strings.Repeat("k", bus.MaxOnceKey+1), Expires: in(time.Minute)}, false},
		"over":                  {bus.OnceRequest{Space: "dpop", Key: "k", Expires: in(0)}, false},
		"no end":                {bus.OnceRequest{Space: "dpop", Key: "k"}, false},
		"too long":              {bus.OnceRequest{Space: "dpop", Key: "k", Expires: in(bus.MaxOnceLife + time.Second)}, false},
		"the end of time":       {bus.OnceRequest{Space: "dpop", Key: "k", Expires: math.MaxInt64}, false},
		"before time":           {bus.OnceRequest{Space: "dpop", Key: "k", Expires: math.MinInt64}, false},
	} {
		if err := checkOnce(&c.q, now); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// However marks come and go, what is counted is never less than what is in force,
// and never counts a mark for longer than a slot beyond its end.
func TestMarksAreCountedWhileInForce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var m marks
		now := time.Duration(rapid.Int64Range(0, int64(time.Hour)).Draw(t, "start"))
		var ends []time.Duration
		for range rapid.IntRange(1, 60).Draw(t, "marks") {
			now += time.Duration(rapid.Int64Range(0, int64(3*time.Minute)).Draw(t, "pause"))
			end := now + time.Duration(rapid.Int64Range(1, int64(bus.MaxOnceLife)).Draw(t, "life"))
			if !m.take(1, now, end) {
				t.Fatal("no room for a few marks")
			}
			ends = append(ends, end)
			least, most, counted := 0, 0, 0
			for _, e := range ends {
				if e > now {
					least++
				}
				if e+markGrain >= now {
					most++
				}
			}
			for _, s := range m.slots {
				if s.until > now {
					counted += s.count
				}
			}
			if counted < least || counted > most {
				t.Fatalf("%d counted, %d in force, %d at most", counted, least, most)
			}
		}
	})
}

func TestAGatewaysMarksAreBounded(t *testing.T) {
	var m marks
	for range maxMarks {
		if !m.take(1, 0, time.Minute) {
			t.Fatal("no room below the bound")
		}
	}
	if m.take(1, 0, time.Minute) {
		t.Error("room beyond the bound of entries")
	}
	if !m.take(1, 3*time.Minute, 4*time.Minute) {
		t.Error("no room although all are over")
	}
	var big marks
	n := 0
	for big.take(bus.MaxOnceKey, 0, time.Minute) {
		n++
	}
	if n*bus.MaxOnceKey > maxMarkBytes || n < maxMarkBytes/bus.MaxOnceKey {
		t.Errorf("%d marks of %d bytes", n, bus.MaxOnceKey)
	}
}
