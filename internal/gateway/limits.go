package gateway

import (
	"hash/maphash"
	"sync"
	"time"

	"github.com/mintmark/mintmark"
)

// limits holds the rate limits of this gateway as theoretical arrival times
// (GCRA): one number a key, none for keys that are at rest.
type limits struct {
	seed   maphash.Seed
	shards [64]limitShard
}

type limitShard struct {
	mu  sync.Mutex
	tat map[limitKey]int64 // Unix nanoseconds; guarded by mu
}

type limitKey struct{ route, who string }

// maxLimitKeys bounds a shard: 64 of them hold some 260,000 keys.
const maxLimitKeys = 4096

func newLimits() *limits {
	l := &limits{seed: maphash.MakeSeed()}
	for i := range l.shards {
		l.shards[i].tat = map[limitKey]int64{}
	}
	return l
}

// take asks for one request of key; it returns 0, or how long to wait.
func (l *limits) take(k limitKey, perMinute, burst int, now time.Time) time.Duration {
	if perMinute <= 0 {
		return 0
	}
	step := int64(time.Minute) / int64(perMinute)
	depth := step * int64(max(burst, 1))
	s := &l.shards[maphash.String(l.seed, k.who)%uint64(len(l.shards))]
	t := now.UnixNano()
	s.mu.Lock()
	defer s.mu.Unlock()
	tat, known := s.tat[k]
	tat = max(tat, t)
	if wait := tat + step - depth - t; wait > 0 {
		return time.Duration(wait)
	}
	if !known && len(s.tat) >= maxLimitKeys {
		s.evict(t)
	}
	s.tat[k] = tat + step
	return 0
}

// evict drops keys at rest, which loses nothing, and, when there were none, those
// that a few probes found nearest to it: a flood of new keys then costs their own
// kind some precision, never memory.
func (s *limitShard) evict(now int64) {
	n := 0
	var oldest limitKey
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

// limit turns an admitted decision into a refusal when its route's limit is
// reached.
func (dc *Decider) limit(d *Decision, now time.Time) {
	rl := d.Verdict.Route.RateLimit
	if rl == nil {
		return
	}
	who := ""
	if t := d.Token; t != nil {
		switch rl.By {
		case "token":
			who = "t" + string(t.ID)
		case "subject":
			if who = "s" + t.Subject; t.Subject == "" {
				who = "c" + string(t.Client)
			}
		case "client":
			who = "c" + string(t.Client)
		}
	}
	if who == "" {
		who = "a" + d.Query.Peer.String()
	}
	if wait := dc.limits.take(limitKey{d.Verdict.Route.ID, who}, rl.PerMinute, rl.Burst, now); wait > 0 {
		d.Verdict.Allow, d.Verdict.Code = false, mintmark.CodeRateLimited
		d.RetryAfter = wait
	}
}
