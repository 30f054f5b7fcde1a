package oauth

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/mintmark/mintmark"
)

func TestParseForm(t *testing.T) {
	f, err := ParseForm("grant_type=a+b&scope=&resource=x&resource=y&audience=z&c=%C3%A9")
	if err != nil || f.Get("grant_type") != "a b" || f.Get("c") != "é" || strings.Join(f.Resource(), ",") != "x,y" || len(f.Audience()) != 1 {
		t.Errorf("%+v, %v", f, err)
	}
	if _, err = f.Require("scope"); err == nil {
		t.Error("an empty parameter counts as omitted")
	}
	for _, bad := range []string{
		"a=1&a=2", "a=1&%61=2", "code=&code=x", "a=%", "a=%zz", "a=%ff", "%ff=a", "a=%00", "=x",
		"a=" + strings.Repeat("x", 20000), strings.Repeat("a&", 70),
	} {
		var e *Error
		if _, err := ParseForm(bad); !errors.As(err, &e) || e.Code != InvalidRequest {
			t.Errorf("%.40q: %v", bad, err)
		}
	}
}

func TestScopes(t *testing.T) {
	if s, err := ParseScope("b a b"); err != nil || strings.Join(s, ",") != "a,b" {
		t.Errorf("%v, %v", s, err)
	}
	for _, bad := range []string{" ", "a  b", " a", "a ", "a\tb", `a"b`, `a\b`, "é", "a\x00", strings.Repeat("a ", 300) + "a"} {
		if _, err := ParseScope(bad); err == nil {
			t.Errorf("accepted %.20q", bad)
		}
	}
	if !Subset([]string{"b"}, []string{"a", "b"}) || Subset([]string{"a", "c"}, []string{"a", "b"}) || !Subset(nil, nil) {
		t.Error("Subset")
	}
	if got := Intersect([]string{"a", "c", "d"}, []string{"b", "c", "d", "e"}); strings.Join(got, "") != "cd" {
		t.Errorf("Intersect %v", got)
	}
}

func TestPKCE(t *testing.T) {
	// RFC 7636 Appendix B.
	const verifier, challenge = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
	if !VerifyChallenge(verifier, challenge) || CheckChallenge(challenge, "S256") != nil {
		t.Error("the RFC's example fails")
	}
	for _, bad := range []string{"", verifier[:42], verifier[:42] + "+", verifier + "x", strings.Repeat("a", 129), challenge} {
		if VerifyChallenge(bad, challenge) {
			t.Errorf("accepted %q", bad)
		}
	}
	for _, tt := range [][2]string{{"", "S256"}, {verifier, "plain"}, {challenge, ""}, {challenge, "s256"}, {challenge[:42], "S256"}, {challenge + "=", "S256"}, {challenge[:42] + "N", "S256"}} {
		if CheckChallenge(tt[0], tt[1]) == nil {
			t.Errorf("accepted %v", tt)
		}
	}
}

func TestRedirectURIs(t *testing.T) {
	registered := []string{"https://app.example/cb?x=1", "http://127.0.0.1/cb", "http://[::1]:8080/cb", "http://localhost:1/cb", "com.example.app:/cb"}
	for _, r := range registered {
		if err := CheckRedirectURI(r); err != nil || !MatchRedirectURI(r, registered) {
			t.Errorf("%s: %v", r, err)
		}
	}
	for _, ok := range []string{"http://127.0.0.1:51004/cb", "http://[::1]/cb", "http://[::1]:9/cb"} {
		if !MatchRedirectURI(ok, registered) {
			t.Errorf("refused %s", ok)
		}
	}
	for _, bad := range []string{
		"https://app.example/cb", "https://app.example/cb?x=1&y=2", "https://app.example/cb?x=1#f", "https://APP.example/cb?x=1",
		"https://app.example:443/cb?x=1", "https://app.example/cb/../cb?x=1", "https://app.example@evil.example/cb?x=1",
		"http://127.0.0.1:1/cb2", "http://127.0.0.1:1/cb?a", "http://127.0.0.2:1/cb", "https://127.0.0.1:1/cb", "http://localhost:2/cb",
		"http://127.0.0.1:1@evil.example/cb", "http://evil.example\\@127.0.0.1/cb", "http://127.0.0.1:1/cb#", "http://[::1%25eth0]:1/cb", "",
	} {
		if MatchRedirectURI(bad, registered) {
			t.Errorf("matched %q", bad)
		}
	}
	for _, bad := range []string{"http://app.example/cb", "/cb", "javascript:alert(1)", "app:/cb", "https://u@a.example/", "https://a.example/#f", "https:///x", "data:text/html,x", "https://a.example/\n"} {
		if CheckRedirectURI(bad) == nil {
			t.Errorf("registered %q", bad)
		}
	}
}

func TestParseAuthorization(t *testing.T) {
	for _, tt := range []struct {
		values []string
		scheme Scheme
		token  string
		err    error
	}{
		{nil, NoScheme, "", ErrNoCredentials},
		{[]string{"Bearer abc.d-_~+/=="}, Bearer, "abc.d-_~+/==", nil},
		{[]string{"bEARER  x"}, Bearer, "x", nil},
		{[]string{"DPoP x"}, DPoP, "x", nil},
		{[]string{"Bearer a", "Bearer a"}, NoScheme, "", ErrAuthorization},
		{[]string{"Bearer a, Bearer b"}, NoScheme, "", ErrAuthorization},
		{[]string{"Bearer a b"}, NoScheme, "", ErrAuthorization},
		{[]string{"Bearer a "}, NoScheme, "", ErrAuthorization},
		{[]string{"Bearer\ta"}, NoScheme, "", ErrScheme},
		{[]string{"Bearer "}, NoScheme, "", ErrAuthorization},
		{[]string{"Bearer ="}, NoScheme, "", ErrAuthorization},
		{[]string{"Bearer a=b"}, NoScheme, "", ErrAuthorization},
		{[]string{"Bearer"}, NoScheme, "", ErrAuthorization},
		{[]string{"Negotiate x"}, NoScheme, "", ErrScheme},
		{[]string{""}, NoScheme, "", ErrScheme},
	} {
		scheme, token, err := ParseAuthorization(tt.values)
		if scheme != tt.scheme || token != tt.token || !errors.Is(err, tt.err) {
			t.Errorf("%q: %v %q %v", tt.values, scheme, token, err)
		}
	}
	values := []string{"Bearer abc"}
	if n := testing.AllocsPerRun(100, func() { _, _, _ = ParseAuthorization(values) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if id, secret, err := ParseBasic("YSUzQWI6cytz"); err != nil || id != "a:b" || secret != "s s" {
		t.Errorf("basic %q %q %v", id, secret, err)
	}
	for _, bad := range []string{"", "YQ==", "Onh4", "YTolZg==", "YSUzQWI6cytz\n"} {
		if _, _, err := ParseBasic(bad); err == nil {
			t.Errorf("accepted basic %q", bad)
		}
	}
}

func TestChallenges(t *testing.T) {
	const algs = `algs="ES256 ES384 ES512 EdDSA PS256 RS256"`
	for _, tt := range []struct {
		r    Refusal
		want []string
	}{
		{Refusal{Code: mintmark.CodeCredentialsMissing, Realm: "orders"}, []string{`Bearer realm="orders"`, `DPoP realm="orders", ` + algs}},
		{Refusal{Code: mintmark.CodeCredentialsMissing, Scheme: Bearer, Bound: true}, []string{"DPoP " + algs}},
		{Refusal{Code: mintmark.CodeExpired, Scheme: Bearer}, []string{`Bearer error="invalid_token"`}},
		{Refusal{Code: mintmark.CodeRevoked, Scheme: DPoP}, []string{`DPoP error="invalid_token", ` + algs}},
		{Refusal{Code: mintmark.CodeScope, Scheme: Bearer, Scope: []string{"a", `b"x`}}, []string{`Bearer error="insufficient_scope", scope="a b?x"`}},
		{Refusal{Code: mintmark.CodeAuthentication, Scheme: Bearer, ACR: []string{"g"}, MaxAge: 5}, []string{`Bearer error="insufficient_user_authentication", acr_values="g", max_age="5"`}},
		{Refusal{Code: mintmark.CodeUseNonce}, []string{`DPoP error="use_dpop_nonce", ` + algs}},
		{Refusal{Code: mintmark.CodeBinding, Scheme: DPoP}, []string{`DPoP error="invalid_dpop_proof", ` + algs}},
		{Refusal{Code: mintmark.CodeInvalidRequest, Scheme: Bearer, Metadata: "https://r/x"}, []string{`Bearer error="invalid_request", resource_metadata="https://r/x"`}},
		{Refusal{Code: mintmark.CodeStateUnknown}, nil},
		{Refusal{Code: mintmark.CodePolicyRefused}, nil},
		{Refusal{Code: mintmark.CodeNoRoute}, nil},
		{Refusal{Code: mintmark.CodeRateLimited}, nil},
	} {
		if got := tt.r.Challenge(); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %q, want %q", tt.r.Code, got, tt.want)
		}
		var body struct {
			Status int
			Code   mintmark.Code
			Title  string
		}
		if err := json.Unmarshal(tt.r.Problem(), &body); err != nil || body.Code != tt.r.Code || body.Status != tt.r.Code.Status() || body.Title == "" {
			t.Errorf("%s: problem %s", tt.r.Code, tt.r.Problem())
		}
	}
}

func TestErrors(t *testing.T) {
	e := NewError(InvalidScope, "a \"b\"\\\n\u00e9"+strings.Repeat("x", 300))
	if b, _ := json.Marshal(e); !strings.HasPrefix(string(b), `{"error":"invalid_scope","error_description":"a ?b????x`) || len(e.Description) > 200 {
		t.Errorf("%s", b)
	}
	for code, want := range map[ErrorCode]int{InvalidClient: 401, InvalidGrant: 400, UseDPoPNonce: 400, TemporarilyUnavailable: 503, ServerError: 500} {
		if got := NewError(code, "").Status(); got != want {
			t.Errorf("%s: %d", code, got)
		}
	}
}

func TestMetadata(t *testing.T) {
	good := `{"issuer":"https://i.example","jwks_uri":"https://i.example/k","ISSUER":"https://evil.example","x":1}`
	if d, err := ParseMetadata([]byte(good), "https://i.example"); err != nil || d.JWKSURI != "https://i.example/k" {
		t.Errorf("%+v, %v", d, err)
	}
	for _, bad := range []string{
		`{}`, `<html>`, `{"issuer":"https://i.example/"}`, `{"issuer":"https://i.example","issuer":"https://i.example"}`, `{"issuer":7}`,
		`{"issuer":"https://i.example","jwks_uri":["a"]}`,
	} {
		if _, err := ParseMetadata([]byte(bad), "https://i.example"); !errors.Is(err, ErrMetadata) {
			t.Errorf("%s: %v", bad, err)
		}
	}
	if got := MetadataPaths("https://i", "/t/"); got[0] != "https://i/t/.well-known/openid-configuration" || got[1] != "https://i/.well-known/oauth-authorization-server/t" {
		t.Error(got)
	}
}
