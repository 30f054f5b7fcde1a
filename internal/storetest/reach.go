package storetest

import (
	"testing"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/ledger"
)

// testReach: what a selector reaches, divided, is what it reaches in all; and the
// last end is that of a token which could still be live, suspended ones included.
func testReach(t *testing.T, open Open) {
	b := Start(t, open(t, t.TempDir()))
	now := b.Now().Unix()
	issue := func(client mintmark.ClientID, release mintmark.ReleaseID, exp int64) mintmark.TokenID {
		id, e := b.Token(func(d *mintmark.TokenIssued) {
			d.Token.Client, d.Token.Mark.Release, d.Token.Expires = client, release, exp
		})
		b.Must(t, ledger.Batch{Events: []mintmark.Event{e}})
		return id
	}
	end := func(id mintmark.TokenID, typ mintmark.EventType) {
		b.Must(t, ledger.Batch{Events: []mintmark.Event{{Stream: "token/" + string(id), Type: typ, Token: id, Data: []byte(`{"id":"` + string(id) + `"}`)}}})
	}
	issue("a", "orders/v1", now+100)
	issue("a", "orders/v1", now+200)
	issue("b", "orders/v1", now+50)
	issue("b", "orders/v2", 0)
	issue("a", "orders/v1", now-1) // over
	end(issue("a", "orders/v1", now+900), mintmark.EventTokenRevoked)
	end(issue("a", "orders/v1", now+500), mintmark.EventTokenSuspended)
	for text, want := range map[string]map[ledger.Reached]bool{
		"release=orders/v1": {{Release: "orders/v1", Client: "a", Tokens: 2, Last: now + 500}: true, {Release: "orders/v1", Client: "b", Tokens: 1, Last: now + 50}: true},
		"client=b":          {{Release: "orders/v1", Client: "b", Tokens: 1, Last: now + 50}: true, {Release: "orders/v2", Client: "b", Tokens: 1}: true},
		"client=none":       {},
	} {
		sel, _ := mintmark.ParseSelector(text)
		got, err := b.Store.Reach(bg, sel, mintmark.Cutoff{}, b.Now())
		if err != nil || len(got) != len(want) {
			t.Errorf("%s: %+v, %v; want %+v", text, got, err, want)
		}
		var sum int64
		for _, r := range got {
			if !want[r] {
				t.Errorf("%s: %+v is not wanted", text, r)
			}
			sum += r.Tokens
		}
		if n, err := b.Store.CountLive(bg, sel, mintmark.Cutoff{}, b.Now()); err != nil || n != sum {
			t.Errorf("%s: %d in parts, %d counted, %v", text, sum, n, err)
		}
	}
}

// testListed: pages hold each JWT of the release and the hour once, whatever its
// state, also where many expire in one second.
func testListed(t *testing.T, open Open) {
	b := Start(t, open(t, t.TempDir()))
	const from, to = 1_900_000_000, 1_900_003_600
	want := map[mintmark.TokenID]bool{}
	for i := range 60 {
		id, e := b.Token(func(d *mintmark.TokenIssued) {
			d.Token.Kind, d.Token.Mark.Release, d.Token.Expires = mintmark.KindAccessJWT, "orders/v1", from+int64(i/20)
			d.Handle = nil
			switch i % 5 {
			case 1:
				d.Token.Mark.Release = "orders/v2"
			case 2:
				d.Token.Expires = to
			case 3:
				d.Token.Kind = mintmark.KindRefresh
			}
		})
		want[id] = i%5 == 0 || i%5 == 4
		b.Must(t, ledger.Batch{Events: []mintmark.Event{e}})
	}
	n := 0
	at, after := int64(from), mintmark.TokenID("")
	for {
		page, err := b.Store.Listed(bg, "orders/v1", at, to, after, 7)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range page {
			if !want[r.ID] {
				t.Errorf("%s: twice, or not to be listed", r.ID)
			}
			want[r.ID] = false
			n++
		}
		if len(page) < 7 {
			break
		}
		at, after = page[6].Expires, page[6].ID
	}
	if n != 24 {
		t.Errorf("%d listed, want 24", n)
	}
}
