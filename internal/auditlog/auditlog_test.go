package auditlog

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"
	"pgregory.net/rapid"

	"github.com/mintmark/mintmark"
)

// TestTreeAgreesWithTlog grows a tree and compares its hashes in storage order
// and its roots with tlog's, which walks the stored hashes.
func TestTreeAgreesWithTlog(t *testing.T) {
	var tree Tree
	var stored []tlog.Hash
	read := tlog.HashReaderFunc(func(at []int64) ([]tlog.Hash, error) {
		out := make([]tlog.Hash, len(at))
		for i, x := range at {
			out[i] = stored[x]
		}
		return out, nil
	})
	for n := range int64(300) {
		leaf := tlog.RecordHash([]byte{byte(n), byte(n >> 8)})
		want, err := tlog.StoredHashesForRecordHash(n, leaf, read)
		if err != nil {
			t.Fatal(err)
		}
		if at := Stored(uint64(n)); at != int64(len(stored)) {
			t.Fatalf("Stored(%d) = %d, want %d", n, at, len(stored))
		}
		got := tree.Add(nil, leaf)
		if len(got) != len(want) {
			t.Fatalf("leaf %d: %d hashes, want %d", n, len(got), len(want))
		}
		for i := range got {
			if got[i] != want[i] {
				t.Fatalf("leaf %d: hash %d differs", n, i)
			}
		}
		stored = append(stored, got...)
		root, err := tlog.TreeHash(n+1, read)
		if err != nil || root != tree.Root() {
			t.Fatalf("root of %d leaves differs (%v)", n+1, err)
		}
		again, err := NewTree(tree.Size(), tree.Edge())
		if err != nil || again.Root() != tree.Root() {
			t.Fatalf("tree of %d leaves does not go on from its edge: %v", n+1, err)
		}
	}
	if _, err := NewTree(3, make([]tlog.Hash, 1)); !errors.Is(err, ErrEdge) {
		t.Errorf("edge too short: %v", err)
	}
}

func sample() mintmark.Event {
	return mintmark.Event{
		Seq: 7, Stream: "token/t", Version: 2, Type: "token.revoked", At: time.UnixMilli(1_800_000_000_123), Actor: "user:ann",
		Token: "t", Subject: "s", Client: "c", Release: "orders/v1", Data: []byte(`{"id":"t"}`),
	}
}

// TestCanonicalGolden pins the bytes that leaves are made of: a change here makes
// every ledger out there fail verification.
func TestCanonicalGolden(t *testing.T) {
	e := sample()
	const want = "01" + "0000000000000007" + // version, seq
		"00000007" + "746f6b656e2f74" + // stream
		"0000000000000002" + // version within the stream
		"0000000d" + "746f6b656e2e7265766f6b6564" + // type
		"000001a3185c507b" + // at
		"00000008" + "757365723a616e6e" + // actor
		"00000001" + "74" + "00000001" + "73" + "00000001" + "63" + // token, subject, client
		"00000009" + "6f72646572732f7631" + // release
		"0000000a" + "7b226964223a2274227d" // data
	if got := hex.EncodeToString(Canonical(nil, &e)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestLeafCoversEverything(t *testing.T) {
	e := sample()
	base := Leaf([32]byte{}, &e)
	for name, change := range map[string]func(*mintmark.Event){
		"seq": func(e *mintmark.Event) { e.Seq++ }, "stream": func(e *mintmark.Event) { e.Stream += "x" },
		"version": func(e *mintmark.Event) { e.Version++ }, "type": func(e *mintmark.Event) { e.Type += "x" },
		"at": func(e *mintmark.Event) { e.At = e.At.Add(time.Millisecond) }, "actor": func(e *mintmark.Event) { e.Actor += "x" },
		"token": func(e *mintmark.Event) { e.Token += "x" }, "subject": func(e *mintmark.Event) { e.Subject += "x" },
		"client": func(e *mintmark.Event) { e.Client += "x" }, "release": func(e *mintmark.Event) { e.Release += "x" },
		"data":  func(e *mintmark.Event) { e.Data = []byte(`{"id":"u"}`) },
		"split": func(e *mintmark.Event) { e.Token, e.Subject = "ts", "" },
	} {
		x := sample()
		change(&x)
		if Leaf([32]byte{}, &x) == base {
			t.Errorf("%s does not change the leaf", name)
		}
	}
	if Leaf([32]byte{1}, &e) == base {
		t.Error("the salt does not change the leaf")
	}
}

func TestCheckpoint(t *testing.T) {
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, 32))
	s, err := NewSigner("log.example/mintmark", key)
	if err != nil {
		t.Fatal(err)
	}
	v, err := NewVerifier("log.example/mintmark", key.Public().(ed25519.PublicKey))
	if err != nil {
		t.Fatal(err)
	}
	root := tlog.RecordHash([]byte("x"))
	signed, err := s.Checkpoint(42, root)
	if err != nil {
		t.Fatal(err)
	}
	c, err := v.Open(signed)
	if err != nil || c.Size != 42 || c.Root != root || c.Origin != "log.example/mintmark" {
		t.Fatalf("opened %+v, %v", c, err)
	}
	for i := range signed {
		x := bytes.Clone(signed)
		x[i] ^= 1
		if c, err := v.Open(x); err == nil && (c.Size != 42 || c.Root != root) {
			t.Errorf("altered at %d: opens as %+v", i, c)
		}
	}
	if _, err := NewSigner("has space", key); err == nil {
		t.Error("an origin with a space is taken")
	}
}

func TestTreeOrderMatters(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		leaves := rapid.SliceOfNDistinct(rapid.Byte(), 2, 40, rapid.ID[byte]).Draw(t, "leaves")
		i := rapid.IntRange(0, len(leaves)-2).Draw(t, "i")
		root := func() tlog.Hash {
			var tree Tree
			for _, l := range leaves {
				tree.Add(nil, tlog.RecordHash([]byte{l}))
			}
			return tree.Root()
		}
		before := root()
		leaves[i], leaves[i+1] = leaves[i+1], leaves[i]
		if root() == before {
			t.Error("two leaves changed places and the root stayed")
		}
	})
}

func FuzzParseCheckpoint(f *testing.F) {
	f.Add("log\n1\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n")
	f.Add("log\n01\nAAAA\n")
	f.Add("\n\n\n\n")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := ParseCheckpoint(text)
		if err != nil {
			return
		}
		if c.Origin == "" || len(text) < len(c.Origin) {
			t.Errorf("%q reads as %+v", text, c)
		}
	})
}
