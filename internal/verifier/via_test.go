package verifier

import (
	"slices"
	"testing"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/epoch"
)

// A token names those that it was exchanged from, when it is verified and when it is
// found again: what takes one of them back must reach it both times.
func TestOriginsAreKept(t *testing.T) {
	m := newMint(t, "k1")
	s := snapshot(t, []epoch.Key{m.key})
	v := New(Config{})
	c := claims(as)
	c["mintmark"].(map[string]any)["via"] = "tok_0000000000000000000000000b tok_0000000000000000000000000c"
	token := m.sign(t, "at+jwt", c)
	want := []mintmark.TokenID{"tok_0000000000000000000000000b", "tok_0000000000000000000000000c"}
	for round := range 3 {
		got, code := verify(v, s, token)
		if code != mintmark.CodeNone || !slices.Equal(got.Token.Via, want) {
			t.Fatalf("round %d: %s %v", round, code, got.Token.Via)
		}
	}
	if st := v.Stats(); st.Hits != 2 {
		t.Errorf("not from memory: %+v", st)
	}
	got, _ := verify(v, s, token)
	for _, id := range want {
		s.Revoked.Apply(mintmark.Revocation{ID: mintmark.RevocationID("rev_" + id), Action: mintmark.ActionRevoke, Selector: mintmark.Selector{Token: id}})
		if s.Revoked.Find(&got.Token) == nil {
			t.Errorf("what takes back %s does not reach it", id)
		}
	}
	if got, _ := verify(v, s, m.sign(t, "at+jwt", claims(as))); got.Token.Via != nil {
		t.Errorf("another token has %v", got.Token.Via)
	}
}
