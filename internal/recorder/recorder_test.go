package recorder

import (
	"context"
	"errors"
	"testing"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/bus"
	"github.com/mintmark/mintmark/internal/ledger"
)

type fake struct {
	bus.Conn
	err  error
	got  []mintmark.Event
	told []bus.Recorded
	upto uint64
}

func (f *fake) Append(_ context.Context, b ledger.Batch) (ledger.Committed, error) {
	if f.err == nil {
		f.got = append(f.got, b.Events...)
	}
	return ledger.Committed{}, f.err
}

func (f *fake) Recorded(context.Context, mintmark.GatewayID, mintmark.BootID) (uint64, error) {
	return f.upto, nil
}

func (f *fake) Document(context.Context, string, string) (ledger.Document, error) {
	return ledger.Document{}, ledger.ErrNotFound
}

func (f *fake) Publish(_ context.Context, subject string, data []byte) error {
	var r bus.Recorded
	if subject != "mm.v1.gw.east.recorded" || bus.Decode(data, &r) != nil {
		return errors.New("bad answer")
	}
	f.told = append(f.told, r)
	return nil
}

func TestRecord(t *testing.T) {
	good := `{"v":1,"gateway":"east","boot":"boot_1","seq":3}`
	for name, c := range map[string]struct {
		subject, data string
		err           error
		upto          uint64
		again         bool // offered again
		events, told  int
		also          int
	}{
		"new":               {"mm.v1.rec.east", good, nil, 3, false, 1, 1, 0},
		"above a gap":       {"mm.v1.rec.east", good, nil, 1, false, 1, 1, 1},
		"delivered before":  {"mm.v1.rec.east", good, ledger.ErrUsed, 7, false, 0, 1, 0},
		"ledger away":       {"mm.v1.rec.east", good, ledger.ErrUnavailable, 0, true, 0, 0, 0},
		"shutting down":     {"mm.v1.rec.east", good, context.Canceled, 0, true, 0, 0, 0},
		"no ledger for it":  {"mm.v1.rec.east", good, errors.New("bad batch"), 0, true, 0, 0, 0},
		"no gateway at all": {"mm.v1.rec.", `{"v":1,"boot":"boot_1","seq":1}`, nil, 0, false, 0, 0, 0},
	} {
		f := &fake{err: c.err, upto: c.upto}
		r := New(Config{Ledger: f, Store: f, Bus: f})
		err := r.record(t.Context(), c.subject, []byte(c.data))
		if (err != nil) != c.again || len(f.got) != c.events || len(f.told) != c.told {
			t.Errorf("%s: %v, %d events, told %d", name, err, len(f.got), len(f.told))
		}
		if c.told == 1 && len(f.told) == 1 && (f.told[0].Seq != c.upto || len(f.told[0].Also) != c.also) {
			t.Errorf("%s: told %+v", name, f.told[0])
		}
		if c.events == 1 && len(f.got) == 1 && (f.got[0].Stream != "gateway/east" || f.got[0].Type != mintmark.EventUsageRecorded || string(f.got[0].Data) != good) {
			t.Errorf("%s: event %+v", name, f.got[0])
		}
	}
}

// Samples of requests are handed on and not kept: what is in the ledger stays.
func TestSamplesAreNotKept(t *testing.T) {
	f := &fake{upto: 3}
	var folded *bus.RecordBatch
	r := New(Config{Ledger: f, Store: f, Bus: f, Folded: func(b *bus.RecordBatch) { folded = b }})
	data := `{"v":1,"gateway":"east","boot":"boot_1","seq":3,"usage":[{"r":"shop/all","n":2,"f":1,"l":2}],"shapes":[{"route":"shop/all"}]}`
	if err := r.record(t.Context(), "mm.v1.rec.east", []byte(data)); err != nil {
		t.Fatal(err)
	}
	if folded == nil || len(folded.Shapes) != 1 {
		t.Errorf("handed on: %+v", folded)
	}
	var kept bus.RecordBatch
	if len(f.got) != 1 || bus.Decode(f.got[0].Data, &kept) != nil || len(kept.Shapes) != 0 || len(kept.Usage) != 1 {
		t.Errorf("kept: %+v", f.got)
	}
}
