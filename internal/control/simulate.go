package control

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/whatif"
)

// Recorded keeps redacted records of requests; see whatif.Ring.
type Recorded interface {
	// Since returns those from a Unix second on that are young enough at now, oldest
	// first.
	Since(from, now int64) []whatif.Shape
}

// Simulate says what an apply would have changed for the requests that were
// recorded, and changes nothing.
func (c *Control) Simulate(ctx context.Context, r api.SimulateRequest) (*api.Simulation, error) {
	from, err := c.recordedFrom(r.Recorded)
	if err != nil {
		return nil, err
	}
	if len(r.Files) == 0 {
		return nil, fmt.Errorf("%w: files are missing: what is to be tried?", ErrInvalid)
	}
	if r.Since != nil {
		from = max(from, r.Since.Unix()/60*60)
	}
	next, err := c.Candidate(ctx, r.Files, r.Prune)
	if err != nil {
		return nil, err
	}
	shapes, err := c.shapes(from, r.Service)
	if err != nil {
		return nil, err
	}
	report := whatif.Simulate(c.cfg.State.Current().Table, next.Table, shapes, c.cfg.Now())
	out := report.Answer()
	out.Changes, out.Warnings = next.Changes, next.Warnings
	return out, nil
}

// maxRecorded is how many records one answer carries.
const maxRecorded = 5000

// RecordedRequests returns the newest records, oldest first.
func (c *Control) RecordedRequests(recorded, service string) (*api.Recorded, error) {
	from, err := c.recordedFrom(recorded)
	if err != nil {
		return nil, err
	}
	shapes, err := c.shapes(from, service)
	if err != nil {
		return nil, err
	}
	out := &api.Recorded{}
	if n := len(shapes) - maxRecorded; n > 0 {
		shapes, out.More = shapes[n:], true
	}
	out.Records, err = whatif.Encode(shapes)
	return out, err
}

// recordedFrom reads how far back to go as the Unix second to begin at.
func (c *Control) recordedFrom(text string) (int64, error) {
	if text == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 {
		return 0, fmt.Errorf("%w: recorded %.20q: want a duration such as 1h", ErrInvalid, text)
	}
	return c.cfg.Now().Add(-d).Unix() / 60 * 60, nil
}

func (c *Control) shapes(from int64, service string) ([]whatif.Shape, error) {
	if c.cfg.Recorded == nil {
		return nil, nil
	}
	all := c.cfg.Recorded.Since(from, c.cfg.Now().Unix())
	if service == "" {
		return all, nil
	}
	if c.cfg.State.Current().Table.Service(service) == nil {
		return nil, fmt.Errorf("%w: there is no service %.70q", ErrNotFound, service)
	}
	out := all[:0]
	for _, s := range all {
		if strings.HasPrefix(s.Route, service+"/") {
			out = append(out, s)
		}
	}
	return out, nil
}
