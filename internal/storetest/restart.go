package storetest

import (
	"errors"
	"testing"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/ledger"
)

// testRestart: what was written is there after a restart, numbers never go back,
// and a ledger that has ended takes nothing.
func testRestart(t *testing.T, open Open) {
	dir := t.TempDir()
	b := Start(t, open(t, dir))
	_, e := b.Token(nil)
	b.Must(t, ledger.Batch{Events: []mintmark.Event{e}})
	issued := b.Reserve() // never used
	b.Must(t, ledger.Batch{Row: b.Row(nil)})
	b.Stop()
	if _, err := b.Append(bg, ledger.Batch{Events: []mintmark.Event{e}}); !errors.Is(err, ledger.ErrUnavailable) {
		t.Errorf("append after the end: %v", err)
	}
	b = Start(t, open(t, dir))
	if got := b.Reserve(); got <= issued {
		t.Errorf("issuance went from %d to %d", issued, got)
	}
	b.Clock.Add(-5000) // the clock went back; events' times do not
	_, e = b.Token(nil)
	b.Must(t, ledger.Batch{Events: []mintmark.Event{e}})
	b.Verify(t)
}
