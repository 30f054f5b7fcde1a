//go:build linux

package e2e

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/api"
)

// until waits for done; killed reports that the process was killed before.
func (tr *tracer) until(done <-chan struct{}) (writes int, killed bool) {
	for {
		select {
		case l, ok := <-tr.lines:
			switch {
			case !ok, l == "killed":
				return writes, true
			case strings.HasPrefix(l, "write"):
				writes++
			}
		case <-done:
			return writes, false
		}
	}
}

// TestCrashAtEveryWriteOfAGateway kills a gateway at each of the writes with which
// it keeps what control told it, during a revocation. The revocation is
// acknowledged only when that gateway, started again, applies it too, and it never
// admits the token from then on (G1, G5).
func TestCrashAtEveryWriteOfAGateway(t *testing.T) {
	w := newWorld(t, worldOptions{})
	g := w.Gateways[0]
	dir := filepath.Join(w.dir, g.Name)
	tr := trace(t, g.PID(), dir)
	crashes := 0
	once := func(k int) (writes int) {
		tok := w.mint(k).Access
		w.everywhere("live", tok, "")
		var a *api.RevokeAnswer
		var err error
		done := make(chan struct{})
		tr.arm(t, k)
		go func() {
			defer close(done)
			a, err = w.revoke("token="+claim(t, tok, "jti"), "")
		}()
		writes, killed := tr.until(done)
		if !killed {
			_, killed = tr.disarm(t)
		}
		if killed {
			crashes++
			g.Kill()
			tr.close()
			w.restart(g)
			tr = trace(t, g.PID(), dir)
		}
		<-done
		must(t, err)
		if a.Receipt.Outcome != mintmark.OutcomeEffective {
			t.Errorf("write %d: the receipt says %+v", k, a.Receipt)
		}
		for n := range w.Entries() {
			if s := w.present(w.ctx, n, "/vault/x", tok); s.admitted() {
				t.Errorf("write %d: %s admits what was revoked: %s", k, w.Gateways[n].Name, s)
			}
		}
		w.everywhere(fmt.Sprintf("revoked, killed at write %d", k), tok, string(mintmark.CodeRevoked))
		return writes
	}
	total := once(0)
	for _, k := range crashPoints(t, "a gateway", total) {
		if once(k); t.Failed() {
			return
		}
	}
	t.Logf("%d crashes", crashes)
	if crashes == 0 {
		t.Error("no crash: nothing was proved")
	}
}
