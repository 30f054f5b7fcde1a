package api

import (
	"time"

	"github.com/mintmark/mintmark"
)

// ReachedCount counts the live tokens that a selector covers, of one release or
// one client.
type ReachedCount struct {
	Release mintmark.ReleaseID `json:"release,omitempty"`
	Client  mintmark.ClientID  `json:"client_id,omitempty"`
	Tokens  int64              `json:"tokens"`
}

// States of a PendingRevocation.
const (
	PendingWaiting  = "waiting"  // for a second person
	PendingApproved = "approved" // it has happened; see Receipt
	PendingDenied   = "denied"
	PendingExpired  = "expired" // nobody decided in time
)

// PendingRevocation is a revocation that a guard wants a second person for. Its id
// is the revocation's, once approved.
type PendingRevocation struct {
	ID       mintmark.RevocationID `json:"id"`
	State    string                `json:"state"`
	Action   string                `json:"action"` // revoke or suspend
	Selector string                `json:"selector"`
	Reason   string                `json:"reason"`
	// For is as in RevokeRequest, counted from the approval.
	For string `json:"for,omitempty"`
	// Why says which rule of the guard wants a second person.
	Why       string `json:"why"`
	Requester string `json:"requester"`
	// Tokens is how many live tokens it covered when it was asked for.
	Tokens  int64     `json:"tokens"`
	Made    time.Time `json:"made"`
	Expires time.Time `json:"expires"`
	// Approver decided it, at Decided; DenyReason is why not.
	Approver   string             `json:"approver,omitempty"`
	Decided    time.Time          `json:"decided,omitzero"`
	DenyReason string             `json:"deny_reason,omitempty"`
	Receipt    mintmark.ReceiptID `json:"receipt,omitempty"`
	Version    uint64             `json:"version"`
}

// PendingRevocations lists them, newest first.
type PendingRevocations struct {
	Pending []PendingRevocation `json:"pending"`
}

// DecideRequest approves or denies a pending revocation.
type DecideRequest struct {
	// Reason is wanted to deny; an approval adds it to the requester's.
	Reason string `json:"reason,omitempty"`
	// Confirm repeats Problem.Confirm: who approves has read what it covers.
	Confirm string `json:"confirm,omitempty"`
	Wait    bool   `json:"wait,omitempty"`
	Timeout string `json:"timeout,omitempty"`
}

// RevocationDetail is one revocation: in force, or pending.
type RevocationDetail struct {
	// Revocation is nil unless it is in force.
	Revocation *mintmark.Revocation `json:"revocation,omitempty"`
	// Pending is nil unless a second person was wanted.
	Pending *PendingRevocation `json:"pending,omitempty"`
	// Tokens is how many live tokens it reaches: by their own state, so that those
	// which another revocation covers as well are counted.
	Tokens    int64          `json:"tokens"`
	ByRelease []ReachedCount `json:"by_release,omitempty"`
	ByClient  []ReachedCount `json:"by_client,omitempty"`
}

// RevocationQuery pages through the facts in force.
type RevocationQuery struct {
	After mintmark.RevocationID
	// Limit is 1 to 500; 0 is 500, or 50 with Counts.
	Limit int
	// Counts asks how many live tokens each reaches; then Limit is at most 50.
	Counts bool
}
