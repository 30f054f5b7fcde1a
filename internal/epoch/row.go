package epoch

import "github.com/mintmark/mintmark"

// Hash is a SHA-256.
type Hash [32]byte

// PartRef names a part by content.
type PartRef struct {
	Name PartName `json:"name"`
	Hash Hash     `json:"hash"`
}

// Manifest lists an epoch's parts, sorted by name. Its hash (SHA-256 of its
// canonical JSON) identifies a prepared epoch; number and term are bound at
// commit, so that a prepared inverse stays good under later numbers.
type Manifest struct {
	Parts []PartRef `json:"parts"`
}

// Commit binds a prepared manifest to a number: the moment it happened is when
// its row is durable in the ledger.
type Commit struct {
	Epoch    uint64             `json:"epoch"`
	Manifest Hash               `json:"manifest"`
	Kind     string             `json:"kind"` // apply, rollout, promote, rollback, keys, issuers
	Rollout  mintmark.RolloutID `json:"rollout,omitempty"`
}

// Row is one row of the state log: an epoch's commit, revocations, restores, or
// several of them that take effect together. Rows are numbered without gaps from
// 1, chained by the hash of the row before, and signed by control's state key.
type Row struct {
	Seq  uint64 `json:"seq"`
	Term uint64 `json:"term"`
	Prev Hash   `json:"prev"` // hash of row Seq-1; zero for the first
	At   int64  `json:"at"`   // Unix milliseconds, for people
	// Issued is the issuance sequence number in force when the row was written.
	Issued      uint64                  `json:"issued,omitempty"`
	Commit      *Commit                 `json:"commit,omitempty"`
	Revocations []mintmark.Revocation   `json:"revocations,omitempty"`
	Restores    []mintmark.RevocationID `json:"restores,omitempty"`
	// Forget is a Unix second that is certainly over: with this row every fact in
	// force, those of the row included, whose own Forget is before it is dropped,
	// by control and gateways alike. 0 drops none.
	Forget int64  `json:"forget,omitempty"`
	Actor  string `json:"actor,omitempty"`
	Reason string `json:"reason,omitempty"`
	KeyID  string `json:"kid"`
}

// SignedRow is a row as it travels and is stored: the exact bytes that were
// signed, and the Ed25519 signature over "mintmark-row-v1\n" followed by them.
// The row's hash is SHA-256 over the same.
type SignedRow struct {
	Body      []byte `json:"body"`
	Signature []byte `json:"sig"`
}
