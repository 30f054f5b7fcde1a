// Package verifier answers: which token is this, that was presented?
//
// It turns presented bytes into a *mintmark.Token, or into the code of a refusal:
// our JWTs and foreign ones by the snapshot's keys, opaque values and API keys by
// asking control once (Puller), and remembers the answer until the token expires.
package verifier

import (
	"bytes"
	"context"
	"sync/atomic"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/admission"
	"github.com/mintmark/mintmark/internal/bus"
	"github.com/mintmark/mintmark/internal/epoch"
	"github.com/mintmark/mintmark/internal/jose"
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
	// Entries bounds the cache in tokens; 0 is 1,048,576. Bytes bounds it in
	// bytes, about; 0 is 512 MiB.
	Entries int
	Bytes   int64
	// Key is 32 random bytes that key the cache's hash; required.
	Key [32]byte
	// MaxToken is the longest value looked at, in bytes; 0 is 16,384, which is
	// also the most.
	MaxToken int
	// Pulls bounds questions in flight; 0 is 256.
	Pulls int
}

// Verifier is safe for concurrent use.
type Verifier struct {
	hash     hasher
	cache    *cache
	profiles profiles
	pull     puller
	max      int
	hits     atomic.Uint64
	misses   atomic.Uint64
}

// New returns a verifier; it starts nothing.
func New(c Config) *Verifier {
	if c.Entries <= 0 {
		c.Entries = 1 << 20
	}
	if c.Bytes <= 0 {
		c.Bytes = 512 << 20
	}
	if c.MaxToken <= 0 || c.MaxToken > jose.MaxToken {
		c.MaxToken = jose.MaxToken
	}
	if c.Pulls <= 0 {
		c.Pulls = 256
	}
	return &Verifier{
		hash: newHasher(c.Key), cache: newCache(c.Entries, c.Bytes), max: c.MaxToken,
		pull: newPuller(c.Puller, c.Pulls),
	}
}

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

	room    [16]byte // for the digest
	value   []byte   // the presented value, until the next
	scratch []byte
}

// Verify looks a presented value up or verifies it. The code is CodeNone exactly
// when out.Token is a verified token; its expiry and revocation are not judged
// here but by admission.Decide. A cached token costs no allocation.
//
// After a verdict with NeedCatchUp, Verify must be called again with the new
// snapshot.
func (v *Verifier) Verify(ctx context.Context, snap *epoch.Snapshot, scheme admission.Scheme, value string, now time.Time, out *Verified) mintmark.Code {
	out.Token, out.Memo, out.AsOf, out.First = mintmark.Token{}, nil, 0, false
	switch {
	case scheme == admission.SchemeNone, scheme == admission.SchemeSeveral:
		return mintmark.CodeNone // no token: Decide answers by the scheme
	case value == "" || len(value) > v.max:
		return mintmark.CodeMalformed
	}
	out.value = append(out.value[:0], value...)
	d := v.hash.sum(out.room[:], out.value)
	if e := v.cache.get(&d); e != nil {
		switch v.current(e, snap.Table, now.Unix()) {
		case fresh:
			if scheme == admission.SchemeAPIKey && e.profile.token.Kind != mintmark.KindAPIKey {
				return mintmark.CodeMalformed // as it was before it was cached
			}
			e.fill(out)
			v.hits.Add(1)
			return mintmark.CodeNone
		case unknown:
			return mintmark.CodeStateUnknown
		}
		v.cache.drop(e)
	}
	v.misses.Add(1)
	if scheme != admission.SchemeAPIKey && looksLikeJWT(out.value) {
		return v.jwt(ctx, snap, d, now, out)
	}
	return v.ask(ctx, snap, scheme, d, value, now, out)
}

// validity is what a look at the present epoch says of a cached verification.
type validity int

const (
	stale   validity = iota // verify again
	fresh                   // as good as verified now
	unknown                 // the issuer's keys were not confirmed for too long
)

// current says whether a cached verification still holds: the key is still in the
// epoch, the foreign issuer is what it was and its keys are still believed. A
// look costs one comparison unless the epoch changed.
func (v *Verifier) current(e *entry, t *epoch.Table, now int64) validity {
	p := e.profile
	if e.extra != nil && e.extra.until != 0 && now >= e.extra.until {
		return stale
	}
	if p.origin != byIssuer && e.table.Load() == t.Tag() {
		return fresh
	}
	switch p.origin {
	case byOwnKey:
		k := t.OwnKey(p.token.Mark.Key)
		if k == nil || k.Tag() != p.key || !k.Allows("access") {
			return stale
		}
	case byIssuer:
		i := t.Issuer(p.token.Issuer)
		if i == nil || i.Tag() != p.key {
			return stale
		}
		if !i.Believed(now) {
			return unknown
		}
	}
	e.table.Store(t.Tag())
	return fresh
}

// remember caches a verified token and fills out from the entry.
func (v *Verifier) remember(d digest, t *mintmark.Token, o origin, key uint64, table *epoch.Table, until int64, now time.Time, out *Verified) {
	out.Token = *t
	var p *profile
	p, out.scratch = v.profiles.of(out.scratch, t, o, key)
	e := newEntry(d, t, p, until)
	if e == nil {
		return
	}
	e.table.Store(table.Tag())
	v.cache.put(e, now.Unix())
	e.fill(out)
}

// looksLikeJWT reports whether a value has the dots of a compact JWS; opaque
// values of ours have none.
func looksLikeJWT(value []byte) bool { return bytes.Count(value, []byte{'.'}) == 2 }

// Stats are counts since the start and the present size.
type Stats struct {
	Hits, Misses, Evicted, Pulls uint64
	Entries                      int
	Bytes                        int64
}

// Stats returns the counts.
func (v *Verifier) Stats() Stats {
	return Stats{
		Hits: v.hits.Load(), Misses: v.misses.Load(), Evicted: v.cache.evicted.Load(), Pulls: v.pull.asked.Load(),
		Entries: int(v.cache.count.Load()), Bytes: v.cache.held.Load(),
	}
}
