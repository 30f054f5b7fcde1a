package verifier

import (
	"math/rand/v2"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/mintmark/mintmark/internal/jose"
)

// TestDigestStaysWithinItsValue: for every length, at any alignment, the sums are the
// portable ones, though the next page may not be read.
func TestDigestStaysWithinItsValue(t *testing.T) {
	page := unix.Getpagesize()
	size := (jose.MaxToken+2*chunk+page-1)/page*page + page
	m, err := unix.Mmap(-1, 0, size+page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(m)
	if err := unix.Mprotect(m[size:], unix.PROT_NONE); err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(1, 2))
	for i := range m[:size] {
		m[i] = byte(random.Uint32())
	}
	h := newHasher([32]byte{9})
	for n := range jose.MaxToken + chunk + 2 {
		for _, after := range [...]int{0, n % 16} {
			v := m[size-n-after : size-after : size-after]
			a, b := h.nhChunks(v)
			if c, d := h.nhPortable(v); a != c || b != d {
				t.Fatalf("%d bytes: this processor's sums are not the portable ones", n)
			}
			if (n < 200 || n%211 == 0) && h.sum(v) != naive(h, v) {
				t.Fatalf("%d bytes: not the digest", n)
			}
		}
	}
}
