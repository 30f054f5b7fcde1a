package authority

import (
	"strings"
	"testing"
)

func FuzzForm(f *testing.F) {
	for _, s := range []string{"", "a=b", "a=b&a=c", "resource=https://a&resource=https://b", "scope=a+b", "scope=a%20%22", "a=%ff", "%zz", "a;b", strings.Repeat("a=&", 70)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		parsed, err := parseForm(raw)
		if err != nil {
			return
		}
		for name, values := range parsed.v {
			if len(values) > 1 && name != "resource" && name != "audience" {
				t.Fatalf("%q stands %d times", name, len(values))
			}
		}
		if scopes, err := parsed.scopes(); err == nil {
			for i, s := range scopes {
				if s == "" || strings.ContainsAny(s, " \"\\\n") || i > 0 && scopes[i-1] >= s {
					t.Fatalf("scopes %q", scopes)
				}
			}
		}
	})
}

func FuzzAuthRequest(f *testing.F) {
	c := &Client{
		ID: "web", Scopes: []string{"openid"}, RedirectURIs: []string{"https://app.example/cb", "http://127.0.0.1/cb"},
	}
	f.Add("response_type=code&redirect_uri=https://app.example/cb&code_challenge_method=S256&code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM&scope=openid")
	f.Add("redirect_uri=http://127.0.0.1:9/cb")
	f.Add("redirect_uri=http://127.0.0.1:9/cb/../x&response_type=token")
	f.Add("redirect_uri=http://127.0.0.1@evil.example/cb")
	f.Fuzz(func(t *testing.T, raw string) {
		parsed, err := parseForm(raw)
		if err != nil {
			return
		}
		q, err := parseAuthRequest(parsed, c)
		if r, ok := err.(*redirectable); ok {
			q.RedirectURI = r.uri
		} else if err != nil {
			return
		}
		if q.RedirectURI != c.RedirectURIs[0] && !(strings.HasPrefix(q.RedirectURI, "http://127.0.0.1") && strings.HasSuffix(q.RedirectURI, "/cb")) {
			t.Fatalf("redirect to %q", q.RedirectURI)
		}
		if err == nil && (len(q.Challenge) != 43 || len(q.Scopes) > 1) {
			t.Fatalf("%+v", q)
		}
	})
}

func TestRedirectAllowed(t *testing.T) {
	c := &Client{RedirectURIs: []string{"https://app.example/cb", "http://127.0.0.1/cb", "com.example:/cb"}}
	for uri, want := range map[string]bool{
		"https://app.example/cb": true, "https://app.example/cb?x=1": false, "https://app.example:443/cb": false,
		"http://127.0.0.1:5000/cb": true, "http://127.0.0.1:5000/other": false, "http://127.0.0.2:5000/cb": false,
		"http://localhost:5000/cb": false, "http://127.0.0.1:5000/cb#f": false, "http://a@127.0.0.1:5000/cb": false,
		"com.example:/cb": true, "": false,
	} {
		if redirectAllowed(c, uri) != want {
			t.Errorf("%q: %v", uri, !want)
		}
	}
}

func TestMintPolicyClaims(t *testing.T) {
	for raw := range strings.SplitSeq(`${user.x|${|}|${}|${user.a}${client.b}|${user.a} and }`, "|") {
		fillTemplate(raw, wish{client: &Client{}}) // must not panic
	}
}
