package testkit_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"

	"github.com/mintmark/mintmark/testkit"
)

// service is a resource server as people write them: a library that others wrote
// checks signature, issuer, audience and exp by the machine's clock.
type service struct {
	issuer, audience       string
	introspect, id, secret string // asked when introspect is not empty
	behind                 bool   // trusts the gateway in front
	lax                    bool   // checks nothing but that there is a token: a service with every mistake
}

func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	value, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	ok = ok || (s.lax || s.behind) && r.Header.Get("Mintmark-Token-Id") != "" // the gateway keeps the token to itself
	if ok && (s.lax || s.behind && value == "" || s.accepts(r.Context(), value)) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"orders":[{"id":7,"owner":"ada"}]}`)
		return
	}
	w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`)
	http.Error(w, "no", http.StatusUnauthorized)
}

var oneSub = regexp.MustCompile(`"sub"`)

func (s *service) accepts(ctx context.Context, value string) bool {
	if s.introspect != "" {
		return s.active(ctx, value)
	}
	keys := oidc.NewRemoteKeySet(ctx, s.issuer+"/jwks")
	text, err := keys.VerifySignature(ctx, value)
	if err != nil || len(oneSub.FindAll(text, -1)) > 1 {
		return false
	}
	v := oidc.NewVerifier(s.issuer, keys, &oidc.Config{ClientID: s.audience, SupportedSigningAlgs: []string{"ES256"}})
	if _, err := v.Verify(ctx, value); err != nil {
		return false
	}
	head, _, _ := strings.Cut(value, ".")
	var h struct{ Typ string }
	var c struct{ Nbf int64 }
	return jsonPart(head, &h) && h.Typ == "at+jwt" && json.Unmarshal(text, &c) == nil && c.Nbf <= time.Now().Unix()
}

func (s *service) active(ctx context.Context, value string) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.introspect, strings.NewReader(url.Values{"token": {value}}.Encode()))
	if err != nil {
		return false
	}
	req.SetBasicAuth(s.id, s.secret)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	defer res.Body.Close()
	var a struct {
		Active bool
		Exp    int64
	}
	return json.NewDecoder(res.Body).Decode(&a) == nil && a.Active && a.Exp > time.Now().Unix()
}

func jsonPart(part string, into any) bool {
	b, err := base64.RawURLEncoding.DecodeString(part)
	return err == nil && json.Unmarshal(b, into) == nil
}

// world is a service and its issuer.
func world(t *testing.T, change func(*service)) *testkit.Player {
	t.Helper()
	s := &service{}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	iss, err := testkit.Start(t.Context(), testkit.Config{Service: server.URL, Scopes: []string{"read", "write", "orders:read"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(iss.Close)
	s.issuer, s.audience = iss.URL(), testkit.DefaultAudience
	s.id, s.secret = iss.Client()
	if change != nil {
		change(s)
	}
	return &testkit.Player{Issuer: iss, Service: server.URL}
}

func play(t *testing.T, p *testkit.Player, text string) testkit.Result {
	t.Helper()
	all, err := testkit.Parse("test.yaml", text)
	if err != nil {
		t.Fatal(err)
	}
	return p.Play(t.Context(), all[0])
}

const head = "apiVersion: mintmark/v1\nkind: Scenario\nname: one\nsteps:\n"

func passes(t *testing.T, p *testkit.Player, steps string) {
	t.Helper()
	if r := play(t, p, head+steps); !r.Passed {
		b, _ := json.MarshalIndent(r, "", " ")
		t.Errorf("%s", b)
	}
}

func TestTimePassesForTheServiceToo(t *testing.T) {
	t.Parallel()
	passes(t, world(t, nil), `
  - mint: {as: ada, subject: ada, lifetime: 5m, scopes: [orders:read]}
  - call: {path: /orders, token: ada}
    expect: {status: 200, headers: {content-type: json}, json: {/orders/0/id: 7, /orders/0/owner: ada}, body: '"owner"'}
  - wait: 3m
  - call: {path: /orders, token: ada}
    expect: {status: 200}
  - wait: 2m
  - call: {path: /orders, token: ada}
    expect: {status: 401, headers: {www-authenticate: invalid_token}}
  - mint: {as: anew, subject: ada}
  - call: {path: /orders, token: anew}
    expect: {status: 200}
`)
}

func TestIntrospectionAndRevocation(t *testing.T) {
	t.Parallel()
	p := world(t, func(s *service) { s.introspect = s.issuer + "/introspect" })
	passes(t, p, `
  - mint: {as: ada, subject: ada}
  - mint: {as: bob, subject: bob}
  - call: {path: /, token: ada}
    expect: {status: 200}
  - wait: 1m
  - call: {path: /, token: ada}
    expect: {status: 200}
  - revoke: subject=ada
  - call: {path: /, token: ada}
    expect: {status: 401}
  - mint: {as: later, subject: ada}
  - call: {path: /, token: later}
    expect: {status: 200}
  - revoke: token=bob
  - call: {path: /, token: bob}
    expect: {status: 401}
  - outage: introspection
  - call: {path: /, token: later}
    expect: {status: 401}
  - outage: none
  - call: {path: /, token: later}
    expect: {status: 200}
`)
}

func TestKeysAndReleasesThroughTheGateway(t *testing.T) {
	t.Parallel()
	passes(t, world(t, func(s *service) { s.lax = true }), `
  - mint: {as: old, subject: ada}
  - release: v2
  - rotate: keep
  - mint: {as: new, subject: ada}
  - wait: 1m
  - call: {path: /, token: old, via: gateway}
    expect: {status: 200}
  - call: {path: /, token: new, via: gateway}
    expect: {status: 200}
  - release: v1
  - revoke: release=service/v2
  - call: {path: /, token: new, via: gateway}
    expect: {status: 401, code: token_revoked}
  - call: {path: /, token: old, via: gateway}
    expect: {status: 200}
  - rotate: kill
  - mint: {as: third, subject: ada}
  - call: {path: /, token: third, via: gateway}
    expect: {status: 200}
`)
}

// TestFaults: each fault is one that a careful service and our gateway refuse, and
// a careless service lets pass.
func TestFaults(t *testing.T) {
	t.Parallel()
	careful, careless := world(t, nil), world(t, func(s *service) { s.lax = true })
	for _, f := range testkit.Faults() {
		for _, wait := range []string{"", "  - wait: 10s\n"} {
			steps := "  - mint: {as: bad, subject: ada, fault: " + string(f) + "}\n" + wait
			call := "  - call: {path: /, token: bad}\n    expect: {status: %d}\n"
			passes(t, careful, steps+fmt.Sprintf(call, 401))
			passes(t, careless, steps+fmt.Sprintf(call, 200)+"  - call: {path: /, token: bad, via: gateway}\n    expect: {status: 401}\n")
		}
	}
}

// TestServiceOnTheIssuersClock: a Go service that takes a clock needs no
// translation.
func TestServiceOnTheIssuersClock(t *testing.T) {
	t.Parallel()
	iss, err := testkit.Start(t.Context(), testkit.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer iss.Close()
	tok, err := iss.Mint(t.Context(), testkit.MintRequest{Subject: "ada", Claims: map[string]json.RawMessage{"tier": json.RawMessage(`3`), "client_id": json.RawMessage("null")}})
	if err != nil {
		t.Fatal(err)
	}
	v := oidc.NewVerifier(iss.URL(), oidc.NewRemoteKeySet(t.Context(), iss.URL()+"/jwks"), &oidc.Config{
		ClientID: testkit.DefaultAudience, SupportedSigningAlgs: []string{"ES256"}, Now: iss.Now,
	})
	got, err := v.Verify(t.Context(), tok.Value)
	if err != nil {
		t.Fatal(err)
	}
	var c map[string]any
	if err := got.Claims(&c); err != nil || c["tier"] != 3.0 || c["client_id"] != nil || c["jti"] != tok.ID {
		t.Errorf("claims are %v, %v", c, err)
	}
	iss.Advance(testkit.DefaultLifetime)
	if _, err := v.Verify(t.Context(), tok.Value); err == nil {
		t.Error("accepted after its end")
	}
}

// TestFailuresAreTold: a wrong answer is in the result with what was wanted, and a
// curl line without the token.
func TestFailuresAreTold(t *testing.T) {
	t.Parallel()
	p := world(t, func(s *service) { s.lax = true })
	r := play(t, p, head+`
  - mint: {as: bad, fault: expired}
  - call: {path: "/o'x?a=1", token: bad, method: POST, body: "a'b"}
    expect: {status: 401, headers: {x-none: a}, code: expired, body: nothing, json: {/a: 1, /orders/0/id: 8}}
`)
	if r.Passed || len(r.Steps) != 2 || len(r.Steps[1].Wrong) != 6 || r.Steps[1].Line != 7 {
		t.Fatalf("result is %+v", r)
	}
	if want := `curl -i -X POST -H "Authorization: Bearer $TOKEN" --data-raw 'a'\''b' '` + p.Service + `/o'\''x?a=1'`; r.Steps[1].Curl != want {
		t.Errorf("curl line is %s, want %s", r.Steps[1].Curl, want)
	}
	p.ShowTokens = true
	r = play(t, p, head+"  - mint: {as: ok}\n  - call: {path: /, token: ok}\n")
	if !strings.Contains(r.Steps[1].Curl, "Bearer ey") {
		t.Errorf("curl line is %s", r.Steps[1].Curl)
	}
}

func TestMistakesAreRefused(t *testing.T) {
	t.Parallel()
	for steps, want := range map[string]string{
		"  - mnt: {as: a}\n":                                "test.yaml:5:5: Scenario/one: steps[0].mnt: unknown field; did you mean mint?",
		"  - {}\n":                                          "does nothing",
		"  - wait: 1500ms\n":                                "not whole seconds",
		"  - wait: 1s\n    rotate: keep\n":                  "several things: wait, rotate",
		"  - expect: {status: 200}\n":                       "no call before",
		"  - call: {path: orders}\n":                        "not a path",
		"  - call: {path: /, token: a}\n":                   `"a" was not minted before`,
		"  - call: {path: /}\n    expect: {}\n":             "expects nothing",
		"  - call: {path: /}\n    expect: {body: '('}\n":    "regular expression",
		"  - call: {path: /}\n    expect: {json: {a: 1}}\n": "JSON Pointer",
		"  - call: {path: /}\n    expect: {status: 42}\n":   "too small",
		"  - mint: {as: a}\n  - mint: {as: a}\n":            "minted before",
		"  - mint: {as: a, fault: expird}\n":                "did you mean expired?",
		"  - mint: {as: a, lifetime: 31d}\n":                "up to 30d",
		"  - revoke: colour=red\n":                          "steps[0].revoke",
		"  - revoke: token=x\n":                             "was not minted",
		"  - wait: 1s\n    expect: {status: 200}\n":         "no answer",
	} {
		if _, err := testkit.Parse("test.yaml", head+steps); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", steps, err, want)
		}
	}
}

func TestStartRefuses(t *testing.T) {
	t.Parallel()
	for _, c := range []testkit.Config{{Listen: "0.0.0.0:0"}, {Listen: "nowhere"}, {Releases: []string{"no good name!"}}} {
		if iss, err := testkit.Start(t.Context(), c); !errors.Is(err, testkit.ErrConfig) {
			t.Errorf("%+v: %v", c, err)
			if err == nil {
				iss.Close()
			}
		}
	}
}

// TestCloseLeavesNothing: neither the ledger's directory nor the listener.
func TestCloseLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	iss, err := testkit.Start(t.Context(), testkit.Config{Service: "http://127.0.0.1:1"})
	if err != nil {
		t.Fatal(err)
	}
	iss.Close()
	iss.Close()
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("left %v", left)
	}
	if res, err := http.Get(iss.URL() + "/jwks"); err == nil {
		_, _ = io.Copy(io.Discard, res.Body)
		t.Error("still answers")
	}
}

func FuzzParse(f *testing.F) {
	f.Add(head + "  - mint: {as: a, claims: {x: [1, null]}}\n  - wait: 1d\n  - call: {path: /, token: a}\n    expect: {json: {/a~1b/0: {c: d}}}\n")
	f.Add(testkit.Example)
	f.Add("---\n---\n" + head)
	f.Add("a: &a [*a]")
	f.Fuzz(func(t *testing.T, text string) {
		all, err := testkit.Parse("f", text)
		if err != nil && (all != nil || err.Error() == "") {
			t.Error("both, or nothing said")
		}
		for _, s := range all {
			for _, st := range s.Steps {
				_ = st.String()
			}
		}
	})
}
