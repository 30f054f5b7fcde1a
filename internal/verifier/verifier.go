// Package verifier answers: which token is this, that was presented?
//
// It turns presented bytes into a *mintmark.Token, or into the code of a refusal:
// our JWTs and foreign ones by the snapshot's keys, opaque values and API keys by
// asking control once (Puller), and remembers the answer until the token expires.
package verifier

import (
	"bytes"
	"context"
	"math"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

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
	// Counts takes the uses that Verified.Count counts; nil and it counts none.
	Counts Counts
}

// Verifier is safe for concurrent use.
type Verifier struct {
	hash     *hasher
	cache    *cache
	profiles profiles
	tables   tables
	pull     puller
	max      int
	misses   atomic.Uint64

	counts Counts
	uses   *uses
	clock  atomic.Int64 // Unix milliseconds, about; completes the times of counts
	jumped atomic.Int64 // where the clock went, if far; else 0
	paused atomic.Bool
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
	v := &Verifier{
		hash: newHasher(c.Key), max: c.MaxToken, pull: newPuller(c.Puller, c.Pulls),
		counts: c.Counts, uses: newUses(),
	}
	v.cache = newCache(c.Entries, c.Bytes, v.gone)
	if v.counts != nil {
		v.counts.Include(v.drain)
	}
	return v
}

// Verified is the result of Verify, meant to be reused: the caller owns the
// struct (Token's fields are valid until the next Verify into it), the strings
// and slices are shared and immutable and may be kept.
type Verified struct {
	Token mintmark.Token
	// Memo is the cached token's; nil when it was not cached. It writes back what is
	// learnt.
	Memo *admission.Memo
	// AsOf is for admission.Request.AsOf.
	AsOf uint64
	// First says that a token of a foreign issuer was seen for the first time
	// since the start (or since it was evicted).
	First bool

	by    *Verifier
	place place // zero when it was not cached
	memo  admission.Memo

	parse   jose.Scratch
	scratch []byte
}

// Learn implements admission.Learner.
func (o *Verified) Learn(m *admission.Memo) { o.place.learn(m.Revoked, m.Cohort) }

// Verify looks a presented value up or verifies it. The code is CodeNone exactly
// when out.Token is a verified token; its expiry and revocation are not judged
// here but by admission.Decide. A cached token costs no allocation.
//
// After a verdict with NeedCatchUp, Verify must be called again with the new
// snapshot.
func (v *Verifier) Verify(ctx context.Context, snap *epoch.Snapshot, scheme admission.Scheme, value string, now time.Time, out *Verified) mintmark.Code {
	out.Memo, out.AsOf, out.First, out.by, out.place = nil, 0, false, v, place{}
	switch {
	case scheme == admission.SchemeNone, scheme == admission.SchemeSeveral:
		out.Token = mintmark.Token{}
		return mintmark.CodeNone // no token: Decide answers by the scheme
	case value == "" || len(value) > v.max:
		out.Token = mintmark.Token{}
		return mintmark.CodeMalformed
	}
	presented := unsafe.Slice(unsafe.StringData(value), len(value)) // only read
	d := v.hash.sum(presented)
	var r record
	if p, ok := v.cache.get(&d, &r); ok {
		switch v.current(&r, &p, snap.Table, now.Unix()) {
		case fresh:
			if scheme == admission.SchemeAPIKey && r.about.token.Kind != mintmark.KindAPIKey {
				out.Token = mintmark.Token{}
				return mintmark.CodeMalformed // as it was before it was cached
			}
			out.place = p
			r.fill(out)
			v.cache.segment(&d).hits.Add(1)
			return mintmark.CodeNone
		case unknown:
			out.Token = mintmark.Token{}
			return mintmark.CodeStateUnknown
		}
		v.cache.drop(&d)
	}
	out.Token = mintmark.Token{}
	v.misses.Add(1)
	if scheme != admission.SchemeAPIKey && looksLikeJWT(presented) {
		return v.jwt(ctx, snap, d, presented, now, out)
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
func (v *Verifier) current(r *record, at *place, t *epoch.Table, now int64) validity {
	a := r.about
	if a.until != 0 && now >= a.until {
		return stale
	}
	number := v.tables.of(t.Tag(), v.uses)
	if a.origin != byIssuer && r.table == number {
		return fresh
	}
	switch a.origin {
	case byOwnKey:
		k := t.OwnKey(a.token.Mark.Key)
		if k == nil || k.Tag() != a.key || !k.Allows("access") {
			return stale
		}
	case byIssuer:
		i := t.Issuer(a.token.Issuer)
		if i == nil || i.Tag() != a.key {
			return stale
		}
		if !i.Believed(now) {
			return unknown
		}
	}
	if r.table != number {
		at.found(number)
	}
	return fresh
}

// tables numbers the epochs' tables by tag, so that a cached token need only keep
// 32 bits. A number is never given twice.
type tables struct {
	present atomic.Pointer[numbered]

	mu     sync.Mutex
	last   uint32            // guarded by mu
	number map[uint64]uint32 // by tag; guarded by mu
}

type numbered struct {
	tag    uint64
	number uint32
}

// of returns the table's number. While an epoch takes over, requests of two
// tables come mixed; otherwise it costs one comparison.
func (ts *tables) of(tag uint64, u *uses) uint32 {
	if p := ts.present.Load(); p != nil && p.tag == tag {
		return p.number
	}
	ts.mu.Lock()
	defer ts.mu.Unlock()
	n := ts.number[tag]
	if n == 0 {
		if ts.number == nil || len(ts.number) >= 256 {
			ts.number = map[uint64]uint32{}
		}
		if ts.last == math.MaxUint32 {
			panic("verifier: four thousand million epochs") // after 136 years of one a second
		}
		ts.last++
		n = ts.last
		ts.number[tag] = n
		u.forget()
	}
	ts.present.Store(&numbered{tag, n})
	return n
}

// remember caches a verified token and fills out from what is cached. The strings
// of t may be views of scratch.
func (v *Verifier) remember(d digest, t *mintmark.Token, o origin, key uint64, table *epoch.Table, until int64, now time.Time, out *Verified) {
	var p *profile
	p, out.scratch = v.profiles.of(out.scratch, t, o, key)
	r, ok := pack(d, t, p, until)
	if !ok {
		out.Token = copied(t)
		return
	}
	r.table = v.tables.of(table.Tag(), v.uses)
	out.by, out.place = v, v.cache.put(&r, now.Unix())
	r.fill(out)
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
	s := Stats{Misses: v.misses.Load(), Pulls: v.pull.asked.Load()}
	v.cache.stats(&s)
	return s
}
