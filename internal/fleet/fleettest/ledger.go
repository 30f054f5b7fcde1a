// Package fleettest holds a ledger in memory for tests of the fleet and of those
// who build on it.
package fleettest

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/epoch"
	"github.com/mintmark/mintmark/internal/ledger"
)

// Ledger is a ledger and its store. Use New. Safe for concurrent use.
type Ledger struct {
	mu       sync.Mutex
	head     ledger.Head
	rows     []ledger.StateRow
	facts    map[mintmark.RevocationID]ledger.ActiveRevocation
	docs     map[string]ledger.Document
	versions map[string]uint64
	once     map[string]bool
	events   []mintmark.Event
	fail     func() (before, after error)
}

// New returns an empty ledger.
func New() *Ledger {
	return &Ledger{
		facts: map[mintmark.RevocationID]ledger.ActiveRevocation{}, docs: map[string]ledger.Document{},
		versions: map[string]uint64{}, once: map[string]bool{},
	}
}

// Fail makes appends fail: with before nothing is written, with after everything
// is and the caller is told otherwise. Nil heals.
func (l *Ledger) Fail(fail func() (before, after error)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fail = fail
}

// Copy returns the ledger as a backup of this moment would.
func (l *Ledger) Copy() *Ledger {
	l.mu.Lock()
	defer l.mu.Unlock()
	return &Ledger{
		head: l.head, rows: slices.Clone(l.rows), facts: maps.Clone(l.facts), docs: maps.Clone(l.docs),
		versions: maps.Clone(l.versions), once: maps.Clone(l.once), events: slices.Clone(l.events),
	}
}

// Head implements fleet.Ledger.
func (l *Ledger) Head() ledger.Head {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.head
}

// Events returns all events of a type.
func (l *Ledger) Events(t mintmark.EventType) []mintmark.Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(l.events), func(e mintmark.Event) bool { return e.Type != t })
}

// Append implements fleet.Ledger.
func (l *Ledger) Append(_ context.Context, b ledger.Batch) (ledger.Committed, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var after error
	if l.fail != nil {
		var before error
		if before, after = l.fail(); before != nil {
			return ledger.Committed{}, before
		}
	}
	for _, e := range b.Expect {
		if e.Version != ledger.Any && l.versions[e.Stream] != e.Version {
			return ledger.Committed{}, ledger.ErrConflict
		}
	}
	for _, o := range b.Once {
		if l.once[o.Space+"/"+o.Key] {
			return ledger.Committed{}, &ledger.UsedError{Space: o.Space}
		}
	}
	if b.AsOf != 0 && b.AsOf != l.head.RowSeq {
		return ledger.Committed{}, ledger.ErrStale
	}
	var c ledger.Committed
	if b.Row != nil {
		row, err := l.row(b)
		if err != nil {
			return ledger.Committed{}, err
		}
		c.RowSeq, c.RowHash = row.Seq, row.Hash
	}
	for _, o := range b.Once {
		l.once[o.Space+"/"+o.Key] = true
	}
	for _, e := range b.Events {
		l.head.Seq++
		e.Seq = l.head.Seq
		l.versions[e.Stream]++
		e.Version = l.versions[e.Stream]
		l.events = append(l.events, e)
		if kind, id, ok := strings.Cut(e.Stream, "/"); ok {
			if string(e.Data) == "null" {
				delete(l.docs, e.Stream)
			} else {
				l.docs[e.Stream] = ledger.Document{Kind: kind, ID: id, Version: e.Version, Body: e.Data}
			}
		}
	}
	c.Last, c.At = l.head.Seq, time.Now()
	return c, after
}

// row writes a state-log row. Call with mu held.
func (l *Ledger) row(b ledger.Batch) (ledger.StateRow, error) {
	seq, prev := l.head.RowSeq+1, l.head.RowHash
	l.head.Issued++
	body, sig, err := b.Row(seq, prev, l.head.Issued)
	if err != nil {
		return ledger.StateRow{}, err
	}
	var r epoch.Row
	if err := json.Unmarshal(body, &r); err != nil {
		return ledger.StateRow{}, err
	}
	s := ledger.StateRow{
		Seq: seq, Prev: prev, Term: r.Term, Issued: l.head.Issued, Body: body, Signature: sig,
		Hash: sha256.Sum256(append([]byte("mintmark-row-v1\n"), body...)),
	}
	l.rows = append(l.rows, s)
	l.head.RowSeq, l.head.RowHash, l.head.Term = seq, s.Hash, r.Term
	for _, v := range r.Revocations {
		fact, err := json.Marshal(v)
		if err != nil {
			return s, err
		}
		l.facts[v.ID] = ledger.ActiveRevocation{ID: v.ID, RowSeq: seq, Body: fact}
	}
	for _, id := range r.Restores {
		delete(l.facts, id)
	}
	return s, nil
}

// StateRows implements fleet.Store.
func (l *Ledger) StateRows(_ context.Context, from uint64, limit int) ([]ledger.StateRow, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if from == 0 {
		from = 1
	}
	if from > uint64(len(l.rows)) {
		return nil, nil
	}
	out := l.rows[from-1:]
	return slices.Clone(out[:min(limit, len(out))]), nil
}

// ActiveRevocations implements fleet.Store.
func (l *Ledger) ActiveRevocations(_ context.Context, after ledger.ActiveRevocation, limit int) ([]ledger.ActiveRevocation, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	order := func(a, b ledger.ActiveRevocation) int {
		if a.RowSeq != b.RowSeq {
			return int(a.RowSeq) - int(b.RowSeq)
		}
		return strings.Compare(string(a.ID), string(b.ID))
	}
	all := slices.SortedFunc(maps.Values(l.facts), order)
	all = slices.DeleteFunc(all, func(r ledger.ActiveRevocation) bool { return order(r, after) <= 0 })
	return all[:min(limit, len(all))], nil
}

// Document implements fleet.Store.
func (l *Ledger) Document(_ context.Context, kind, id string) (ledger.Document, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	d, ok := l.docs[kind+"/"+id]
	if !ok {
		return d, fmt.Errorf("%w: %s/%s", ledger.ErrNotFound, kind, id)
	}
	return d, nil
}

// Documents implements fleet.Store.
func (l *Ledger) Documents(_ context.Context, kind, after string, limit int) ([]ledger.Document, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []ledger.Document
	for _, stream := range slices.Sorted(maps.Keys(l.docs)) {
		if d := l.docs[stream]; d.Kind == kind && d.ID > after && len(out) < limit {
			out = append(out, d)
		}
	}
	return out, nil
}
