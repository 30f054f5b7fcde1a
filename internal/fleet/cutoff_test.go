package fleet

import (
	"testing"
	"time"

	"github.com/mintmark/mintmark"
)

// A fact without an end that may cover what is minted tomorrow ends now; what
// others number, and what never comes back, stays refused for ever.
func TestUpToNow(t *testing.T) {
	const own = "https://auth.example"
	at := time.Date(2026, 1, 31, 14, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		fact mintmark.Revocation
		want bool
	}{
		{mintmark.Revocation{Selector: mintmark.Selector{Subject: "ann"}}, true},
		{mintmark.Revocation{Selector: mintmark.Selector{Issuer: own}}, true},
		{mintmark.Revocation{Selector: mintmark.Selector{Issuer: "https://other.example"}}, false},
		{mintmark.Revocation{Selector: mintmark.Selector{Key: "k"}}, false},
		{mintmark.Revocation{Selector: mintmark.Selector{Token: "tok_1"}}, false},
		{mintmark.Revocation{Selector: mintmark.Selector{IssuedFrom: at}, Cutoff: mintmark.Cutoff{FromSeq: 3, From: at.Unix()}}, true},
		{mintmark.Revocation{Selector: mintmark.Selector{IssuedTo: at}, Cutoff: mintmark.Cutoff{ToSeq: 3, To: at.Unix()}}, false},
		{mintmark.Revocation{Selector: mintmark.Selector{Subject: "ann"}, Cutoff: mintmark.Cutoff{ToSeq: 3, To: 5}}, false},
	} {
		if got := upToNow(&tt.fact, own); got != tt.want {
			t.Errorf("%s: ends now %v, want %v", tt.fact.Selector, got, tt.want)
		}
	}
}
