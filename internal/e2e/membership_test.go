package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mintmark/mintmark/api"
)

// A gateway that is removed is cut at once, answers 503 within its budget and never
// 401, says in its log what to do, and leaves every list; the others go on.
func TestARemovedGatewayIsCut(t *testing.T) {
	r := newRig(t, rigConfig{gateways: 2, lease: time.Second})
	a, b := r.gates[0], r.gates[1]
	c := r.machine("machine", ordersAudience, "orders.read")
	r.admits(a, "/orders/1", c)
	r.admits(b, "/orders/1", c)
	exit, out := r.cli("gateway", "list", "-o", "json")
	if exit != api.ExitOK || strings.Count(out, `"credential_ends"`) != 2 {
		t.Fatalf("list: exit %d: %s", exit, out)
	}
	h := hammer(r, "/orders/1", c, 10*time.Millisecond)
	if exit, out := r.cli("gateway", "remove", string(b.id), "--reason", "stolen"); exit != api.ExitOK {
		t.Fatalf("remove: exit %d: %s", exit, out)
	}
	removed := time.Now()
	r.eventually(20*time.Second, "the removed gateway leaves the list", func() (bool, string) {
		_, out := r.cli("gateway", "list", "-o", "json")
		return !strings.Contains(out, fmt.Sprintf("%q", string(b.id))), out
	})
	h.after(t, removed.Add(bound(r.lease)))
	each := h.each()
	if last := judge(t, "the removed gateway", each[b.id], removed.Add(bound(r.lease))); last.IsZero() {
		t.Error("it never admitted anything: the test proves nothing")
	}
	for _, x := range each[a.id] {
		if x.status != http.StatusOK {
			t.Fatalf("the other gateway: %s", x)
		}
	}
	if exit, out := r.cli("gateway", "remove", string(b.id)); exit != api.ExitNotFound {
		t.Errorf("removed twice: exit %d: %s", exit, out)
	}
	rec := receiptOf(t, func() string {
		_, out := r.cli("token", "revoke", "--client", "machine", "--reason", "leaked", "-y", "--timeout", "20s")
		return out
	}())
	if got := reaches(rec); len(got) != 1 || got[a.id] != "applied" {
		t.Errorf("a later receipt names %v", got)
	}
	logs, err := filepath.Glob(filepath.Join(r.dir, "*"+string(b.id)+"*.log"))
	must(t, err)
	said := false
	for _, name := range logs {
		text, err := os.ReadFile(name)
		must(t, err)
		said = said || strings.Contains(string(text), "control refuses this gateway's credential")
	}
	if !said {
		t.Errorf("its log does not say what to do: %v", logs)
	}
	r.verify()
}
