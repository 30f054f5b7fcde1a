package limit

import (
	"crypto/sha256"
	"sync"
	"time"
)

// maxBuckets bounds their memory.
const maxBuckets = 20_000

// Buckets counts events per key in token buckets: burst of them at once, one more
// each interval. It bounds guessing and polling, not
// load. Safe for concurrent use.
type Buckets struct {
	burst float64
	every time.Duration

	mu sync.Mutex
	// keys are hashed: their text comes from strangers, who would else choose how
	// much memory it takes. Guarded by mu.
	keys map[[16]byte]bucket
}

type bucket struct {
	left float64
	at   time.Time
}

// NewBuckets returns buckets that are all full.
func NewBuckets(burst int, every time.Duration) *Buckets {
	return &Buckets{burst: float64(burst), every: every, keys: map[[16]byte]bucket{}}
}

func hashed(key string) [16]byte {
	sum := sha256.Sum256([]byte(key))
	return [16]byte(sum[:16])
}

// Spent reports whether the key has none left at now.
func (l *Buckets) Spent(key string, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.level(hashed(key), now) < 1
}

// Take uses one; false when there was none.
func (l *Buckets) Take(key string, now time.Time) bool {
	k := hashed(key)
	l.mu.Lock()
	defer l.mu.Unlock()
	left := l.level(k, now)
	ok := left >= 1
	if ok {
		left--
	}
	if _, known := l.keys[k]; !known && len(l.keys) >= maxBuckets {
		l.drop(now)
	}
	l.keys[k] = bucket{left, now}
	return ok
}

// Give puts one back that turned out not to count.
func (l *Buckets) Give(key string, now time.Time) {
	k := hashed(key)
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, known := l.keys[k]; known {
		l.keys[k] = bucket{min(l.burst, l.level(k, now)+1), now}
	}
}

// level is called with mu held.
func (l *Buckets) level(key [16]byte, now time.Time) float64 {
	b, ok := l.keys[key]
	if !ok {
		return l.burst
	}
	return min(l.burst, b.left+float64(now.Sub(b.at))/float64(l.every))
}

// drop forgets, of a few keys, those that are full again, and else the fullest: a
// flood of new keys pushes out its own kind, and not the one that it is to hide.
// Called with mu held.
func (l *Buckets) drop(now time.Time) {
	probed, freed := 0, false
	var fullest [16]byte
	most := -1.0
	for k := range l.keys {
		switch left := l.level(k, now); {
		case left >= l.burst:
			delete(l.keys, k)
			freed = true
		case left > most:
			most, fullest = left, k
		}
		if probed++; probed == 64 {
			break
		}
	}
	if !freed {
		delete(l.keys, fullest)
	}
}
