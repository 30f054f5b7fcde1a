package rollout

import (
	"testing"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/epoch"
)

// A policy for tokens of another issuer need not say what they carry: taking the
// candidate back must not take them for tainted.
func TestForeignTokensAreNotTaintedByWhatNobodyDeclared(t *testing.T) {
	svc := service()
	svc.OwnIssuer = false
	for i := range svc.Releases {
		svc.Releases[i].Mint = epoch.Mint{Policy: "p", Version: 1, Format: "jwt"}
		svc.Releases[i].Accept = []string{"*"}
	}
	rules, err := Rules(&svc, "v1", "v2", Options{})
	if err != nil {
		t.Fatal(err)
	}
	tok := mintmark.Token{Scopes: []string{"orders.read"}, Audience: []string{"a"}}
	if got := Classify(rules, &tok); got == nil || got.Disposition != mintmark.Keep {
		t.Errorf("a harmless foreign token met %+v", got)
	}
	tok.Audience = []string{"b"}
	if got := Classify(rules, &tok); got == nil || got.Class != WrongAudience {
		t.Errorf("a token for somebody else met %+v", got)
	}
}
