package bus

import (
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"github.com/nats-io/nkeys"

	"github.com/mintmark/mintmark/internal/epoch"
)

func keyPair(t testing.TB, seed byte) (nkeys.KeyPair, string) {
	t.Helper()
	var raw [32]byte
	raw[0] = seed
	pair, err := nkeys.FromRawSeed(nkeys.PrefixByteUser, raw[:])
	if err != nil {
		t.Fatal(err)
	}
	public, err := pair.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	return pair, public
}

func signed(t testing.TB, q CredentialRequest, old, next nkeys.KeyPair) CredentialRequest {
	t.Helper()
	for sig, pair := range map[*string]nkeys.KeyPair{&q.OldSig: old, &q.NewSig: next} {
		b, err := pair.Sign(q.Message())
		if err != nil {
			t.Fatal(err)
		}
		*sig = base64.RawURLEncoding.EncodeToString(b)
	}
	return q
}

func TestCredentialRequestProvesBothKeys(t *testing.T) {
	old, oldName := keyPair(t, 1)
	next, nextName := keyPair(t, 2)
	good := signed(t, CredentialRequest{Gateway: "east", Old: oldName, New: nextName}, old, next)
	if err := good.Check(); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*CredentialRequest){
		"another gateway":  func(q *CredentialRequest) { q.Gateway = "west" },
		"another step":     func(q *CredentialRequest) { q.Confirm = true },
		"no old signature": func(q *CredentialRequest) { q.OldSig = "" },
		"no new signature": func(q *CredentialRequest) { q.NewSig = "" },
		"swapped":          func(q *CredentialRequest) { q.OldSig, q.NewSig = q.NewSig, q.OldSig },
		"keys swapped":     func(q *CredentialRequest) { q.Old, q.New = q.New, q.Old },
		"one key":          func(q *CredentialRequest) { q.New, q.NewSig = q.Old, q.OldSig },
		"padded":           func(q *CredentialRequest) { q.NewSig += "==" },
		"a seed":           func(q *CredentialRequest) { q.New = "S" + q.New[1:] },
		"lower case":       func(q *CredentialRequest) { q.New = strings.ToLower(q.New) },
	} {
		q := good
		change(&q)
		if err := q.Check(); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	confirm := signed(t, CredentialRequest{Gateway: "east", Old: oldName, New: nextName, Confirm: true}, old, next)
	confirm.OldSig = "" // forgotten by then
	if err := confirm.Check(); err != nil {
		t.Error(err)
	}
}

// FuzzCredentialRequest: no bytes make the check panic, or pass without both keys.
func FuzzCredentialRequest(f *testing.F) {
	old, oldName := keyPair(f, 1)
	next, nextName := keyPair(f, 2)
	good := signed(f, CredentialRequest{V: 1, Gateway: "east", Old: oldName, New: nextName}, old, next)
	body, err := Encode(good)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(body)
	f.Add([]byte(`{"v":1,"old":"U","new":"U","new_sig":"AA"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var q CredentialRequest
		if Decode(data, &q) != nil || q.Check() != nil {
			return
		}
		if q.NewSig == "" || !q.Confirm && q.OldSig == "" || q.Old == q.New {
			t.Errorf("passes: %s", data)
		}
	})
}

// FuzzEvidence: no bytes show anything that the state key did not sign.
func FuzzEvidence(f *testing.F) {
	key := ed25519.NewKeyFromSeed(make([]byte, 32))
	pub := key.Public().(ed25519.PublicKey)
	row, err := epoch.SignRow(epoch.Row{Seq: 7, Term: 2, KeyID: "k", Commit: &epoch.Commit{Epoch: 3}}, key)
	if err != nil {
		f.Fatal(err)
	}
	good := &Evidence{Row: &row}
	head := SnapshotHead{Term: 2, Seq: 9, Epoch: 3}
	text, err := SnapshotBytes(head)
	if err != nil {
		f.Fatal(err)
	}
	whole := &Evidence{Head: &head, KeyID: "k", Signature: ed25519.Sign(key, text)}
	for want, e := range map[uint64]*Evidence{7: good, 9: whole} {
		a, err := e.Verify(func(string) ed25519.PublicKey { return pub })
		if err != nil || a.Seq != want || a.Term != 2 || a.Epoch != 3 {
			f.Fatalf("%+v, %v", a, err)
		}
		body, err := Encode(LeaseRequest{V: 1, Evidence: e})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(body)
	}
	f.Add([]byte(`{"v":1,"evidence":{"row":{"body":"e30=","sig":"AA=="},"head":{}}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var q LeaseRequest
		if Decode(data, &q) != nil {
			return
		}
		if _, err := q.Evidence.Verify(func(string) ed25519.PublicKey { return nil }); !errors.Is(err, ErrEvidence) {
			t.Errorf("shows something without a key: %v", err)
		}
		if a, err := q.Evidence.Verify(func(string) ed25519.PublicKey { return pub }); err == nil && a.Seq != 7 && a.Seq != 9 {
			t.Errorf("shows row %d", a.Seq)
		}
	})
}
