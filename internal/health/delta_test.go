package health

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/mintmark/mintmark"
)

func sample() *Delta {
	d := &Delta{
		Sections: []Section{
			{Rollout: "ro_1", Weight: 500, Epoch: 7, Level: 2, Exposed: []uint64{1, 2, 1 << 63}, Bad: []Bad{{PlaceServerError, []uint64{2}}, {PlaceUser, []uint64{1, 2}}}},
			{Rollout: "ro_2", Weight: 10_000},
		},
		Latency: []Latency{{Release: "shop/v1"}},
	}
	d.Latency[0].Counts[3], d.Latency[0].Counts[90] = 5, 1
	return d
}

// TestDeltaBytes: the form on the wire does not change.
func TestDeltaBytes(t *testing.T) {
	b, err := sample().Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	const want = "01" + "02" + // version, sections
		"04726f5f31" + "f403" + "07" + "02" + // rollout, weight 500, epoch 7, level 2
		"03" + "0000000000000001" + "0000000000000002" + "8000000000000000" +
		"02" + "09" + "01" + "0000000000000002" + // two metrics; 5xx
		"18" + "02" + "0000000000000001" + "0000000000000002" + // the user's first
		"04726f5f32" + "904e" + "00" + "00" + "00" + "00" +
		"01" + "0773686f702f7631" + "02" + "0405" + "5701" // latencies: bucket 3 five times, bucket 90 once
	if got := hex.EncodeToString(b); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	back, err := DecodeDelta(b)
	if err != nil || !reflect.DeepEqual(back, sample()) {
		t.Errorf("%v: %+v", err, back)
	}
}

func TestDeltaRefusals(t *testing.T) {
	good, _ := sample().Append(nil)
	for name, b := range map[string][]byte{
		"empty": nil, "newer": append([]byte{2}, good[1:]...), "cut": good[:len(good)-1], "more": append(bytes.Clone(good), 0),
		"huge": make([]byte, MaxDelta+1), "many sections": {1, 0xff, 0x7f}, "long form": {1, 0x80, 0x00, 0},
	} {
		if _, err := DecodeDelta(b); !errors.Is(err, ErrDelta) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, change := range map[string]func(*Delta){
		"order":    func(d *Delta) { d.Sections[0].Exposed = []uint64{2, 1} },
		"repeat":   func(d *Delta) { d.Sections[0].Exposed = []uint64{1, 1} },
		"weight":   func(d *Delta) { d.Sections[0].Weight = 10_001 },
		"level":    func(d *Delta) { d.Sections[0].Level = 41 },
		"metric":   func(d *Delta) { d.Sections[0].Bad[0].Place = Places },
		"metrics":  func(d *Delta) { d.Sections[0].Bad[1].Place = PlaceServerError },
		"no keys":  func(d *Delta) { d.Sections[0].Bad[1].Keys = nil },
		"no name":  func(d *Delta) { d.Sections[0].Rollout = "" },
		"too many": func(d *Delta) { d.Sections[0].Exposed = ascend(MaxKeys) },
		"latency":  func(d *Delta) { d.Latency[0].Counts = Histogram{} },
	} {
		d := sample()
		change(d)
		if _, err := d.Append(nil); !errors.Is(err, ErrDelta) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func ascend(n int) []uint64 {
	out := make([]uint64, n)
	for i := range out {
		out[i] = uint64(i + 1)
	}
	return out
}

func TestSplitLosesNothing(t *testing.T) {
	big := &Delta{Sections: []Section{
		{Rollout: "ro_1", Weight: 1, Exposed: ascend(150_000), Bad: []Bad{{PlaceCutOff, ascend(3)}, {PlaceServerError, ascend(70_000)}}},
		{Rollout: "ro_2", Weight: 2},
	}, Latency: sample().Latency}
	whole := NewCohorts(0)
	fold(whole, big.Sections)
	parts := big.Split()
	pieces := NewCohorts(0)
	names := map[mintmark.RolloutID]bool{}
	for _, p := range parts {
		b, err := p.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		d, err := DecodeDelta(b)
		if err != nil {
			t.Fatal(err)
		}
		fold(pieces, d.Sections)
		for _, s := range d.Sections {
			names[s.Rollout] = true
		}
	}
	if !same(whole, pieces) || len(names) != 2 || len(parts) < 4 {
		t.Errorf("%d parts of %v hold %d subjects, want %d", len(parts), names, pieces.Len(), whole.Len())
	}
	if n := len((&Delta{}).Split()); n != 0 {
		t.Errorf("an empty delta has %d parts", n)
	}
}

func fold(c *Cohorts, sections []Section) {
	for _, s := range sections {
		for _, k := range s.Exposed {
			c.Add(k)
		}
		for _, b := range s.Bad {
			for _, k := range b.Keys {
				c.Fail(k, b.Place)
			}
		}
	}
}

func FuzzDelta(f *testing.F) {
	b, _ := sample().Append(nil)
	f.Add(b)
	f.Add([]byte{1, 0, 0})
	f.Add(b[:20])
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := DecodeDelta(b)
		if err != nil {
			return
		}
		again, err := d.Append(nil)
		if err != nil || !bytes.Equal(again, b) {
			t.Fatalf("%v: read and printed as %x", err, again)
		}
		j, err := NewJudge(Opening{Rollout: "ro_1", Limit: 64, Latency: true})
		if err != nil {
			t.Fatal(err)
		}
		if err := j.Fold(1, 1, "gateway:x", d); err != nil {
			t.Fatalf("folding a good delta: %v", err)
		}
		if r := j.Report(); len(r.Reasons) == 0 {
			t.Fatal("a report without a reason")
		}
	})
}

func FuzzSnapshot(f *testing.F) {
	j, _ := NewJudge(Opening{Rollout: "ro_1"})
	_ = j.Fold(1, 1, "gateway:x", sample())
	b, err := j.Snapshot()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		if j, err := RestoreJudge(b); err == nil {
			j.Report()
		}
	})
}

func TestBuckets(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 200_000 {
		d := time.Duration(rng.Int64N(int64(60 * time.Second)))
		if rng.IntN(2) == 0 {
			d = time.Duration(rng.Int64N(int64(2 * time.Millisecond)))
		}
		d = d.Truncate(time.Microsecond)
		b := Bucket(d)
		if b < Buckets-1 && d >= UpperBound(b) || b > 0 && d < UpperBound(b-1) {
			t.Fatalf("%v is in bucket %d, from %v to %v", d, b, UpperBound(b-1), UpperBound(b))
		}
	}
	if Bucket(-time.Second) != 0 || Bucket(time.Hour) != Buckets-1 || UpperBound(Buckets-2) != 64*(1<<octaves)*time.Microsecond {
		t.Errorf("ends: %d %d %v", Bucket(-1), Bucket(time.Hour), UpperBound(Buckets-2))
	}
	var h Histogram
	if h.Quantile(0.5) != 0 {
		t.Error("a quantile of nothing")
	}
	for i := range 1000 {
		h[Bucket(time.Duration(i)*time.Millisecond)]++
	}
	for _, q := range LatencyLevels() {
		below := 0
		for i := range 1000 {
			if time.Duration(i)*time.Millisecond < h.Quantile(q) {
				below++
			}
		}
		if below < int(q*1000) || below > int(q*1000)+140 {
			t.Errorf("%v: %d of 1000 are below %v", q, below, h.Quantile(q))
		}
	}
}

func TestSpecSaysAllThatIsWrong(t *testing.T) {
	bad := Spec{
		Alpha: 1, Beta: -1, Tolerated: 0.5, Acceptable: 0.4,
		Metrics: []MetricSpec{{Name: "speed"}, {Name: ServerError, Weight: -1}, {Name: ServerError}},
		User:    []UserSpec{{Name: "a b", When: "x"}, {Name: "ok", When: " "}},
		Queries: []QuerySpec{{Name: "q"}, {Name: "r", Bad: "a", Total: "b", IntervalMS: 5}},
	}
	err := bad.Check()
	if !errors.Is(err, ErrSpec) {
		t.Fatal(err)
	}
	for _, field := range []string{
		"alpha", "beta", "tolerated", "acceptable", `metrics[0].name: "speed" is no metric: want one of cut_off`, "metrics[1].weight", "metrics[2].name: server_error is there twice",
		"user[0].name", "user[1].when", "queries[0]: want bad and total", "queries[1].interval_ms: 5",
	} {
		if !strings.Contains(err.Error(), field) {
			t.Errorf("nothing said of %s in:\n%v", field, err)
		}
	}
	if err := (Spec{}).Check(); err != nil {
		t.Errorf("the zero value: %v", err)
	}
	if _, err := NewJudge(Opening{Spec: Spec{Metrics: zeroed()}}); !errors.Is(err, ErrSpec) {
		t.Errorf("all weights 0: %v", err)
	}
}

func zeroed() (out []MetricSpec) {
	for _, e := range Catalogue() {
		out = append(out, MetricSpec{Name: e.Name})
	}
	return out
}
