package limit

import (
	"fmt"
	"testing"
	"time"
)

func TestRates(t *testing.T) {
	l, now, k := New(), time.Unix(1_800_000_000, 0), Key{"r", "a"}
	for i := range 3 {
		if wait := l.Take(k, 60, 3, now); wait != 0 {
			t.Fatalf("request %d of a burst of 3 waits %v", i+1, wait)
		}
	}
	if wait := l.Take(k, 60, 3, now); wait != time.Second {
		t.Errorf("the fourth waits %v, want 1s", wait)
	}
	if wait := l.Take(Key{"r", "b"}, 60, 3, now); wait != 0 {
		t.Errorf("another key waits %v", wait)
	}
	if wait := l.Take(k, 60, 3, now.Add(time.Second)); wait != 0 {
		t.Errorf("a second later it waits %v", wait)
	}
	if l.Take(k, 0, 0, now) != 0 {
		t.Error("no limit is one")
	}
}

func TestKeysAreBounded(t *testing.T) {
	l, now := New(), time.Unix(1_800_000_000, 0)
	for i := range 300_000 {
		l.Take(Key{"r", fmt.Sprint(i)}, 1, 1, now)
	}
	n := 0
	for i := range l.shards {
		n += len(l.shards[i].tat)
	}
	if n > 64*maxKeys {
		t.Errorf("%d keys are kept", n)
	}
}
