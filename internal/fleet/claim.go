package fleet

import (
	"context"
	"errors"
	"fmt"
	"math/bits"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/bus"
	"github.com/mintmark/mintmark/internal/ledger"
)

// A gateway's word for how far it has come is believed as far as it lies within
// our log: it can only harm itself by lying there. Beyond, or beside it with a row
// of another hash, it means that this ledger was restored from an old backup, and
// control must stop leading; so only what control itself signed is believed to
// say so. A claim without that is refused and counted, its gateway is suspect, and
// nobody else notices.

// evidencePause is how often a gateway's evidence is looked at: verifying costs
// more than sending.
const evidencePause = time.Second

// examine compares a renewal's claim with our log. unproven says why it is not
// believed; it is empty when it is. An error means that this is not known now.
func (f *Fleet) examine(ctx context.Context, id mintmark.GatewayID, q *bus.LeaseRequest) (unproven string, err error) {
	f.mu.Lock()
	m, cur := f.members[id], f.current.Load()
	if m == nil || m.doc.Removed {
		f.mu.Unlock()
		return "", nil // answered as a stranger
	}
	unproven = beyond(bus.Applied{Term: q.Term, Epoch: q.Epoch, Seq: q.Seq}, cur.Term, cur.Epoch, cur.Seq)
	look := unproven == "" && q.Seq > 0 && m.checked != position{q.Seq, q.RowHash} && !q.RowHash.IsZero()
	f.mu.Unlock()
	if look {
		rows, _, err := f.rowsAfter(ctx, q.Seq-1, 1)
		if err != nil || len(rows) != 1 {
			return "", fmt.Errorf("read row %d: %w", q.Seq, errors.Join(err, ledger.ErrNotFound))
		}
		if rows[0].Hash() != q.RowHash {
			unproven = fmt.Sprintf("another row %d than this ledger holds", q.Seq)
		}
	}
	if unproven == "" {
		f.mu.Lock()
		defer f.mu.Unlock()
		m.checked = position{q.Seq, q.RowHash}
		return "", nil
	}
	if q.Evidence != nil && f.mayShow(m) {
		if err := f.weigh(ctx, id, q.Evidence); err != nil {
			return unproven + ": " + err.Error(), nil
		}
	}
	return unproven, nil
}

// beyond says how a position lies beyond ours; empty when it does not.
func beyond(a bus.Applied, term, number, seq uint64) string {
	if a.Term <= term && a.Seq <= seq && a.Epoch <= number {
		return ""
	}
	return fmt.Sprintf("term %d, row %d, epoch %d; this ledger ends at %d, %d, %d", a.Term, a.Seq, a.Epoch, term, seq, number)
}

// mayShow spends a gateway's right to have evidence looked at.
func (f *Fleet) mayShow(m *member) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.cfg.Clock()
	if m.shown != 0 && now < m.shown+evidencePause {
		return false
	}
	m.shown = now
	return true
}

// weigh looks at evidence: when control signed what this ledger does not hold, this
// process stops leading. An error says that it shows nothing of the kind.
func (f *Fleet) weigh(ctx context.Context, id mintmark.GatewayID, e *bus.Evidence) error {
	a, err := e.Verify(f.StateKey)
	if err != nil {
		return err
	}
	f.mu.Lock()
	cur := f.current.Load()
	f.mu.Unlock()
	if what := beyond(a, cur.Term, cur.Epoch, cur.Seq); what != "" {
		return f.older(id, what)
	}
	if a.Seq == 0 {
		return errors.New("its evidence is of no row")
	}
	rows, _, err := f.rowsAfter(ctx, a.Seq-1, 1)
	if err != nil || len(rows) != 1 {
		return fmt.Errorf("read row %d: %w", a.Seq, errors.Join(err, ledger.ErrNotFound))
	}
	if rows[0].Hash() != a.RowHash {
		return f.older(id, fmt.Sprintf("another row %d than this ledger holds", a.Seq))
	}
	return fmt.Errorf("its evidence is of row %d, which this ledger holds", a.Seq)
}

// older stops this process from leading, for good: a gateway has shown what this
// ledger lacks.
func (f *Fleet) older(id mintmark.GatewayID, what string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.behind == nil {
		f.behind = fmt.Errorf("%w: gateway %s has shown %s: put the newest copy of the ledger in place", ErrBehind, id, what)
		f.cfg.Log.Error("refusing to lead", "error", f.behind)
	}
	if m := f.members[id]; m != nil {
		m.suspect = "" // it told the truth
	}
	return nil
}

// doubt refuses a claim. Call with mu held.
func (f *Fleet) doubt(m *member, what string) {
	m.suspect = what
	m.refused++
	f.refused++
	if bits.OnesCount64(m.refused) == 1 { // at 1, 2, 4, 8 …: a liar does not fill the log
		f.cfg.Log.Warn("a gateway's claim is refused: it has not shown that control signed it",
			"gateway", m.doc.Gateway, "claim", what, "refused", m.refused)
	}
}

// ClaimsRefused is how many claims of gateways were refused since the start.
func (f *Fleet) ClaimsRefused() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.refused
}
