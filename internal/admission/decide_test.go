package admission

import (
	"net/netip"
	"testing"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/epoch"
	"github.com/mintmark/mintmark/internal/revocation"
)

var at = time.Unix(1_800_000_000, 0)

const (
	aud      = "https://shop.example"
	corp     = "https://corp.example"
	stranger = "https://stranger.example"
)

func service() *epoch.Service {
	return &epoch.Service{
		Name: "shop", Audience: []string{aud}, OwnIssuer: true, Issuers: []string{"corp"},
		Routes: []epoch.Route{
			{Name: "open", Path: "/open", Public: true},
			{Name: "read", Path: "/read", Scopes: []string{"read"}, Staleness: mintmark.Staleness{Budget: 30 * time.Second}},
			{Name: "strict", Path: "/strict"},
			{Name: "static", Path: "/static", Staleness: mintmark.Static},
			{Name: "keys", Path: "/keys", Kinds: []mintmark.TokenKind{mintmark.KindAPIKey}},
			{Name: "bound", Path: "/bound", Bound: "any"},
			{Name: "dpop", Path: "/dpop", Bound: "dpop"},
			{Name: "mtls", Path: "/mtls", Bound: "mtls"},
			{Name: "acr", Path: "/acr", ACR: []string{"gold"}},
			{Name: "recent", Path: "/recent", MaxAge: 60},
		},
		Releases: []epoch.Release{
			{Name: "one", Upstreams: []epoch.Upstream{{URL: "http://one"}}},
			{Name: "two", Upstreams: []epoch.Upstream{{URL: "http://two"}}, Accept: []string{"one"}},
		},
		Split: epoch.Split{Stable: "one"},
	}
}

func snapshot(t testing.TB, change func(*epoch.Service)) *epoch.Snapshot {
	t.Helper()
	s := service()
	if change != nil {
		change(s)
	}
	m, bodies, err := epoch.Build(s, &epoch.Issuers{Issuers: []epoch.Issuer{
		{Name: "corp", Issuer: corp, SkewSeconds: 60}, {Name: "stranger", Issuer: stranger},
	}})
	if err != nil {
		t.Fatal(err)
	}
	table, err := epoch.Compile(m, bodies)
	if err != nil {
		t.Fatal(err)
	}
	return &epoch.Snapshot{Term: 1, Epoch: 5, Seq: 10, Manifest: m, Table: table, Revoked: revocation.NewSet()}
}

func token() *mintmark.Token {
	return &mintmark.Token{
		ID: "tok_1", Kind: mintmark.KindAccessJWT, Issuer: "https://as", Subject: "alice", Client: "app",
		Scopes: []string{"read"}, Audience: []string{aud}, Mark: mintmark.Mark{Release: "shop/one", Epoch: 5, Seq: 7},
		IssuedAt: at.Unix() - 100, Expires: at.Unix() + 900,
	}
}

var leased = Freshness{Leased: true}

// TestDecide has one row for each answer and for each pair of reasons whose order
// matters.
func TestDecide(t *testing.T) {
	type request = Request
	own := func(change func(*request)) func(*request) {
		return func(r *request) {
			r.Token, r.Scheme = token(), SchemeBearer
			if change != nil {
				change(r)
			}
		}
	}
	fact := func(r *request, action mintmark.Action) {
		r.Snapshot.Revoked.Apply(mintmark.Revocation{ID: "rev_1", Action: action, Selector: mintmark.Selector{Subject: "alice"}})
	}
	stale := Freshness{Age: 31 * time.Second}
	foreign := func(r *request, iss string) {
		r.Token.Kind, r.Token.Issuer, r.Token.Mark = mintmark.KindForeign, iss, mintmark.Mark{}
	}
	for _, tc := range []struct {
		name, path string
		change     func(*request)
		want       mintmark.Code
	}{
		{"good", "/read", own(nil), mintmark.CodeNone},
		{"two readings of the path", "/read/%2e%2e/x", own(nil), mintmark.CodeInvalidRequest},
		{"no route", "/nowhere", own(nil), mintmark.CodeNoRoute},
		{"several credentials", "/read", own(func(r *request) { r.Scheme = SchemeSeveral; r.Token = nil }), mintmark.CodeInvalidRequest},
		{"public", "/open", func(r *request) {}, mintmark.CodeNone},
		{"public with a bad token", "/open", func(r *request) { r.Scheme, r.Code = SchemeBearer, mintmark.CodeSignature }, mintmark.CodeNone},
		{"public with several credentials", "/open", func(r *request) { r.Scheme = SchemeSeveral }, mintmark.CodeNone},
		{"public, fenced: where to is not known", "/open", func(r *request) { r.Fresh = stale }, mintmark.CodeStateUnknown},
		{"nothing presented", "/read", func(r *request) {}, mintmark.CodeCredentialsMissing},
		{"nothing presented, fenced", "/read", func(r *request) { r.Fresh = stale }, mintmark.CodeCredentialsMissing},
		{"bad signature", "/read", func(r *request) { r.Scheme, r.Code = SchemeBearer, mintmark.CodeSignature }, mintmark.CodeSignature},
		{"bad signature, fenced", "/read", func(r *request) { r.Scheme, r.Code, r.Fresh = SchemeBearer, mintmark.CodeSignature, stale }, mintmark.CodeSignature},
		{"unknown key", "/read", func(r *request) { r.Scheme, r.Code = SchemeBearer, mintmark.CodeKeyUnknown }, mintmark.CodeKeyUnknown},
		{"unknown key, no lease", "/read", func(r *request) {
			r.Scheme, r.Code, r.Fresh = SchemeBearer, mintmark.CodeKeyUnknown, Freshness{Age: time.Second}
		}, mintmark.CodeStateUnknown},
		{"unknown issuer, no lease", "/static", func(r *request) { r.Scheme, r.Code, r.Fresh = SchemeBearer, mintmark.CodeIssuerUnknown, stale }, mintmark.CodeStateUnknown},
		{"control did not answer", "/read", func(r *request) { r.Scheme, r.Code = SchemeBearer, mintmark.CodeStateUnknown }, mintmark.CodeStateUnknown},
		{"expired", "/read", own(func(r *request) { r.Token.Expires = at.Unix() }), mintmark.CodeExpired},
		{"expired within the skew", "/read", own(func(r *request) { r.Token.Expires = at.Unix(); r.Skew = time.Second }), mintmark.CodeNone},
		{"expired, fenced", "/read", own(func(r *request) { r.Token.Expires = at.Unix() - 1; r.Fresh = stale }), mintmark.CodeExpired},
		{"expired and revoked", "/read", own(func(r *request) { r.Token.Expires = at.Unix() - 1; fact(r, mintmark.ActionRevoke) }), mintmark.CodeExpired},
		{"no expiry", "/read", own(func(r *request) { r.Token.Expires = 0 }), mintmark.CodeMalformed},
		{"API key without expiry", "/read", own(func(r *request) { r.Token.Expires, r.Token.Kind = 0, mintmark.KindAPIKey }), mintmark.CodeNone},
		{"not yet", "/read", own(func(r *request) { r.Token.NotBefore = at.Unix() + 1 }), mintmark.CodeNotYetValid},
		{"not yet, within the skew", "/read", own(func(r *request) { r.Token.NotBefore = at.Unix() + 1; r.Skew = time.Second }), mintmark.CodeNone},
		{"foreign skew is the issuer's", "/read", own(func(r *request) { foreign(r, corp); r.Token.Expires = at.Unix() - 59 }), mintmark.CodeNone},
		{"foreign beyond its skew", "/read", own(func(r *request) { foreign(r, corp); r.Token.Expires = at.Unix() - 60 }), mintmark.CodeExpired},
		{"foreign, issued in the future", "/read", own(func(r *request) { foreign(r, corp); r.Token.IssuedAt = at.Unix() + 61 }), mintmark.CodeNotYetValid},
		{"DPoP-bound as bearer", "/read", own(func(r *request) { r.Token.Binding.JKT = "j"; r.JKT = "j" }), mintmark.CodeBinding},
		{"DPoP-bound, another key", "/read", own(func(r *request) { r.Token.Binding.JKT = "j"; r.Scheme, r.JKT = SchemeDPoP, "k" }), mintmark.CodeBinding},
		{"DPoP-bound, proved", "/read", own(func(r *request) { r.Token.Binding.JKT = "j"; r.Scheme, r.JKT = SchemeDPoP, "j" }), mintmark.CodeNone},
		{"DPoP without nonce", "/read", own(func(r *request) {
			r.Token.Binding.JKT = "j"
			r.Scheme, r.ProofCode = SchemeDPoP, mintmark.CodeUseNonce
		}), mintmark.CodeUseNonce},
		{"unbound as DPoP", "/read", own(func(r *request) { r.Scheme, r.JKT = SchemeDPoP, "j" }), mintmark.CodeBinding},
		{"mTLS-bound, no certificate", "/read", own(func(r *request) { r.Token.Binding.X5T = "c" }), mintmark.CodeBinding},
		{"mTLS-bound, proved", "/read", own(func(r *request) { r.Token.Binding.X5T = "c"; r.X5T = "c" }), mintmark.CodeNone},
		{"revoked", "/read", own(func(r *request) { fact(r, mintmark.ActionRevoke) }), mintmark.CodeRevoked},
		{"revoked, fenced: known for ever", "/read", own(func(r *request) { fact(r, mintmark.ActionRevoke); r.Fresh = stale }), mintmark.CodeRevoked},
		{"suspended", "/read", own(func(r *request) { fact(r, mintmark.ActionSuspend) }), mintmark.CodeSuspended},
		{"suspended, fenced: may be restored", "/read", own(func(r *request) { fact(r, mintmark.ActionSuspend); r.Fresh = stale }), mintmark.CodeStateUnknown},
		{"within its budget", "/read", own(func(r *request) { r.Fresh = Freshness{Age: 30 * time.Second} }), mintmark.CodeNone},
		{"past its budget", "/read", own(func(r *request) { r.Fresh = stale }), mintmark.CodeStateUnknown},
		{"after a start, before the first lease", "/read", own(func(r *request) { r.Fresh = Freshness{Age: -1} }), mintmark.CodeStateUnknown},
		{"strict without lease", "/strict", own(func(r *request) { r.Fresh = Freshness{Age: time.Millisecond} }), mintmark.CodeStateUnknown},
		{"static without lease", "/static", own(func(r *request) { r.Fresh = Freshness{Age: -1} }), mintmark.CodeNone},
		{"kind not taken", "/keys", own(nil), mintmark.CodePolicyRefused},
		{"foreign", "/read", own(func(r *request) { foreign(r, corp) }), mintmark.CodeNone},
		{"issuer not of this service", "/read", own(func(r *request) { foreign(r, stranger) }), mintmark.CodeIssuerUnknown},
		{"issuer of no service", "/read", own(func(r *request) { foreign(r, "https://nobody") }), mintmark.CodeIssuerUnknown},
		{"wrong audience", "/read", own(func(r *request) { r.Token.Audience = []string{"x"} }), mintmark.CodeAudience},
		{"no audience", "/read", own(func(r *request) { r.Token.Audience = nil }), mintmark.CodeAudience},
		{"release not readable", "/read", own(func(r *request) { r.Token.Mark.Release = "shop/zero" }), mintmark.CodeReleaseRetired},
		{"route wants a binding", "/bound", own(nil), mintmark.CodeBinding},
		{"route wants DPoP, has mTLS", "/dpop", own(func(r *request) { r.Token.Binding.X5T, r.X5T = "c", "c" }), mintmark.CodeBinding},
		{"route wants mTLS, has it", "/mtls", own(func(r *request) { r.Token.Binding.X5T, r.X5T = "c", "c" }), mintmark.CodeNone},
		{"scope missing", "/read", own(func(r *request) { r.Token.Scopes = []string{"write"} }), mintmark.CodeScope},
		{"scope missing, wrong audience", "/read", own(func(r *request) { r.Token.Scopes, r.Token.Audience = nil, nil }), mintmark.CodeAudience},
		{"acr missing", "/acr", own(nil), mintmark.CodeAuthentication},
		{"acr", "/acr", own(func(r *request) { r.Token.ACR = "gold" }), mintmark.CodeNone},
		{"authenticated too long ago", "/recent", own(func(r *request) { r.Token.AuthTime = at.Unix() - 61 }), mintmark.CodeAuthentication},
		{"authentication time unknown", "/recent", own(nil), mintmark.CodeAuthentication},
		{"authenticated just now", "/recent", own(func(r *request) { r.Token.AuthTime = at.Unix() - 60 }), mintmark.CodeNone},
		{"epoch beyond the head", "/read", own(func(r *request) { r.Token.Mark.Epoch = 6; r.Fresh.AtHead = true }), mintmark.CodeMalformed},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := Request{Snapshot: snapshot(t, nil), Method: "GET", Host: "shop.example", Path: tc.path, Fresh: leased, Now: at}
			tc.change(&r)
			for _, memo := range []*Memo{nil, {}} {
				r.Memo = memo
				for range 2 { // the second time from memory
					v := Decide(&r)
					if v.Code != tc.want || v.Allow != (tc.want == mintmark.CodeNone) || v.NeedCatchUp {
						t.Fatalf("%+v, want %q", v, tc.want)
					}
					if v.Allow && v.Release == nil {
						t.Fatal("admitted to no release")
					}
				}
			}
		})
	}
}

func TestNeedCatchUp(t *testing.T) {
	snap := snapshot(t, nil)
	r := Request{Snapshot: snap, Method: "GET", Path: "/read", Fresh: leased, Now: at, Scheme: SchemeBearer, Token: token()}
	r.Token.Mark.Epoch = 6
	if v := Decide(&r); !v.NeedCatchUp || v.Allow || v.Code != mintmark.CodeStateUnknown || v.NeedEpoch != 6 {
		t.Errorf("later epoch: %+v", v)
	}
	r.Token = token()
	r.AsOf = 11
	if v := Decide(&r); !v.NeedCatchUp || v.NeedSeq != 11 || v.Allow {
		t.Errorf("later answer: %+v", v)
	}
	r.Token, r.Code = nil, mintmark.CodeKeyUnknown
	if v := Decide(&r); !v.NeedCatchUp || v.NeedSeq != 11 {
		t.Errorf("key fetched meanwhile: %+v", v)
	}
	r.AsOf = 10
	if v := Decide(&r); v.NeedCatchUp || v.Code != mintmark.CodeKeyUnknown {
		t.Errorf("key still unknown: %+v", v)
	}
}

// TestMemoForgetsWithTheSet: a fact applied after a token was found uncovered is
// met at the next request, and so is its restoring.
func TestMemoForgetsWithTheSet(t *testing.T) {
	snap := snapshot(t, nil)
	r := Request{Snapshot: snap, Method: "GET", Path: "/read", Fresh: leased, Now: at, Scheme: SchemeBearer, Token: token(), Memo: &Memo{}}
	for range 2 {
		if v := Decide(&r); !v.Allow {
			t.Fatalf("%+v", v)
		}
	}
	snap.Revoked.Apply(mintmark.Revocation{ID: "rev_1", Action: mintmark.ActionSuspend, Selector: mintmark.Selector{Client: "app"}})
	if v := Decide(&r); v.Code != mintmark.CodeSuspended || v.Revocation == nil {
		t.Fatalf("%+v", v)
	}
	snap.Revoked.Restore("rev_1")
	if v := Decide(&r); !v.Allow {
		t.Fatalf("%+v", v)
	}
	other := snapshot(t, nil) // another set, as after a reload
	other.Revoked.Apply(mintmark.Revocation{ID: "rev_2", Action: mintmark.ActionRevoke, Selector: mintmark.Selector{Client: "app"}})
	r.Snapshot = other
	if v := Decide(&r); v.Code != mintmark.CodeRevoked {
		t.Fatalf("%+v", v)
	}
}

func TestRelease(t *testing.T) {
	with := func(weight int) *epoch.Snapshot {
		return snapshot(t, func(s *epoch.Service) {
			s.Split = epoch.Split{Stable: "one", Candidate: "two", Weight: weight, Salt: "x"}
		})
	}
	for _, tc := range []struct {
		name   string
		weight int
		mark   mintmark.ReleaseID
		want   string
	}{
		{"everybody", epoch.Cohorts, "shop/one", "two"},
		{"nobody", 0, "shop/one", "one"},
		{"minted by the candidate", 1, "shop/two", "two"},
	} {
		tok := token()
		tok.Mark.Release = tc.mark
		for _, memo := range []*Memo{nil, {}} {
			r := Request{Snapshot: with(tc.weight), Method: "GET", Path: "/read", Fresh: leased, Now: at, Scheme: SchemeBearer, Token: tok, Memo: memo}
			if v := Decide(&r); !v.Allow || v.Release.Name != tc.want {
				t.Errorf("%s: %+v", tc.name, v)
			}
		}
	}
	// The stable release cannot read what the candidate minted, and nobody goes to
	// the candidate any more.
	tok := token()
	tok.Mark.Release = "shop/two"
	r := Request{Snapshot: with(0), Method: "GET", Path: "/read", Fresh: leased, Now: at, Scheme: SchemeBearer, Token: tok}
	if v := Decide(&r); v.Code != mintmark.CodeReleaseRetired {
		t.Errorf("%+v", v)
	}
	r = Request{Snapshot: with(epoch.Cohorts), Method: "GET", Path: "/open", Fresh: leased, Now: at, Peer: netip.MustParseAddr("192.0.2.1")}
	if v := Decide(&r); !v.Allow || v.Release.Name != "two" {
		t.Errorf("public: %+v", v)
	}
}

func TestRenewalHints(t *testing.T) {
	snap := snapshot(t, func(s *epoch.Service) {
		s.Releases[0].Accept = []string{"bad"}
		s.Retired = []epoch.Retired{{Release: "bad", CutoffSeq: 9, Rules: []epoch.DispositionRule{{Class: "native"}}}}
	})
	r := Request{Snapshot: snap, Method: "GET", Path: "/read", Fresh: leased, Now: at, Scheme: SchemeBearer, Token: token()}
	if v := Decide(&r); v.RenewAfter != 700 || v.MustRenew { // life 1,000, 100 gone
		t.Errorf("%+v", v)
	}
	r.Token.Mark.Release = "shop/bad"
	if v := Decide(&r); !v.Allow || v.RenewAfter != 0 || !v.MustRenew || v.Fate.Class != "native" {
		t.Errorf("%+v", v)
	}
}

func TestDecideDoesNotAllocate(t *testing.T) {
	snap := snapshot(t, func(s *epoch.Service) {
		s.Split = epoch.Split{Stable: "one", Candidate: "two", Weight: 500, Salt: "x"}
	})
	r := Request{Snapshot: snap, Method: "GET", Host: "shop.example", Path: "/read", Fresh: leased, Now: at, Scheme: SchemeBearer, Token: token()}
	for _, memo := range []*Memo{nil, {}} {
		r.Memo = memo
		if n := testing.AllocsPerRun(100, func() { Decide(&r) }); n != 0 {
			t.Errorf("memo %v: %v allocations", memo != nil, n)
		}
	}
}

func BenchmarkDecide(b *testing.B) {
	snap := snapshot(b, nil)
	r := Request{Snapshot: snap, Method: "GET", Host: "shop.example", Path: "/read", Fresh: leased, Now: at, Scheme: SchemeBearer, Token: token(), Memo: &Memo{}}
	b.ReportAllocs()
	for b.Loop() {
		if v := Decide(&r); !v.Allow {
			b.Fatal(v.Code)
		}
	}
}
