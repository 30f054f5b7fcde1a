package fleet

import (
	"context"
	"crypto"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/bus"
	"github.com/mintmark/mintmark/internal/epoch"
)

type rawJSON = json.RawMessage

// pages is the state at one head, cut up for sending. It does not change.
type pages struct {
	head  bus.SnapshotHead
	sig   []byte
	facts [][]rawJSON // by page; at least one
}

// pageFacts is how many revocations a page holds: some 2 MB at their largest.
const pageFacts = 1000

// snapshot answers with a page. All pages of a walk name one head; a cursor of a
// head that is no longer kept is an error, and the gateway starts again.
func (f *Fleet) snapshot(_ context.Context, _ mintmark.GatewayID, q bus.SnapshotRequest) bus.SnapshotPage {
	p, n, err := f.page(q.Cursor)
	if err != nil {
		return bus.SnapshotPage{V: bus.Version, Error: err.Error()}
	}
	a := bus.SnapshotPage{V: bus.Version, Head: p.head, KeyID: f.cfg.KeyID, Signature: p.sig, Revocations: p.facts[n]}
	if n+1 < len(p.facts) {
		a.Next = fmt.Sprintf("%d/%d", p.head.Seq, n+1)
	}
	return a
}

// page finds a cursor's page; the empty cursor is the first page of the present.
func (f *Fleet) page(cursor string) (*pages, int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	cur := f.current.Load()
	if cursor == "" {
		if f.pages == nil || f.pages.head.Seq != cur.Seq {
			p, err := f.cut(cur)
			if err != nil {
				return nil, 0, err
			}
			f.pages = p
		}
		return f.pages, 0, nil
	}
	seq, number, _ := strings.Cut(cursor, "/")
	n, err := strconv.Atoi(number)
	if err != nil || f.pages == nil || seq != strconv.FormatUint(f.pages.head.Seq, 10) || n < 0 || n >= len(f.pages.facts) {
		return nil, 0, fmt.Errorf("cursor %.40q is gone: start again", cursor)
	}
	return f.pages, n, nil
}

// cut cuts the state up. Call with mu held, so that no row comes between.
func (f *Fleet) cut(s *epoch.Snapshot) (*pages, error) {
	facts := slices.SortedFunc(s.Revoked.All(), func(a, b mintmark.Revocation) int { return strings.Compare(string(a.ID), string(b.ID)) })
	p := &pages{}
	digest := sha256.New()
	for page := range slices.Chunk(facts, pageFacts) {
		out := make([]rawJSON, len(page))
		for i := range page {
			body, err := bus.Encode(&page[i])
			if err != nil {
				return nil, err
			}
			out[i] = body
			digest.Write(body)
		}
		p.facts = append(p.facts, out)
	}
	if len(p.facts) == 0 {
		p.facts = [][]rawJSON{{}}
	}
	p.head = bus.SnapshotHead{
		Term: s.Term, Seq: s.Seq, RowHash: s.RowHash, Epoch: s.Epoch, Manifest: s.Manifest,
		Revocations: len(facts), Digest: epoch.Hash(digest.Sum(nil)),
	}
	body, err := bus.SnapshotBytes(p.head)
	if err != nil {
		return nil, err
	}
	p.sig, err = f.cfg.Key.Sign(nil, body, crypto.Hash(0))
	return p, err
}
