package ledger

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/auditlog"
	"github.com/mintmark/mintmark/internal/epoch"
)

// Run commits what Append queues until ctx ends; what then still waits is refused
// with ErrUnavailable. It returns nil.
func (l *Ledger) Run(ctx context.Context) error {
	defer l.close()
	group := make([]*pending, 0, l.cfg.Group)
	for {
		select {
		case <-ctx.Done():
			return nil
		case p := <-l.queue:
			group = l.take(group[:0], p)
		}
		if len(group) > 0 {
			l.commit(context.WithoutCancel(ctx), group)
		}
	}
}

// take adds first and whatever else waits to the group, up to its size.
func (l *Ledger) take(group []*pending, first *pending) []*pending {
	for p := first; ; {
		if p.taken.CompareAndSwap(0, 1) {
			group = append(group, p)
		}
		if len(group) == l.cfg.Group {
			return group
		}
		select {
		case p = <-l.queue:
		default:
			return group
		}
	}
}

func (l *Ledger) close() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	for {
		select {
		case p := <-l.queue:
			if p.taken.CompareAndSwap(0, 1) {
				p.err = fmt.Errorf("%w: shutting down", ErrUnavailable)
				close(p.done)
			}
		default:
			return
		}
	}
}

// group is the state of one transaction under way.
type group struct {
	tx     Tx
	head   Head
	tree   *auditlog.Tree
	stored int64       // index of the first new hash
	hashes []tlog.Hash // new hashes in storage order
	now    time.Time
}

// commit writes one group and answers its members.
func (l *Ledger) commit(ctx context.Context, members []*pending) {
	defer func() {
		for _, p := range members {
			close(p.done)
		}
	}()
	if err := l.write(ctx, members); err != nil {
		// Nobody is told anything else: a member may have been refused because of
		// another's write that did not happen either.
		for _, p := range members {
			p.out, p.err = Committed{}, err
		}
	}
}

// write is the transaction. An error means that nothing may be claimed about any
// member.
func (l *Ledger) write(ctx context.Context, members []*pending) (err error) {
	if l.broken {
		if err := l.recover(ctx); err != nil {
			return err
		}
	}
	if err := l.step("begin"); err != nil {
		return err
	}
	tx, err := l.cfg.Engine.Begin(ctx)
	if err != nil {
		l.broken = true
		return unavailable("begin", err)
	}
	defer func() {
		if err != nil {
			l.broken = true
			_ = tx.Rollback() // the connection is opened again by recover
		}
	}()
	head := l.Head()
	tree, err := auditlog.NewTree(head.Seq, head.Edge)
	if err != nil {
		return unavailable("audit tree", err)
	}
	g := &group{tx: tx, head: head, tree: tree, stored: auditlog.Stored(head.Seq), now: l.now(head.At)}
	written := false
	for _, p := range members {
		ok, err := l.attempt(ctx, g, p)
		if err != nil {
			return err
		}
		written = written || ok
	}
	if !written {
		if err := tx.Rollback(); err != nil {
			return unavailable("rollback", err)
		}
		return nil
	}
	return l.finish(ctx, g)
}

// attempt makes one member's append inside a savepoint. An error is the
// transaction's, not the member's.
func (l *Ledger) attempt(ctx context.Context, g *group, p *pending) (ok bool, err error) {
	head, tree, hashes := g.head, g.tree.Clone(), len(g.hashes)
	perr, broken := g.tx.Nest(func() error { return l.apply(ctx, g, p) })
	if broken || errors.Is(perr, ErrUnavailable) {
		return false, unavailable("append", perr)
	}
	if perr != nil {
		g.head, g.tree, g.hashes = head, tree, g.hashes[:hashes]
		p.out, p.err = Committed{}, perr
		return false, nil
	}
	return true, nil
}

// finish signs the checkpoint and commits. If the process dies before Commit
// returns, the group is wholly there or wholly absent at the next start; nobody
// was told.
func (l *Ledger) finish(ctx context.Context, g *group) error {
	g.head.Issued = max(g.head.Issued, l.issued.Load())
	g.head.Edge = g.tree.Edge()
	if len(g.hashes) > 0 {
		signed, err := l.cfg.Sign(g.tree.Size(), g.tree.Root())
		if err != nil {
			return unavailable("sign the checkpoint", err)
		}
		g.head.Signed = signed
	}
	if err := l.step("commit"); err != nil {
		return err
	}
	if err := g.tx.Commit(ctx, g.stored, g.hashes, g.head); err != nil {
		return unavailable("commit", err)
	}
	if err := l.step("committed"); err != nil {
		return err
	}
	l.head.Store(&g.head)
	return nil
}

// apply checks one batch and writes it.
func (l *Ledger) apply(ctx context.Context, g *group, p *pending) error {
	b := p.batch
	if b.AsOf != 0 && b.AsOf != g.head.RowSeq {
		return fmt.Errorf("%w: %d, now %d", ErrStale, b.AsOf, g.head.RowSeq)
	}
	if err := expect(ctx, g.tx, b.Expect); err != nil {
		return err
	}
	for _, o := range b.Once {
		if err := g.tx.Once(ctx, o, g.now); err != nil {
			return err
		}
	}
	p.out = Committed{At: g.now}
	for i := range b.Events {
		seq, err := l.event(ctx, g, b.Events[i])
		if err != nil {
			return err
		}
		if i == 0 {
			p.out.First = seq
		}
		p.out.Last = seq
	}
	if b.Row != nil {
		if err := l.row(ctx, g, b, &p.out); err != nil {
			return err
		}
	}
	p.err = nil
	return nil
}

// expect checks the versions that the decision was made against.
func expect(ctx context.Context, tx Tx, list []Expect) error {
	for _, x := range list {
		if x.Version == Any {
			continue
		}
		v, err := tx.Version(ctx, x.Stream)
		if err != nil {
			return err
		}
		if v != 0 && x.Version == 0 {
			gone, err := tx.Gone(ctx, x.Stream)
			if err != nil {
				return err
			}
			if gone {
				continue
			}
		}
		if v != x.Version {
			return fmt.Errorf("%w: %s is at %d, expected %d", ErrConflict, x.Stream, v, x.Version)
		}
	}
	return nil
}

// event numbers, folds and writes one event and adds its leaf.
func (l *Ledger) event(ctx context.Context, g *group, e mintmark.Event) (uint64, error) {
	v, err := g.tx.Version(ctx, e.Stream)
	if err != nil {
		return 0, err
	}
	e.Seq, e.Version, e.At = g.head.Seq+1, v+1, g.now
	changes, err := l.cfg.Fold(ctx, &e, g.tx)
	if err != nil {
		return 0, fmt.Errorf("fold %s: %w", e.Type, err)
	}
	s := StoredEvent{Event: e}
	if changes.Data != nil {
		s.Data = changes.Data
	}
	if _, err := io.ReadFull(l.cfg.Random, s.Salt[:]); err != nil {
		return 0, unavailable("salt", err)
	}
	if err := l.step("event"); err != nil {
		return 0, err
	}
	if err := g.tx.Write(ctx, &s); err != nil {
		return 0, err
	}
	if err := l.step("changes"); err != nil {
		return 0, err
	}
	if err := g.tx.Apply(ctx, &changes); err != nil {
		return 0, err
	}
	g.head.Seq, g.head.At = e.Seq, g.now.UnixMilli()
	g.hashes = g.tree.Add(g.hashes, auditlog.Leaf(s.Salt, &s.Event))
	if changes.Row != nil {
		g.head.RowSeq, g.head.RowHash, g.head.Term = changes.Row.Seq, changes.Row.Hash, changes.Row.Term
		g.head.Issued = max(g.head.Issued, changes.Row.Issued)
	}
	return e.Seq, nil
}

// row builds the state-log row that belongs to the batch and writes it as an event.
func (l *Ledger) row(ctx context.Context, g *group, b *Batch, out *Committed) error {
	seq := g.head.RowSeq + 1
	body, sig, err := b.Row(seq, g.head.RowHash, l.issued.Load())
	if err != nil {
		return fmt.Errorf("build state-log row %d: %w", seq, err)
	}
	var r epoch.Row
	if err := json.Unmarshal(body, &r); err != nil {
		return fmt.Errorf("state-log row %d: %w", seq, err)
	}
	if r.Seq != seq || [32]byte(r.Prev) != g.head.RowHash {
		return fmt.Errorf("ledger: state-log row %d does not follow row %d", r.Seq, g.head.RowSeq)
	}
	data, err := json.Marshal(epoch.SignedRow{Body: body, Signature: sig})
	if err != nil {
		return err
	}
	last, err := l.event(ctx, g, mintmark.Event{Stream: "state", Type: mintmark.EventStateCommitted, Actor: r.Actor, Data: data})
	if err != nil {
		return err
	}
	if out.First == 0 {
		out.First = last
	}
	out.Last, out.RowSeq, out.RowHash = last, g.head.RowSeq, g.head.RowHash
	return nil
}

// recover finds out what the store truly holds after a failure.
func (l *Ledger) recover(ctx context.Context) error {
	if err := l.step("reopen"); err != nil {
		return err
	}
	if err := l.cfg.Engine.Reopen(ctx); err != nil {
		return unavailable("reopen", err)
	}
	h, err := l.cfg.Engine.Head(ctx)
	if err != nil {
		return unavailable("read the head again", err)
	}
	l.head.Store(&h)
	l.broken = false
	return nil
}

// now is the time of a group: whole milliseconds, never before the last event's.
func (l *Ledger) now(last int64) time.Time {
	return time.UnixMilli(max(l.cfg.Now().UnixMilli(), last)).UTC()
}

func (l *Ledger) step(name string) error {
	if l.cfg.Fail == nil {
		return nil
	}
	if err := l.cfg.Fail(name); err != nil {
		return unavailable(name, err)
	}
	return nil
}

// unavailable marks an error as the store's.
func unavailable(op string, err error) error {
	if errors.Is(err, ErrUnavailable) {
		return err
	}
	return fmt.Errorf("%w: %s: %w", ErrUnavailable, op, err)
}
