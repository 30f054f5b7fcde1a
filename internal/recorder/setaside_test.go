package recorder

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/bus"
	"github.com/mintmark/mintmark/internal/ledger"
	"github.com/mintmark/mintmark/internal/sqlite"
	"github.com/mintmark/mintmark/internal/storetest"
)

// ear hears what gateways are told.
type ear struct {
	bus.Conn
	told []bus.Recorded
}

func (e *ear) Publish(_ context.Context, _ string, data []byte) error {
	var r bus.Recorded
	if err := bus.Decode(data, &r); err != nil {
		return err
	}
	e.told = append(e.told, r)
	return nil
}

type desk struct {
	*Recorder
	bench *storetest.Bench
	store *sqlite.Store
	ear   *ear
	aside []*SetAside
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	store, err := sqlite.Open(t.Context(), sqlite.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	d := &desk{bench: storetest.Start(t, store), store: store, ear: &ear{}}
	d.Recorder = New(Config{Ledger: d.bench, Store: store, Bus: d.ear, Now: d.bench.Now, SetAside: func(s *SetAside) { d.aside = append(d.aside, s) }})
	return d
}

func (d *desk) count(t *testing.T) (c Count) {
	t.Helper()
	doc, err := d.store.Document(t.Context(), ledger.DocSetting, CountDocument)
	if errors.Is(err, ledger.ErrNotFound) {
		return c
	}
	if err == nil {
		err = json.Unmarshal(doc.Body, &c)
	}
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Whatever a gateway sends, the records behind it flow: what can't be folded is
// kept once, counted, and acknowledged wherever its number can be read.
func TestWhatCanNotBeFoldedIsSetAside(t *testing.T) {
	d := newDesk(t)
	huge := `"` + strings.Repeat("x", maxText+1) + `"`
	seq := uint64(0)
	numbered := func(rest string) string {
		seq++
		return fmt.Sprintf(`{"v":1,"gateway":"east","boot":"boot_1","seq":%d%s}`, seq, rest)
	}
	bad := map[string]string{
		"another version":      strings.Replace(numbered(""), `"v":1`, `"v":2`, 1),
		"another's":            strings.Replace(numbered(""), "east", "west", 1),
		"a count too high":     numbered(`,"usage":[{"r":"a/b","n":18446744073709551615,"f":1,"l":2}]`),
		"a time too high":      numbered(`,"usage":[{"r":"a/b","n":1,"f":1,"l":9223372036854775807}]`),
		"a time before time":   numbered(`,"usage":[{"r":"a/b","n":1,"f":-9223372036854775808,"l":1}]`),
		"a count not a number": numbered(`,"usage":[{"r":"a/b","n":"many"}]`),
		"a count below zero":   numbered(`,"usage":[{"r":"a/b","n":-1}]`),
		"a long name":          numbered(`,"usage":[{"r":` + huge + `,"n":1}]`),
		"a long foreign name":  numbered(`,"foreign":[{"id":"fgn_1","kind":"foreign","sub":` + huge + `}]`),
		"a number of ours":     numbered(`,"foreign":[{"id":"fgn_1","kind":"foreign","mark":{"seq":18446744073709551615}}]`),
	}
	garbage := map[string]string{
		"html": "<html>", "empty": "", "null": "null", "no boot": `{"v":1,"gateway":"east","seq":9}`,
		"no number": `{"v":1,"gateway":"east","boot":"boot_1"}`, "number too high": `{"v":1,"gateway":"east","boot":"boot_1","seq":18446744073709551615}`,
		"large": strings.Repeat("[", 2*maxKept),
	}
	for _, set := range []map[string]string{bad, garbage} {
		for name, data := range set {
			for range 3 { // as it is offered again
				if err := d.record(t.Context(), "mm.v1.rec.east", []byte(data)); err != nil {
					t.Errorf("%s: holds up the others: %v", name, err)
				}
			}
		}
	}
	// The next good record of the same boot is folded, and the gateway may forget
	// all up to it.
	if err := d.record(t.Context(), "mm.v1.rec.east", []byte(numbered(`,"usage":[{"r":"a/b","n":1,"f":1,"l":2}]`))); err != nil {
		t.Fatal(err)
	}
	last := d.ear.told[len(d.ear.told)-1]
	if last.Boot != "boot_1" || last.Seq != seq || len(last.Also) != 0 {
		t.Errorf("the gateway was told %+v, want all up to %d", last, seq)
	}
	want := uint64(len(bad) + len(garbage))
	if c := d.count(t); c.Records != want || c.Gateways["east"] != want || uint64(len(d.aside)) != want {
		t.Errorf("counted %+v, told of %d, want %d", c, len(d.aside), want)
	}
	kept := 0
	events, err := d.store.EventsAfter(t.Context(), 0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range events {
		if e.Type != EventSetAside {
			continue
		}
		kept++
		var s SetAside
		if err := json.Unmarshal(e.Data, &s); err != nil {
			t.Fatal(err)
		}
		if e.Stream != "setaside/east" || s.Reason == "" || s.SHA256 == "" || len(s.Body) != min(s.Size, maxKept) {
			t.Errorf("kept %s: %d of %d bytes, reason %q", e.Stream, len(s.Body), s.Size, s.Reason)
		}
	}
	if uint64(kept) != want {
		t.Errorf("%d kept, want %d", kept, want)
	}
	d.bench.Verify(t)
}

// A ledger that is away keeps the record where it is: nothing is set aside that was
// not kept.
func TestNothingIsSetAsideWithoutTheLedger(t *testing.T) {
	d := newDesk(t)
	fail := func(string) error { return errors.New("no space left on device") }
	d.bench.Fail.Store(&fail)
	for _, data := range []string{"<html>", `{"v":1,"gateway":"east","boot":"boot_1","seq":1,"usage":[{"n":18446744073709551615}]}`} {
		if err := d.record(t.Context(), "mm.v1.rec.east", []byte(data)); err == nil {
			t.Errorf("%.20s: acknowledged without being kept", data)
		}
	}
	if len(d.ear.told)+len(d.aside) != 0 {
		t.Errorf("told %d, set aside %d", len(d.ear.told), len(d.aside))
	}
	d.bench.Fail.Store(nil)
}

// Honest records, however odd, are no poison.
func TestOddRecordsAreFolded(t *testing.T) {
	for name, b := range map[string]bus.RecordBatch{
		"empty":               {},
		"a clock that jumped": {Usage: []bus.UsageDelta{{Route: "a/b", N: 1, First: 9_000, Last: 1_000}}},
		"nothing counted":     {Usage: []bus.UsageDelta{{Route: "a/b"}}},
		"a long subject":      {Foreign: []mintmark.Token{{ID: "fgn_1", Kind: mintmark.KindForeign, Subject: strings.Repeat("s", 8000)}}},
	} {
		b.V, b.Gateway, b.Boot, b.Seq = 1, "east", "boot_1", 1
		if err := validate(&b); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
