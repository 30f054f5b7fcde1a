// Package verifier answers: which token is this, that was presented?
//
// It turns presented bytes into a *mintmark.Token, or into the code of a refusal:
// our JWTs and foreign ones by the snapshot's keys, opaque values and API keys by
// asking control once (Puller), and remembers the answer until the token expires.
package verifier

import (
	"context"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/admission"
	"github.com/mintmark/mintmark/internal/bus"
	"github.com/mintmark/mintmark/internal/epoch"
)

// Puller asks control. Both calls are bounded in time by the callee; an error
// means that the state is unknown.
type Puller interface {
	// Pull asks about a token by the digest of its value.
	Pull(ctx context.Context, r bus.PullRequest) (bus.PullReply, error)
	// RefreshKey reports an unknown kid of a foreign issuer.
	RefreshKey(ctx context.Context, r bus.KeyRequest) (bus.KeyReply, error)
}

// Config of a Verifier. Zero values mean the defaults.
type Config struct {
	// Puller may be nil: then every token that needs asking is state_unknown.
	Puller Puller
	// Entries bounds the cache; 0 is 1,048,576.
	Entries int
	// Key is 32 random bytes that key the cache's hash; required.
	Key [32]byte
	// MaxToken is the longest token looked at, in bytes; 0 is 16,384.
	MaxToken int
	// Pulls bounds questions in flight; 0 is 256.
	Pulls int
}

// Verifier is safe for concurrent use.
type Verifier struct{}

// New returns a verifier; it starts nothing.
func New(c Config) *Verifier { return nil }

// Verified is the result of Verify, meant to be reused: the caller owns the
// struct (Token's fields are valid until the next Verify into it), the strings
// and slices are shared and immutable and may be kept.
type Verified struct {
	Token mintmark.Token
	// Memo is the cached token's; nil when it was not cached.
	Memo *admission.Memo
	// AsOf is for admission.Request.AsOf.
	AsOf uint64
	// First says that a token of a foreign issuer was seen for the first time
	// since the start (or since it was evicted).
	First bool
}

// Verify looks a presented value up or verifies it. The code is CodeNone exactly
// when out.Token is a verified token; its expiry and revocation are not judged
// here but by admission.Decide.
func (v *Verifier) Verify(ctx context.Context, snap *epoch.Snapshot, scheme admission.Scheme, value string, now time.Time, out *Verified) mintmark.Code {
	return mintmark.CodeStateUnknown
}

// Stats are counts since the start and the present size.
type Stats struct {
	Hits, Misses, Evicted, Pulls uint64
	Entries                      int
}

// Stats returns the counts.
func (v *Verifier) Stats() Stats { return Stats{} }
