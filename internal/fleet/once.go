package fleet

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/bus"
	"github.com/mintmark/mintmark/internal/ledger"
	"github.com/mintmark/mintmark/internal/limit"
)

// What one gateway's marks may take of the ledger at a time. A gateway at its
// bound answers state_unknown to proofs that it has not seen; the others go on.
const (
	maxMarks     = 1 << 20  // that are not over yet
	maxMarkBytes = 64 << 20 // of their keys
)

func newMarks() *limit.Held {
	return limit.NewHeld(limit.HeldConfig{Count: maxMarks, Bytes: maxMarkBytes, Longest: bus.MaxOnceLife})
}

// once sets a single-use mark for all gateways.
func (f *Fleet) once(ctx context.Context, id mintmark.GatewayID, q bus.OnceRequest) bus.OnceReply {
	a := bus.OnceReply{V: bus.Version}
	now := f.cfg.Now()
	if err := checkOnce(&q, now); err != nil {
		a.Error = err.Error()
		return a
	}
	expires := time.Unix(q.Expires, 0)
	f.mu.Lock()
	m, room := f.members[id], false
	if m != nil && !m.doc.Removed {
		clock := f.cfg.Clock()
		room = m.marks.Take(len(q.Key), clock, clock+expires.Sub(now))
	}
	f.mu.Unlock()
	switch {
	case m == nil || m.doc.Removed:
		a.Error = "not a member"
		return a
	case !room:
		a.Error = "too many single-use marks of this gateway are in force"
		return a
	}
	_, err := f.cfg.Ledger.Append(ctx, ledger.Batch{Once: []ledger.Once{{Space: q.Space, Key: q.Key, Expires: expires}}})
	switch {
	case errors.Is(err, ledger.ErrUsed):
		a.Used = true
	case err != nil:
		a.Error = "the ledger is unavailable"
	}
	return a
}

// checkOnce reports whether a gateway may set a mark: only of the one kind that
// gateways check, and not for longer than a proof can be good. The authority's own
// marks (codes, assertions) are not theirs to use up.
func checkOnce(q *bus.OnceRequest, now time.Time) error {
	switch left := time.Unix(q.Expires, 0).Sub(now); {
	case q.Space != bus.SpaceDPoP:
		return fmt.Errorf("gateways set no single-use marks of kind %.40q", q.Space)
	case q.Key == "" || len(q.Key) > bus.MaxOnceKey:
		return fmt.Errorf("a mark's key has 1 to %d bytes, not %d", bus.MaxOnceKey, len(q.Key))
	case left <= 0:
		return errors.New("the mark is over already: is a clock wrong?")
	case left > bus.MaxOnceLife:
		return fmt.Errorf("a mark lasts %s at most: is a clock wrong?", bus.MaxOnceLife)
	}
	return nil
}
