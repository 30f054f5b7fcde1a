package limit

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

const longest = 15 * time.Minute

// However marks come and go, what is counted is never less than what is in force,
// and never counts a mark for longer than a slot beyond its end.
func TestHeldIsCountedWhileHeld(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := NewHeld(HeldConfig{Count: 100, Bytes: 100, Longest: longest})
		now := time.Duration(rapid.Int64Range(0, int64(time.Hour)).Draw(t, "start"))
		var ends []time.Duration
		for range rapid.IntRange(1, 60).Draw(t, "marks") {
			now += time.Duration(rapid.Int64Range(0, int64(3*time.Minute)).Draw(t, "pause"))
			end := now + time.Duration(rapid.Int64Range(1, int64(longest)).Draw(t, "life"))
			if !m.Take(1, now, end) {
				t.Fatal("no room for a few marks")
			}
			ends = append(ends, end)
			least, most := 0, 0
			for _, e := range ends {
				if e > now {
					least++
				}
				if e+heldGrain >= now {
					most++
				}
			}
			counted, _ := m.now(now)
			if counted < least || counted > most {
				t.Fatalf("%d counted, %d in force, %d at most", counted, least, most)
			}
		}
	})
}

func TestHeldIsBounded(t *testing.T) {
	m := NewHeld(HeldConfig{Count: 1000, Bytes: 5000, Longest: longest})
	for range 1000 {
		if !m.Take(1, 0, time.Minute) {
			t.Fatal("no room below the bound")
		}
	}
	if m.Take(1, 0, time.Minute) {
		t.Error("room beyond the bound of things")
	}
	if !m.Take(1, 3*time.Minute, 4*time.Minute) {
		t.Error("no room although all are over")
	}
	big := NewHeld(HeldConfig{Count: 1000, Bytes: 5000, Longest: longest})
	n := 0
	for big.Take(512, 0, time.Minute) {
		n++
	}
	if n != 9 {
		t.Errorf("%d things of 512 bytes in 5000", n)
	}
}
