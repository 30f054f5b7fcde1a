package admission

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/epoch"
	"github.com/mintmark/mintmark/internal/revocation"
)

// someService is a service at random, out of few enough values that tokens often
// pass.
func someService(r *rand.Rand) func(*epoch.Service) {
	return func(s *epoch.Service) {
		one := func(of ...string) string { return of[r.IntN(len(of))] }
		s.OwnIssuer = r.IntN(12) > 0
		if r.IntN(8) == 0 {
			s.Issuers = nil
		}
		for i := range s.Routes {
			e := &s.Routes[i]
			if e.Public {
				continue
			}
			e.Bound, e.Scopes, e.ACR, e.MaxAge = "", nil, nil, 0
			if r.IntN(3) == 0 {
				e.Scopes = []string{one("read", "write")}
			}
			switch r.IntN(8) {
			case 0:
				e.ACR = []string{"gold"}
			case 1:
				e.MaxAge = 60
			case 2:
				e.Bound = one("any", "dpop", "mtls")
			}
		}
		for i := range s.Releases {
			e := &s.Releases[i]
			e.Accept, e.Maps = nil, nil
			if r.IntN(2) == 0 {
				e.Accept = []string{one("zero", "one", "two", "*")}
			} else if r.IntN(2) == 0 {
				e.Maps = []epoch.ShapeMap{{From: one("zero", "one", "two"), Lossy: r.IntN(2) == 0}}
			}
		}
		if r.IntN(2) == 0 {
			s.Split = epoch.Split{Stable: "one", Candidate: "two", Weight: r.IntN(epoch.Cohorts + 1), Salt: fmt.Sprint(r.IntN(3))}
		}
		if r.IntN(2) == 0 {
			rule := epoch.DispositionRule{Class: "c", Disposition: mintmark.Disposition(r.IntN(int(mintmark.Revoke) + 1))}
			if r.IntN(2) == 0 {
				rule.GraceUntil = at.Unix() + int64(r.IntN(30))
			}
			if r.IntN(2) == 0 {
				rule.Scope = "write"
			}
			s.Retired = []epoch.Retired{{
				Release: one("zero", "one", "two"), CutoffSeq: uint64(r.IntN(20)), Rules: []epoch.DispositionRule{rule},
				Start: at.Unix(), Window: int64(r.IntN(30)),
			}}
		}
	}
}

// someToken is a token of a kin; tokens of one kin differ as the contract of
// Memo.Kin allows.
func someToken(r *rand.Rand, kin int) *mintmark.Token {
	of := rand.New(rand.NewPCG(uint64(kin), 7))
	t := token()
	if of.IntN(3) == 0 {
		t.Kind = []mintmark.TokenKind{mintmark.KindOpaque, mintmark.KindAPIKey, mintmark.KindForeign}[of.IntN(3)]
	}
	if t.Kind == mintmark.KindForeign {
		t.Issuer = []string{corp, stranger}[of.IntN(5)/4]
	}
	t.Mark = mintmark.Mark{Release: []mintmark.ReleaseID{"", "else/one", "shop/zero", "shop/two", "shop/one"}[min(of.IntN(7), 4)], Epoch: 5}
	t.Scopes = [][]string{{"read"}, {"read", "write"}, nil}[of.IntN(3)]
	t.Audience = [][]string{{aud}, {aud, "x"}, {"x"}}[of.IntN(20)/9]
	t.ACR = []string{"", "gold"}[of.IntN(2)]
	t.ID = mintmark.TokenID(fmt.Sprint("tok_", r.IntN(50)))
	t.Subject = fmt.Sprint("user-", r.IntN(50))
	t.Mark.Seq = uint64(r.IntN(20))
	t.Expires = at.Unix() + int64(r.IntN(60))
	t.AuthTime = at.Unix() - int64(r.IntN(80))
	switch r.IntN(6) {
	case 0:
		t.Binding.X5T = "c"
	case 1:
		t.Binding.JKT = "j"
	}
	return t
}

// TestRememberedDecisionsAreTheSame: whatever is remembered of a token and of its
// kin, by whatever epoch, revocations and time, Decide answers as if nothing were.
func TestRememberedDecisionsAreTheSame(t *testing.T) {
	const kins, rounds, each = 24, 60, 400
	for seed := range uint64(4) {
		r := rand.New(rand.NewPCG(seed, 1))
		snaps := []*epoch.Snapshot{snapshot(t, someService(r)), snapshot(t, someService(r))}
		paths := []string{"/open", "/read", "/strict", "/static", "/keys", "/bound", "/dpop", "/mtls", "/acr", "/recent", "/none"}
		ps := &Passes{}
		type cached struct {
			token *mintmark.Token
			memo  Memo
		}
		var tokens []*cached
		for kin := range kins {
			for range 4 {
				tokens = append(tokens, &cached{someToken(r, kin), Memo{Kin: uint64(kin + 1), Passes: ps}})
			}
		}
		recalled, allowed := 0, 0
		for round := range rounds {
			switch r.IntN(4) { // the state changes
			case 0:
				snaps[r.IntN(2)] = snapshot(t, someService(r))
			case 1:
				s := snaps[r.IntN(2)]
				s.Revoked.Apply(mintmark.Revocation{
					ID: mintmark.RevocationID(fmt.Sprint("rev_", round)), Action: mintmark.Action(1 + r.IntN(2)),
					Selector: mintmark.Selector{Subject: fmt.Sprint("user-", r.IntN(50))},
				})
			case 2:
				snaps[r.IntN(2)].Revoked.Restore(mintmark.RevocationID(fmt.Sprint("rev_", r.IntN(round+1))))
			case 3: // as when a row is applied that changes no part
				s := *snaps[0]
				s.Seq++
				snaps[0] = &s
			}
			for range each {
				c := tokens[r.IntN(len(tokens))]
				q := Request{
					Snapshot: snaps[min(r.IntN(4), 1)], Method: "GET", Path: paths[r.IntN(len(paths))], Scheme: SchemeBearer, Token: c.token,
					Fresh: Freshness{Leased: r.IntN(8) > 0, Age: time.Duration(r.IntN(60)) * time.Second}, Now: at.Add(time.Duration(round) * time.Second),
				}
				if c.token.Binding.X5T != "" {
					q.X5T = "c"
				}
				if c.token.Binding.JKT != "" {
					q.Scheme, q.JKT = SchemeDPoP, "j"
				}
				want := Decide(&q)
				q.Memo = &c.memo
				if want.Allow && want.Release != nil && !want.Route.Public && c.memo.pass(&q, want.Route, serving(&q, want.Route.Service)) != nil {
					recalled++
				}
				if got := Decide(&q); !reflect.DeepEqual(got, want) {
					t.Fatalf("seed %d, round %d: %s for %+v\nremembering %+v\n        not %+v", seed, round, q.Path, c.token, got, want)
				}
				if want.Allow {
					allowed++
				}
			}
		}
		if recalled < allowed/5 {
			t.Errorf("seed %d: %d of %d admissions were remembered: the test tests little", seed, recalled, allowed)
		}
	}
}

// TestClashesAreTold: kins that share an entry do not share what they met.
func TestClashesAreTold(t *testing.T) {
	snap := snapshot(t, nil)
	ps := &Passes{}
	r := Request{Snapshot: snap, Method: "GET", Path: "/read", Fresh: leased, Now: at, Scheme: SchemeBearer, Token: token(), Memo: &Memo{Kin: 1, Passes: ps}}
	v := Decide(&r)
	if !v.Allow {
		t.Fatal(v.Code)
	}
	kin := uint64(2)
	for ps.entry(kin, v.Route, v.Release) != ps.entry(1, v.Route, v.Release) {
		kin++
	}
	r.Token = token()
	r.Token.Scopes = nil
	r.Memo = &Memo{Kin: kin, Passes: ps}
	if v := Decide(&r); v.Code != mintmark.CodeScope {
		t.Errorf("%q", v.Code)
	}
}

// TestPassesAreBounded: too many kins cost time, neither wrong answers nor memory.
func TestPassesAreBounded(t *testing.T) {
	snap := snapshot(t, nil)
	ps := &Passes{}
	r := Request{Snapshot: snap, Method: "GET", Path: "/read", Fresh: leased, Now: at, Scheme: SchemeBearer, Token: token()}
	all := func() {
		for kin := range uint64(4 * passes) {
			r.Memo = &Memo{Kin: kin + 1, Passes: ps, Revoked: snap.Revoked.Version()}
			if v := Decide(&r); !v.Allow {
				t.Fatal(v.Code)
			}
		}
	}
	all()
	memo := Memo{Passes: ps, Revoked: snap.Revoked.Version()}
	r.Memo = &memo
	if n := testing.AllocsPerRun(20_000, func() { memo.Kin = memo.Kin%(4*passes) + 1; Decide(&r) }); n != 0 {
		t.Errorf("%v allocations a decision", n)
	}
	// A new epoch's entries take the place of the old one's at once.
	r.Snapshot = &epoch.Snapshot{Epoch: 5, Seq: 10, Table: snapshot(t, nil).Table, Revoked: revocation.NewSet()}
	memo = Memo{Kin: 1, Passes: ps}
	v := Decide(&r)
	if memo.pass(&r, v.Route, v.Release) == nil {
		t.Error("the old epoch's entries stay")
	}
}
