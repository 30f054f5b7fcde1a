package admission

import "sync/atomic"

// Memo remembers, with a cached token, what was found out about it against state
// that seldom changes, keyed by that state's version. The zero value remembers
// nothing. It is safe for concurrent use; it must belong to one token only.
type Memo struct {
	revoked atomic.Uint64 // version of the revocation set at which no fact covered it
	cohort  atomic.Uint64 // salt tag (upper 48 bits) and cohort + 1
}
