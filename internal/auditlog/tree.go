package auditlog

import (
	"errors"
	"fmt"

	"golang.org/x/mod/sumdb/tlog"
)

// Tree is the right edge of a growing Merkle tree (RFC 6962 §2.1): enough to add
// leaves and to compute the root, not to prove inclusion. The zero value is the
// empty tree. It is not safe for concurrent use.
type Tree struct {
	size uint64
	edge []tlog.Hash // roots of complete subtrees, largest first
}

// ErrEdge reports an edge that cannot belong to a tree of the size given.
var ErrEdge = errors.New("auditlog: edge does not fit the size")

// NewTree goes on from a stored size and edge.
func NewTree(size uint64, edge []tlog.Hash) (*Tree, error) {
	ones := 0
	for n := size; n != 0; n &= n - 1 {
		ones++
	}
	if ones != len(edge) {
		return nil, fmt.Errorf("%w: %d hashes for %d leaves", ErrEdge, len(edge), size)
	}
	return &Tree{size: size, edge: append([]tlog.Hash(nil), edge...)}, nil
}

// Size returns the number of leaves.
func (t *Tree) Size() uint64 { return t.size }

// Edge returns a copy of the right edge.
func (t *Tree) Edge() []tlog.Hash { return append([]tlog.Hash(nil), t.edge...) }

// Clone returns an independent copy.
func (t *Tree) Clone() *Tree { return &Tree{size: t.size, edge: t.Edge()} }

// Add appends a leaf and returns dst with the hashes it adds to tlog's storage
// order: the leaf and each subtree that it completes.
func (t *Tree) Add(dst []tlog.Hash, leaf tlog.Hash) []tlog.Hash {
	dst = append(dst, leaf)
	h := leaf
	for n := t.size; n&1 == 1; n >>= 1 {
		last := len(t.edge) - 1
		h = tlog.NodeHash(t.edge[last], h)
		t.edge = t.edge[:last]
		dst = append(dst, h)
	}
	t.edge = append(t.edge, h)
	t.size++
	return dst
}

// Root returns the tree's hash. The empty tree's is the hash of nothing, as in
// RFC 6962.
func (t *Tree) Root() tlog.Hash {
	if len(t.edge) == 0 {
		return emptyRoot
	}
	last := len(t.edge) - 1
	h := t.edge[last]
	for i := last - 1; i >= 0; i-- {
		h = tlog.NodeHash(t.edge[i], h)
	}
	return h
}

// Stored returns how many hashes tlog's storage order holds for size leaves.
func Stored(size uint64) int64 {
	if size == 0 {
		return 0
	}
	return tlog.StoredHashIndex(0, int64(size))
}
