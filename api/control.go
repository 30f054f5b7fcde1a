package api

import (
	"encoding/json"
	"time"

	"github.com/mintmark/mintmark"
)

// Status is control's state at a glance.
type Status struct {
	Version  string `json:"version"`
	Issuer   string `json:"issuer"`
	Term     uint64 `json:"term"`
	Epoch    uint64 `json:"epoch"`
	Seq      uint64 `json:"seq"`
	Settled  uint64 `json:"settled_epoch"` // acknowledged by every leased gateway
	Gateways int    `json:"gateways"`
	Live     int    `json:"gateways_live"`
	Tokens   int64  `json:"tokens_live"`
	Revoked  int    `json:"revocations"`
	// SetAside is how many records of gateways could not be folded, since ever: they
	// are kept in the ledger as they came, as events usage.set_aside.
	SetAside uint64    `json:"records_set_aside,omitempty"`
	Rollouts []Rollout `json:"rollouts,omitempty"` // open ones
	Now      time.Time `json:"now"`
	// StateKeys are the public keys that verify receipts and the state log:
	// base64url Ed25519 by key id.
	StateKeys map[string]string `json:"state_keys,omitempty"`
}

// Gateway is a member as control sees it.
type Gateway struct {
	ID       mintmark.GatewayID `json:"id"`
	Boot     mintmark.BootID    `json:"boot,omitempty"`
	Version  string             `json:"version,omitempty"`
	State    string             `json:"state"` // live, silent, left, suspect, removed
	Term     uint64             `json:"term"`
	Epoch    uint64             `json:"epoch"`
	Seq      uint64             `json:"seq"`
	LastSeen time.Time          `json:"last_seen,omitzero"`
	// LeaseMS is what is left of its lease as control counts it.
	LeaseMS     int64    `json:"lease_ms"`
	MaxBudgetMS int64    `json:"max_budget_ms"`
	Static      []string `json:"static_routes,omitempty"`
	// CredentialEnds is until when its bus credential is good, if it is not replaced
	// before; zero is without end: it is part of control's own process.
	CredentialEnds time.Time `json:"credential_ends,omitzero"`
	// Suspect is the last claim of a state-log row that it did not show to be signed
	// by control, and ClaimsRefused how many there were since control's start.
	Suspect       string `json:"suspect,omitempty"`
	ClaimsRefused uint64 `json:"claims_refused,omitempty"`
}

// Gateways lists members by id.
type Gateways struct {
	Gateways []Gateway `json:"gateways"`
	Head     uint64    `json:"head"`
	Epoch    uint64    `json:"epoch"`
}

// JoinTokenRequest asks for a one-time token with which a gateway joins.
type JoinTokenRequest struct {
	Gateway mintmark.GatewayID `json:"gateway"`
	TTL     string             `json:"ttl,omitempty"` // a Go duration to 24h; default 15m
}

// JoinToken is the answer; Value is shown once.
type JoinToken struct {
	Gateway mintmark.GatewayID `json:"gateway"`
	Value   string             `json:"value"`
	Expires time.Time          `json:"expires"`
}

// JoinRequest is what a gateway presents to join, with the one-time token as its
// bearer token: its own public key, whose seed never leaves it.
type JoinRequest struct {
	V       int                `json:"v,omitempty"`
	Gateway mintmark.GatewayID `json:"gateway"`
	NKey    string             `json:"nkey"` // public user NKEY
	Version string             `json:"version,omitempty"`
}

// JoinReply is what a gateway needs to begin.
type JoinReply struct {
	V       int                `json:"v"`
	Gateway mintmark.GatewayID `json:"gateway"`
	Bus     string             `json:"bus"` // address
	CA      string             `json:"ca"`  // PEM
	// StateKeys are the Ed25519 public keys of the state log, by key id.
	StateKeys map[string][]byte `json:"state_keys"`
	LeaseMS   int64             `json:"lease_ms"`
}

// File is one file of resources.
type File struct {
	Name string `json:"name"`
	Text string `json:"text"`
}

// ApplyRequest applies resources: all or none.
type ApplyRequest struct {
	Files  []File `json:"files"`
	DryRun bool   `json:"dry_run,omitempty"`
	// Prune removes resources that the files do not name.
	Prune   bool   `json:"prune,omitempty"`
	Reason  string `json:"reason,omitempty"`
	Wait    bool   `json:"wait,omitempty"`
	Timeout string `json:"timeout,omitempty"`
	Confirm string `json:"confirm,omitempty"` // for prune
}

// Change is what applying does to one resource.
type Change struct {
	Kind string `json:"kind"`
	Name string `json:"name"`
	// Verb is create, update, delete or none.
	Verb string `json:"verb"`
	// Fields lists what differs: a field's path, with its old and new JSON.
	Fields []FieldChange `json:"fields,omitempty"`
}

// FieldChange is one field that differs.
type FieldChange struct {
	Path string          `json:"path"`
	Old  json.RawMessage `json:"old,omitempty"`
	New  json.RawMessage `json:"new,omitempty"`
}

// ApplyAnswer is what applying did, or would do.
type ApplyAnswer struct {
	DryRun   bool     `json:"dry_run,omitempty"`
	Changes  []Change `json:"changes"`
	Warnings []string `json:"warnings,omitempty"`
	Epoch    uint64   `json:"epoch"`
	// Secrets of clients made by this apply, by client id: shown once.
	Secrets map[string]string `json:"secrets,omitempty"`
	Receipt *mintmark.Receipt `json:"receipt,omitempty"`
}

// Export is all resources as YAML.
type Export struct {
	YAML  string `json:"yaml"`
	Epoch uint64 `json:"epoch"`
}

// Release is a release as control sees it.
type Release struct {
	ID     mintmark.ReleaseID `json:"id"`
	Role   string             `json:"role"` // stable, candidate, retired, idle
	Policy string             `json:"policy"`
	// PolicyVersion is what marks carry.
	PolicyVersion uint64   `json:"policy_version"`
	Percent       string   `json:"percent"`
	Upstreams     []string `json:"upstreams"`
	Format        string   `json:"format"`
	Scopes        []string `json:"scopes,omitempty"`
	ForcedScopes  []string `json:"forced_scopes,omitempty"`
	Audience      []string `json:"audience,omitempty"`
	Accept        []string `json:"accept,omitempty"`
	Tokens        int64    `json:"tokens_live"`
}

// Releases lists releases by id.
type Releases struct {
	Releases []Release `json:"releases"`
}

// OAuthClient is an OAuth client; never its secret.
type OAuthClient struct {
	ID           mintmark.ClientID `json:"client_id"`
	Name         string            `json:"name,omitempty"`
	Auth         string            `json:"auth"` // token_endpoint_auth_method
	Grants       []string          `json:"grants,omitempty"`
	RedirectURIs []string          `json:"redirect_uris,omitempty"`
	Scopes       []string          `json:"scopes,omitempty"`
	Audience     []string          `json:"audience,omitempty"`
	Disabled     bool              `json:"disabled,omitempty"`
	Declared     bool              `json:"declared,omitempty"` // by a resource
	Version      uint64            `json:"version,omitempty"`
}

// Clients lists clients by id.
type Clients struct {
	Clients []OAuthClient `json:"clients"`
}

// ClientAnswer is a client, and its new secret if it got one: shown once.
type ClientAnswer struct {
	Client OAuthClient `json:"client"`
	Secret string      `json:"secret,omitempty"`
	// Receipt is of what was revoked with the client, and Pending what waits for a
	// second person instead, as in KeyAnswer.
	Receipt *mintmark.Receipt  `json:"receipt,omitempty"`
	Pending *PendingRevocation `json:"pending,omitempty"`
}

// DisableRequest refuses a client and revokes its tokens.
type DisableRequest struct {
	Reason string `json:"reason,omitempty"`
	// BreakGlass does without the second person that a guard wants, where the guard
	// allows it.
	BreakGlass bool   `json:"break_glass,omitempty"`
	Wait       bool   `json:"wait,omitempty"`
	Timeout    string `json:"timeout,omitempty"` // as in RevokeRequest
}

// User is a local user; never its password.
type User struct {
	Name     string   `json:"name"`
	Email    string   `json:"email,omitempty"`
	Roles    []string `json:"roles,omitempty"` // of the admin API
	Disabled bool     `json:"disabled,omitempty"`
}

// UserRequest makes or changes a user. What is empty stays as it is; a new user
// needs a password. Disabled can't be set here: declare the user.
type UserRequest struct {
	User
	Password string `json:"password,omitempty"`
}

// Users lists users by name.
type Users struct {
	Users []User `json:"users"`
}

// Key is a signing key; never its private part.
type Key struct {
	ID      string    `json:"kid"`
	Alg     string    `json:"alg"`
	State   string    `json:"state"` // pending, active, verifying, retired, killed
	Created time.Time `json:"created,omitzero"`
	Tokens  int64     `json:"tokens_live"`
	// WhenSafe is set while the key waits to be retired once no token needs it.
	WhenSafe *KeyWish `json:"retire_when_safe,omitempty"`
}

// Keys lists keys, newest first.
type Keys struct {
	Keys []Key `json:"keys"`
}

// KeyRequest is the body of keys:rotate and keys/{kid}:retire and :kill.
type KeyRequest struct {
	Alg    string `json:"alg,omitempty"`
	Reason string `json:"reason,omitempty"`
	// Force retires a key although live tokens need it.
	Force bool `json:"force,omitempty"`
	// WhenSafe retires a key as soon as no token needs it: maybe at once, else by
	// itself later, until :keep.
	WhenSafe bool   `json:"when_safe,omitempty"`
	Confirm  string `json:"confirm,omitempty"` // :kill; the kid
	// BreakGlass kills a key without the second person that a guard wants, where
	// the guard allows it.
	BreakGlass bool   `json:"break_glass,omitempty"`
	Wait       bool   `json:"wait,omitempty"`
	Timeout    string `json:"timeout,omitempty"`
}

// KeyAnswer is the key after the step.
type KeyAnswer struct {
	Key     Key               `json:"key"`
	Receipt *mintmark.Receipt `json:"receipt,omitempty"`
	// Pending is what waits for a second person: nothing has happened to the key.
	// When it was approved, asking again does the rest.
	Pending *PendingRevocation `json:"pending,omitempty"`
}

// Receipts lists receipts, newest first.
type Receipts struct {
	Receipts []mintmark.Receipt `json:"receipts"`
}

// Verification is the outcome of the checks that can run while serving.
type Verification struct {
	OK     bool    `json:"ok"`
	Checks []Check `json:"checks"`
}

// Check is one of them.
type Check struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail,omitempty"`
}
