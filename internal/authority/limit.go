package authority

import (
	"sync"
	"time"
)

// limitKeys bounds a limiter's memory; past it the whole map is dropped rather
// than grown, which errs towards answering.
const limitKeys = 20_000

// limiter counts events per key in token buckets: burst of them at once, one more
// each interval. It bounds guessing and polling, not load.
type limiter struct {
	burst float64
	every time.Duration

	mu   sync.Mutex
	keys map[string]bucket // guarded by mu
}

type bucket struct {
	left float64
	at   time.Time
}

func newLimiter(burst int, every time.Duration) *limiter {
	return &limiter{burst: float64(burst), every: every, keys: map[string]bucket{}}
}

// spent reports whether the key has none left at now.
func (l *limiter) spent(key string, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.level(key, now) < 1
}

// take uses one; false when there was none.
func (l *limiter) take(key string, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	left := l.level(key, now)
	ok := left >= 1
	if ok {
		left--
	}
	if len(l.keys) >= limitKeys {
		l.drop(now)
	}
	l.keys[key] = bucket{left, now}
	return ok
}

// level is called with mu held.
func (l *limiter) level(key string, now time.Time) float64 {
	b, ok := l.keys[key]
	if !ok {
		return l.burst
	}
	return min(l.burst, b.left+float64(now.Sub(b.at))/float64(l.every))
}

// drop forgets full buckets, and everything when that is not enough.
func (l *limiter) drop(now time.Time) {
	for k := range l.keys {
		if l.level(k, now) >= l.burst {
			delete(l.keys, k)
		}
	}
	if len(l.keys) >= limitKeys {
		clear(l.keys)
	}
}
