package mintmark

import (
	"encoding/json"
	"time"
)

// EventType names what happened, "noun.verb-in-the-past". Types are never
// renamed; new members of their data are optional.
type EventType string

// Events of the token core: their data are the types below and the ledger folds
// them into read models in the transaction that appends them.
const (
	EventTokenIssued     EventType = "token.issued"     // TokenIssued, stream token/<id>
	EventTokenRevoked    EventType = "token.revoked"    // TokenChanged
	EventTokenSuspended  EventType = "token.suspended"  // TokenChanged
	EventTokenRestored   EventType = "token.restored"   // TokenChanged
	EventTokenSuperseded EventType = "token.superseded" // TokenChanged
	EventFamilyOpened    EventType = "family.opened"    // FamilyOpened, stream family/<id>
	EventFamilyRotated   EventType = "family.rotated"   // FamilyRotated
	EventFamilyRevoked   EventType = "family.revoked"   // FamilyRevoked
	EventGrantMade       EventType = "grant.made"       // GrantMade, stream grant/<id>
	EventGrantRevoked    EventType = "grant.revoked"    // GrantRevoked
	EventUsageRecorded   EventType = "usage.recorded"   // packed batch, stream gateway/<id>
	EventStateCommitted  EventType = "state.committed"  // a state-log row, stream state
)

// Event is one thing that happened in a token's, release's or gateway's life.
// Events in the ledger are the truth; everything else is folded from them.
type Event struct {
	// Seq is the ledger-wide number, Version the number within the stream; both
	// start at 1 and are assigned by the append.
	Seq     uint64    `json:"seq,omitempty"`
	Stream  string    `json:"stream"`
	Version uint64    `json:"version,omitempty"`
	Type    EventType `json:"type"`
	// At is when the ledger took it, assigned by the append; never goes back.
	At time.Time `json:"at,omitzero"`
	// Actor is who caused it: user:NAME, client:ID, gateway:ID, system:ROLE.
	Actor string `json:"actor,omitempty"`
	// Token, Subject, Client, Release index the event for trace and find.
	Token   TokenID   `json:"token,omitempty"`
	Subject string    `json:"subject,omitempty"`
	Client  ClientID  `json:"client,omitempty"`
	Release ReleaseID `json:"release,omitempty"`
	// Data is the type's payload. On a document stream (see ledger) it is the
	// whole new document, or null to remove it.
	Data json.RawMessage `json:"data,omitempty"`
}

// TokenIssued is the data of token.issued.
type TokenIssued struct {
	Token Token `json:"token"`
	// Handle is HMAC-SHA-256 under the pepper of an opaque value's SHA-256; nil
	// for JWTs, which are found by jti.
	Handle []byte `json:"handle,omitempty"`
	// Parent is the token it was exchanged, refreshed or reissued from.
	Parent TokenID `json:"parent,omitempty"`
	// Name and Owner are for API keys.
	Name  string `json:"name,omitempty"`
	Owner string `json:"owner,omitempty"`
	// Reason is why somebody issued it by hand.
	Reason string `json:"reason,omitempty"`
}

// TokenChanged is the data of the other token events.
type TokenChanged struct {
	ID     TokenID `json:"id"`
	Reason string  `json:"reason,omitempty"`
	By     TokenID `json:"by,omitempty"` // successor
}

// FamilyOpened is the data of family.opened.
type FamilyOpened struct {
	Family  FamilyID `json:"family"`
	Grant   GrantID  `json:"grant"`
	Current TokenID  `json:"current"` // first refresh token
}

// FamilyRotated is the data of family.rotated.
type FamilyRotated struct {
	Family FamilyID `json:"family"`
	Old    TokenID  `json:"old"`
	New    TokenID  `json:"new"`
	// Sealed is the answer that was given, under a key derived from the presented
	// predecessor; forgotten after GraceUntil (Unix milliseconds).
	Sealed     []byte `json:"sealed,omitempty"`
	GraceUntil int64  `json:"grace_until,omitempty"`
}

// FamilyRevoked is the data of family.revoked.
type FamilyRevoked struct {
	Family FamilyID `json:"family"`
	Reason string   `json:"reason"`
}

// GrantMade is the data of grant.made.
type GrantMade struct {
	Grant    GrantID  `json:"grant"`
	Subject  string   `json:"subject"`
	Client   ClientID `json:"client"`
	Scopes   []string `json:"scopes,omitempty"`
	Audience []string `json:"audience,omitempty"`
	AuthTime int64    `json:"auth_time,omitempty"`
	ACR      string   `json:"acr,omitempty"`
	Nonce    string   `json:"nonce,omitempty"`
	// Seq is the issuance sequence number when the grant was made, so that a
	// revocation up to a later moment reaches what is minted from it first; 0 in
	// grants of earlier versions.
	Seq uint64 `json:"seq,omitempty"`
}

// GrantRevoked is the data of grant.revoked.
type GrantRevoked struct {
	Grant  GrantID `json:"grant"`
	Reason string  `json:"reason"`
}
