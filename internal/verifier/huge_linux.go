package verifier

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// hugePage is the size of most machines' huge pages; on others the advice covers
// too much or too little, and is still only advice.
const hugePage = 2 << 20

// adviseHuge asks for huge pages where b lies, rounded outwards, so that a look-up
// in a large table waits for memory but not for the page table too. What else lies
// in those pages is the Go heap's, for which the same holds. It is advice: where it
// is not taken everything is as before.
func adviseHuge(b unsafe.Pointer, n uintptr) {
	if n < hugePage/16 {
		return // so little that huge pages would only waste memory
	}
	// The addresses stay numbers: what is next to b is nobody's to hold.
	first := uintptr(b) &^ (hugePage - 1)
	last := (uintptr(b) + n + hugePage - 1) &^ (hugePage - 1)
	for p := first; p < last; p += hugePage {
		// One call for each page: what is not mapped must not spoil the others.
		_, _, _ = unix.Syscall(unix.SYS_MADVISE, p, hugePage, unix.MADV_HUGEPAGE)
	}
}
