package ledger

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/auditlog"
	"github.com/mintmark/mintmark/internal/epoch"
)

// Evidence is what Verify reads of a store.
type Evidence interface {
	Head(ctx context.Context) (Head, error)
	// StoredEvents returns up to limit events with numbers above seq, in order.
	StoredEvents(ctx context.Context, seq uint64, limit int) ([]StoredEvent, error)
	// StoredHashes returns the hashes that begin at index at, up to the end of
	// their row; none past the last.
	StoredHashes(ctx context.Context, at int64) ([]tlog.Hash, error)
	// Inspect reports what the engine itself finds wrong: damaged pages, indexes
	// that disagree with their tables, streams whose versions have gaps.
	Inspect(ctx context.Context) ([]string, error)
	// Scratch makes an empty store to fold into, dropped by its Close.
	Scratch(ctx context.Context) (Scratch, error)
}

// Scratch is a store that lives as long as a verification.
type Scratch interface {
	Engine
	// Differ reports in which rows the read models of the two differ, at most
	// limit of them.
	Differ(ctx context.Context, original Evidence, limit int) ([]string, error)
	// States counts tokens by their state at now.
	States(ctx context.Context, now time.Time) (map[mintmark.TokenState]uint64, error)
	Close() error
}

// Checks are what Verify holds the evidence against.
type Checks struct {
	Fold Fold
	// Checkpoint opens a signed checkpoint (auditlog.Verifier.Open).
	Checkpoint func(signed []byte) (auditlog.Checkpoint, error)
	// Row verifies a state-log row's signature (epoch.VerifyRow with the state
	// key); nil leaves signatures unchecked.
	Row func(epoch.SignedRow) (epoch.Row, error)
	Now time.Time
	// Progress is told the events done, now and then; may be nil.
	Progress func(events uint64)
}

// Report is what Verify found. No Problems means that everything was proven again.
type Report struct {
	Events   uint64            `json:"events"`
	Rows     uint64            `json:"rows"`
	Tokens   uint64            `json:"tokens"`
	States   map[string]uint64 `json:"states"` // tokens by state now; they sum to Tokens
	Root     string            `json:"root"`
	Problems []string          `json:"problems"`
}

// OK reports whether nothing is wrong.
func (r *Report) OK() bool { return len(r.Problems) == 0 }

// maxProblems ends the search: a ruined file would give millions.
const maxProblems = 100

// Verify proves a store again from its events: numbers without gaps, every leaf
// and hash of the audit tree, the signed checkpoint, the chain and signatures of
// the state log, the read models folded anew, and that no token was lost or
// doubled. It writes nothing to the store. Run it on a store at rest: what is
// appended meanwhile looks like a difference. An error means that it could not
// finish; what is wrong with the store stands in the report.
func Verify(ctx context.Context, ev Evidence, c Checks) (*Report, error) {
	v := &verification{ev: ev, c: c, tree: new(auditlog.Tree), report: &Report{Problems: []string{}}}
	found, err := ev.Inspect(ctx)
	if err != nil {
		return nil, fmt.Errorf("inspect the store: %w", err)
	}
	for _, p := range found {
		v.problem("store: %s", p)
	}
	if v.head, err = ev.Head(ctx); err != nil {
		v.problem("head: %v", err)
		return v.report, nil
	}
	scratch, err := ev.Scratch(ctx)
	if err != nil {
		return nil, fmt.Errorf("make a scratch store: %w", err)
	}
	defer scratch.Close()
	if err := v.events(ctx, scratch); err != nil {
		return nil, err
	}
	v.ends(ctx)
	found, err = scratch.Differ(ctx, ev, maxProblems)
	if err != nil {
		v.problem("read models: %v", err)
	}
	for _, p := range found {
		v.problem("read models: %s", p)
	}
	if err := v.conserve(ctx, scratch); err != nil {
		return nil, err
	}
	return v.report, nil
}

type verification struct {
	ev     Evidence
	c      Checks
	head   Head
	report *Report

	tree   *auditlog.Tree
	stored []tlog.Hash // of the row being compared
	at     int64       // index of the next hash

	last    StoredEvent
	rowSeq  uint64
	rowTerm uint64
	rowHash epoch.Hash
	issued  uint64 // highest issuance number seen
	tokens  uint64 // token.issued events
	stopped bool   // folding anew is no use any more
}

func (v *verification) problem(format string, args ...any) {
	if len(v.report.Problems) < maxProblems {
		v.report.Problems = append(v.report.Problems, fmt.Sprintf(format, args...))
	}
}

// page is how many events share one scratch transaction.
const page = 1000

func (v *verification) events(ctx context.Context, scratch Scratch) error {
	for {
		list, err := v.ev.StoredEvents(ctx, v.last.Seq, page)
		if err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			v.problem("events after %d: %v", v.last.Seq, err)
			return nil
		}
		if len(list) == 0 {
			return nil
		}
		tx, err := scratch.Begin(ctx)
		if err != nil {
			return fmt.Errorf("scratch store: %w", err)
		}
		for i := range list {
			v.event(ctx, tx, &list[i])
		}
		if err := tx.Commit(ctx, 0, nil, Head{Seq: v.last.Seq}); err != nil {
			_ = tx.Rollback()
			return fmt.Errorf("scratch store: %w", err)
		}
		if v.c.Progress != nil {
			v.c.Progress(v.report.Events)
		}
		if len(v.report.Problems) >= maxProblems {
			return nil
		}
	}
}

func (v *verification) event(ctx context.Context, tx Tx, e *StoredEvent) {
	if e.Seq != v.last.Seq+1 {
		v.problem("event %d: follows %d", e.Seq, v.last.Seq)
	}
	if e.At.Before(v.last.At) {
		v.problem("event %d: time goes back", e.Seq)
	}
	v.report.Events++
	v.leaf(ctx, e)
	switch e.Type {
	case mintmark.EventStateCommitted:
		v.row(e)
	case mintmark.EventTokenIssued:
		var d mintmark.TokenIssued
		if json.Unmarshal(e.Data, &d) == nil {
			v.issued = max(v.issued, d.Token.Mark.Seq)
		}
		v.tokens++
	}
	v.last = *e
	if v.stopped {
		return
	}
	err, broken := tx.Nest(func() error {
		changes, err := v.c.Fold(ctx, &e.Event, tx)
		if err != nil {
			return err
		}
		return tx.Apply(ctx, &changes)
	})
	if err != nil {
		v.problem("event %d (%s): does not fold: %v", e.Seq, e.Type, err)
	}
	v.stopped = broken
}

// leaf adds the event's leaf and compares the hashes it makes with those stored.
func (v *verification) leaf(ctx context.Context, e *StoredEvent) {
	for _, h := range v.tree.Add(nil, auditlog.Leaf(e.Salt, &e.Event)) {
		if len(v.stored) == 0 {
			var err error
			if v.stored, err = v.ev.StoredHashes(ctx, v.at); err != nil {
				v.problem("audit tree: hash %d: %v", v.at, err)
			}
		}
		switch {
		case len(v.stored) == 0:
			v.problem("audit tree: hash %d (event %d) is missing", v.at, e.Seq)
		case v.stored[0] != h:
			v.problem("audit tree: hash %d does not follow from event %d", v.at, e.Seq)
		}
		if len(v.stored) > 0 {
			v.stored = v.stored[1:]
		}
		v.at++
	}
}

func (v *verification) row(e *StoredEvent) {
	var signed epoch.SignedRow
	if err := json.Unmarshal(e.Data, &signed); err != nil {
		v.problem("event %d: state-log row: %v", e.Seq, err)
		return
	}
	var row epoch.Row
	var err error
	if v.c.Row != nil {
		row, err = v.c.Row(signed)
	} else {
		err = json.Unmarshal(signed.Body, &row)
	}
	if err != nil {
		v.problem("event %d: state-log row after %d: %v", e.Seq, v.rowSeq, err)
		return
	}
	if row.Seq != v.rowSeq+1 || row.Prev != v.rowHash || row.Term < v.rowTerm {
		v.problem("state-log row %d: does not follow row %d", row.Seq, v.rowSeq)
	}
	if row.Issued < v.issued {
		v.problem("state-log row %d: names issuance %d, but %d was committed before", row.Seq, row.Issued, v.issued)
	}
	v.rowSeq, v.rowTerm, v.rowHash = row.Seq, row.Term, signed.Hash()
	v.issued = max(v.issued, row.Issued)
	v.report.Rows++
}

// ends compares where the events end with what the head and checkpoint say.
func (v *verification) ends(ctx context.Context) {
	h := v.head
	if h.Seq != v.last.Seq {
		v.problem("head: names event %d, the last is %d", h.Seq, v.last.Seq)
	}
	if v.last.Seq > 0 && h.At != v.last.At.UnixMilli() {
		v.problem("head: names time %d, the last event's is %d", h.At, v.last.At.UnixMilli())
	}
	if h.RowSeq != v.rowSeq || h.RowHash != [32]byte(v.rowHash) || h.Term != v.rowTerm {
		v.problem("head: names state-log row %d, the last is %d, or their hashes or terms differ", h.RowSeq, v.rowSeq)
	}
	if h.Issued < v.issued {
		v.problem("head: names issuance %d, but %d was committed", h.Issued, v.issued)
	}
	more, err := v.ev.StoredHashes(ctx, v.at)
	if err != nil || len(more)+len(v.stored) > 0 {
		v.problem("audit tree: hashes beyond the last event (%v)", err)
	}
	edge := v.tree.Edge()
	same := len(edge) == len(h.Edge)
	for i := range edge {
		same = same && edge[i] == h.Edge[i]
	}
	if !same {
		v.problem("head: edge of the audit tree does not follow from the events")
	}
	root := v.tree.Root()
	v.report.Root = root.String()
	if v.report.Events == 0 && len(h.Signed) == 0 {
		return
	}
	c, err := v.c.Checkpoint(h.Signed)
	switch {
	case err != nil:
		v.problem("checkpoint: %v", err)
	case c.Size != v.tree.Size() || !bytes.Equal(c.Root[:], root[:]):
		v.problem("checkpoint: signed for %d events, the tree has %d, or their roots differ", c.Size, v.tree.Size())
	}
}

// conserve checks that each token issued is in exactly one state.
func (v *verification) conserve(ctx context.Context, scratch Scratch) error {
	states, err := scratch.States(ctx, v.c.Now)
	if err != nil {
		return fmt.Errorf("count tokens: %w", err)
	}
	v.report.States = make(map[string]uint64, len(states))
	var own uint64
	for s, n := range states {
		v.report.Tokens += n
		v.report.States[s.String()] = n
		if s == mintmark.StateUnknown || s > mintmark.StateSuperseded {
			v.problem("%d tokens in no known state", n)
		}
	}
	own = v.report.Tokens
	if own < v.tokens {
		v.problem("%d tokens were issued, %d are accounted for", v.tokens, own)
	}
	return nil
}
