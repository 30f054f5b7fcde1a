package sqlite_test

import (
	"testing"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/ledger"
	"github.com/mintmark/mintmark/internal/sqlite"
	"github.com/mintmark/mintmark/internal/storetest"
)

// TestTokenCounts: every token is live until it expires, and is counted as
// expired once, unless it ended before.
func TestTokenCounts(t *testing.T) {
	store := open(t, t.TempDir())
	defer store.Close()
	b := storetest.Start(t, store)
	defer b.Stop()
	counts := store.(*sqlite.Store)
	start := b.Now()
	var last mintmark.TokenID
	for i := range 12 {
		id, e := b.Token(func(k *mintmark.TokenIssued) {
			k.Token.Client, k.Token.Issuer = "shop", "https://a"
			k.Token.Mark.Release = mintmark.ReleaseID([]string{"orders/v1", "orders/v2"}[i%2])
			k.Token.Expires = start.Unix() + int64(100+i)
		})
		b.Must(t, ledger.Batch{Events: []mintmark.Event{e}})
		last = id
	}
	b.Must(t, ledger.Batch{Events: []mintmark.Event{storetest.Event("token/"+string(last), mintmark.EventTokenRevoked, mintmark.TokenChanged{ID: last})}})
	sum := func(c []sqlite.TokenCount, err error) (v1, v2 int64) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range c {
			if x.Client != "shop" || x.Issuer != "https://a" {
				t.Errorf("counted under %+v", x)
			}
			if x.Release == "orders/v1" {
				v1 += x.Tokens
			} else {
				v2 += x.Tokens
			}
		}
		return v1, v2
	}
	at := func(s int) time.Time { return start.Add(time.Duration(s) * time.Second) }
	if v1, v2 := sum(counts.LiveTokens(t.Context(), start)); v1 != 6 || v2 != 5 {
		t.Errorf("%d and %d live, want 6 and 5", v1, v2)
	}
	if v1, v2 := sum(counts.LiveTokens(t.Context(), at(105))); v1 != 3 || v2 != 2 {
		t.Errorf("%d and %d live later, want 3 and 2", v1, v2)
	}
	var over [2]int64
	for s := 0; s < 200; s += 7 {
		v1, v2 := sum(counts.ExpiredBetween(t.Context(), at(s), at(s+7)))
		over[0], over[1] = over[0]+v1, over[1]+v2
	}
	if over != [2]int64{6, 5} {
		t.Errorf("%v expired, want 6 and 5", over)
	}
}
