package verifier

import (
	"bytes"
	"math/big"
	"math/rand/v2"
	"testing"

	"github.com/mintmark/mintmark/internal/jose"
)

// naive computes a digest as its definition says, in whole numbers.
func naive(h *hasher, value []byte) digest {
	whole := len(value)
	value = value[:min(whole, jose.MaxToken)]
	word := func(v uint64) *big.Int { return new(big.Int).SetUint64(v) }
	pair := func(v wide) *big.Int { return new(big.Int).Add(new(big.Int).Lsh(word(v.hi), 64), word(v.lo)) }
	modulus := new(big.Int).Lsh(big.NewInt(1), 128)
	padded := append(bytes.Clone(value), make([]byte, chunk)...)[:(len(value)+chunk-1)/chunk*chunk]
	var words []uint64
	for i := 0; i < len(padded); i += 8 {
		w := uint64(0)
		for j := range 8 {
			w |= uint64(padded[i+j]) << (8 * j)
		}
		words = append(words, w)
	}
	in := make([]*big.Int, 0, 5)
	for shift := 0; shift <= 2; shift += 2 {
		s := new(big.Int)
		for i := 0; i < len(words); i += 2 {
			s.Add(s, new(big.Int).Mul(word(words[i]+h.words[i+shift]), word(words[i+1]+h.words[i+1+shift])))
		}
		s.Mod(s, modulus)
		low := new(big.Int).And(s, word(^uint64(0)))
		in = append(in, low, new(big.Int).Rsh(s, 64))
	}
	in = append(in, big.NewInt(int64(whole)))
	var d digest
	for j := range d {
		s := pair(h.mix[j].plus)
		for i := range in {
			s.Add(s, new(big.Int).Mul(pair(h.mix[j].factors[i]), in[i]))
		}
		d[j] = new(big.Int).Rsh(s.Mod(s, modulus), 64).Uint64()
	}
	return d
}

func TestDigestIsItsDefinition(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	h := newHasher([32]byte{3})
	for _, n := range []int{0, 1, 7, 8, 15, 16, 63, 64, 65, 127, 128, 700, 1000, jose.MaxToken - 1, jose.MaxToken, jose.MaxToken + 1, jose.MaxToken + 100} {
		v := make([]byte, n)
		for i := range v {
			v[i] = byte(random.Uint32())
		}
		if got, want := h.sum(v), naive(h, v); got != want {
			t.Errorf("%d bytes: %x, want %x", n, got, want)
		}
		a, b := h.nhChunks(v)
		if c, d := h.nhPortable(v); a != c || b != d {
			t.Errorf("%d bytes: this processor's sums are not the portable ones", n)
		}
	}
}

// TestDigestTellsApart: every byte, every length and the key count.
func TestDigestTellsApart(t *testing.T) {
	h := newHasher([32]byte{3})
	seen := map[digest]string{}
	note := func(d digest, what string) {
		if o, ok := seen[d]; ok {
			t.Errorf("%s and %s have one digest", what, o)
		}
		seen[d] = what
	}
	v := bytes.Repeat([]byte("token"), 160)
	note(h.sum(v), "the value")
	note(newHasher([32]byte{4}).sum(v), "another key")
	for i := range v {
		v[i]++
		note(h.sum(v), "a changed byte")
		v[i]--
	}
	zeros := make([]byte, jose.MaxToken)
	for n := range zeros {
		note(h.sum(zeros[:n]), "zeros")
	}
}

// TestKeyIsDrawnWhole: no word of the key is left zero, none is there twice.
func TestKeyIsDrawnWhole(t *testing.T) {
	h := newHasher([32]byte{3})
	words := append([]uint64{0}, h.words[:]...)
	for _, m := range h.mix {
		words = append(words, m.plus.lo, m.plus.hi)
		for _, f := range m.factors {
			words = append(words, f.lo, f.hi)
		}
	}
	seen := map[uint64]bool{}
	for _, w := range words {
		if seen[w] {
			t.Fatalf("%x twice", w)
		}
		seen[w] = true
	}
}
