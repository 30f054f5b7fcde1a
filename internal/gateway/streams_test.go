package gateway

import (
	"testing"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/epoch"
	"github.com/mintmark/mintmark/internal/revocation"
)

// A stream goes on only while its token's foreign issuer is in the epoch.
func TestTakenBackWithItsIssuer(t *testing.T) {
	body, hash, err := epoch.Encode(&epoch.Issuers{Issuers: []epoch.Issuer{{Name: "other", Issuer: "https://other.example", Introspect: true, Prefix: "o_"}}})
	if err != nil {
		t.Fatal(err)
	}
	with, err := epoch.Compile(epoch.Manifest{}.With(epoch.PartRef{Name: epoch.PartIssuers, Hash: hash}), map[epoch.Hash][]byte{hash: body})
	if err != nil {
		t.Fatal(err)
	}
	without, err := epoch.Compile(epoch.Manifest{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	foreign := &mintmark.Token{ID: "fgn_1", Kind: mintmark.KindForeign, Issuer: "https://other.example"}
	own := &mintmark.Token{ID: "tok_1", Kind: mintmark.KindOpaque, Issuer: "https://auth.example"}
	for _, c := range []struct {
		table *epoch.Table
		token *mintmark.Token
		want  bool
	}{{with, foreign, false}, {without, foreign, true}, {with, own, false}, {without, own, false}} {
		snap := &epoch.Snapshot{Table: c.table, Revoked: revocation.NewSet()}
		if got := takenBack(snap, c.token, time.Unix(1_800_000_000, 0)); got != c.want {
			t.Errorf("%s, issuer trusted %v: taken back %v", c.token.ID, c.table == with, got)
		}
	}
}
