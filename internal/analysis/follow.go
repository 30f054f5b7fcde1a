package analysis

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"sync"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/health"
	"github.com/mintmark/mintmark/internal/ledger"
)

// following is one rollout that is judged.
type following struct {
	id mintmark.RolloutID

	mu    sync.Mutex
	judge *health.Judge // guarded by mu

	at uint64 // guarded by mu; version of the stream folded up to

	// Owned by Run.
	since   int // bytes of records folded since the last snapshot
	polls   map[health.Metric]*poll
	version uint64 // of its document
}

func (f *following) position() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.at
}

// position returns the version of the stream up to which a rollout is judged.
func (a *Analysis) position(id mintmark.RolloutID) uint64 {
	a.mu.Lock()
	f := a.rollouts[id]
	a.mu.Unlock()
	if f == nil {
		return 0
	}
	return f.position()
}

// document is the ledger document health/<rollout>: what is judged and from where
// on. Its snapshot, if it has one, is in the documents health/<rollout>.<n>.
type document struct {
	Opening health.Opening `json:"opening"`
	// From is the version of the stream when the rollout was opened.
	From uint64 `json:"from"`
	// Snapshot says how many chunks hold the judge as it was at version At of the
	// stream, and Sum is the SHA-256 over them. 0 chunks is none.
	Chunks int    `json:"chunks,omitempty"`
	At     uint64 `json:"at,omitempty"`
	Sum    string `json:"sum,omitempty"`
	Closed bool   `json:"closed,omitempty"`
}

func (a *Analysis) open(ctx context.Context, o health.Opening) error {
	for {
		d, err := a.cfg.Store.Document(ctx, ledger.DocHealth, string(o.Rollout))
		switch {
		case err == nil:
			return a.reopen(ctx, d, o)
		case !errors.Is(err, ledger.ErrNotFound):
			return fmt.Errorf("read the health of rollout %s: %w", o.Rollout, err)
		}
		from, err := a.cfg.Store.StreamVersion(ctx, health.Stream)
		if err != nil {
			return fmt.Errorf("read where the stream of health stands: %w", err)
		}
		err = a.put(ctx, o.Rollout, 0, document{Opening: o, From: from})
		if errors.Is(err, ledger.ErrConflict) {
			continue // somebody else opened it at this moment
		}
		if err != nil {
			return fmt.Errorf("open the health of rollout %s: %w", o.Rollout, err)
		}
		return a.follow(o, from, nil, 1)
	}
}

// reopen is open for a rollout that has a document.
func (a *Analysis) reopen(ctx context.Context, d ledger.Document, o health.Opening) error {
	var had document
	if err := json.Unmarshal(d.Body, &had); err != nil {
		return fmt.Errorf("health of rollout %s: %w", o.Rollout, err)
	}
	if had.Closed || !same(had.Opening, o) {
		return ErrOpen
	}
	a.mu.Lock()
	_, following := a.rollouts[o.Rollout]
	a.mu.Unlock()
	if following {
		return nil
	}
	return a.resume(ctx, d)
}

// same compares openings as they are written down.
func same(a, b health.Opening) bool {
	x, err1 := json.Marshal(a)
	y, err2 := json.Marshal(b)
	return err1 == nil && err2 == nil && reflect.DeepEqual(x, y)
}

func (a *Analysis) follow(o health.Opening, at uint64, judge *health.Judge, version uint64) error {
	if judge == nil {
		var err error
		if judge, err = health.NewJudge(o); err != nil {
			return err
		}
	}
	f := &following{id: o.Rollout, judge: judge, at: at, version: version, polls: map[health.Metric]*poll{}}
	a.mu.Lock()
	if a.rollouts[o.Rollout] == nil {
		a.rollouts[o.Rollout] = f
	}
	a.mu.Unlock()
	a.Wake()
	return nil
}

// Resume goes on with the rollouts that were open when the process ended, and
// folds what they have not seen. Call it once, before Run.
func (a *Analysis) Resume(ctx context.Context) error {
	after := ""
	for {
		page, err := a.cfg.Store.Documents(ctx, ledger.DocHealth, after, 100)
		if err != nil {
			return fmt.Errorf("read the open rollouts' health: %w", err)
		}
		for _, d := range page {
			after = d.ID
			if chunk(d.ID) {
				continue
			}
			// One that can't be read does not keep the others from being judged, nor the
			// process from starting.
			if err := a.resume(ctx, d); err != nil {
				a.cfg.Log.Error("rollout is not judged", "rollout", d.ID, "error", err)
			}
		}
		if len(page) < 100 {
			a.look(ctx)
			return nil
		}
	}
}

func (a *Analysis) resume(ctx context.Context, d ledger.Document) error {
	var doc document
	if err := json.Unmarshal(d.Body, &doc); err != nil {
		return fmt.Errorf("health of rollout %s: %w", d.ID, err)
	}
	if doc.Closed {
		return nil
	}
	at := doc.From
	judge, err := a.restore(ctx, &doc)
	switch {
	case err != nil:
		a.cfg.Log.Warn("snapshot of a rollout's health not used; all is folded again", "rollout", d.ID, "error", err)
	case judge != nil:
		at = doc.At
	}
	return a.follow(doc.Opening, at, judge, d.Version)
}

// Close ends the judging of a rollout. Its last report is gone with it: write down
// what is needed of it before. A rollout that is not judged is closed already.
func (a *Analysis) Close(ctx context.Context, id mintmark.RolloutID) error {
	d, err := a.cfg.Store.Document(ctx, ledger.DocHealth, string(id))
	switch {
	case errors.Is(err, ledger.ErrNotFound):
		return nil
	case err != nil:
		return fmt.Errorf("close the health of rollout %s: %w", id, err)
	}
	var doc document
	if err := json.Unmarshal(d.Body, &doc); err != nil {
		return fmt.Errorf("health of rollout %s: %w", id, err)
	}
	a.mu.Lock()
	delete(a.rollouts, id)
	a.mu.Unlock()
	if doc.Closed {
		return nil
	}
	doc.Closed, doc.Chunks, doc.At, doc.Sum = true, 0, 0, ""
	if err := a.put(ctx, id, d.Version, doc); err != nil && !errors.Is(err, ledger.ErrConflict) {
		return fmt.Errorf("close the health of rollout %s: %w", id, err)
	}
	return a.drop(ctx, id)
}

// put writes a rollout's document.
func (a *Analysis) put(ctx context.Context, id mintmark.RolloutID, version uint64, d document) error {
	body, err := json.Marshal(d)
	if err != nil {
		return err
	}
	stream := ledger.DocHealth + "/" + string(id)
	_, err = a.cfg.Ledger.Append(ctx, ledger.Batch{
		Events: []mintmark.Event{{Stream: stream, Type: "health.judged", Actor: "system:analysis", Data: body}},
		Expect: []ledger.Expect{{Stream: stream, Version: version}},
	})
	return err
}

// Run folds what becomes durable until ctx ends, polls queries, and writes a
// snapshot of a judge when what was folded since its last one is more than twice
// as large as the snapshot will be, so that snapshots at most add half to what
// the ledger stores of a rollout.
func (a *Analysis) Run(ctx context.Context) error {
	t := time.NewTicker(a.cfg.Every)
	defer t.Stop()
	var polls sync.WaitGroup
	defer polls.Wait()
	for {
		a.local(ctx)
		a.look(ctx)
		a.snapshots(ctx)
		a.poll(ctx, &polls)
		select {
		case <-ctx.Done():
			a.local(context.WithoutCancel(ctx))
			return nil
		case <-t.C:
		case <-a.wake:
		}
	}
}

const page = 200

// look folds everything that is new on the stream. What can't be read now is read
// at the next look.
func (a *Analysis) look(ctx context.Context) {
	for {
		list := a.followed()
		if len(list) == 0 {
			return
		}
		from := uint64(math.MaxUint64)
		for _, f := range list {
			from = min(from, f.position())
		}
		events, err := a.cfg.Store.Events(ctx, health.Stream, from, page)
		if err != nil {
			if ctx.Err() == nil {
				a.cfg.Log.Warn("records of health not read", "error", err)
			}
			return
		}
		for i := range events {
			a.fold(list, &events[i])
		}
		if len(events) < page {
			return
		}
	}
}

func (a *Analysis) followed() []*following {
	a.mu.Lock()
	defer a.mu.Unlock()
	list := make([]*following, 0, len(a.rollouts))
	for _, f := range a.rollouts {
		list = append(list, f)
	}
	return list
}

func (a *Analysis) fold(list []*following, e *mintmark.Event) {
	r, deltas, err := health.DecodeRecord(e.Data)
	if err != nil {
		a.cfg.Log.Warn("record of health not read, or not whole", "event", e.Seq, "source", e.Actor, "error", err)
	}
	for _, f := range list {
		if e.Version <= f.position() {
			continue
		}
		f.since += len(e.Data)
		f.mu.Lock()
		err := f.judge.Take(e.Version, &r, deltas)
		f.at = e.Version
		f.mu.Unlock()
		if err != nil {
			a.cfg.Log.Warn("record of health not judged", "rollout", f.id, "event", e.Seq, "error", err)
		}
	}
}
