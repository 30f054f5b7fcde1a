package e2e

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/api"
)

// skipCall makes the call that a thread is about to make none at all.
func skipCall(tid int) error {
	var regs unix.PtraceRegs
	if err := unix.PtraceGetRegs(tid, &regs); err != nil {
		return err
	}
	regs.Orig_rax = math.MaxUint64
	return unix.PtraceSetRegs(tid, &regs)
}

// answerCall gives a thread, at the end of a call, an error for a result.
func answerCall(tid int, e unix.Errno) error {
	var regs unix.PtraceRegs
	if err := unix.PtraceGetRegs(tid, &regs); err != nil {
		return err
	}
	regs.Rax = -uint64(e)
	return unix.PtraceSetRegs(tid, &regs)
}

// RB03: a write or a sync of the ledger fails once, at each place of a revocation.
// The client sees an error, or the revocation holds; asked again, it comes about;
// and the ledger is whole.
func TestRB03WriteFailsDuringRevoke(t *testing.T) {
	w := newWorld(t, worldOptions{Clients: 8})
	tr := trace(t, w.Control.PID(), w.ledgerDir())
	harmless := w.mint(0).Access
	revoke := func(selector, key string) (*mintmark.Receipt, error) {
		ctx, cancel := context.WithTimeout(api.WithKey(w.ctx, key), 20*time.Second)
		defer cancel()
		admin, err := w.Admin(ctx)
		if err != nil {
			return nil, err
		}
		a, err := admin.Revoke(ctx, revocation(selector, ""))
		if err != nil {
			return nil, err
		}
		return a.Receipt, nil
	}
	token := w.mint(1).Access
	tr.arm(t, 0)
	if _, err := revoke("token="+claim(t, token, "jti"), newKey()); err != nil {
		t.Fatal(err)
	}
	list, _ := tr.disarm(t)
	points := crashPoints(t, "write error in revoke", len(list))
	outcomes := map[string]int{}
	for n, k := range points {
		token := w.mint(n + 2).Access
		w.everywhere("live token", token, "")
		selector, key := "token="+claim(t, token, "jti"), newKey()
		tr.fail(t, k)
		rec, err := revoke(selector, key)
		tr.disarm(t)
		switch {
		case err != nil:
			outcomes["error"]++
			w.eventually(30*time.Second, "the revocation, asked for again", func() error {
				rec, err = revoke(selector, key)
				if err == nil && !effective(rec) {
					err = fmt.Errorf("not effective: %+v", rec)
				}
				return err
			})
		case !effective(rec):
			// It has happened, only its receipt could not be written.
			outcomes["pending"]++
			if rec.Outcome != mintmark.OutcomePending || rec.Seq == 0 {
				t.Errorf("write %d failed: no error, and not effective: %+v", k, rec)
			}
			w.eventually(30*time.Second, "the pending receipt completes", func() error {
				admin, err := w.Admin(w.ctx)
				if err != nil {
					return err
				}
				if rec, err = admin.Receipt(w.ctx, rec.ID); err == nil && !effective(rec) {
					err = fmt.Errorf("still %s", rec.Outcome)
				}
				return err
			})
		default:
			outcomes["done all the same"]++
		}
		for g := range w.Gateways {
			if s := w.present(w.ctx, g, "/vault/x", token); s.admitted() {
				t.Errorf("write %d failed: acknowledged, and admitted: %s", k, s)
			}
			if s := w.present(w.ctx, g, "/vault/x", harmless); s.Status != http.StatusOK && !s.unknown() {
				t.Errorf("write %d failed: harmless token: %s", k, s)
			}
		}
		if t.Failed() {
			return
		}
	}
	t.Logf("%d writes failed: %v", len(points), outcomes)
	tr.close()
	w.Control.Stop()
	must(t, w.verify())
}
