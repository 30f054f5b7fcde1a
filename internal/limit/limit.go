// Package limit answers: may one more pass now, or in how long?
//
// Rates are kept as theoretical arrival times (GCRA): one number a key, none for
// keys that are at rest, and a bound on how many keys there are at all.
package limit

import (
	"hash/maphash"
	"sync"
	"time"
)

// Rates holds the state of all rate limits of a process. Safe for concurrent use.
type Rates struct {
	seed   maphash.Seed
	shards [64]shard
}

type shard struct {
	mu  sync.Mutex
	tat map[Key]int64 // Unix nanoseconds; guarded by mu
}

// Key is what is counted apart.
type Key struct{ Route, Who string }

// maxKeys bounds a shard: 64 of them hold some 260,000 keys.
const maxKeys = 4096

// New returns rates at rest.
func New() *Rates {
	l := &Rates{seed: maphash.MakeSeed()}
	for i := range l.shards {
		l.shards[i].tat = map[Key]int64{}
	}
	return l
}

// Take asks for one request of key, of which perMinute come back and burst may come
// at once; it returns 0, or how long to wait. No limit is perMinute 0.
func (l *Rates) Take(k Key, perMinute, burst int, now time.Time) time.Duration {
	if perMinute <= 0 {
		return 0
	}
	step := int64(time.Minute) / int64(perMinute)
	depth := step * int64(max(burst, 1))
	s := &l.shards[maphash.String(l.seed, k.Who)%uint64(len(l.shards))]
	t := now.UnixNano()
	s.mu.Lock()
	defer s.mu.Unlock()
	tat, known := s.tat[k]
	tat = max(tat, t)
	if wait := tat + step - depth - t; wait > 0 {
		return time.Duration(wait)
	}
	if !known && len(s.tat) >= maxKeys {
		s.evict(t)
	}
	s.tat[k] = tat + step
	return 0
}

// evict drops keys at rest, which loses nothing, and, when there were none, those
// that a few probes found nearest to it: a flood of new keys then costs their own
// kind some precision, never memory.
func (s *shard) evict(now int64) {
	n := 0
	var oldest Key
	best := int64(1<<63 - 1)
	for k, tat := range s.tat {
		if tat <= now {
			delete(s.tat, k)
			best = 0
		} else if tat < best {
			best, oldest = tat, k
		}
		if n++; n >= 64 {
			break
		}
	}
	if best > 0 {
		delete(s.tat, oldest)
	}
}
