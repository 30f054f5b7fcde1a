package follower

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/json"
	"fmt"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/bus"
	"github.com/mintmark/mintmark/internal/epoch"
	"github.com/mintmark/mintmark/internal/revocation"
)

// reset replaces the state by a snapshot: read to its end, verified as a whole,
// never older than what is applied. Call with work held.
func (f *Follower) reset(ctx context.Context) error {
	head, facts, evidence, err := f.read(ctx)
	if err != nil {
		return fmt.Errorf("read a snapshot of the state: %w", err)
	}
	next := bus.Applied{Term: head.Term, Epoch: head.Epoch, Seq: head.Seq, RowHash: head.RowHash, Evidence: evidence}
	if next.Before(f.applied) || head.Epoch < f.applied.Epoch || head.Seq < f.applied.Seq {
		return fmt.Errorf("%w: a snapshot of row %d, this gateway has applied %d", ErrForged, head.Seq, f.applied.Seq)
	}
	e := &ready{manifest: head.Manifest}
	if head.Epoch > 0 {
		next.Manifest = head.Manifest.Hash()
		if e, err = f.fetch(ctx, next.Manifest, &head.Manifest); err != nil {
			return fmt.Errorf("make epoch %d ready: %w", head.Epoch, err)
		}
	} else if e, err = f.compile(epoch.Manifest{}, nil); err != nil {
		return err
	}
	if err := f.cfg.Store.Apply(ctx, next, facts, nil, true); err != nil {
		return fmt.Errorf("persist a snapshot: %w", err)
	}
	set := revocation.NewSet()
	set.Apply(facts...)
	f.install(next, e, set)
	f.acknowledge(ctx)
	return nil
}

// maxFacts bounds a snapshot.
const maxFacts = 20_000_000

// read fetches all pages.
func (f *Follower) read(ctx context.Context) (head bus.SnapshotHead, _ []mintmark.Revocation, evidence *bus.Evidence, _ error) {
	var (
		facts  []mintmark.Revocation
		first  []byte // the signed head; every page must name the same
		digest = sha256.New()
		cursor string
	)
	for {
		p, err := ask[bus.SnapshotPage](ctx, f, f.cfg.Wait, bus.SubjectSnapshot, bus.SnapshotRequest{V: bus.Version, Cursor: cursor})
		if err == nil {
			err = unknown("read a page", p.Error)
		}
		if err != nil {
			return head, nil, nil, err
		}
		signed, err := f.verifyHead(&p)
		if err != nil {
			return head, nil, nil, err
		}
		if first == nil {
			first, head = signed, p.Head
			evidence = &bus.Evidence{Head: &head, KeyID: p.KeyID, Signature: p.Signature}
		} else if string(signed) != string(first) {
			return head, nil, nil, fmt.Errorf("%w: pages of different heads", ErrForged)
		}
		for _, body := range p.Revocations {
			var r mintmark.Revocation
			if err := json.Unmarshal(body, &r); err != nil {
				return head, nil, nil, fmt.Errorf("%w: %w", ErrForged, err)
			}
			digest.Write(body)
			facts = append(facts, r)
		}
		if len(facts) > min(head.Revocations, maxFacts) || p.Next != "" && len(p.Revocations) == 0 {
			return head, nil, nil, fmt.Errorf("%w: more pages than the head tells of", ErrForged)
		}
		if cursor = p.Next; cursor == "" {
			break
		}
	}
	if len(facts) != head.Revocations || epoch.Hash(digest.Sum(nil)) != head.Digest {
		return head, nil, nil, fmt.Errorf("%w: snapshot is incomplete: %d of %d revocations", ErrForged, len(facts), head.Revocations)
	}
	return head, facts, evidence, nil
}

// verifyHead checks a page's signature and returns the signed bytes.
func (f *Follower) verifyHead(p *bus.SnapshotPage) ([]byte, error) {
	signed, err := bus.SnapshotBytes(p.Head)
	if err != nil {
		return nil, err
	}
	key := f.cfg.StateKey(p.KeyID)
	if len(key) != ed25519.PublicKeySize || !ed25519.Verify(key, signed, p.Signature) {
		return nil, fmt.Errorf("%w: snapshot signed by unknown or wrong key %.80q", ErrForged, p.KeyID)
	}
	return signed, nil
}
