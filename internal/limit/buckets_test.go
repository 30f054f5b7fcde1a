package limit

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// Strangers choose the keys: neither their length nor their number may fill the
// memory, and a flood of them may not let a guesser off.
func TestBucketsUnderFlood(t *testing.T) {
	l := NewBuckets(10, 30*time.Second)
	now := time.Unix(1_800_000_000, 0)
	for range 10 {
		l.Take("user\x00ada", now)
	}
	long := strings.Repeat("x", 60_000)
	kept := 0
	for i := range maxBuckets + 5_000 {
		l.Take(fmt.Sprint(i, long[:100]), now)
	}
	l.Take(long, now)
	if len(l.keys) > maxBuckets {
		t.Errorf("%d keys are kept", len(l.keys))
	}
	if !l.Spent("user\x00ada", now) {
		t.Error("a flood of other keys gave a guesser new guesses")
	}
	for k := range l.keys {
		kept += len(k)
	}
	if kept > maxBuckets*16 {
		t.Errorf("keys take %d bytes", kept)
	}
	l.Give("user\x00ada", now)
	if l.Spent("user\x00ada", now) {
		t.Error("what was given back is not there")
	}
}
