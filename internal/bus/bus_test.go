package bus

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/mintmark/mintmark/internal/epoch"
)

func TestEncodeKeepsCanonicalBodies(t *testing.T) {
	body := []byte(`{"claim":"<a>&\u2028","n":1}`)
	h := epoch.HashOf(body)
	data, err := Encode(Parts{V: Version, Parts: map[string]json.RawMessage{h.String(): body}})
	if err != nil {
		t.Fatal(err)
	}
	var got Parts
	if err := Decode(data, &got); err != nil {
		t.Fatal(err)
	}
	if epoch.HashOf(got.Parts[h.String()]) != h {
		t.Errorf("body became %s", got.Parts[h.String()])
	}
}

func TestDecodeRefuses(t *testing.T) {
	for name, data := range map[string]string{
		"nothing": "", "html": "<html>", "no version": "{}", "other version": `{"v":2}`,
		"trailing": `{"v":1}{"v":1}`, "cut": `{"v":1,"rows":[`, "type": `{"v":1,"rows":7}`,
		"large": `{"v":1,"x":"` + strings.Repeat("x", MaxMessage) + `"}`,
	} {
		var m Tail
		if err := Decode([]byte(data), &m); !errors.Is(err, ErrMessage) {
			t.Errorf("%s: %v", name, err)
		}
	}
	var m Lease
	if err := Decode([]byte(`{"v":1,"later":true,"head":3}`), &m); err != nil || m.Head != 3 {
		t.Errorf("a newer member: %v", err)
	}
}

func TestJoinTokenPinsTheAnswer(t *testing.T) {
	reply := JoinReply{CA: "ca", StateKeys: map[string][]byte{"a": {1}, "b": {2}}}
	token := NewJoinToken([24]byte{1, 2, 3}, reply)
	if err := CheckJoinReply(token, reply); err != nil {
		t.Fatal(err)
	}
	for name, other := range map[string]JoinReply{
		"other CA":     {CA: "cb", StateKeys: reply.StateKeys},
		"other key":    {CA: "ca", StateKeys: map[string][]byte{"a": {1}, "b": {3}}},
		"further key":  {CA: "ca", StateKeys: map[string][]byte{"a": {1}, "b": {2}, "c": {4}}},
		"missing key":  {CA: "ca", StateKeys: map[string][]byte{"a": {1}}},
		"keys swapped": {CA: "ca", StateKeys: map[string][]byte{"b": {1}, "a": {2}}},
	} {
		if err := CheckJoinReply(token, other); !errors.Is(err, ErrJoin) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if strings.Contains(token.String(), "mmj_") {
		t.Error("the token prints itself")
	}
}

func TestAppliedOrder(t *testing.T) {
	for _, c := range []struct {
		a, b Applied
		want bool
	}{
		{Applied{}, Applied{}, false},
		{Applied{Term: 1, Seq: 9}, Applied{Term: 2, Seq: 1}, true},
		{Applied{Term: 2, Seq: 1}, Applied{Term: 2, Seq: 2}, true},
		{Applied{Term: 2, Seq: 2}, Applied{Term: 1, Seq: 3}, false},
	} {
		if got := c.a.Before(c.b); got != c.want {
			t.Errorf("%+v before %+v: %v", c.a, c.b, got)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, s := range []string{`{"v":1}`, `{"v":1,"row":{"body":"e30=","sig":"AA=="}}`, `{"v":1,"gateway":"east","boot":"boot_1","seq":1,"usage":[{"r":"a/b","n":1}]}`, `{"v":1,"head":{"seq":1,"manifest":{"parts":[]}},"revocations":[{}]}`, `[`, `null`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, m := range []any{&StateMessage{}, &Prepare{}, &Prepared{}, &Ack{}, &LeaseRequest{}, &Lease{}, &Tail{}, &SnapshotPage{}, &Parts{}, &PullReply{}, &RecordBatch{}, &Recorded{}} {
			if Decode(data, m) != nil {
				continue
			}
			out, err := Encode(m)
			if err != nil {
				continue // larger than a message may be
			}
			again := reflect.New(reflect.TypeOf(m).Elem()).Interface()
			if err := Decode(out, again); err != nil {
				t.Fatalf("%T: what was encoded does not decode: %v: %s", m, err, out)
			}
			if twice, err := Encode(again); err != nil || string(twice) != string(out) {
				t.Fatalf("%T is not stable: %s, then %s", m, out, twice)
			}
		}
	})
}

func FuzzJoinToken(f *testing.F) {
	f.Add(NewJoinToken([24]byte{1}, JoinReply{}).Reveal())
	f.Add("mmj_")
	f.Add("mmj_.")
	f.Fuzz(func(t *testing.T, text string) {
		if CheckJoinToken(text) == nil && (!strings.HasPrefix(text, "mmj_") || len(text) != 4+32+1+22) {
			t.Errorf("%q passes for a join token", text)
		}
	})
}
