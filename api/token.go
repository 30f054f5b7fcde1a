package api

import (
	"time"

	"github.com/mintmark/mintmark"
)

// Token is a token as the admin API shows it: never its value.
type Token struct {
	ID          mintmark.TokenID    `json:"id"`
	Kind        mintmark.TokenKind  `json:"kind"`
	State       mintmark.TokenState `json:"state"`
	Issuer      string              `json:"iss,omitempty"`
	Subject     string              `json:"sub,omitempty"`
	Client      mintmark.ClientID   `json:"client_id,omitempty"`
	Grant       mintmark.GrantID    `json:"grant,omitempty"`
	Family      mintmark.FamilyID   `json:"family,omitempty"`
	Scopes      []string            `json:"scopes,omitempty"`
	Audience    []string            `json:"audience,omitempty"`
	Mark        mintmark.Mark       `json:"mark"`
	Binding     mintmark.Binding    `json:"cnf,omitzero"`
	IssuedAt    int64               `json:"iat,omitempty"` // Unix seconds
	Expires     int64               `json:"exp,omitempty"` // Unix seconds; 0 never
	Parent      mintmark.TokenID    `json:"parent,omitempty"`
	By          mintmark.TokenID    `json:"by,omitempty"` // successor
	Name        string              `json:"name,omitempty"`
	Owner       string              `json:"owner,omitempty"`
	Reason      string              `json:"reason,omitempty"`
	FirstSeen   int64               `json:"first_seen,omitempty"` // Unix milliseconds
	LastSeen    int64               `json:"last_seen,omitempty"`  // Unix milliseconds
	LastGateway mintmark.GatewayID  `json:"last_gateway,omitempty"`
	LastRoute   string              `json:"last_route,omitempty"`
	Uses        uint64              `json:"uses"`
	Refused     uint64              `json:"refused"`
	// Disposition is what its mark's release demands; absent when it demands
	// nothing. Revocation is the fact that covers it, if any.
	Disposition string                 `json:"disposition,omitempty"`
	Class       string                 `json:"class,omitempty"`
	Revocation  *mintmark.RevocationID `json:"revocation,omitempty"`
}

// TokenPage is a page of tokens; Next is empty on the last.
type TokenPage struct {
	Tokens []Token          `json:"tokens"`
	Next   mintmark.TokenID `json:"next,omitempty"`
}

// TokenQuery selects tokens. Zero members do not restrict.
type TokenQuery struct {
	Selector string   // text form of mintmark.Selector
	States   []string // names of mintmark.TokenState; empty means live ones
	Kinds    []string
	After    mintmark.TokenID
	Limit    int // 1 to 1,000; 0 means 100
}

// Trace is a token's life: its events in order, and its relatives.
type Trace struct {
	Token  Token            `json:"token"`
	Events []mintmark.Event `json:"events"`
	Family []Token          `json:"family,omitempty"`
	Usage  []UsageLine      `json:"usage,omitempty"`
}

// UsageLine counts a token's presentations on one route with one outcome.
type UsageLine struct {
	Route  string        `json:"route"`
	Code   mintmark.Code `json:"code,omitempty"` // empty: admitted
	Served string        `json:"served,omitempty"`
	Count  uint64        `json:"count"`
	First  int64         `json:"first"` // Unix milliseconds
	Last   int64         `json:"last"`
}

// IssueRequest asks for a token for a client, as its client credentials would
// give it. The value is in the answer once and kept nowhere.
type IssueRequest struct {
	Client   mintmark.ClientID `json:"client_id"`
	Subject  string            `json:"sub,omitempty"` // empty: the client itself
	Scopes   []string          `json:"scopes,omitempty"`
	Audience []string          `json:"audience,omitempty"`
	Seconds  int64             `json:"seconds,omitempty"` // at most the policy's lifetime; 0 is that
	Reason   string            `json:"reason,omitempty"`
}

// Issued is the answer to a request that makes a token, an API key or a secret.
type Issued struct {
	Token Token `json:"token,omitzero"`
	// Value is shown once.
	Value string `json:"value"`
}

// RevokeRequest asks for a revocation or suspension.
type RevokeRequest struct {
	// Selector is the text form of mintmark.Selector.
	Selector string `json:"selector"`
	// Action is revoke (default) or suspend.
	Action string `json:"action,omitempty"`
	Reason string `json:"reason"`
	// Wait makes the call return when every gateway applied it or is fenced, or
	// at Timeout (a Go duration; default 60s).
	Wait    bool   `json:"wait,omitempty"`
	Timeout string `json:"timeout,omitempty"`
	DryRun  bool   `json:"dry_run,omitempty"`
	// Confirm repeats Problem.Confirm for selectors that may cover tokens of many
	// subjects.
	Confirm string `json:"confirm,omitempty"`
	// For is a Go duration. A suspension ends by itself after it. A revocation's
	// fact is forgotten after it, which is refused as long as a covered token would
	// outlive it; empty forgets it when that is known to be safe.
	For string `json:"for,omitempty"`
	// AtMost refuses to cover more live tokens than this; 0 is no limit.
	AtMost int64 `json:"at_most,omitempty"`
	// BreakGlass does without the second person that a guard wants, where the guard
	// allows that; the receipt says so. It needs the role security.
	BreakGlass bool `json:"break_glass,omitempty"`
}

// RevokeAnswer is what a revocation did, or would do when it was a dry run.
type RevokeAnswer struct {
	DryRun   bool   `json:"dry_run,omitempty"`
	Selector string `json:"selector"`
	Tokens   int64  `json:"tokens"` // live tokens covered
	// Sample holds some of them.
	Sample   []Token `json:"sample,omitempty"`
	Gateways int     `json:"gateways"` // members that will be told
	Confirm  string  `json:"confirm,omitempty"`
	// ByRelease and ByClient divide Tokens, greatest first, of a dry run.
	ByRelease []ReachedCount `json:"by_release,omitempty"`
	ByClient  []ReachedCount `json:"by_client,omitempty"`
	// Reached are the gateways that would be told, of a dry run.
	Reached []mintmark.GatewayID `json:"reached,omitempty"`
	// SecondPerson says, of a dry run, why a second person would be wanted.
	SecondPerson string `json:"second_person,omitempty"`
	// Forgotten is when the fact is dropped, because nothing that it covers can be
	// live any more; Ends when a suspension ends by itself. Zero never.
	Forgotten time.Time `json:"forgotten,omitzero"`
	Ends      time.Time `json:"ends,omitzero"`
	// Pending is the revocation that waits for a second person: nothing has
	// happened yet, and there is no receipt.
	Pending *PendingRevocation `json:"pending,omitempty"`
	Receipt *mintmark.Receipt  `json:"receipt,omitempty"`
}

// RestoreRequest ends a suspension, by its revocation's id or by the exact
// selector that made it. A revocation for good can't be restored.
type RestoreRequest struct {
	ID       mintmark.RevocationID `json:"id,omitempty"`
	Selector string                `json:"selector,omitempty"`
	Reason   string                `json:"reason"`
	Wait     bool                  `json:"wait,omitempty"`
	Timeout  string                `json:"timeout,omitempty"`
	DryRun   bool                  `json:"dry_run,omitempty"`
}

// Revocations is a page of the facts in force.
type Revocations struct {
	Revocations []mintmark.Revocation `json:"revocations"`
	// Tokens is how many live tokens each reaches, when that was asked for.
	Tokens map[mintmark.RevocationID]int64 `json:"tokens,omitempty"`
	Next   mintmark.RevocationID           `json:"next,omitempty"`
}

// APIKeyRequest asks for an API key.
type APIKeyRequest struct {
	Name     string            `json:"name"`
	Owner    string            `json:"owner"`         // whom to tell when something happens to it
	Subject  string            `json:"sub,omitempty"` // whom it speaks for; empty: the client
	Client   mintmark.ClientID `json:"client_id,omitempty"`
	Scopes   []string          `json:"scopes"`
	Audience []string          `json:"audience"`
	Expires  time.Time         `json:"expires,omitzero"` // zero never
}

// RotateRequest replaces an API key or a client's secret; the old one goes on
// for Overlap (a Go duration; 0 ends it at once).
type RotateRequest struct {
	Overlap string `json:"overlap,omitempty"`
	Reason  string `json:"reason,omitempty"`
}
