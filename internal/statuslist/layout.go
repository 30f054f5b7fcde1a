package statuslist

import (
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"strconv"
	"strings"

	"github.com/mintmark/mintmark"
)

// What a list of ours is: one release's tokens that expire in one hour and whose
// issuance numbers share a block. So a revocation or rollback of a release touches
// its lists only, and a list is over when its hour is.
const (
	// Bucket is how many seconds of expiry share a list.
	Bucket = 3600
	// blockBits is how many statuses a list has room for, as a power of two.
	blockBits = 16
	// Room is that number.
	Room = 1 << blockBits
	// Bits of a status of ours: valid, invalid, suspended.
	Bits = 2
)

// Place names one list of ours.
type Place struct {
	Release mintmark.ReleaseID
	Bucket  int64  // expiry in units of Bucket seconds
	Block   uint64 // issuance number in units of Room
}

// Path is the place below the lists' common address: service/release/bucket-block.
func (p Place) Path() string {
	return string(p.Release) + "/" + strconv.FormatInt(p.Bucket, 10) + "-" + strconv.FormatUint(p.Block, 10)
}

// Ends is the Unix second from which no token in the list is live any more.
func (p Place) Ends() int64 { return (p.Bucket + 1) * Bucket }

// ParsePath reads what Path wrote, and nothing else: a list has one address.
func ParsePath(path string) (Place, error) {
	i := strings.LastIndexByte(path, '/')
	if i < 0 {
		return Place{}, fmt.Errorf("%w: %.100q names no list", ErrMalformed, path)
	}
	release, err := mintmark.ParseReleaseID(path[:i])
	if err != nil {
		return Place{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	bucket, block, ok := strings.Cut(path[i+1:], "-")
	p := Place{Release: release}
	var err1, err2 error
	p.Bucket, err1 = strconv.ParseInt(bucket, 10, 64)
	p.Block, err2 = strconv.ParseUint(block, 10, 64)
	if !ok || err1 != nil || err2 != nil || p.Bucket < 0 || p.Bucket > 1<<40 || p.Path() != path {
		return Place{}, fmt.Errorf("%w: %.100q names no list", ErrMalformed, path)
	}
	return p, nil
}

// Layout allots places. A token's place follows from what it is (release, expiry,
// issuance number) and a secret key, so that nothing is stored or agreed on to
// allot one, no place is ever given twice (issuance numbers are not), and nobody
// can tell from two indexes which token came first or whether both belong together.
type Layout struct {
	// Base is the lists' common address, without a slash at the end.
	Base string
	// Key is secret, 32 bytes; another one would move every token.
	Key []byte
}

// PlaceOf returns the list of a token of ours.
func PlaceOf(release mintmark.ReleaseID, expires int64, seq uint64) Place {
	return Place{Release: release, Bucket: expires / Bucket, Block: seq >> blockBits}
}

// URI is a list's address.
func (l Layout) URI(p Place) string { return l.Base + "/" + p.Path() }

// Index is a token's index in its list: a keyed permutation of the low bits of its
// issuance number, another one for each list.
func (l Layout) Index(p Place, seq uint64) int {
	m := hmac.New(sha256.New, l.Key)
	m.Write([]byte("mintmark-status-index-v1\n" + p.Path()))
	var key [sha256.Size]byte
	m.Sum(key[:0])
	return int(permute(uint16(seq), &key))
}

// permute is a Feistel network of ten rounds over two bytes: a bijection whatever
// the round function is, and it is a keyed hash cut short.
func permute(v uint16, key *[sha256.Size]byte) uint16 {
	left, right := byte(v>>8), byte(v)
	for round := range byte(10) {
		left, right = right, left^mix(key, round, right)
	}
	return uint16(left)<<8 | uint16(right)
}

func mix(key *[sha256.Size]byte, round, half byte) byte {
	var b [sha256.Size + 2]byte
	copy(b[:], key[:])
	b[sha256.Size], b[sha256.Size+1] = round, half
	sum := sha256.Sum256(b[:])
	return sum[0]
}

// Reference returns the claim of a token of ours.
func (l Layout) Reference(release mintmark.ReleaseID, expires int64, seq uint64) Reference {
	p := PlaceOf(release, expires, seq)
	return Reference{Index: uint64(l.Index(p, seq)), URI: l.URI(p)}
}
