// Package handle answers what an opaque token, a refresh token or an API key
// looks like as text, and what of it may be kept.
//
// A value is a prefix that names its kind, 43 base62 digits of 32 random bytes,
// and 6 base62 digits of the CRC-32 over everything before: typing errors and
// random floods are refused without asking anybody, and secret scanners can tell
// a real value from a look-alike. The checksum protects nothing else: it is not
// a MAC.
//
// Values are never stored. What travels is Digest, and what is stored is a keyed
// hash of that (see the ledger).
//
// All functions are pure and safe for concurrent use. Refusals do not allocate.
package handle

import (
	"crypto/sha256"
	"errors"
	"hash/crc32"

	"github.com/mintmark/mintmark"
)

// Prefixes by kind. They are never changed or reused.
const (
	PrefixAccess  = "mma_"
	PrefixRefresh = "mmr_"
	PrefixAPIKey  = "mmk_"
)

// Length of every value in bytes: prefix, body, checksum.
const Length = prefixLen + bodyLen + sumLen

const (
	prefixLen = 4
	bodyLen   = 43 // 62^43 > 2^256
	sumLen    = 6  // 62^6 > 2^32
	alphabet  = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
)

// Errors of Parse.
var (
	// ErrForeign: the text does not start like a value of ours.
	ErrForeign = errors.New("handle: not a value of this authority")
	// ErrMalformed: it starts like one, but its length, alphabet or checksum is
	// wrong.
	ErrMalformed = errors.New("handle: malformed or mistyped value")
)

// Text is what values come as.
type Text interface{ ~string | ~[]byte }

// Prefix returns the prefix of a kind, "" for kinds that are not opaque.
func Prefix(kind mintmark.TokenKind) string {
	switch kind {
	case mintmark.KindOpaque:
		return PrefixAccess
	case mintmark.KindRefresh:
		return PrefixRefresh
	case mintmark.KindAPIKey:
		return PrefixAPIKey
	}
	return ""
}

// Generate returns the value of the given kind that carries random, which must
// come from a cryptographic source and be used once. It panics on a kind that is
// not opaque: that is a mistake of the program, not of its input.
func Generate(kind mintmark.TokenKind, random [32]byte) string {
	prefix := Prefix(kind)
	if prefix == "" {
		panic("handle: kind " + kind.String() + " has no opaque form")
	}
	var out [Length]byte
	copy(out[:], prefix)
	// Long division of the 256-bit number by 62, most significant limb first;
	// every step's remainder is one digit, least significant first.
	n := random
	for i := prefixLen + bodyLen - 1; i >= prefixLen; i-- {
		rem := 0
		for j, b := range n {
			cur := rem<<8 | int(b)
			n[j] = byte(cur / 62)
			rem = cur % 62
		}
		out[i] = alphabet[rem]
	}
	sum := checksum(out[:prefixLen+bodyLen])
	for i := Length - 1; i >= prefixLen+bodyLen; i-- {
		out[i] = alphabet[sum%62]
		sum /= 62
	}
	return string(out[:])
}

// Sniff returns the kind that the text's prefix claims, without checking the
// rest; KindUnknown when the text is not ours.
func Sniff[T Text](value T) mintmark.TokenKind {
	if len(value) < prefixLen || value[0] != 'm' || value[1] != 'm' || value[3] != '_' {
		return mintmark.KindUnknown
	}
	switch value[2] {
	case 'a':
		return mintmark.KindOpaque
	case 'r':
		return mintmark.KindRefresh
	case 'k':
		return mintmark.KindAPIKey
	}
	return mintmark.KindUnknown
}

// Parse returns the kind of a well-formed value, ErrForeign or ErrMalformed. It
// says nothing about whether such a token was ever issued.
func Parse[T Text](value T) (mintmark.TokenKind, error) {
	kind := Sniff(value)
	if kind == mintmark.KindUnknown {
		return kind, ErrForeign
	}
	if len(value) != Length {
		return mintmark.KindUnknown, ErrMalformed
	}
	for i := prefixLen; i < Length; i++ {
		if !isDigit(value[i]) {
			return mintmark.KindUnknown, ErrMalformed
		}
	}
	sum := checksum(value[:prefixLen+bodyLen])
	for i := Length - 1; i >= prefixLen+bodyLen; i-- {
		if value[i] != alphabet[sum%62] {
			return mintmark.KindUnknown, ErrMalformed
		}
		sum /= 62
	}
	return kind, nil
}

// Digest returns the SHA-256 of a value: what may leave the process that was
// shown the value.
func Digest[T Text](value T) [32]byte { return sha256.Sum256([]byte(value)) }

func isDigit(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z'
}

// checksum is CRC-32 (IEEE) by table: hash/crc32's own entry points go through a
// function value, which would send the argument to the heap.
func checksum[T Text](b T) uint32 {
	sum := ^uint32(0)
	for i := range len(b) {
		sum = crc32.IEEETable[byte(sum)^b[i]] ^ sum>>8
	}
	return ^sum
}
