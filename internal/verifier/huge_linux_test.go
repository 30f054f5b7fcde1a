package verifier

import (
	"bufio"
	"fmt"
	"os"
	"strings"
	"testing"
	"unsafe"
)

// TestLargeTablesLieInHugePages: the kernel was told so of a large table, and not
// of a small one's sake.
func TestLargeTablesLieInHugePages(t *testing.T) {
	if _, err := os.Stat("/sys/kernel/mm/transparent_hugepage/enabled"); err != nil {
		t.Skip("this kernel has no transparent huge pages")
	}
	large := newTable(4096)
	for _, i := range []int{0, len(large.slots) / 2, len(large.slots) - 1} {
		if !huge(t, unsafe.Pointer(&large.slots[i])) {
			t.Errorf("slot %d of %d lies in small pages", i, len(large.slots))
		}
	}
}

// huge reports whether the mapping of an address is advised to be of huge pages:
// whether there are any just now is the kernel's affair.
func huge(t *testing.T, p unsafe.Pointer) bool {
	f, err := os.Open("/proc/self/smaps")
	if err != nil {
		t.Skip(err)
	}
	defer f.Close()
	within := false
	for s := bufio.NewScanner(f); s.Scan(); {
		var first, after uintptr
		if n, _ := fmt.Sscanf(s.Text(), "%x-%x ", &first, &after); n == 2 {
			within = first <= uintptr(p) && uintptr(p) < after
		}
		if flags, ok := strings.CutPrefix(s.Text(), "VmFlags:"); ok && within {
			return strings.Contains(flags+" ", " hg ")
		}
	}
	t.Fatal("the address is in no mapping")
	return false
}
