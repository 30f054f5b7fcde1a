package analysis

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/health"
	"github.com/mintmark/mintmark/internal/ledger"
)

// chunkBytes is how much of a snapshot one document holds: as base64 well under
// the largest event.
const chunkBytes = 2 << 20

// chunkID names the n-th chunk of a snapshot at a version. Snapshots do not share
// names, so that the one in force stays whole until the next is.
func chunkID(id mintmark.RolloutID, at uint64, n int) string {
	return fmt.Sprintf("%s.%d.%d", id, at, n)
}

// chunk reports whether a document's id is a chunk's: rollouts' have no dot.
func chunk(id string) bool { return strings.Contains(id, ".") }

type piece struct {
	Body []byte `json:"body"`
}

// snapshots writes snapshots of the judges that have folded enough since their
// last one.
func (a *Analysis) snapshots(ctx context.Context) {
	for _, f := range a.followed() {
		if f.since < a.cfg.SnapshotBytes {
			continue
		}
		if err := a.snapshot(ctx, f); err != nil && ctx.Err() == nil {
			a.cfg.Log.Warn("snapshot of a rollout's health not written; a restart would take longer", "rollout", f.id, "error", err)
		}
	}
}

func (a *Analysis) snapshot(ctx context.Context, f *following) error {
	f.mu.Lock()
	b, err := f.judge.Snapshot()
	f.mu.Unlock()
	if err != nil {
		return err
	}
	if f.since < 2*len(b) {
		return nil
	}
	d, err := a.cfg.Store.Document(ctx, ledger.DocHealth, string(f.id))
	if err != nil {
		return err
	}
	var doc document
	if err := json.Unmarshal(d.Body, &doc); err != nil || doc.Closed {
		return err
	}
	had, hadAt := doc.Chunks, doc.At
	sum := sha256.Sum256(b)
	doc.Chunks, doc.At, doc.Sum = 0, f.at, hex.EncodeToString(sum[:])
	for len(b) > 0 {
		n := min(len(b), chunkBytes)
		if err := a.putChunk(ctx, chunkID(f.id, f.at, doc.Chunks), &piece{b[:n]}); err != nil {
			return err
		}
		b = b[n:]
		doc.Chunks++
	}
	// From here on a restart begins at the snapshot. Dying before leaves chunks that
	// nobody names; they go with the rollout's end.
	if err := a.put(ctx, f.id, d.Version, doc); err != nil {
		return err
	}
	f.since = 0
	for n := range had {
		if err := a.putChunk(ctx, chunkID(f.id, hadAt, n), nil); err != nil {
			return err
		}
	}
	return nil
}

func (a *Analysis) putChunk(ctx context.Context, id string, p *piece) error {
	body := []byte("null")
	if p != nil {
		var err error
		if body, err = json.Marshal(p); err != nil {
			return err
		}
	}
	_, err := a.cfg.Ledger.Append(ctx, ledger.Batch{Events: []mintmark.Event{{
		Stream: ledger.DocHealth + "/" + id, Type: "health.kept", Actor: "system:analysis", Data: body,
	}}})
	return err
}

// restore reads a judge from its snapshot; nil when there is none.
func (a *Analysis) restore(ctx context.Context, doc *document) (*health.Judge, error) {
	if doc.Chunks == 0 {
		return nil, nil
	}
	var b []byte
	for n := range doc.Chunks {
		d, err := a.cfg.Store.Document(ctx, ledger.DocHealth, chunkID(doc.Opening.Rollout, doc.At, n))
		if err != nil {
			return nil, fmt.Errorf("chunk %d: %w", n, err)
		}
		var p piece
		if err := json.Unmarshal(d.Body, &p); err != nil {
			return nil, fmt.Errorf("chunk %d: %w", n, err)
		}
		b = append(b, p.Body...)
	}
	if sum := sha256.Sum256(b); hex.EncodeToString(sum[:]) != doc.Sum {
		return nil, fmt.Errorf("%w: its sum is another", health.ErrSnapshot)
	}
	return health.RestoreJudge(b)
}

// drop removes every chunk of a rollout.
func (a *Analysis) drop(ctx context.Context, id mintmark.RolloutID) error {
	after := string(id)
	for {
		page, err := a.cfg.Store.Documents(ctx, ledger.DocHealth, after, 100)
		if err != nil {
			return fmt.Errorf("forget the snapshots of rollout %s: %w", id, err)
		}
		for _, d := range page {
			if !strings.HasPrefix(d.ID, string(id)+".") {
				return nil
			}
			if err := a.putChunk(ctx, d.ID, nil); err != nil {
				return fmt.Errorf("forget the snapshots of rollout %s: %w", id, err)
			}
			after = d.ID
		}
		if len(page) < 100 {
			return nil
		}
	}
}
