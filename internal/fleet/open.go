package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/epoch"
	"github.com/mintmark/mintmark/internal/ledger"
	"github.com/mintmark/mintmark/internal/revocation"
)

// epochDoc (document setting/epoch) names the epoch in force. It is written in
// the transaction of each commit.
type epochDoc struct {
	Epoch    uint64     `json:"epoch"`
	Manifest epoch.Hash `json:"manifest"`
}

const epochStream = ledger.DocSetting + "/epoch"

// partDoc (document part/<hex hash>) is a part's body, or a manifest's under the
// name "manifest".
type partDoc struct {
	Name epoch.PartName  `json:"name"`
	Body json.RawMessage `json:"body"`
}

const manifestName epoch.PartName = "manifest"

// Open builds the snapshot from the ledger and starts a new term with a row of
// its own. Until the gateways have acknowledged or their leases of earlier terms
// are certainly over, no barrier is confirmed without them.
func (f *Fleet) Open(ctx context.Context) error {
	if err := f.lock(ctx); err != nil {
		return err
	}
	defer f.unlock()
	f.started, f.anchor = f.cfg.Clock(), f.cfg.Now()
	if at := f.cfg.Ledger.Head().At; at != 0 && time.UnixMilli(at).Before(f.anchor) {
		f.anchor = time.UnixMilli(at)
	}
	if err := f.reload(ctx); err != nil {
		return err
	}
	if err := f.loadMembers(ctx); err != nil {
		return err
	}
	f.loadPast(ctx)
	f.term = f.current.Load().Term + 1
	// The ledger may hold facts that were dropped already: the term's first row drops
	// them here, and whatever else is over everywhere.
	f.planForget()
	// Dying before this row is durable repeats the term number, of which then
	// nobody has heard.
	_, err := f.write(ctx, Change{Kind: "term", Actor: "system:fleet"}, nil, ledger.Batch{})
	if err != nil {
		return fmt.Errorf("start a new term: %w", err)
	}
	return nil
}

// reload builds the snapshot of the ledger's head. Call with the writer's place.
func (f *Fleet) reload(ctx context.Context) error {
	head := f.cfg.Ledger.Head()
	m, number, bodies, err := f.loadEpoch(ctx)
	if err != nil {
		return err
	}
	table, err := epoch.Compile(m, bodies)
	if err != nil {
		return fmt.Errorf("compile the epoch in force: %w", err)
	}
	set := revocation.NewSet()
	var after ledger.ActiveRevocation
	for {
		page, err := f.cfg.Store.ActiveRevocations(ctx, after, 1000)
		if err != nil {
			return fmt.Errorf("read the revocations in force: %w", err)
		}
		if len(page) == 0 {
			break
		}
		for _, r := range page {
			after = ledger.ActiveRevocation{ID: r.ID, RowSeq: r.RowSeq}
			var fact mintmark.Revocation
			if err := json.Unmarshal(r.Body, &fact); err != nil {
				return fmt.Errorf("read revocation %s: %w", r.ID, err)
			}
			set.Apply(fact)
		}
	}
	s := &epoch.Snapshot{
		Term: head.Term, Epoch: number, Seq: head.RowSeq, RowHash: head.RowHash,
		Manifest: m, Table: table, Revoked: set,
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.bodies = bodies
	f.current.Store(s)
	f.rows = nil
	f.epochs[number] = &past{snapshot: s, budgets: budgetsOf(table)}
	f.unsure = false
	f.broadcast()
	return nil
}

// loadEpoch reads the epoch in force; the empty manifest and 0 before the first.
func (f *Fleet) loadEpoch(ctx context.Context) (epoch.Manifest, uint64, map[epoch.Hash][]byte, error) {
	d, err := f.cfg.Store.Document(ctx, ledger.DocSetting, "epoch")
	if errors.Is(err, ledger.ErrNotFound) {
		return epoch.Manifest{}, 0, map[epoch.Hash][]byte{}, nil
	}
	var e epochDoc
	if err == nil {
		err = json.Unmarshal(d.Body, &e)
	}
	if err != nil {
		return epoch.Manifest{}, 0, nil, fmt.Errorf("read the epoch in force: %w", err)
	}
	m, bodies, err := f.loadManifest(ctx, e.Manifest)
	return m, e.Epoch, bodies, err
}

// loadManifest reads a manifest and the bodies it names.
func (f *Fleet) loadManifest(ctx context.Context, hash epoch.Hash) (epoch.Manifest, map[epoch.Hash][]byte, error) {
	var m epoch.Manifest
	body, err := f.body(ctx, hash)
	if err == nil {
		err = json.Unmarshal(body, &m)
	}
	if err != nil {
		return m, nil, fmt.Errorf("read manifest %s: %w", hash, err)
	}
	bodies := map[epoch.Hash][]byte{hash: body}
	for _, ref := range m.Parts {
		if bodies[ref.Hash], err = f.body(ctx, ref.Hash); err != nil {
			return m, nil, fmt.Errorf("read part %s: %w", ref.Name, err)
		}
	}
	return m, bodies, nil
}

// body reads a part's or manifest's body by hash, and checks that it is that.
func (f *Fleet) body(ctx context.Context, hash epoch.Hash) ([]byte, error) {
	d, err := f.cfg.Store.Document(ctx, ledger.DocPart, hash.String())
	if err != nil {
		return nil, err
	}
	var p partDoc
	if err := json.Unmarshal(d.Body, &p); err != nil {
		return nil, err
	}
	if epoch.HashOf(p.Body) != hash {
		return nil, fmt.Errorf("the ledger's body of %s %s has another hash: run mintmark verify", p.Name, hash)
	}
	return p.Body, nil
}

// loadPast brings back the older epochs that members were last noted on. What
// can't be had is missed only by Settled, which then names a newer one.
func (f *Fleet) loadPast(ctx context.Context) {
	cur := f.current.Load()
	for _, m := range f.members {
		a := m.applied
		if _, ok := f.epochs[a.Epoch]; ok || m.doc.Gone != 0 || a.Manifest.IsZero() || a.Epoch >= cur.Epoch {
			continue
		}
		manifest, bodies, err := f.loadManifest(ctx, a.Manifest)
		if err != nil {
			f.cfg.Log.Warn("older epoch not read", "epoch", a.Epoch, "error", err)
			continue
		}
		table, err := epoch.Compile(manifest, bodies)
		if err != nil {
			f.cfg.Log.Warn("older epoch does not compile", "epoch", a.Epoch, "error", err)
			continue
		}
		f.epochs[a.Epoch] = &past{
			snapshot: &epoch.Snapshot{Term: a.Term, Epoch: a.Epoch, Seq: a.Seq, RowHash: a.RowHash, Manifest: manifest, Table: table, Revoked: cur.Revoked},
			budgets:  budgetsOf(table),
		}
	}
}
