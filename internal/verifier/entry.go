package verifier

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/admission"
)

// entry is a verified token at rest: 112 bytes, one text, and what it shares with
// others of its profile. Immutable but for memo and table.
type entry struct {
	digest  digest
	profile *profile
	text    string    // id, subject, grant and family, one after the other
	ends    [3]uint16 // where id, subject and grant end
	nbfIat  bool      // nbf is iat
	iat     int64
	exp     int64
	auth    uint32 // iat - auth_time + 1; 0: absent, or in extra
	seq     uint64
	memo    admission.Memo
	table   atomic.Uint64 // tag of the table under which the key was last found good
	extra   *extra        // nil for most
}

// profile is what the tokens of one client and kind have in common.
type profile struct {
	token  mintmark.Token
	origin origin
	key    uint64 // tag of the key (own) or issuer (foreign)
}

// origin says how a token was verified, hence what it depends on.
type origin uint8

const (
	byOwnKey  origin = iota // JWT of ours
	byIssuer                // JWT of a foreign issuer
	byControl               // asked at control
)

// extra is what few tokens have.
type extra struct {
	claims   json.RawMessage
	binding  mintmark.Binding
	actor    string
	nbf      int64
	authTime int64
	until    int64 // Unix seconds after which control must be asked again; 0 never
}

func (e *entry) size() int64 {
	n := int64(112 + len(e.text))
	if e.extra != nil {
		n += int64(112 + len(e.extra.claims) + len(e.extra.actor))
	}
	return n
}

// fill writes the token out.
func (e *entry) fill(out *Verified) {
	t := &out.Token
	*t = e.profile.token
	id, sub, grant := e.ends[0], e.ends[1], e.ends[2]
	t.ID = mintmark.TokenID(e.text[:id])
	t.Subject = e.text[id:sub]
	t.Grant = mintmark.GrantID(e.text[sub:grant])
	t.Family = mintmark.FamilyID(e.text[grant:])
	t.Mark.Seq = e.seq
	t.IssuedAt, t.Expires = e.iat, e.exp
	if e.nbfIat {
		t.NotBefore = e.iat
	}
	if e.auth != 0 {
		t.AuthTime = e.iat - int64(e.auth-1)
	}
	if x := e.extra; x != nil {
		t.Claims, t.Binding, t.Actor = x.claims, x.binding, x.actor
		if x.nbf != 0 {
			t.NotBefore = x.nbf
		}
		if x.authTime != 0 {
			t.AuthTime = x.authTime
		}
	}
	out.Memo = &e.memo
}

// newEntry packs a token; nil when it is too large to be worth it.
func newEntry(d digest, t *mintmark.Token, p *profile, until int64) *entry {
	head := len(t.ID) + len(t.Subject) + len(t.Grant)
	if head > math.MaxUint16 {
		return nil
	}
	e := &entry{
		digest: d, profile: p, text: string(t.ID) + t.Subject + string(t.Grant) + string(t.Family),
		ends: [3]uint16{uint16(len(t.ID)), uint16(len(t.ID) + len(t.Subject)), uint16(head)},
		iat:  t.IssuedAt, exp: t.Expires, seq: t.Mark.Seq,
	}
	// The strings are copied: a view would hold the whole payload in memory.
	x := extra{claims: t.Claims, binding: t.Binding, actor: strings.Clone(t.Actor), until: until}
	x.binding.JKT, x.binding.X5T = strings.Clone(x.binding.JKT), strings.Clone(x.binding.X5T)
	switch {
	case t.NotBefore != 0 && t.NotBefore == t.IssuedAt:
		e.nbfIat = true
	default:
		x.nbf = t.NotBefore
	}
	if since := t.IssuedAt - t.AuthTime; t.AuthTime != 0 && since >= 0 && since < math.MaxUint32 {
		e.auth = uint32(since) + 1
	} else {
		x.authTime = t.AuthTime
	}
	if x.claims != nil || x.binding.Bound() || x.actor != "" || x.nbf != 0 || x.authTime != 0 || x.until != 0 {
		kept := x // so that x itself stays on the stack
		e.extra = &kept
	}
	return e
}

// maxProfiles bounds the profiles that are shared; past it sharing starts anew.
const maxProfiles = 65_536

// profiles interns what tokens have in common.
type profiles struct {
	mu   sync.Mutex
	seen map[string]*profile // guarded by mu
}

// of returns the profile of a token. room is scratch, returned grown.
func (ps *profiles) of(room []byte, t *mintmark.Token, o origin, key uint64) (*profile, []byte) {
	b := room[:0]
	for _, n := range [...]uint64{uint64(t.Kind), uint64(o), key, t.Mark.Policy, t.Mark.Epoch, uint64(len(t.Scopes))} {
		b = binary.LittleEndian.AppendUint64(b, n)
	}
	for _, s := range [...]string{t.Issuer, string(t.Client), t.ACR, string(t.Mark.Release), t.Mark.Key} {
		b = appendField(b, s)
	}
	for _, s := range t.Scopes {
		b = appendField(b, s)
	}
	for _, s := range t.Audience {
		b = appendField(b, s)
	}
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if p := ps.seen[string(b)]; p != nil {
		return p, b
	}
	if ps.seen == nil || len(ps.seen) >= maxProfiles {
		ps.seen = map[string]*profile{}
	}
	p := &profile{origin: o, key: key, token: mintmark.Token{
		Kind: t.Kind, Issuer: strings.Clone(t.Issuer), Client: mintmark.ClientID(strings.Clone(string(t.Client))),
		Scopes: clone(t.Scopes), Audience: clone(t.Audience), ACR: strings.Clone(t.ACR), Mark: t.Mark,
	}}
	p.token.Mark.Seq = 0
	p.token.Mark.Release = mintmark.ReleaseID(strings.Clone(string(t.Mark.Release)))
	p.token.Mark.Key = strings.Clone(t.Mark.Key)
	ps.seen[string(b)] = p
	return p, b
}

// clone copies, so that no cached string holds a whole payload in memory.
func clone(values []string) []string {
	out := slices.Clone(values)
	for i := range out {
		out[i] = strings.Clone(out[i])
	}
	return out
}

func appendField(b []byte, s string) []byte {
	return append(binary.LittleEndian.AppendUint64(b, uint64(len(s))), s...)
}
