package authority

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// Strangers choose the keys: neither their length nor their number may fill the
// memory, and a flood of them may not let a guesser off.
func TestLimiterUnderFlood(t *testing.T) {
	l := newLimiter(10, 30*time.Second)
	now := time.Unix(1_800_000_000, 0)
	for range 10 {
		l.take("user\x00ada", now)
	}
	long := strings.Repeat("x", 60_000)
	kept := 0
	for i := range limitKeys + 5_000 {
		l.take(fmt.Sprint(i, long[:100]), now)
	}
	l.take(long, now)
	if len(l.keys) > limitKeys {
		t.Errorf("%d keys are kept", len(l.keys))
	}
	if !l.spent("user\x00ada", now) {
		t.Error("a flood of other keys gave a guesser new guesses")
	}
	for k := range l.keys {
		kept += len(k)
	}
	if kept > limitKeys*16 {
		t.Errorf("keys take %d bytes", kept)
	}
	l.give("user\x00ada", now)
	if l.spent("user\x00ada", now) {
		t.Error("what was given back is not there")
	}
}
