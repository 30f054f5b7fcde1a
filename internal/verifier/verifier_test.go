package verifier

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/admission"
	"github.com/mintmark/mintmark/internal/bus"
	"github.com/mintmark/mintmark/internal/epoch"
	"github.com/mintmark/mintmark/internal/handle"
	"github.com/mintmark/mintmark/internal/jose"
	"github.com/mintmark/mintmark/internal/revocation"
)

var at = time.Unix(1_800_000_000, 0)

const (
	as   = "https://as.example"
	corp = "https://corp.example"
	aud  = "https://shop.example"
)

// mint is a signer and its key's part.
type mint struct {
	signer *jose.Signer
	key    epoch.Key
}

func newMint(t testing.TB, kid string) mint {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s, err := jose.NewSigner(kid, jose.ES256, k)
	if err != nil {
		t.Fatal(err)
	}
	return mint{s, epoch.Key{ID: kid, Alg: "ES256", JWK: s.Key().JWK(), State: "active"}}
}

func (m mint) sign(t testing.TB, typ string, claims map[string]any) string {
	t.Helper()
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	token, err := m.signer.Sign(rand.Reader, typ, payload)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func claims(iss string) map[string]any {
	return map[string]any{
		"iss": iss, "sub": "alice", "client_id": "app", "jti": "tok_0000000000000000000000000a", "scope": "read write", "aud": aud,
		"iat": at.Unix() - 10, "exp": at.Unix() + 600, "team": "blue",
		"mintmark": map[string]any{"release": "shop/one", "policy": 3, "epoch": 1, "seq": 9, "grt": "grt_1", "fam": "fam_1"},
	}
}

func snapshot(t testing.TB, own []epoch.Key, issuers ...epoch.Issuer) *epoch.Snapshot {
	t.Helper()
	m, bodies, err := epoch.Build(
		&epoch.Keys{Issuer: as, Keys: own}, &epoch.Issuers{Issuers: issuers},
		&epoch.Service{
			Name: "shop", Audience: []string{aud}, OwnIssuer: true,
			Routes:   []epoch.Route{{Name: "item", Path: "/api/items/{id}", Methods: []string{"GET"}, Scopes: []string{"read"}}},
			Releases: []epoch.Release{{Name: "one", Upstreams: []epoch.Upstream{{URL: "http://one"}}}}, Split: epoch.Split{Stable: "one"},
		})
	if err != nil {
		t.Fatal(err)
	}
	table, err := epoch.Compile(m, bodies)
	if err != nil {
		t.Fatal(err)
	}
	return &epoch.Snapshot{Term: 1, Epoch: 1, Seq: 5, Table: table, Revoked: revocation.NewSet()}
}

func verify(v *Verifier, s *epoch.Snapshot, value string) (Verified, mintmark.Code) {
	var out Verified
	code := v.Verify(context.Background(), s, admission.SchemeBearer, value, at, &out)
	return out, code
}

func TestOwnJWT(t *testing.T) {
	m := newMint(t, "k1")
	s := snapshot(t, []epoch.Key{m.key})
	v := New(Config{})
	token := m.sign(t, "at+jwt", claims(as))
	first, code := verify(v, s, token)
	if code != mintmark.CodeNone {
		t.Fatal(code)
	}
	second, _ := verify(v, s, token)
	want := `{"id":"tok_0000000000000000000000000a","kind":"jwt","iss":"https://as.example","sub":"alice","client_id":"app","grant":"grt_1","family":"fam_1","scopes":["read","write"],"audience":["https://shop.example"],"mark":{"release":"shop/one","policy":3,"kid":"k1","epoch":1,"seq":9},"iat":1799999990,"exp":1800000600,"claims":{"team":"blue"}}`
	for _, got := range []Verified{first, second} {
		if text, _ := json.Marshal(got.Token); string(text) != want {
			t.Errorf("token\n%s\nwant\n%s", text, want)
		}
		if got.Memo == nil || got.place != first.place {
			t.Error("not the cached token")
		}
	}
	if st := v.Stats(); st.Hits != 1 || st.Misses != 1 || st.Entries != 1 {
		t.Errorf("%+v", st)
	}
}

func TestRefusals(t *testing.T) {
	m, other := newMint(t, "k1"), newMint(t, "k1")
	ids := newMint(t, "k2")
	ids.key.Uses = []string{"id", "internal"}
	s := snapshot(t, []epoch.Key{m.key, ids.key})
	without := func(name string) map[string]any {
		c := claims(as)
		delete(c, name)
		return c
	}
	internal := claims(as)
	internal["mintmark"].(map[string]any)["int"] = true
	good := m.sign(t, "at+jwt", claims(as))
	for name, tc := range map[string]struct {
		token string
		want  mintmark.Code
	}{
		"empty":           {"", mintmark.CodeMalformed},
		"dots":            {strings.Repeat(".", 1<<20), mintmark.CodeMalformed},
		"another key":     {other.sign(t, "at+jwt", claims(as)), mintmark.CodeSignature},
		"unknown kid":     {newMint(t, "k9").sign(t, "at+jwt", claims(as)), mintmark.CodeKeyUnknown},
		"unknown issuer":  {m.sign(t, "at+jwt", claims("https://x")), mintmark.CodeIssuerUnknown},
		"typ":             {m.sign(t, "JWT", claims(as)), mintmark.CodeMalformed},
		"key's use":       {ids.sign(t, "at+jwt", claims(as)), mintmark.CodeMalformed},
		"no exp":          {m.sign(t, "at+jwt", without("exp")), mintmark.CodeMalformed},
		"no jti":          {m.sign(t, "at+jwt", without("jti")), mintmark.CodeMalformed},
		"internal":        {m.sign(t, "at+jwt", internal), mintmark.CodeMalformed},
		"no mark":         {m.sign(t, "at+jwt", without("mintmark")), mintmark.CodeMalformed},
		"spare bits":      {spare(good), mintmark.CodeSignature},
		"padding":         {good + "=", mintmark.CodeSignature},
		"refresh token":   {handle.Generate(mintmark.KindRefresh, [32]byte{1}), mintmark.CodeMalformed},
		"bad checksum":    {handle.Generate(mintmark.KindOpaque, [32]byte{1})[:52] + "0", mintmark.CodeMalformed},
		"not a token":     {"hello", mintmark.CodeMalformed},
		"opaque, no pull": {handle.Generate(mintmark.KindOpaque, [32]byte{1}), mintmark.CodeStateUnknown},
	} {
		out, code := verify(New(Config{}), s, tc.token)
		if code != tc.want {
			t.Errorf("%s: %q, want %q", name, code, tc.want)
		}
		if out.Token.ID != "" {
			t.Errorf("%s: refused, with a token", name)
		}
	}
}

// A JWT is no API key, whether it is cached or not.
func TestSchemeCountsForCachedTokens(t *testing.T) {
	m := newMint(t, "k1")
	s := snapshot(t, []epoch.Key{m.key})
	v := New(Config{})
	token := m.sign(t, "at+jwt", claims(as))
	for _, cached := range []bool{false, true} {
		var out Verified
		if code := v.Verify(context.Background(), s, admission.SchemeAPIKey, token, at, &out); code != mintmark.CodeMalformed || out.Token.ID != "" {
			t.Errorf("cached %v: %q", cached, code)
		}
		if _, code := verify(v, s, token); code != mintmark.CodeNone {
			t.Fatal(code)
		}
	}
}

// spare sets an unused bit in the signature's last character.
func spare(token string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := strings.IndexByte(alphabet, token[len(token)-1])
	return token[:len(token)-1] + string(alphabet[last|1])
}

// TestMalleatedSignatureIsTheSameToken: ECDSA accepts (r, n-s) too; what is
// revoked is the token, not its text.
func TestMalleatedSignatureIsTheSameToken(t *testing.T) {
	m := newMint(t, "k1")
	s := snapshot(t, []epoch.Key{m.key})
	token := m.sign(t, "at+jwt", claims(as))
	dot := strings.LastIndexByte(token, '.')
	sig, err := base64.RawURLEncoding.DecodeString(token[dot+1:])
	if err != nil {
		t.Fatal(err)
	}
	n := elliptic.P256().Params().N
	new(big.Int).Sub(n, new(big.Int).SetBytes(sig[32:])).FillBytes(sig[32:])
	twin := token[:dot+1] + base64.RawURLEncoding.EncodeToString(sig)
	v := New(Config{})
	a, code := verify(v, s, token)
	b, code2 := verify(v, s, twin)
	if code != "" || code2 != "" {
		t.Skipf("the standard library refuses the twin: %q %q", code, code2)
	}
	if a.Token.ID != b.Token.ID {
		t.Error("two identities for one token")
	}
	s.Revoked.Apply(mintmark.Revocation{ID: "rev_1", Action: mintmark.ActionRevoke, Selector: mintmark.Selector{Token: a.Token.ID}})
	if s.Revoked.Find(&b.Token) == nil {
		t.Error("the twin survives the revocation")
	}
}

// TestCachedTokenDiesWithItsKey: an epoch without the key, or with another one
// under its kid, ends what was verified by it.
func TestCachedTokenDiesWithItsKey(t *testing.T) {
	m, swapped, more := newMint(t, "k1"), newMint(t, "k1"), newMint(t, "k2")
	v := New(Config{})
	token := m.sign(t, "at+jwt", claims(as))
	for _, step := range []struct {
		keys []epoch.Key
		want mintmark.Code
	}{
		{[]epoch.Key{m.key}, ""},
		{[]epoch.Key{m.key, more.key}, ""},
		{[]epoch.Key{more.key}, mintmark.CodeKeyUnknown},
		{[]epoch.Key{m.key}, ""},
		{[]epoch.Key{swapped.key}, mintmark.CodeSignature},
	} {
		if _, code := verify(v, snapshot(t, step.keys), token); code != step.want {
			t.Errorf("%q, want %q", code, step.want)
		}
	}
}

// fake answers as told and counts.
type fake struct {
	mu    sync.Mutex
	pulls int
	gate  chan struct{}
	reply bus.PullReply
	err   error
	keys  int
}

func (f *fake) Pull(_ context.Context, r bus.PullRequest) (bus.PullReply, error) {
	f.mu.Lock()
	f.pulls++
	f.mu.Unlock()
	if f.gate != nil {
		<-f.gate
	}
	return f.reply, f.err
}

func (f *fake) RefreshKey(context.Context, bus.KeyRequest) (bus.KeyReply, error) {
	f.keys++
	return bus.KeyReply{AsOf: 6}, f.err
}

func TestForeign(t *testing.T) {
	m := newMint(t, "c1")
	issuer := epoch.Issuer{Name: "corp", Issuer: corp, Keys: []epoch.Key{m.key}, Fetched: at.Unix() - 10, MaxAge: 100, Marks: []epoch.MarkRule{{Release: "shop/one", Claim: "team", Value: "blue"}}}
	s := snapshot(t, nil, issuer)
	f := &fake{}
	v := New(Config{Puller: f})
	token := m.sign(t, "JWT", claims(corp))
	got, code := verify(v, s, token)
	if code != "" || !got.First || got.Token.Kind != mintmark.KindForeign || got.Token.Mark != (mintmark.Mark{Release: "shop/one", Key: "c1"}) || got.Token.Family != "" || !strings.HasPrefix(string(got.Token.ID), "fgn_") {
		t.Errorf("%q %+v", code, got)
	}
	if got, _ = verify(v, s, token); got.First || got.Memo == nil {
		t.Error("seen for the first time twice")
	}
	var out Verified
	if code := v.Verify(context.Background(), s, admission.SchemeBearer, token, at.Add(91*time.Second), &out); code != mintmark.CodeStateUnknown {
		t.Errorf("keys too old, cached: %q", code)
	}
	unknown := newMint(t, "c2").sign(t, "JWT", claims(corp))
	if got, code = verify(v, s, unknown); code != mintmark.CodeKeyUnknown || got.AsOf != 6 {
		t.Errorf("unknown kid: %q as of %d", code, got.AsOf)
	}
	for range 50 {
		verify(v, s, newMint(t, "c3").sign(t, "JWT", claims(corp)))
	}
	if f.keys != 1 {
		t.Errorf("asked for keys %d times within a second", f.keys)
	}
}

func opaque(n byte) string { return handle.Generate(mintmark.KindOpaque, [32]byte{n}) }

func TestPullIsCollapsed(t *testing.T) {
	f := &fake{gate: make(chan struct{}), reply: bus.PullReply{AsOf: 9, Token: &mintmark.Token{ID: "tok_1", Kind: mintmark.KindOpaque, Expires: at.Unix() + 60}}}
	v, s := New(Config{Puller: f}), snapshot(t, nil)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if got, code := verify(v, s, opaque(1)); code != "" || got.Token.ID != "tok_1" || got.AsOf != 9 {
				// Whoever came after the answer finds it in the cache, as of then.
				if code != "" || got.Token.ID != "tok_1" {
					t.Errorf("%q %+v", code, got.Token)
				}
			}
		})
	}
	close(f.gate)
	wg.Wait()
	if n := v.Stats().Pulls; n > 20 || n < 1 {
		t.Errorf("%d pulls", n)
	}
	before := f.pulls
	verify(v, s, opaque(1))
	if f.pulls != before {
		t.Error("asked again for a cached token")
	}
}

func TestPullOutcomes(t *testing.T) {
	s := snapshot(t, nil)
	for name, tc := range map[string]struct {
		f     *fake
		want  mintmark.Code
		pulls int // for two tries
	}{
		"unreachable":     {&fake{err: errors.New("cut")}, mintmark.CodeStateUnknown, 2},
		"control unsure":  {&fake{reply: bus.PullReply{Error: "disk"}}, mintmark.CodeStateUnknown, 2},
		"no such token":   {&fake{}, mintmark.CodeMalformed, 1},
		"revoked":         {&fake{reply: bus.PullReply{Code: mintmark.CodeRevoked, Token: &mintmark.Token{Kind: mintmark.KindOpaque}}}, mintmark.CodeRevoked, 1},
		"another's token": {&fake{reply: bus.PullReply{Token: &mintmark.Token{ID: "x", Kind: mintmark.KindAPIKey}}}, mintmark.CodeStateUnknown, 2},
	} {
		v := New(Config{Puller: tc.f})
		for range 2 {
			if _, code := verify(v, s, opaque(1)); code != tc.want {
				t.Errorf("%s: %q", name, code)
			}
		}
		if tc.f.pulls != tc.pulls {
			t.Errorf("%s: %d pulls, want %d", name, tc.f.pulls, tc.pulls)
		}
	}
}

func TestPullsInFlightAreBounded(t *testing.T) {
	f := &fake{gate: make(chan struct{})}
	v, s := New(Config{Puller: f, Pulls: 1}), snapshot(t, nil)
	done := make(chan struct{})
	go func() { defer close(done); verify(v, s, opaque(1)) }()
	for v.Stats().Pulls == 0 {
		time.Sleep(time.Millisecond)
	}
	if _, code := verify(v, s, opaque(2)); code != mintmark.CodeStateUnknown {
		t.Errorf("%q", code)
	}
	close(f.gate)
	<-done
}

func TestCacheIsBounded(t *testing.T) {
	m := newMint(t, "k1")
	s := snapshot(t, []epoch.Key{m.key})
	v := New(Config{Entries: 256})
	var out Verified
	for i := range 5_000 {
		put(v, s, &out, fmt.Sprint("value ", i), i)
	}
	st := v.Stats()
	if st.Entries > 256 || st.Entries < 64 || st.Evicted == 0 {
		t.Errorf("%+v", st)
	}
}

func TestEveryDistinctValueIsItsOwn(t *testing.T) {
	s := snapshot(t, nil)
	v := New(Config{Entries: 20_000})
	var out Verified
	for i := range 10_000 {
		put(v, s, &out, fmt.Sprint("value ", i), i)
	}
	for i := range 10_000 {
		code := v.Verify(context.Background(), s, admission.SchemeBearer, fmt.Sprint("value ", i), at, &out)
		if code == "" && out.Token.ID != tokenID(i) {
			t.Fatalf("value %d gives token %s", i, out.Token.ID)
		}
	}
	if hits := v.Stats().Hits; hits < 9_900 {
		t.Errorf("%d of 10,000 kept, though there is room", hits)
	}
}

func tokenID(i int) mintmark.TokenID {
	return mintmark.TokenID(fmt.Sprintf("tok_%026d", i))
}

// put caches a token as if it had been verified.
func put(v *Verifier, s *epoch.Snapshot, out *Verified, value string, i int) {
	d := v.hash.sum([]byte(value))
	t := &mintmark.Token{
		ID: tokenID(i), Kind: mintmark.KindAccessJWT, Issuer: as, Subject: fmt.Sprint("user-", i), Client: "app",
		Grant: mintmark.GrantID(fmt.Sprintf("grt_%026d", i)), Family: mintmark.FamilyID(fmt.Sprintf("fam_%026d", i)),
		Scopes: []string{"read", "write"}, Audience: []string{aud}, IssuedAt: at.Unix() - 10, Expires: at.Unix() + 600, AuthTime: at.Unix() - 20,
		Mark: mintmark.Mark{Release: "shop/one", Policy: 1, Key: "k1", Epoch: 1, Seq: uint64(i + 1)},
	}
	v.remember(d, t, byOwnKey, 1, s.Table, 0, at, out)
}

func TestCachedVerifyDoesNotAllocate(t *testing.T) {
	m := newMint(t, "k1")
	s := snapshot(t, []epoch.Key{m.key})
	v := New(Config{})
	token := m.sign(t, "at+jwt", claims(as))
	var out Verified
	v.Verify(context.Background(), s, admission.SchemeBearer, token, at, &out)
	if n := testing.AllocsPerRun(100, func() { v.Verify(context.Background(), s, admission.SchemeBearer, token, at, &out) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func rsaMint(t testing.TB) (mint, *rsa.PrivateKey) {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	s, err := jose.NewSigner("r1", jose.RS256, k)
	if err != nil {
		t.Fatal(err)
	}
	return mint{s, epoch.Key{ID: "r1", Alg: "RS256", JWK: s.Key().JWK(), State: "active"}}, k
}

func FuzzVerify(f *testing.F) {
	m := newMint(f, "k1")
	s := snapshot(f, []epoch.Key{m.key})
	v := New(Config{Entries: 64})
	good := m.sign(f, "at+jwt", claims(as))
	f.Add(good)
	f.Add("mma_x")
	f.Add("a.b.c")
	f.Fuzz(func(t *testing.T, value string) {
		out, code := verify(v, s, value)
		if code == "" && value != good && out.Token.ID != "tok_0000000000000000000000000a" {
			t.Fatalf("%q verified as %+v", value, out.Token)
		}
	})
}
