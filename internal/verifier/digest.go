package verifier

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"math/bits"

	"github.com/mintmark/mintmark/internal/jose"
)

// digest names a presented value in the cache: 128 bits of a universal hash under
// a secret key, so that the value itself need not be kept.
//
// Two values chosen without knowledge of the key have one digest with a chance of
// at most 2^-127 (see hasher). A caller never sees a digest and learns of each
// guess only that it missed, so q guesses against N cached tokens succeed with at
// most q·N·2^-127: with 2^20 tokens, q·2^-107. An unkeyed hash would not do:
// anybody could search it for collisions. Nor would a keyed one without a proof,
// as hash/maphash is, unless the whole value were kept and compared.
type digest [2]uint64

// hasher computes digests. It is immutable, so safe for concurrent use.
//
// Its first step is NH of UMAC (Black, Halevi, Krawczyk, Krovetz and Rogaway,
// CRYPTO '99) on words of 64 bits, twice, the second time with the key shifted by
// two words: by their theorem on the Toeplitz construction, two values of one
// length collide in both with a chance of at most 2^-128, for any number of words,
// as long as there is a word of key for each. Values are padded with zeros.
//
// Its second step hashes what came out, and the length, to twice 64 bits by
// multiply-shift for vectors modulo 2^128 (Dietzfelbinger, STACS '96; Thorup,
// "High Speed Hashing for Integers and Strings", §3.2): strongly universal, so
// that both halves together collide with a chance of 2^-128, and each is uniform.
//
// The key is drawn from 256 random bits by AES-256 in counter mode.
type hasher struct {
	words [maxWords + 2]uint64
	mix   [2]mixer
}

const (
	chunk    = 64 // bytes
	maxWords = jose.MaxToken / 8
)

// Whole chunks make up the longest value.
var _ [0]struct{} = [jose.MaxToken % chunk]struct{}{}

// mixer is one half of the second step.
type mixer struct {
	factors [5]wide
	plus    wide
}

func newHasher(key [32]byte) *hasher {
	block, err := aes.NewCipher(key[:])
	if err != nil {
		panic("verifier: " + err.Error()) // 32 bytes are always a key
	}
	h := &hasher{}
	counter, b := cipher.NewCTR(block, make([]byte, block.BlockSize())), [8]byte{}
	draw := func() uint64 {
		clear(b[:])
		counter.XORKeyStream(b[:], b[:])
		return binary.LittleEndian.Uint64(b[:])
	}
	for i := range h.words {
		h.words[i] = draw()
	}
	for i := range h.mix {
		m := &h.mix[i]
		m.plus = wide{draw(), draw()}
		for j := range m.factors {
			m.factors[j] = wide{draw(), draw()}
		}
	}
	return h
}

// sum digests a value of at most jose.MaxToken bytes; of a longer one only the
// beginning.
func (h *hasher) sum(value []byte) digest {
	a, b := h.nhChunks(value)
	whole := min(len(value)/chunk, maxWords/(chunk/8))
	if rest := value[whole*chunk:]; len(rest) > 0 && whole < maxWords/(chunk/8) {
		var last [chunk]byte
		copy(last[:], rest)
		k := h.words[whole*(chunk/8):]
		a = a.nh(&last, (*[chunk / 8]uint64)(k))
		b = b.nh(&last, (*[chunk / 8]uint64)(k[2:]))
	}
	n := uint64(len(value))
	return digest{h.mix[0].sum(a, b, n), h.mix[1].sum(a, b, n)}
}

// nhPortable is nhChunks for any processor.
func (h *hasher) nhPortable(value []byte) (a, b wide) {
	for k := h.words[:]; len(value) >= chunk && len(k) >= chunk/8+2; value, k = value[chunk:], k[chunk/8:] {
		m := (*[chunk]byte)(value)
		a = a.nh(m, (*[chunk / 8]uint64)(k))
		b = b.nh(m, (*[chunk / 8]uint64)(k[2:]))
	}
	return a, b
}

// wide is a number modulo 2^128.
type wide struct{ lo, hi uint64 }

// plus adds the product of two words.
func (s wide) plus(x, y uint64) wide {
	hi, lo := bits.Mul64(x, y)
	lo, c := bits.Add64(s.lo, lo, 0)
	hi, _ = bits.Add64(s.hi, hi, c)
	return wide{lo, hi}
}

// nh adds a chunk.
func (s wide) nh(m *[chunk]byte, k *[chunk / 8]uint64) wide {
	s = s.plus(binary.LittleEndian.Uint64(m[0:])+k[0], binary.LittleEndian.Uint64(m[8:])+k[1])
	s = s.plus(binary.LittleEndian.Uint64(m[16:])+k[2], binary.LittleEndian.Uint64(m[24:])+k[3])
	s = s.plus(binary.LittleEndian.Uint64(m[32:])+k[4], binary.LittleEndian.Uint64(m[40:])+k[5])
	return s.plus(binary.LittleEndian.Uint64(m[48:])+k[6], binary.LittleEndian.Uint64(m[56:])+k[7])
}

// times adds the product of a word and a factor.
func (s wide) times(f *wide, w uint64) wide {
	s = s.plus(f.lo, w)
	s.hi += f.hi * w
	return s
}

// sum is the high word of plus and the sum of the words, each times its factor.
func (m *mixer) sum(a, b wide, n uint64) uint64 {
	f := &m.factors
	return m.plus.times(&f[0], a.lo).times(&f[1], a.hi).times(&f[2], b.lo).times(&f[3], b.hi).times(&f[4], n).hi
}
