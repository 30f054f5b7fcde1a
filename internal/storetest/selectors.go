package storetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/ledger"
)

func testSelectors(t *testing.T, open Open) {
	b := Start(t, open(t, t.TempDir()))
	var all []mintmark.Token
	for i := range 60 {
		_, e := b.Token(func(d *mintmark.TokenIssued) {
			d.Token.Client = mintmark.ClientID(fmt.Sprintf("c%d", i%3))
			d.Token.Mark.Release = mintmark.ReleaseID(fmt.Sprintf("orders/v%d", i%2))
			d.Token.Mark.Key = fmt.Sprintf("k%d", i%4)
			if i%5 == 0 {
				d.Token.Scopes = []string{"orders"}
			}
			if i%7 == 0 {
				d.Token.Expires = 0
			}
			d.Token.Family, d.Token.Grant = mintmark.FamilyID(fmt.Sprintf("f%d", i%10)), mintmark.GrantID(fmt.Sprintf("g%d", i%6))
			all = append(all, d.Token)
		})
		b.Must(t, ledger.Batch{Events: []mintmark.Event{e}})
		b.Clock.Add(1000)
	}
	for _, text := range []string{
		"client=c1", "release=orders/v1", "release=orders/v1,client=c2", "key=k3", "scope=orders", "scope=orders,client=c0", "audience=https://orders.example",
		"subject=user-7", "family=f3", "grant=g2,scope=orders:read", "issuer=https://auth.example", "token=" + string(all[5].ID), "scope=order", "client=none",
	} {
		sel, err := mintmark.ParseSelector(text)
		if err != nil {
			t.Fatal(err)
		}
		for _, cut := range []mintmark.Cutoff{{}, {ToSeq: 30}, {FromSeq: 10, ToSeq: 40}} {
			var want int64
			for i := range all {
				if matches(&all[i], sel, cut) {
					want++
				}
			}
			if got, err := b.Store.CountLive(bg, sel, cut, b.Now()); err != nil || got != want {
				t.Errorf("%s %+v: %d, want %d (%v)", text, cut, got, want, err)
			}
			seen := map[mintmark.TokenID]bool{}
			var after mintmark.TokenID
			for {
				page, err := b.Store.Tokens(bg, ledger.TokenFilter{Selector: sel, Cutoff: cut, Now: b.Now(), After: after, Limit: 7})
				if err != nil {
					t.Fatal(err)
				}
				if len(page) == 0 {
					break
				}
				for _, r := range page {
					seen[r.ID] = true
				}
				after = page[len(page)-1].ID
			}
			if int64(len(seen)) != want {
				t.Errorf("%s %+v: %d listed, want %d", text, cut, len(seen), want)
			}
		}
	}
	b.Clock.Add(1_000_000) // all but those without expiry are over
	live, err := b.Store.LiveBy(bg, "release", b.Now())
	if err != nil || live["orders/v0"]+live["orders/v1"] != 9 {
		t.Errorf("live %v, %v", live, err)
	}
	expired, err := b.Store.Tokens(bg, ledger.TokenFilter{States: []mintmark.TokenState{mintmark.StateExpired}, Now: b.Now(), Limit: 100})
	if err != nil || len(expired) != 51 {
		t.Errorf("%d expired, %v", len(expired), err)
	}
	first, last, err := b.Store.SeqWindow(bg, time.Unix(all[10].IssuedAt, 0), time.Unix(all[20].IssuedAt, 0))
	if err != nil || first != all[10].Mark.Seq || last != all[20].Mark.Seq {
		t.Errorf("window %d to %d, %v", first, last, err)
	}
	b.Verify(t)
}

// matches is the plain reading of a selector and a cutoff for own tokens.
func matches(k *mintmark.Token, s mintmark.Selector, c mintmark.Cutoff) bool {
	return (s.Token == "" || s.Token == k.ID) && (s.Family == "" || s.Family == k.Family) && (s.Grant == "" || s.Grant == k.Grant) &&
		(s.Subject == "" || s.Subject == k.Subject) && (s.Client == "" || s.Client == k.Client) && (s.Issuer == "" || s.Issuer == k.Issuer) &&
		(s.Key == "" || s.Key == k.Mark.Key) && (s.Release == "" || s.Release == k.Mark.Release) &&
		(s.Scope == "" || k.HasScope(s.Scope)) && (s.Audience == "" || k.HasAudience(s.Audience)) &&
		k.Mark.Seq >= c.FromSeq && (c.ToSeq == 0 || k.Mark.Seq <= c.ToSeq)
}
