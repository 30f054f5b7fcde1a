package authority

import (
	"context"
	"crypto"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/epoch"
	"github.com/mintmark/mintmark/internal/ledger"
	"github.com/mintmark/mintmark/internal/login"
	"github.com/mintmark/mintmark/internal/statuslist"
)

// Ledger is the one way to write. Append is durable on return; see ledger.Batch.
type Ledger interface {
	Append(ctx context.Context, b ledger.Batch) (ledger.Committed, error)
	// Reserve returns the next issuance sequence number.
	Reserve() uint64
}

// Tokens reads the token core after write. ledger.ErrNotFound when there is none.
type Tokens interface {
	TokenByID(ctx context.Context, id mintmark.TokenID) (ledger.TokenRow, error)
	TokenByHandle(ctx context.Context, handle []byte) (ledger.TokenRow, error)
	Family(ctx context.Context, id mintmark.FamilyID) (ledger.FamilyRow, error)
	Grant(ctx context.Context, id mintmark.GrantID) (ledger.GrantRow, error)
	// Reach counts the live tokens that a selector covers, by release and client, and
	// says when the last is over, suspended ones included.
	Reach(ctx context.Context, sel mintmark.Selector, cut mintmark.Cutoff, now time.Time) ([]ledger.Reached, error)
}

// Documents reads documents after write. ledger.ErrNotFound when there is none.
type Documents interface {
	Document(ctx context.Context, kind, id string) (ledger.Document, error)
	DocumentByRef(ctx context.Context, kind, ref string) (ledger.Document, error)
	// Documents pages through a kind by id, after the given one.
	Documents(ctx context.Context, kind, after string, limit int) ([]ledger.Document, error)
	// StreamVersion is what Expect compares: it goes on counting when a document is
	// removed.
	StreamVersion(ctx context.Context, stream string) (uint64, error)
}

// State is control's view of the state log.
type State interface {
	// Current is the snapshot at the log's head; nil before there is one.
	Current() *epoch.Snapshot
	// Settled is the newest epoch that every leased gateway has acknowledged; nil
	// when there is none.
	Settled() *epoch.Snapshot
}

// Revoker writes revocations to the state log.
type Revoker interface {
	// Revoke commits the facts as one row of the state log, in one transaction
	// with b's events, expectations and marks. Durable on return, whatever the
	// gateways have heard; errors are the ledger's. Ids and times are filled in where
	// they are zero; cut-offs are taken as given (zero covers what is still to be
	// minted, too).
	Revoke(ctx context.Context, facts []mintmark.Revocation, b ledger.Batch) (ledger.Committed, error)
}

// Publisher brings verification keys to the gateways.
type Publisher interface {
	// PublishKeys commits the part and returns once every leased gateway has
	// acknowledged it, or with an error when ctx ends first (the commit stands).
	PublishKeys(ctx context.Context, keys epoch.Keys, actor, reason string) error
}

// Keyring holds the secrets outside the database; see package keyring.
type Keyring interface {
	// Handle is HMAC-SHA-256 under the pepper of a digest.
	Handle(digest []byte) []byte
	// Derive returns a 32-byte key for one purpose.
	Derive(purpose string) []byte
	// SealAnswer and OpenAnswer protect the answer to a refresh under a key derived
	// from the presented predecessor: whoever lacks it can't open it.
	SealAnswer(predecessor mintmark.Secret, family mintmark.FamilyID, answer []byte) ([]byte, error)
	OpenAnswer(predecessor mintmark.Secret, family mintmark.FamilyID, sealed []byte) ([]byte, error)
}

// KeyMaker makes signing keys and protects them at rest.
type KeyMaker interface {
	Generate(alg string) (crypto.Signer, error)
	Wrap(kid string, key crypto.Signer) ([]byte, error)
	Unwrap(kid string, wrapped []byte) (crypto.Signer, error)
}

// Passwords hashes and checks passwords, a bounded number at a time.
type Passwords interface {
	HashPassword(ctx context.Context, password mintmark.Secret) (string, error)
	// VerifyPassword takes as long for an empty hash as for a real one.
	VerifyPassword(ctx context.Context, hash string, password mintmark.Secret) (bool, error)
}

// Egress makes outbound requests: resolve then pin, private ranges refused unless
// listed, no redirects, bounded size and time.
type Egress = login.Egress

// Foreign asks other issuers about their tokens.
type Foreign interface {
	// Introspect returns the token behind a value; nil and a code when its issuer
	// says that it is not active; an error when the issuer gave no answer.
	Introspect(ctx context.Context, issuer, value string) (*mintmark.Token, mintmark.Code, error)
	// Status returns what an issuer's status list says of a place in it, and how long
	// that may be remembered; an error when there is no list to believe.
	Status(ctx context.Context, issuer string, ref statuslist.Reference) (statuslist.Status, time.Duration, error)
}
