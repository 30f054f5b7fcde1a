package verifier

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"math/bits"
	"sync"
	"sync/atomic"
)

// digest names a presented value in the cache: its GMAC under a secret key and a
// fixed nonce, so that the value itself need not be kept.
//
// GHASH is almost universal: for two values chosen without knowledge of the key,
// the chance of one digest is at most (blocks+1)/2^128. A caller never sees a
// digest and learns of each guess only that it missed, so q guesses against N
// cached tokens of at most 2^10 blocks succeed with at most q·N·2^-118: with 2^20
// tokens, q·2^-98. The fixed nonce is harmless because no digest ever leaves the
// process. An unkeyed hash would not do: anybody could search it for collisions.
type digest [16]byte

// hasher computes digests. It is safe for concurrent use.
type hasher struct {
	aead  cipher.AEAD
	nonce []byte
}

func newHasher(key [32]byte) hasher {
	block, err := aes.NewCipher(key[:16])
	if err != nil {
		panic("verifier: " + err.Error()) // 16 bytes are always a key
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic("verifier: " + err.Error()) // AES always has the block size
	}
	return hasher{aead, make([]byte, aead.NonceSize())}
}

// sum writes the digest of value into room's capacity of at least 16 bytes.
func (h *hasher) sum(room, value []byte) digest {
	return digest(h.aead.Seal(room[:0], h.nonce, nil, value))
}

const ways = 16

// set is one set of the cache: tags first, so that a look-up touches no entry but
// the right one.
type set struct {
	tags  [2]atomic.Uint64 // a byte per way; 0 is empty
	used  atomic.Uint32    // CLOCK's bit per way
	hand  uint32           // guarded by mu
	mu    sync.Mutex       // held to change the set
	slots [ways]atomic.Pointer[entry]
}

// cache is a flat set-associative table of verified tokens. Readers take no lock.
// When a set is full, or the whole at its bound, CLOCK chooses the victim in the
// set. An entry evicted too early costs one verification, never a wrong answer.
type cache struct {
	sets    []set
	mask    uint64
	limit   int64
	bytes   int64
	count   atomic.Int64
	held    atomic.Int64 // bytes, about
	evicted atomic.Uint64
}

func newCache(entries int, bytes int64) *cache {
	// Half full at the bound: then one set in 250 overflows.
	n := 1 << bits.Len(uint(max(entries, 8)*2/ways-1))
	return &cache{sets: make([]set, n), mask: uint64(n - 1), limit: int64(entries), bytes: bytes}
}

func (d *digest) place() (index uint64, tag uint8) {
	tag = d[15]
	if tag == 0 {
		tag = 1
	}
	return binary.LittleEndian.Uint64(d[:8]), tag
}

const ones, highs = 0x0101010101010101, 0x8080808080808080

// get returns the entry of a digest, or nil.
func (c *cache) get(d *digest) *entry {
	index, tag := d.place()
	s := &c.sets[index&c.mask]
	for half := range s.tags {
		x := s.tags[half].Load() ^ ones*uint64(tag)
		// A zero byte of x is a match; there may be false ones above it.
		for m := (x - ones) &^ x & highs; m != 0; m &= m - 1 {
			way := half*8 + bits.TrailingZeros64(m)/8
			if e := s.slots[way].Load(); e != nil && e.digest == *d {
				if bit := uint32(1) << way; s.used.Load()&bit == 0 {
					s.used.Or(bit)
				}
				return e
			}
		}
	}
	return nil
}

// put adds an entry, or replaces the one of the same digest.
func (c *cache) put(e *entry, now int64) {
	index, tag := e.digest.place()
	s := &c.sets[index&c.mask]
	s.mu.Lock()
	defer s.mu.Unlock()
	free := -1
	for way := range s.slots {
		old := s.slots[way].Load()
		if old == nil {
			if free < 0 {
				free = way
			}
			continue
		}
		if old.digest == e.digest {
			c.held.Add(e.size() - old.size())
			s.slots[way].Store(e)
			return
		}
	}
	over := c.count.Load() >= c.limit || c.held.Load()+e.size() > c.bytes
	if free < 0 || over {
		if way := s.victim(now); way >= 0 {
			c.clear(s, way)
			c.evicted.Add(1)
			free = way
		}
	}
	s.slots[free].Store(e)
	s.setTag(free, tag)
	s.used.Or(1 << free)
	c.count.Add(1)
	c.held.Add(e.size())
}

// victim is the way to give up, -1 in an empty set: an expired token, else the
// first not used since the hand came by. The set's mu is held.
func (s *set) victim(now int64) int {
	some := -1
	for way := range s.slots {
		if e := s.slots[way].Load(); e != nil {
			some = way
			if e.exp != 0 && e.exp < now {
				return way
			}
		}
	}
	for range 2 * ways {
		way := int(s.hand % ways)
		s.hand++
		if s.slots[way].Load() == nil {
			continue
		}
		if bit := uint32(1) << way; s.used.Load()&bit != 0 {
			s.used.And(^bit)
			continue
		}
		return way
	}
	return some
}

// drop removes an entry if it is still there.
func (c *cache) drop(e *entry) {
	index, _ := e.digest.place()
	s := &c.sets[index&c.mask]
	s.mu.Lock()
	defer s.mu.Unlock()
	for way := range s.slots {
		if s.slots[way].Load() == e {
			c.clear(s, way)
		}
	}
}

// clear empties a way; the set's mu is held.
func (c *cache) clear(s *set, way int) {
	old := s.slots[way].Swap(nil)
	s.setTag(way, 0)
	c.count.Add(-1)
	c.held.Add(-old.size())
}

func (s *set) setTag(way int, tag uint8) {
	word, shift := &s.tags[way/8], uint(way%8)*8
	word.Store(word.Load()&^(0xff<<shift) | uint64(tag)<<shift)
}
