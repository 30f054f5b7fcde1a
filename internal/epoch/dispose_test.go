package epoch

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/mintmark/mintmark"
)

func TestCohortIsTheHMACOfTheContract(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		salt := rapid.StringN(1, 100, 100).Draw(t, "salt")
		subject := rapid.StringN(0, 300, 300).Draw(t, "subject")
		k := newSaltKey(salt)
		m := hmac.New(sha256.New, []byte(salt))
		m.Write([]byte(subject))
		want := uint16(binary.BigEndian.Uint64(m.Sum(nil)) % 10_000)
		if got := cohort(&k, subject); got != want {
			t.Fatalf("cohort %d, want %d", got, want)
		}
	})
}

func TestArmIsNestedAndSticky(t *testing.T) {
	at := func(weight int) *ServiceEntry {
		s := testService()
		s.Split = Split{Stable: "one", Candidate: "two", Weight: weight, Salt: "pepper"}
		return mustCompile(t, s).Service("shop")
	}
	low, high, all, none := at(500), at(2_000), at(Cohorts), at(0)
	in, inHigh := 0, 0
	for i := range 5_000 {
		subject := strings.Repeat("s", i%7) + string(rune('a'+i%26)) + string(rune(0x4e00+i))
		l, h := low.Arm(subject) == low.Candidate, high.Arm(subject) == high.Candidate
		if l && !h {
			t.Fatalf("%s left the cohort as it grew", subject)
		}
		if l {
			in++
		}
		if h {
			inHigh++
		}
		if all.Arm(subject) != all.Candidate || none.Arm(subject) != none.Stable {
			t.Fatal("0 and 100 % are not none and all")
		}
	}
	if in < 150 || in > 350 || inHigh < 800 || inHigh > 1200 {
		t.Errorf("%d of 5,000 at 5 %%, %d at 20 %%", in, inHigh)
	}
	if n := testing.AllocsPerRun(50, func() { low.Arm("alice@example.com") }); n != 0 {
		t.Errorf("Arm allocates %v times", n)
	}
}

func TestProbationIsStrict(t *testing.T) {
	s := testService()
	s.Routes[0].Staleness = mintmark.Static
	if !mustCompile(t, s).Routes()[0].Budget.IsStatic() {
		t.Error("without a rollout the route keeps its budget")
	}
	s.Split = Split{Stable: "one", Candidate: "two", Salt: "x"}
	if !mustCompile(t, s).Routes()[0].Budget.IsStrict() {
		t.Error("on probation a route is strict")
	}
}

func TestDispose(t *testing.T) {
	s := testService()
	s.Releases[0].Maps = []ShapeMap{{From: "clean"}, {From: "lossy", Lossy: true}, {From: "late", Lossy: true}}
	s.Releases[0].Accept = []string{"two", "bad"}
	rules := []DispositionRule{
		{Class: "over_scoped", ScopesBeyond: []string{"read"}, Disposition: mintmark.Revoke},
		{Class: "graced", Scope: "read", AudienceBeyond: []string{"api"}, GraceUntil: 100, Disposition: mintmark.Revoke},
		{Class: "native", Disposition: mintmark.Keep},
	}
	s.Retired = []Retired{
		{Release: "bad", CutoffSeq: 50, Rules: rules},
		{Release: "lossy", CutoffSeq: 50},
		{Release: "late", CutoffSeq: 50, Start: 1000, Window: 10},
		{Release: "gone", CutoffSeq: 50, Rules: []DispositionRule{{Class: "move", Disposition: mintmark.Reissue}}},
	}
	table := mustCompile(t, s)
	serving := table.Service("shop").Stable
	tok := func(release mintmark.ReleaseID, seq uint64, scope, aud string) mintmark.Token {
		x := mark(release, seq)
		x.Scopes, x.Audience = []string{scope}, []string{aud}
		return x
	}
	for _, tc := range []struct {
		name  string
		tok   mintmark.Token
		now   int64
		want  mintmark.Disposition
		class string
		renew bool
	}{
		{"its own", tok("shop/one", 1, "read", "api"), 0, mintmark.Keep, ClassNative, false},
		{"accepted", tok("shop/two", 1, "read", "api"), 0, mintmark.Keep, ClassNative, false},
		{"mapped", tok("shop/clean", 1, "read", "api"), 0, mintmark.Map, ClassMapped, false},
		{"never heard of", tok("shop/zero", 1, "read", "api"), 0, mintmark.Revoke, ClassUnmapped, false},
		{"unmarked", tok("", 0, "read", "api"), 0, mintmark.Keep, ClassUnmarked, false},
		{"elsewhere", tok("bank/one", 1, "read", "api"), 0, mintmark.Keep, ClassElsewhere, false},
		{"tainted", tok("shop/bad", 50, "admin", "api"), 0, mintmark.Revoke, "over_scoped", false},
		{"minted when it came back", tok("shop/bad", 51, "admin", "api"), 0, mintmark.Keep, ClassNative, false},
		{"grace", tok("shop/bad", 9, "read", "other"), 99, mintmark.Keep, "graced", true},
		{"grace over", tok("shop/bad", 9, "read", "other"), 100, mintmark.Revoke, "graced", false},
		{"harmless", tok("shop/bad", 9, "read", "api"), 0, mintmark.Keep, "native", true},
		{"lossy, at once", tok("shop/lossy", 9, "read", "api"), 0, mintmark.Reissue, ClassLossy, true},
		{"lossy, not yet its turn", tok("shop/late", 9, "read", "api"), 999, mintmark.Map, ClassLossy, true},
		{"lossy, turn over", tok("shop/late", 9, "read", "api"), 1010, mintmark.Reissue, ClassLossy, true},
		{"reissued by rule", tok("shop/gone", 9, "read", "api"), 0, mintmark.Reissue, "move", true},
	} {
		got := table.Dispose(&tc.tok, serving, tc.now)
		if got.Disposition != tc.want || got.Class != tc.class || got.Renew != tc.renew {
			t.Errorf("%s: %v %s renew %v, want %v %s %v", tc.name, got.Disposition, got.Class, got.Renew, tc.want, tc.class, tc.renew)
		}
	}
}

func TestMarkForAndForeignID(t *testing.T) {
	rules := []MarkRule{
		{Release: "s/new", KeyID: "k2", IssuedFrom: 10},
		{Release: "s/claim", Claim: "ver", Value: "7", IssuedTo: 20},
	}
	claim := func(v string) func(string) string { return func(string) string { return v } }
	for _, tc := range []struct {
		kid, ver string
		iat      int64
		want     mintmark.ReleaseID
	}{{"k2", "", 10, "s/new"}, {"k2", "7", 9, "s/claim"}, {"k1", "7", 20, "s/claim"}, {"k1", "7", 21, ""}, {"k1", "8", 1, ""}} {
		if got := MarkFor(rules, tc.kid, claim(tc.ver), tc.iat); got != tc.want {
			t.Errorf("%+v: %q", tc, got)
		}
	}
	id := ForeignID("https://a", "1")
	if len(id) != 30 || id == ForeignID("https://b", "1") || id == ForeignID("https://a", "2") || id != ForeignID("https://a", "1") {
		t.Errorf("id %s", id)
	}
}
