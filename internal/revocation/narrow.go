package revocation

import (
	"encoding/base32"
	"encoding/binary"
	"math"

	"github.com/mintmark/mintmark"
)

// dim is the dimension that a fact is indexed under: its most specific one.
type dim uint8

// Dimensions, most specific first.
const (
	dimToken dim = iota
	dimFamily
	dimGrant
	dimSubject
	dimKey
	dimClient
	dimRelease
	dimScope
	dimAudience
	dimIssuer
	dimAny // a window of issue time and nothing else
	dims
)

// narrow is a fact about one token, family or grant in 64 bytes: the kind that
// there may be millions of. Ids are kept as the 128 bits that their text encodes.
type narrow struct {
	key           [16]byte
	id            [16]byte
	toSeq         uint64
	made          int64
	to, forget    uint32
	reason, actor uint16 // places in words
	action        mintmark.Action
	prefix        uint8 // place in prefixes
}

// prefixes of the ids that narrow facts can be about, and their dimension.
var prefixes = [...]struct {
	text string
	dim  dim
}{
	{mintmark.PrefixToken + "_", dimToken},
	{mintmark.PrefixForeign + "_", dimToken},
	{mintmark.PrefixFamily + "_", dimFamily},
	{mintmark.PrefixGrant + "_", dimGrant},
}

const idAlphabet = "0123456789abcdefghjkmnpqrstvwxyz"

var (
	idEncoding = base32.NewEncoding(idAlphabet).WithPadding(base32.NoPadding)
	idDigits   = func() (d [256]byte) {
		for i := range d {
			d[i] = 0xff
		}
		for i, c := range []byte(idAlphabet) {
			d[c] = byte(i)
		}
		return d
	}()
)

// pack reads the 26 characters of an id after its prefix; false when they are not
// the one text of 128 bits.
func pack(text string) (b [16]byte, ok bool) {
	if len(text) != 26 {
		return b, false
	}
	var hi, lo uint64
	bad := byte(0)
	for i := range 26 {
		d := idDigits[text[i]]
		bad |= d
		if i == 25 { // the last character carries three bits
			hi = hi<<3 | lo>>61
			lo = lo<<3 | uint64(d>>2)
			if d&3 != 0 {
				return b, false
			}
			break
		}
		hi = hi<<5 | lo>>59
		lo = lo<<5 | uint64(d)
	}
	if bad == 0xff || bad&0x80 != 0 {
		return b, false
	}
	binary.BigEndian.PutUint64(b[:8], hi)
	binary.BigEndian.PutUint64(b[8:], lo)
	return b, true
}

func unpack(prefix string, b [16]byte) string { return prefix + idEncoding.EncodeToString(b[:]) }

// packID reads an id with one of the known prefixes of a dimension.
func packID(d dim, id string) (key [16]byte, prefix uint8, ok bool) {
	for i := range prefixes {
		p := &prefixes[i]
		if p.dim == d && len(id) == len(p.text)+26 && id[:len(p.text)] == p.text {
			key, ok = pack(id[len(p.text):])
			return key, uint8(i), ok
		}
	}
	return key, 0, false
}

// hashNarrow mixes a key. Ids of ours end in 80 random bits and those of foreign
// tokens are keyed hashes, so that nobody outside chooses where they fall.
func hashNarrow(n *narrow) uint64 { return hashKey(&n.key, n.prefix) }

func hashKey(k *[16]byte, prefix uint8) uint64 {
	x := binary.LittleEndian.Uint64(k[:8])*0x9e3779b97f4a7c15 ^ binary.LittleEndian.Uint64(k[8:]) ^ uint64(prefix)
	x ^= x >> 32
	x *= 0xd6e8feb86659fd93
	return x ^ x>>32
}

const revPrefix = mintmark.PrefixRevocation + "_"

// narrowOf packs a fact when it says nothing that does not fit; word gives a text
// its place, or false when there is no room.
func narrowOf(r *mintmark.Revocation, word func(string) (uint16, bool)) (n narrow, ok bool) {
	s := r.Selector
	var id string
	var d dim
	switch {
	case s.Token != "":
		id, d, s.Token = string(s.Token), dimToken, ""
	case s.Family != "":
		id, d, s.Family = string(s.Family), dimFamily, ""
	case s.Grant != "":
		id, d, s.Grant = string(s.Grant), dimGrant, ""
	}
	c := r.Cutoff
	if d == dimToken && id == "" || !s.IsZero() || r.Rollout != "" || r.Until != 0 || c.FromSeq != 0 || c.From != 0 || !fits(c.To) || !fits(r.Forget) {
		return n, false
	}
	if len(r.ID) < len(revPrefix) || string(r.ID[:len(revPrefix)]) != revPrefix {
		return n, false
	}
	if n.id, ok = pack(string(r.ID[len(revPrefix):])); !ok {
		return n, false
	}
	if n.key, n.prefix, ok = packID(d, id); !ok {
		return n, false
	}
	if n.reason, ok = word(r.Reason); !ok {
		return n, false
	}
	if n.actor, ok = word(r.Actor); !ok {
		return n, false
	}
	n.toSeq, n.to, n.forget, n.made, n.action = c.ToSeq, uint32(c.To), uint32(r.Forget), r.Made, r.Action
	return n, true
}

func fits(seconds int64) bool { return seconds >= 0 && seconds <= math.MaxUint32 }

// fact unpacks.
func (n *narrow) fact(words []string) *mintmark.Revocation {
	r := &mintmark.Revocation{
		ID:     mintmark.RevocationID(unpack(revPrefix, n.id)),
		Action: n.action,
		Cutoff: mintmark.Cutoff{ToSeq: n.toSeq, To: int64(n.to)},
		Forget: int64(n.forget),
		Made:   n.made,
		Reason: words[n.reason],
		Actor:  words[n.actor],
	}
	p := prefixes[n.prefix]
	id := unpack(p.text, n.key)
	switch p.dim {
	case dimToken:
		r.Selector.Token = mintmark.TokenID(id)
	case dimFamily:
		r.Selector.Family = mintmark.FamilyID(id)
	default:
		r.Selector.Grant = mintmark.GrantID(id)
	}
	return r
}
