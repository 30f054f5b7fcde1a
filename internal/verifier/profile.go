package verifier

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"
	"sync"
	"unsafe"

	"github.com/mintmark/mintmark"
)

// profile is what the tokens of one client and kind have in common.
type profile struct {
	token  mintmark.Token
	number uint64 // admission.Memo.Kin: never 0, never given twice
	origin origin
	key    uint64 // tag of the key (own) or issuer (foreign)
	plain  about  // of tokens that have nothing besides
}

// origin says how a token was verified, hence what it depends on.
type origin uint8

const (
	byOwnKey  origin = iota // JWT of ours
	byIssuer                // JWT of a foreign issuer
	byControl               // asked at control
)

// maxProfiles bounds the profiles that are shared; past it sharing starts anew.
const maxProfiles = 65_536

// profiles interns what tokens have in common.
type profiles struct {
	mu   sync.Mutex
	seen map[string]*profile // guarded by mu
	last uint64              // guarded by mu
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
	ps.last++
	p := &profile{number: ps.last, origin: o, key: key, token: mintmark.Token{
		Kind: t.Kind, Issuer: strings.Clone(t.Issuer), Client: mintmark.ClientID(strings.Clone(string(t.Client))),
		Scopes: clone(t.Scopes), Audience: clone(t.Audience), ACR: strings.Clone(t.ACR), Mark: t.Mark,
	}}
	p.token.Mark.Seq = 0
	p.plain.profile = p
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

// copied is a token that shares no memory with t.
func copied(t *mintmark.Token) mintmark.Token {
	c := *t
	for _, s := range [...]*string{
		(*string)(&c.ID), &c.Issuer, &c.Subject, (*string)(&c.Client), (*string)(&c.Grant), (*string)(&c.Family),
		(*string)(&c.Mark.Release), &c.Mark.Key, &c.Binding.JKT, &c.Binding.X5T, &c.ACR, &c.Actor,
	} {
		*s = strings.Clone(*s)
	}
	c.Via = slices.Clone(c.Via)
	for i := range c.Via {
		c.Via[i] = mintmark.TokenID(strings.Clone(string(c.Via[i])))
	}
	c.Origins = slices.Clone(c.Origins)
	for i := range c.Origins {
		c.Origins[i] = copiedOrigin(&c.Origins[i])
	}
	c.Scopes, c.Audience, c.Claims = clone(c.Scopes), clone(c.Audience), bytes.Clone(c.Claims)
	return c
}

// copiedOrigin shares no memory with o.
func copiedOrigin(o *mintmark.Origin) mintmark.Origin {
	c := *o
	for _, s := range [...]*string{
		&c.Issuer, &c.Subject, (*string)(&c.Client), (*string)(&c.Grant), (*string)(&c.Family), (*string)(&c.Mark.Release), &c.Mark.Key,
	} {
		*s = strings.Clone(*s)
	}
	c.Scopes, c.Audience = clone(c.Scopes), clone(c.Audience)
	return c
}

// sizeOf is what an origin takes in memory, about.
func sizeOf(o *mintmark.Origin) int {
	n := int(unsafe.Sizeof(*o)) + len(o.Issuer) + len(o.Subject) + len(o.Client) + len(o.Grant) + len(o.Family) + len(o.Mark.Release) + len(o.Mark.Key)
	for _, set := range [...][]string{o.Scopes, o.Audience} {
		for _, s := range set {
			n += int(unsafe.Sizeof(s)) + len(s)
		}
	}
	return n
}
