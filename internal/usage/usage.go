// Package usage counts every decision exactly, in memory, for the batches that a
// gateway sends to the recorder.
package usage

import (
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/bus"
	"github.com/mintmark/mintmark/internal/epoch"
)

// Config of a Counter. Zero values mean the defaults.
type Config struct {
	// Cells bounds the distinct (token, route, release, code) between two flushes;
	// 0 is 262,144. Past half of it Full asks for an early flush; past it counts
	// go on exactly, but under no token's name.
	Cells int
	// Singles is how many refusals a flush records singly; 0 is 200. Those beyond
	// are counted like everything else, and how many says RecordBatch.Sampled.
	Singles int
}

// Counter is safe for concurrent use.
type Counter struct{}

// New returns a counter.
func New(c Config) *Counter { return nil }

// Count counts one decision: t may be nil (nobody was identified), served nil
// (nothing served). It does not allocate for a combination already counted since
// the last flush.
func (c *Counter) Count(t *mintmark.Token, route *epoch.RouteEntry, served *epoch.ReleaseEntry, code mintmark.Code, now time.Time) {
}

// Refuse records a refused request singly, or leaves it out when this interval
// has had enough of them. Count it as well.
func (c *Counter) Refuse(r bus.Refusal) {}

// Foreign reports a foreign token seen for the first time.
func (c *Counter) Foreign(t *mintmark.Token) {}

// Flush moves everything counted since the last flush into b: Usage, Refusals,
// Sampled and Foreign are appended. One flush at a time.
func (c *Counter) Flush(b *bus.RecordBatch) {}

// Full receives when a flush should not wait for its turn.
func (c *Counter) Full() <-chan struct{} { return nil }
