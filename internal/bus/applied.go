package bus

import "github.com/mintmark/mintmark/internal/epoch"

// Applied is how far a gateway has come in the state log, as it persists it: it
// never goes below this again, across restarts. The zero value is a gateway that
// never heard from control.
type Applied struct {
	Term     uint64     `json:"term"`
	Epoch    uint64     `json:"epoch"`
	Seq      uint64     `json:"seq"`
	RowHash  epoch.Hash `json:"row_hash"` // of row Seq
	Manifest epoch.Hash `json:"manifest"` // of epoch Epoch; zero when there is none yet
	// Evidence shows row Seq; nil when it was applied by a program that kept none.
	Evidence *Evidence `json:"evidence,omitempty"`
}

// Before reports whether a is older than b: by term, then by number.
func (a Applied) Before(b Applied) bool {
	if a.Term != b.Term {
		return a.Term < b.Term
	}
	return a.Seq < b.Seq
}

// SnapshotBytes are what a snapshot's signature covers.
func SnapshotBytes(h SnapshotHead) ([]byte, error) {
	body, err := Encode(h)
	if err != nil {
		return nil, err
	}
	return append([]byte("mintmark-snapshot-v1\n"), body...), nil
}
