package verifier

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
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
type digest [2]uint64

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

// sum digests a value. room is scratch of at least 16 bytes.
func (h *hasher) sum(room, value []byte) digest {
	b := h.aead.Seal(room[:0], h.nonce, nil, value)
	return digest{binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:])}
}
