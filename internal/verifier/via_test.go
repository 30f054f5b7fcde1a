package verifier

import (
	"reflect"
	"slices"
	"testing"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/epoch"
	"github.com/mintmark/mintmark/internal/jose"
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

// So do the facts of those: a selector that covers one of them reaches the token,
// verified or found again, and whatever else is in memory.
func TestFactsOfOriginsAreKept(t *testing.T) {
	m := newMint(t, "k1")
	s := snapshot(t, []epoch.Key{m.key})
	v := New(Config{})
	bad := mintmark.Token{
		ID: "tok_0000000000000000000000000b", Kind: mintmark.KindAccessJWT, Client: "shop", Subject: "alice", Scopes: []string{"admin"},
		Audience: []string{"orders"}, Mark: mintmark.Mark{Release: "orders/v2", Key: "k0", Seq: 5},
	}
	tok := mintmark.Token{Kind: mintmark.KindAccessJWT, Grant: "grt_1", Family: "fam_1"} // what claims has and bad lacks
	tok.Via, tok.Origins = mintmark.Descend(&bad)
	c := claims(as)
	mark := c["mintmark"].(map[string]any)
	mark["via"], mark["ori"] = string(bad.ID), jose.Line(&tok)
	token := m.sign(t, "at+jwt", c)
	other := m.sign(t, "at+jwt", claims(as))
	for round := range 3 {
		got, code := verify(v, s, token)
		if code != mintmark.CodeNone || !reflect.DeepEqual(got.Token.Origins, tok.Origins) {
			t.Fatalf("round %d: %s %+v", round, code, got.Token.Origins)
		}
		if plain, _ := verify(v, s, other); plain.Token.Origins != nil {
			t.Fatalf("another token has %+v", plain.Token.Origins)
		}
	}
	got, _ := verify(v, s, token)
	s.Revoked.Apply(mintmark.Revocation{
		ID: "rev_1", Action: mintmark.ActionRevoke, Selector: mintmark.Selector{Release: "orders/v2", Scope: "admin"}, Cutoff: mintmark.Cutoff{ToSeq: 5},
	})
	if s.Revoked.Find(&got.Token) == nil {
		t.Error("what takes back its origin does not reach it")
	}
}
