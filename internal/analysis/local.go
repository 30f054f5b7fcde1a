package analysis

import (
	"context"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/bus"
	"github.com/mintmark/mintmark/internal/health"
	"github.com/mintmark/mintmark/internal/ledger"
)

// maxHeld is how many deltas of this process's own meter wait while the ledger
// takes none; older ones are left out.
const maxHeld = 64

// local writes what this process's own meter saw into the ledger. What is not
// written when the process dies is lost: at most an interval's.
func (a *Analysis) local(ctx context.Context) {
	if a.cfg.Local == nil {
		return
	}
	var b bus.RecordBatch
	a.cfg.Local(&b)
	for _, packed := range b.Health {
		if d, err := health.DecodeDelta(packed); err == nil && len(d.Sections) > 0 {
			a.held = append(a.held, packed)
		}
	}
	if n := len(a.held) - maxHeld; n > 0 {
		a.cfg.Log.Warn("what the authority saw of rollouts is left out: the ledger takes nothing", "deltas", n)
		a.held = a.held[n:]
	}
	for len(a.held) > 0 {
		r := health.Record{Source: "authority", At: a.cfg.Now().UnixMilli(), Deltas: a.held[:1]}
		e, err := r.Event()
		if err == nil {
			_, err = a.cfg.Ledger.Append(ctx, ledger.Batch{Events: []mintmark.Event{e}})
		}
		if err != nil {
			return // the next look tries again
		}
		a.held = a.held[1:]
	}
}
