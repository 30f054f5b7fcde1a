package bus

import (
	"crypto/ed25519"
	"errors"
	"fmt"

	"github.com/mintmark/mintmark/internal/epoch"
)

// Evidence shows how far a state log reached: the last row that a gateway applied,
// or the head of the snapshot it began from, as control signed it. A gateway keeps
// it with what it applied. Exactly one of Row and Head is set.
//
// Without it a gateway's word for a number that control does not hold is worth
// nothing: whoever owns one gateway could otherwise stop control with it.
type Evidence struct {
	Row *epoch.SignedRow `json:"row,omitempty"`
	// Head with KeyID and Signature are those of a SnapshotPage.
	Head      *SnapshotHead `json:"head,omitempty"`
	KeyID     string        `json:"kid,omitempty"`
	Signature []byte        `json:"sig,omitempty"`
}

// ErrEvidence reports evidence that shows nothing: it is missing, malformed, or
// signed by no key of ours.
var ErrEvidence = errors.New("bus: evidence does not verify")

// Verify returns the position that the evidence shows. key returns the state key
// of a kid, or nil. Epoch is 0 when the evidence does not name one.
func (e *Evidence) Verify(key func(kid string) ed25519.PublicKey) (Applied, error) {
	switch {
	case e == nil || (e.Row == nil) == (e.Head == nil):
		return Applied{}, fmt.Errorf("%w: neither a row nor a snapshot's head", ErrEvidence)
	case e.Row != nil:
		r, err := epoch.VerifyRow(*e.Row, key)
		if err != nil {
			return Applied{}, fmt.Errorf("%w: %w", ErrEvidence, err)
		}
		a := Applied{Term: r.Term, Seq: r.Seq, RowHash: e.Row.Hash()}
		if r.Commit != nil {
			a.Epoch = r.Commit.Epoch
		}
		return a, nil
	}
	signed, err := SnapshotBytes(*e.Head)
	if err != nil {
		return Applied{}, fmt.Errorf("%w: %w", ErrEvidence, err)
	}
	pub := key(e.KeyID)
	if len(pub) != ed25519.PublicKeySize || !ed25519.Verify(pub, signed, e.Signature) {
		return Applied{}, fmt.Errorf("%w: a snapshot's head under key %.80q", ErrEvidence, e.KeyID)
	}
	return Applied{Term: e.Head.Term, Epoch: e.Head.Epoch, Seq: e.Head.Seq, RowHash: e.Head.RowHash}, nil
}
