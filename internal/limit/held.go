package limit

import "time"

// heldGrain is how exactly the end of things is counted: by then all of a slot are
// over.
const heldGrain = time.Minute

// HeldConfig bounds what is held at a time; all members are required.
type HeldConfig struct {
	Count   int           // things
	Bytes   int           // of all of them
	Longest time.Duration // that one is held
}

// Held counts things of one owner that end by themselves, such as single-use marks,
// by slots of a minute on a monotonic clock, so that a jump of the wall clock frees
// nothing. It is not safe for concurrent use. Use NewHeld.
type Held struct {
	cfg   HeldConfig
	slots []slot
}

type slot struct {
	until        time.Duration
	count, bytes int
}

// NewHeld returns a counter of nothing.
func NewHeld(cfg HeldConfig) *Held {
	return &Held{cfg: cfg, slots: make([]slot, int(cfg.Longest/heldGrain)+2)}
}

// Take counts a thing that is over at end, which is not more than Longest after
// now; false when there is no room, and nothing is counted.
func (h *Held) Take(size int, now, end time.Duration) bool {
	count, bytes := h.now(now)
	if count >= h.cfg.Count || bytes+size > h.cfg.Bytes {
		return false
	}
	n := end/heldGrain + 1
	s := &h.slots[int(n)%len(h.slots)]
	if until := n * heldGrain; s.until != until {
		*s = slot{until: until} // what was there is a round ago: over
	}
	s.count++
	s.bytes += size
	return true
}

// now is what is held at now, or has been over for less than the grain.
func (h *Held) now(now time.Duration) (count, bytes int) {
	for i := range h.slots {
		if s := &h.slots[i]; s.until > now {
			count, bytes = count+s.count, bytes+s.bytes
		}
	}
	return count, bytes
}
