package loopback_test

import (
	"fmt"
	"net"
	"testing"

	"github.com/mintmark/mintmark/internal/loopback"
)

func TestReservedPortsAreGivenOnce(t *testing.T) {
	seen := map[int]bool{}
	for range 20 {
		p, err := loopback.Reserve(25)
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		for _, port := range p.Numbers {
			if seen[port] {
				t.Fatalf("port %d was given twice", port)
			}
			seen[port] = true
			l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
			if err != nil {
				t.Fatalf("a reserved port is taken: %v", err)
			}
			defer l.Close()
		}
	}
}
