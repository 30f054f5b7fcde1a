package sqlite_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/bus"
	"github.com/mintmark/mintmark/internal/epoch"
	"github.com/mintmark/mintmark/internal/ledger"
	"github.com/mintmark/mintmark/internal/sqlite"
)

func openGateway(t testing.TB, dir string) *sqlite.GatewayStore {
	t.Helper()
	s, err := sqlite.OpenGateway(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func fact(id mintmark.RevocationID) mintmark.Revocation {
	return mintmark.Revocation{ID: id, Action: mintmark.ActionRevoke, Selector: mintmark.Selector{Subject: string(id)}, Made: 1}
}

func TestGatewayStoreComesBackAsItWas(t *testing.T) {
	dir := t.TempDir()
	s := openGateway(t, dir)
	if a, facts, err := s.Load(t.Context()); err != nil || a != (bus.Applied{}) || facts != nil {
		t.Fatalf("new store holds %+v, %v, %v", a, facts, err)
	}
	want := bus.Applied{Term: 2, Epoch: 3, Seq: 4, RowHash: epoch.Hash{5}, Manifest: epoch.Hash{6}}
	for _, err := range []error{
		s.Apply(t.Context(), bus.Applied{Seq: 1}, []mintmark.Revocation{fact("rev_a")}, nil, false),
		s.Apply(t.Context(), bus.Applied{Seq: 2}, []mintmark.Revocation{fact("rev_b"), fact("rev_c"), fact("rev_b")}, nil, true),
		s.Apply(t.Context(), want, nil, []mintmark.RevocationID{"rev_c", "rev_never"}, false),
		s.Close(),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	s = openGateway(t, dir)
	a, facts, err := s.Load(t.Context())
	if err != nil || a != want || !reflect.DeepEqual(facts, []mintmark.Revocation{fact("rev_b")}) {
		t.Errorf("came back with %+v, %v, %v", a, facts, err)
	}
}

func TestGatewayStoreKeepsBodiesByHash(t *testing.T) {
	s := openGateway(t, t.TempDir())
	bodies := map[epoch.Hash][]byte{}
	var hashes []epoch.Hash
	for i := range 3 {
		b := fmt.Appendf(nil, "body %d", i)
		hashes = append(hashes, epoch.HashOf(b))
		bodies[epoch.HashOf(b)] = b
	}
	// A body under a wrong hash is as good as none.
	bodies[epoch.Hash{1}] = []byte("damaged")
	if err := s.PutBodies(t.Context(), bodies, nil); err != nil {
		t.Fatal(err)
	}
	got, err := s.Bodies(t.Context(), append(hashes, epoch.Hash{1}, epoch.Hash{9}))
	if err != nil || len(got) != 3 || !bytes.Equal(got[hashes[1]], []byte("body 1")) {
		t.Fatalf("%d bodies, %v", len(got), err)
	}
	if err := s.PutBodies(t.Context(), map[epoch.Hash][]byte{hashes[0]: bodies[hashes[0]]}, hashes[1:2]); err != nil {
		t.Fatal(err)
	}
	if got, err = s.Bodies(t.Context(), hashes); err != nil || len(got) != 2 || got[hashes[2]] != nil {
		t.Errorf("after dropping: %d bodies, %v", len(got), err)
	}
}

func TestGatewaySpoolKeepsBatchesAndKnowsItsSize(t *testing.T) {
	dir := t.TempDir()
	s := openGateway(t, dir)
	if lost, err := s.Begin(t.Context(), "boot_1"); err != nil || lost {
		t.Fatalf("first boot: lost %v, %v", lost, err)
	}
	var size int64
	for seq := range uint64(4) {
		var err error
		if size, err = s.Put(t.Context(), "boot_1", seq+1, []byte("0123456789")); err != nil {
			t.Fatal(err)
		}
	}
	if size != 4*(10+64) {
		t.Errorf("size %d", size)
	}
	if _, err := s.Put(t.Context(), "boot_1", 4, []byte("again")); err == nil {
		t.Error("a number was used twice")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openGateway(t, dir)
	if lost, err := s.Begin(t.Context(), "boot_2"); err != nil || !lost {
		t.Errorf("after a death: lost %v, %v", lost, err)
	}
	if size, err := s.Delete(t.Context(), "boot_1", 1, []uint64{3}); err != nil || size != 2*(10+64) {
		t.Errorf("size %d, %v", size, err)
	}
	if _, err := s.Delete(t.Context(), "boot_2", 9, nil); err != nil {
		t.Error(err)
	}
	got, err := s.Pending(t.Context(), 0, 10)
	if err != nil || len(got) != 2 || got[0].Seq != 2 || got[1].Seq != 4 || got[0].Boot != "boot_1" {
		t.Errorf("pending %+v, %v", got, err)
	}
	if got, err = s.Pending(t.Context(), got[0].ID, 10); err != nil || len(got) != 1 {
		t.Errorf("after the first: %+v, %v", got, err)
	}
	if err := s.End(t.Context(), "boot_2"); err != nil {
		t.Fatal(err)
	}
	if lost, err := s.Begin(t.Context(), "boot_3"); err != nil || lost {
		t.Errorf("after a clean end: lost %v, %v", lost, err)
	}
}

func TestGatewayStoreRefusesWhatItCannotTrust(t *testing.T) {
	dir := t.TempDir()
	s := openGateway(t, dir)
	if _, err := sqlite.OpenGateway(t.Context(), dir); !errors.Is(err, sqlite.ErrLocked) {
		t.Errorf("second process: %v", err)
	}
	if err := s.SetFormat(t.Context(), 99); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := sqlite.OpenGateway(t.Context(), dir); !errors.Is(err, ledger.ErrNewer) {
		t.Errorf("newer format: %v", err)
	}
	junk := t.TempDir()
	if err := os.WriteFile(filepath.Join(junk, sqlite.GatewayFile), bytes.Repeat([]byte("junk "), 2000), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := sqlite.OpenGateway(t.Context(), junk); !errors.Is(err, sqlite.ErrForeign) {
		t.Errorf("junk: %v", err)
	}
}
