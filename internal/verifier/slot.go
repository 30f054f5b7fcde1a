package verifier

import (
	"math"
	"runtime"
	"sync/atomic"
	"unsafe"

	"github.com/mintmark/mintmark"
)

// slot is a verified token at rest: 96 bytes, which never span more than two cache
// lines, so that a hit costs one trip to memory. Its strings are elsewhere and are
// not touched by a hit.
//
// Readers take no lock. state has the slot's generation, which changes before the
// slot is given to another token: who finds the same generation before and after
// reading read one token. What changes during a token's life (memo and count) is
// written under the lock bit, and only by who holds the generation's number.
type slot struct {
	state   atomic.Uint32 // generation<<slotBits | bits
	table   atomic.Uint32 // number of the table under which the key was last found good
	digest  [2]atomic.Uint64
	about   atomic.Pointer[about]
	text    atomic.Pointer[byte] // id, subject, grant and family, one after the other
	lengths atomic.Uint64        // see pack
	times   atomic.Uint64        // iat<<32 | exp
	seq     atomic.Uint64
	revoked atomic.Uint64 // admission.Memo
	cohort  atomic.Uint64 // admission.Memo

	// The uses on one route since the last flush; guarded by the lock bit.
	n           uint32
	use         uint32 // number of route and release, see uses
	first, last uint32 // Unix milliseconds, the low half
}

const slotSize = 96

var _ [0]struct{} = [unsafe.Sizeof(slot{}) - slotSize]struct{}{}

// Bits of state.
const (
	locked   = 1 << iota // memo or count is being changed
	dead                 // empty, or being given to another token
	frozen               // copied to a larger table: memo and count are there
	used                 // CLOCK's bit
	slotBits = 4
	mortal   = ^uint32(locked | frozen | used) // what must not change while a slot is read
)

// lock takes the lock bit if the slot still is of a generation; false as well when
// somebody else holds it for long: then count elsewhere.
func (s *slot) lock(generation uint32) bool {
	for range 64 {
		w := s.state.Load()
		if w>>slotBits != generation || w&(dead|frozen) != 0 {
			return false
		}
		if w&locked == 0 && s.state.CompareAndSwap(w, w|locked|used) {
			return true
		}
	}
	return false
}

func (s *slot) unlock() { s.state.And(^uint32(locked)) }

// seize takes the lock bit from whoever counts at this moment. The segment's mu is
// held, so that the generation stays.
func (s *slot) seize() {
	for i := 0; ; i++ {
		w := s.state.Load()
		if w&locked == 0 && s.state.CompareAndSwap(w, w|locked) {
			return
		}
		if i > 64 {
			runtime.Gosched()
		}
	}
}

// record is a token packed for a slot.
type record struct {
	digest  digest
	about   *about
	text    *byte
	lengths uint64
	times   uint64
	seq     uint64
	table   uint32
	revoked uint64
	cohort  uint64
}

// read copies a slot out if it holds d; false when it does not, or is changing.
func (s *slot) read(d *digest, r *record) (generation uint32, ok bool) {
	w := s.state.Load()
	if w&dead != 0 || s.digest[0].Load() != d[0] || s.digest[1].Load() != d[1] {
		return 0, false
	}
	r.about, r.text = s.about.Load(), s.text.Load()
	r.lengths, r.times, r.seq = s.lengths.Load(), s.times.Load(), s.seq.Load()
	r.table, r.revoked, r.cohort = s.table.Load(), s.revoked.Load(), s.cohort.Load()
	if (s.state.Load()^w)&mortal != 0 {
		return 0, false
	}
	if w&used == 0 {
		s.state.Or(used)
	}
	return w >> slotBits, true
}

// write gives the slot to a record. The slot is dead and the segment's mu held.
func (s *slot) write(r *record) {
	s.digest[0].Store(r.digest[0])
	s.digest[1].Store(r.digest[1])
	s.about.Store(r.about)
	s.text.Store(r.text)
	s.lengths.Store(r.lengths)
	s.times.Store(r.times)
	s.seq.Store(r.seq)
	s.table.Store(r.table)
	s.revoked.Store(r.revoked)
	s.cohort.Store(r.cohort)
	s.state.Store(s.state.Load()&^(dead|locked) | used)
}

// kill ends the slot's generation; what it counted must have been taken. The
// segment's mu and the lock bit are held.
func (s *slot) kill() {
	s.state.Store((s.state.Load()>>slotBits+1)<<slotBits | dead)
	s.about.Store(nil) // let go
	s.text.Store(nil)
}

func (s *slot) empty() bool { return s.about.Load() == nil }

func (s *slot) is(d *digest) bool {
	return !s.empty() && s.digest[0].Load() == d[0] && s.digest[1].Load() == d[1]
}

// about is what a record shares with others of its profile, and what few tokens
// have besides.
type about struct {
	*profile
	big      bool // times are here, they did not fit
	iat, exp int64
	nbf      int64
	authTime int64
	until    int64 // Unix seconds after which control must be asked again; 0 never
	// Views of the record's text.
	claims  []byte
	binding mintmark.Binding
	actor   string
	via     []mintmark.TokenID
	origins []mintmark.Origin
	bytes   int // of the text that the record's lengths do not tell
}

// Parts of lengths: id, grant and family 8 bits each, subject 16, then 23 for
// iat-auth_time+1 (0: absent, or in about) and one that says that nbf is iat.
const (
	maxShort   = math.MaxUint8
	maxSubject = math.MaxUint16
	maxAuth    = 1<<23 - 1
	nbfIat     = 1 << 63
)

func lengths(id, grant, family, subject, auth int) uint64 {
	return uint64(id) | uint64(grant)<<8 | uint64(family)<<16 | uint64(subject)<<24 | uint64(auth)<<40
}

func (r *record) split() (id, subject, grant, family int) {
	n := r.lengths
	return int(n & 0xff), int(n >> 24 & 0xffff), int(n >> 8 & 0xff), int(n >> 16 & 0xff)
}

// id returns the token's id.
func (r *record) id() mintmark.TokenID {
	return mintmark.TokenID(unsafe.String(r.text, int(r.lengths&0xff)))
}

// size is what the record takes in all, about.
func (r *record) size() int64 {
	id, subject, grant, family := r.split()
	n := slotSize*slack/slackOf + 2 + id + subject + grant + family
	if a := r.about; a != &a.plain {
		n += int(unsafe.Sizeof(about{})) + a.bytes
	}
	return int64(n)
}

// expired reports whether the token's time is over at now (Unix seconds).
func (r *record) expired(now int64) bool {
	exp := int64(uint32(r.times))
	if r.about.big {
		exp = r.about.exp
	}
	return exp != 0 && exp < now
}

// fill writes the token and its memo out; out.by is whose it is.
func (r *record) fill(out *Verified) {
	a, t := r.about, &out.Token
	*t = a.token
	id, subject, grant, family := r.split()
	text := unsafe.String(r.text, id+subject+grant+family)
	t.ID = mintmark.TokenID(text[:id])
	t.Subject = text[id : id+subject]
	t.Grant = mintmark.GrantID(text[id+subject : id+subject+grant])
	t.Family = mintmark.FamilyID(text[id+subject+grant:])
	t.Mark.Seq = r.seq
	t.IssuedAt, t.Expires = int64(r.times>>32), int64(uint32(r.times))
	if auth := r.lengths >> 40 & maxAuth; auth != 0 {
		t.AuthTime = t.IssuedAt - int64(auth-1)
	}
	if r.lengths&nbfIat != 0 {
		t.NotBefore = t.IssuedAt
	}
	if a != &a.plain {
		a.fill(t)
	}
	m := &out.memo
	m.Revoked, m.Cohort, m.Kin, m.Passes, m.Home = r.revoked, r.cohort, a.number, out.by.uses.passes.Load(), out
	out.Memo = m
}

func (a *about) fill(t *mintmark.Token) {
	t.Binding, t.Actor, t.Via, t.Origins = a.binding, a.actor, a.via, a.origins
	if a.claims != nil {
		t.Claims = a.claims
	}
	if a.big {
		t.IssuedAt, t.Expires = a.iat, a.exp
	}
	if a.nbf != 0 {
		t.NotBefore = a.nbf
	}
	if a.authTime != 0 {
		t.AuthTime = a.authTime
	}
}

// pack packs a token; false when it is too large to be worth keeping. The strings
// are copied: a view would hold what was presented in memory.
func pack(d digest, t *mintmark.Token, p *profile, until int64) (r record, ok bool) {
	id, subject, grant, family := len(t.ID), len(t.Subject), len(t.Grant), len(t.Family)
	if max(id, grant, family) > maxShort || subject > maxSubject {
		return r, false
	}
	own := id + subject + grant + family
	beyond := len(t.Binding.JKT) + len(t.Binding.X5T) + len(t.Actor) + len(t.Claims)
	for _, id := range t.Via {
		beyond += len(id)
	}
	b := make([]byte, 0, max(own+beyond, 1))
	for i := range t.Origins {
		beyond += sizeOf(&t.Origins[i]) // kept apart: few tokens have any
	}
	b = append(append(append(append(b, t.ID...), t.Subject...), t.Grant...), t.Family...)
	r = record{digest: d, about: &p.plain, text: unsafe.SliceData(b), seq: t.Mark.Seq}
	a := about{profile: p, until: until, bytes: beyond}
	if fits(t.IssuedAt) && fits(t.Expires) {
		r.times = uint64(t.IssuedAt)<<32 | uint64(t.Expires)
	} else {
		a.big, a.iat, a.exp = true, t.IssuedAt, t.Expires
	}
	auth := 0
	if since := t.IssuedAt - t.AuthTime; t.AuthTime != 0 && !a.big && since >= 0 && since < maxAuth {
		auth = int(since) + 1
	} else {
		a.authTime = t.AuthTime
	}
	r.lengths = lengths(id, grant, family, subject, auth)
	if t.NotBefore != 0 && t.NotBefore == t.IssuedAt && !a.big {
		r.lengths |= nbfIat
	} else {
		a.nbf = t.NotBefore
	}
	if beyond == 0 && !a.big && a.authTime == 0 && a.nbf == 0 && until == 0 {
		return r, true
	}
	view := func(s string) string {
		if s == "" {
			return ""
		}
		at := len(b)
		b = append(b, s...)
		return unsafe.String(&b[at], len(s))
	}
	a.binding = mintmark.Binding{JKT: view(t.Binding.JKT), X5T: view(t.Binding.X5T)}
	a.actor = view(t.Actor)
	for _, id := range t.Via {
		a.via = append(a.via, mintmark.TokenID(view(string(id))))
	}
	for i := range t.Origins {
		a.origins = append(a.origins, copiedOrigin(&t.Origins[i]))
	}
	if t.Claims != nil {
		at := len(b)
		b = append(b, t.Claims...)
		a.claims = b[at:len(b):len(b)]
	}
	kept := a // so that a itself stays on the stack
	r.about = &kept
	return r, true
}

func fits(seconds int64) bool { return seconds >= 0 && seconds <= math.MaxUint32 }
