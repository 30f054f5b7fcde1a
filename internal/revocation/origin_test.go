package revocation

import (
	"testing"

	"github.com/mintmark/mintmark"
)

// exchanged is a harmless token of another service, made of one that a bad release
// minted, by way of a third.
func exchanged() *mintmark.Token {
	bad := mintmark.Token{
		ID: "tok_bad", Kind: mintmark.KindAccessJWT, Issuer: "https://a", Subject: "alice", Client: "shop", Grant: "grt_1", Family: "fam_1",
		Scopes: []string{"orders.admin", "read"}, Audience: []string{"orders"}, Mark: mintmark.Mark{Release: "orders/v2", Key: "k1", Seq: 5}, IssuedAt: 100,
	}
	between := mintmark.Token{
		ID: "tok_between", Kind: mintmark.KindOpaque, Issuer: "https://a", Subject: "alice", Client: "broker",
		Audience: []string{"stock"}, Mark: mintmark.Mark{Release: "stock/v1", Seq: 7}, IssuedAt: 110,
	}
	between.Via, between.Origins = mintmark.Descend(&bad)
	tok := &mintmark.Token{
		ID: "tok_last", Kind: mintmark.KindAccessJWT, Issuer: "https://a", Subject: "bob", Client: "mailer", Scopes: []string{"read"},
		Audience: []string{"mail"}, Mark: mintmark.Mark{Release: "mail/v1", Key: "k2", Seq: 9}, IssuedAt: 120,
	}
	tok.Via, tok.Origins = mintmark.Descend(&between)
	return tok
}

// What takes back a token takes back what was made of it: by any selector that
// covers the origin, as it was and when it was.
func TestWhatCoversAnOriginCoversWhatWasMadeOfIt(t *testing.T) {
	tok := exchanged()
	for _, c := range []struct {
		selector string
		to       uint64
		want     bool
	}{
		{"token=tok_bad", 0, true},
		{"release=orders/v2", 0, true},
		{"release=orders/v2", 5, true},  // the last that it covers is the origin
		{"release=orders/v2", 4, false}, // the origin came after
		{"release=orders/v3", 0, false},
		{"key=k1", 6, true},
		{"client=shop", 6, true},
		{"client=broker", 6, false}, // it issued nothing yet
		{"client=broker", 7, true},
		{"family=fam_1", 0, true},
		{"grant=grt_1", 0, true},
		{"subject=alice", 5, true},
		{"subject=alice,client=broker", 0, true},
		{"subject=bob,client=broker", 0, false}, // each is of another token
		{"scope=orders.admin", 0, true},         // which the token itself lacks
		{"release=orders/v2,scope=orders.admin", 8, true},
		{"release=orders/v2,scope=write", 0, false},
		{"release=mail/v1,scope=orders.admin", 0, false},
		{"audience=orders", 5, true},
		{"audience=orders,client=broker", 0, false},
	} {
		sel, err := mintmark.ParseSelector(c.selector)
		if err != nil {
			t.Fatal(err)
		}
		r := mintmark.Revocation{ID: "rev_1", Action: mintmark.ActionRevoke, Selector: sel, Cutoff: mintmark.Cutoff{ToSeq: c.to}}
		set := NewSet()
		set.Apply(r)
		if got := Covers(&r, tok); got != c.want {
			t.Errorf("%s up to %d: covered %v", c.selector, c.to, got)
		}
		if got := set.Find(tok) != nil; got != c.want {
			t.Errorf("%s up to %d: found %v", c.selector, c.to, got)
		}
	}
}

// A revocation of the origin wins over a suspension of the token itself.
func TestTheStrongestFactOfTheLineIsFound(t *testing.T) {
	set := NewSet()
	set.Apply(
		mintmark.Revocation{ID: "rev_1", Action: mintmark.ActionSuspend, Selector: mintmark.Selector{Client: "mailer"}},
		mintmark.Revocation{ID: "rev_2", Action: mintmark.ActionRevoke, Selector: mintmark.Selector{Release: "orders/v2"}})
	if r := set.Find(exchanged()); r == nil || r.ID != "rev_2" {
		t.Errorf("found %+v", r)
	}
}

func TestFindOfAnExchangedTokenDoesNotAllocate(t *testing.T) {
	set, tok := many(1000), exchanged()
	if n := testing.AllocsPerRun(100, func() { set.Find(tok) }); n != 0 {
		t.Errorf("Find allocates %v times", n)
	}
}
