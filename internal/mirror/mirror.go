// Package mirror answers "who sends the copies of requests that a shadow rollout
// asks for, and what keeps them from hurting anybody?".
//
// A Queue runs jobs beside the requests that caused them: a fixed number at a time,
// each for a bounded time, and no more waiting than there is room for. What finds
// no room is dropped and counted: copies are a sample, requests are not.
//
// New starts nothing; Run owns the goroutines and returns when they have. Offer may
// be called concurrently, never blocks, and before Run it only queues.
package mirror

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Config is what a Queue is made of; the zero value is usable.
type Config struct {
	// Workers is how many jobs run at once, Waiting how many wait; 0 are 16 and 64.
	Workers, Waiting int
	// Timeout bounds one job; 0 is 10s.
	Timeout time.Duration
	// Metrics is where the queue registers; nil registers nowhere.
	Metrics prometheus.Registerer
	// Log gets jobs that broke; nil discards.
	Log *slog.Logger
}

// Job is one copy to send; ctx ends at the time-out and when the process stops.
type Job func(ctx context.Context)

// Queue runs jobs within its bounds.
type Queue struct {
	cfg     Config
	jobs    chan Job
	sent    prometheus.Counter
	dropped prometheus.Counter
}

// New returns a queue that runs nothing yet.
func New(c Config) *Queue {
	if c.Workers <= 0 {
		c.Workers = 16
	}
	if c.Waiting <= 0 {
		c.Waiting = 64
	}
	if c.Timeout <= 0 {
		c.Timeout = 10 * time.Second
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	q := &Queue{cfg: c, jobs: make(chan Job, c.Waiting)}
	q.sent = prometheus.NewCounter(prometheus.CounterOpts{Name: "mintmark_gateway_mirrored_total", Help: "Copies of requests that were sent to shadow releases, or tried to be."})
	q.dropped = prometheus.NewCounter(prometheus.CounterOpts{Name: "mintmark_gateway_mirror_dropped_total", Help: "Copies that were not sent because too many were under way."})
	if c.Metrics != nil {
		c.Metrics.MustRegister(q.sent, q.dropped)
	}
	return q
}

// Offer takes a job, or reports that there is no room for it.
func (q *Queue) Offer(j func(ctx context.Context)) bool {
	select {
	case q.jobs <- j:
		return true
	default:
		q.dropped.Inc()
		return false
	}
}

// Run runs jobs until ctx ends. Jobs that wait then are dropped.
func (q *Queue) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	for range q.cfg.Workers {
		wg.Go(func() {
			for {
				select {
				case <-ctx.Done():
					return
				case j := <-q.jobs:
					q.run(ctx, j)
				}
			}
		})
	}
	wg.Wait()
	return nil
}

// run runs one job; one that panics takes nothing else with it.
func (q *Queue) run(ctx context.Context, j Job) {
	defer func() {
		if p := recover(); p != nil {
			q.cfg.Log.Error("copy of a request broke", "panic", p)
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, q.cfg.Timeout)
	defer cancel()
	q.sent.Inc()
	j(ctx)
}
