package epoch

import "github.com/mintmark/mintmark/internal/revocation"

// Snapshot is the state that one request is decided by: an epoch and the
// revocations, at one point of the state log. It is immutable but for Revoked,
// which may already hold facts of later rows: facts only ever refuse sooner.
//
// Whoever applies a row applies its revocations first, then swaps the pointer to
// the new snapshot, so that no reader meets the new epoch without them.
type Snapshot struct {
	Term     uint64
	Epoch    uint64
	Seq      uint64 // of the last row applied
	RowHash  Hash   // of that row
	Manifest Manifest
	Table    *Table          // never nil
	Revoked  *revocation.Set // never nil
}
