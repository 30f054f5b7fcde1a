//go:build linux

package e2e

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/api"
)

// RB03: when the ledger can't be written, a revocation is an error or holds
// everywhere, never a bare success; nobody is refused for it; and with room again
// everything goes on without a hand laid on it.
func TestRB03DiskFullDuringRevoke(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=48m"); err != nil {
		t.Skipf("a file system of its own takes the right to mount one: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	r := newRig(t, rigConfig{gateways: 2, controlDir: filepath.Join(dir, "control")})
	good := r.machine("other", ordersAudience, "orders.read")
	n := 12
	keys := make([]*credential, n)
	for i := range keys {
		keys[i] = r.apiKey(fmt.Sprintf("partner-%d", i), ordersAudience, "orders.read")
		for _, g := range r.gates {
			r.admits(g, "/orders/1", keys[i])
		}
	}
	for _, g := range r.gates {
		r.admits(g, "/orders/1", good)
	}
	ballast := filepath.Join(dir, "ballast")
	fill(t, ballast)
	h := hammer(r, "/orders/1", good, 10*time.Millisecond)
	revoke := func(i int) error {
		a, err := r.api().Revoke(t.Context(), api.RevokeRequest{Selector: fmt.Sprintf("subject=partner-%d", i), Reason: "test", Wait: true, Timeout: "10s"})
		if err != nil {
			return err
		}
		if a.Receipt == nil || a.Receipt.Outcome != mintmark.OutcomeEffective {
			return fmt.Errorf("not effective: %+v", a.Receipt)
		}
		return nil
	}
	refused := func(i int, when string) {
		t.Helper()
		for _, g := range r.gates {
			if a := r.present(g, "/orders/1", keys[i]); a.status == http.StatusOK {
				t.Errorf("%s: %s admits partner-%d, whose revocation was acknowledged", when, g.id, i)
			}
		}
	}
	var done, failed []int
	for i := range keys {
		var p *api.Problem
		switch err := revoke(i); {
		case err == nil:
			done = append(done, i)
			refused(i, "on a full disk")
		case errors.As(err, &p) && (p.Status >= 500 || p.Code == api.CodeOutcome || p.Code == api.CodeUnreachable):
			failed = append(failed, i)
		default:
			t.Errorf("revoke on a full disk: %v", err)
		}
		if len(failed) == 4 {
			break
		}
	}
	if len(failed) == 0 {
		t.Fatal("every revocation succeeded on a full disk: the test proves nothing")
	}
	t.Logf("on a full disk %d revocations were acknowledged, %d refused", len(done), len(failed))
	must(t, os.Remove(ballast))
	for _, i := range failed {
		r.eventually(15*time.Second, "revocations go on with room again", func() (bool, string) {
			err := revoke(i)
			return err == nil, fmt.Sprint(err)
		})
	}
	for _, i := range append(done, failed...) {
		refused(i, "with room again")
	}
	for id, list := range h.each() {
		for _, a := range list {
			if a.status != http.StatusOK && a.status != http.StatusServiceUnavailable {
				t.Fatalf("a harmless token at %s meanwhile: %s", id, a)
			}
		}
	}
	r.verify()
}

// fill writes a file until the file system has no room.
func fill(t *testing.T, name string) {
	t.Helper()
	f, err := os.Create(name)
	must(t, err)
	defer f.Close()
	for size := 1 << 20; size >= 512; {
		if _, err := f.Write(make([]byte, size)); errors.Is(err, syscall.ENOSPC) {
			size /= 2
		} else {
			must(t, err)
		}
	}
}
