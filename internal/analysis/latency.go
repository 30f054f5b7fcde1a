package analysis

import (
	"sync"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/bus"
	"github.com/mintmark/mintmark/internal/health"
)

const (
	// latencyMinutes is how far back the durations of answers are kept, minute by
	// minute, in memory; LeastAnswers how many a baseline takes.
	latencyMinutes = 10
	LeastAnswers   = 1000
	maxReleases    = 2000
)

// latencies are the durations of each release's answers in the last minutes. They
// are not kept over a restart.
type latencies struct {
	mu  sync.Mutex
	now map[mintmark.ReleaseID]*minutes // guarded by mu
}

type minutes struct {
	at     [latencyMinutes]int64 // minute since 1970
	counts [latencyMinutes]health.Histogram
}

// add takes the durations of a batch.
func (l *latencies) add(b *bus.RecordBatch, now time.Time) {
	minute := now.Unix() / 60
	for _, packed := range b.Health {
		d, err := health.DecodeDelta(packed)
		if err != nil {
			continue // the recorder has said so
		}
		l.mu.Lock()
		for i := range d.Latency {
			l.count(&d.Latency[i], minute)
		}
		l.mu.Unlock()
	}
}

// count is called with mu held.
func (l *latencies) count(d *health.Latency, minute int64) {
	m := l.now[d.Release]
	if m == nil {
		if len(l.now) >= maxReleases {
			return
		}
		if l.now == nil {
			l.now = map[mintmark.ReleaseID]*minutes{}
		}
		m = &minutes{}
		l.now[d.Release] = m
	}
	i := minute % latencyMinutes
	if m.at[i] != minute {
		m.at[i], m.counts[i] = minute, health.Histogram{}
	}
	m.counts[i].Add(&d.Counts)
}

// Latency returns the durations of a release's answers in the last ten minutes, as
// far as this process has heard of them.
func (a *Analysis) Latency(r mintmark.ReleaseID) health.Histogram {
	l := &a.latency
	var sum health.Histogram
	minute := a.cfg.Now().Unix() / 60
	l.mu.Lock()
	defer l.mu.Unlock()
	if m := l.now[r]; m != nil {
		for i := range m.at {
			if m.at[i] > minute-latencyMinutes {
				sum.Add(&m.counts[i])
			}
		}
	}
	return sum
}

// Baseline returns the thresholds to freeze into the epoch of a rollout whose
// stable release is r: microseconds for each of health.LatencyLevels. nil when it
// had fewer than LeastAnswers answers: then latency takes no part.
func (a *Analysis) Baseline(r mintmark.ReleaseID) []int64 {
	h := a.Latency(r)
	if h.Total() < LeastAnswers {
		return nil
	}
	var out []int64
	for _, q := range health.LatencyLevels() {
		out = append(out, h.Quantile(q).Microseconds())
	}
	return out
}
