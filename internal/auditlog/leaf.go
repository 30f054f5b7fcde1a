// Package auditlog answers: is the record of what happened whole, and is it the
// one that was written?
//
// Each event's salted commitment is a leaf of one append-only Merkle tree
// (RFC 6962, hashes in the storage order of golang.org/x/mod/sumdb/tlog); its root
// is signed in checkpoints of the C2SP form. The salt is stored beside the event:
// destroying it makes a leaf unreadable without breaking the tree. A leaf holds
// no personal data.
//
// The package does no I/O; the ledger stores what it returns in the transaction
// that stores the event.
package auditlog

import (
	"crypto/sha256"
	"encoding/binary"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/mintmark/mintmark"
)

var emptyRoot = tlog.Hash(sha256.Sum256(nil))

// Canonical appends the event's canonical bytes to dst: a version, then each
// member with its length. New members may be added at the end under a higher
// version; the order never changes.
func Canonical(dst []byte, e *mintmark.Event) []byte {
	dst = append(dst, 1)
	dst = binary.BigEndian.AppendUint64(dst, e.Seq)
	dst = appendString(dst, e.Stream)
	dst = binary.BigEndian.AppendUint64(dst, e.Version)
	dst = appendString(dst, string(e.Type))
	dst = binary.BigEndian.AppendUint64(dst, uint64(e.At.UnixMilli()))
	dst = appendString(dst, e.Actor)
	dst = appendString(dst, string(e.Token))
	dst = appendString(dst, e.Subject)
	dst = appendString(dst, string(e.Client))
	dst = appendString(dst, string(e.Release))
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(e.Data)))
	return append(dst, e.Data...)
}

func appendString(dst []byte, s string) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(s)))
	return append(dst, s...)
}

// Leaf returns the hash of an event's leaf: RFC 6962's leaf hash of
// SHA-256(salt ‖ canonical event).
func Leaf(salt [32]byte, e *mintmark.Event) tlog.Hash {
	var buf [1024]byte
	b := append(buf[:0], salt[:]...)
	c := sha256.Sum256(Canonical(b, e))
	return tlog.RecordHash(c[:])
}
