package lint

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/mintmark/mintmark/internal/policy"
)

var update = flag.Bool("update-docs", false, "rewrite docs/lint.md")

// good is what no rule has anything against.
const good = `apiVersion: mintmark/v1
kind: Issuer
name: partner
issuer: https://partner.example
discovery: true
algs: [ES256]
types: [at+jwt]
---
apiVersion: mintmark/v1
kind: Policy
name: orders
format: opaque
audience: [https://orders.example]
scopes: [orders.read, orders.write]
default_scopes: [orders.read]
---
apiVersion: mintmark/v1
kind: Release
name: orders/v1
policy: orders
upstreams: [{url: https://orders-1.internal}]
---
apiVersion: mintmark/v1
kind: Release
name: orders/v2
policy: orders
upstreams: [{url: https://orders-2.internal}]
---
apiVersion: mintmark/v1
kind: Service
name: orders
hosts: [orders.example]
audience: [https://orders.example]
issuers: [partner]
release: v1
routes:
  - {name: all, path: /*, scopes: [orders.write]}
---
apiVersion: mintmark/v1
kind: Client
name: shop
auth: private_key_jwt
jwks: {keys: [{kty: EC, crv: P-256, kid: k, x: WbbbH6BSYB9lkR5dCgBeyyqYIVCDXD6i31ilZYYqYJo, y: jCRbDYZhSWPFnLAdaBCVJZlzmX0GyPoxFnaPrWBIkxM}]}
redirect_uris: [https://shop.example/callback]
audiences: [https://orders.example]
`

// bad is one change to good for each rule, after which that rule, and maybe
// others, must speak.
var bad = map[string][2]string{
	"MM001": {"https://shop.example/callback", "http://shop.example/callback"},
	"MM002": {"https://shop.example/callback", "shop:/callback"},
	"MM003": {"auth: private_key_jwt\n", "auth: none\n"},
	"MM004": {"auth: private_key_jwt\n", "auth: client_secret_basic\ngrants: [client_credentials]\n"},
	"MM005": {"audiences: [https://orders.example]\n", ""},
	"MM006": {"auth: private_key_jwt\n", "auth: none\ngrants: [token_exchange]\n"},
	"MM007": {"auth: private_key_jwt\n", "auth: private_key_jwt\nrenewal_hook: {url: https://hr.example, outage: allow}\n"},
	"MM008": {"auth: private_key_jwt\n", "auth: private_key_jwt\nrenewal_hook: {url: http://hr.example}\n"},
	"MM009": {"auth: private_key_jwt\n", "auth: none\nintrospect: true\n"},
	"MM020": {"issuer: https://partner.example", "issuer: http://partner.example"},
	"MM021": {"algs: [ES256]\n", "algs: [ES256]\nmax_age: 2d\n"},
	"MM022": {"algs: [ES256]\n", "algs: [ES256]\nskew: 2m\n"},
	"MM023": {"algs: [ES256]\n", ""},
	"MM024": {"types: [at+jwt]\n", ""},
	"MM025": {"discovery: true\n", "jwks: {keys: [{kty: EC, crv: P-256, kid: k, x: WbbbH6BSYB9lkR5dCgBeyyqYIVCDXD6i31ilZYYqYJo, y: jCRbDYZhSWPFnLAdaBCVJZlzmX0GyPoxFnaPrWBIkxM}]}\n"},
	"MM026": {"types: [at+jwt]\n", "types: [at+jwt]\nmarks: [{release: orders/v1}, {release: orders/v2, kid: new}]\n"},
	"MM027": {"issuers: [partner]\n", ""},
	"MM040": {"format: opaque\n", "format: opaque\naccess: 2h\n"},
	"MM041": {"format: opaque\n", "format: opaque\nrefresh: 100d\n"},
	"MM042": {"format: opaque\n", "format: opaque\ngrace: 2m\n"},
	"MM043": {"format: opaque\n", "format: opaque\nforced_scopes: [orders.read]\n"},
	"MM044": {"default_scopes: [orders.read]", "default_scopes: [orders.read, orders.write]"},
	"MM045": {"format: opaque\n", "format: opaque\naccept: ['*']\n"},
	"MM046": {"audience: [https://orders.example]\nscopes", "audience: [https://orders.example, https://pay.example]\nscopes"},
	"MM047": {"[orders.read, orders.write]", "[orders.read, 'orders:*']"},
	"MM048": {"---\napiVersion: mintmark/v1\nkind: Service\n", "---\napiVersion: mintmark/v1\nkind: Policy\nname: old\nscopes: [a]\naudience: [b]\n---\napiVersion: mintmark/v1\nkind: Service\n"},
	"MM049": {"format: opaque\n", "format: jwt\nclaims: {email: '${user.email}'}\n"},
	"MM050": {"format: opaque\n", "format: jwt\nalg: RS256\n"},
	"MM060": {"scopes: [orders.write]}", "scopes: [orders.write], staleness: static}"},
	"MM061": {"scopes: [orders.write]}", "scopes: [orders.write], staleness: 10m}"},
	"MM062": {"path: /*, scopes: [orders.write]}", "path: /*, public: true}"},
	"MM063": {"path: /*, scopes: [orders.write]}", "path: /*, public: true}"},
	"MM064": {", scopes: [orders.write]}", "}"},
	"MM065": {"path: /*, scopes: [orders.write]}", "path: /*, public: true}"},
	"MM066": {"scopes: [orders.write]}", "scopes: [orders.write], transform: {pass_token: true}}"},
	"MM067": {"hosts: [orders.example]\n", ""},
	"MM068": {"---\napiVersion: mintmark/v1\nkind: Client\n", "---\napiVersion: mintmark/v1\nkind: Release\nname: pay/v1\npolicy: orders\nupstreams: [{url: https://pay.internal}]\n---\napiVersion: mintmark/v1\nkind: Service\nname: pay\nhosts: [pay.example]\naudience: [https://orders.example]\nroutes: [{name: all, path: /*, scopes: [x]}]\n---\napiVersion: mintmark/v1\nkind: Client\n"},
	"MM069": {"path: /*, scopes: [orders.write]}", "path: /*, public: true}"},
	"MM080": {"https://orders-2.internal", "http://orders-2.internal"},
	"MM081": {"upstreams: [{url: https://orders-2.internal}]", "upstreams: [{url: https://orders-2.internal}, {url: https://orders-3.internal}]"},
	"MM082": {"upstreams: [{url: https://orders-2.internal}]", "upstreams: [{url: https://orders-2.internal}]\nmaps: [{from: v1, drop: [x], lossy: true}]"},
	"MM083": {"release: v1\n", "release: v1\nrefuse_own: true\n"},
	"MM084": {"name: orders/v2\npolicy: orders\n", "name: orders/v2\npolicy: wide\n"},
}

// extra is appended where a rule needs one more resource.
var extra = map[string]string{
	"MM046": "---\napiVersion: mintmark/v1\nkind: Release\nname: pay/v1\npolicy: orders\nupstreams: [{url: https://pay.internal}]\n---\napiVersion: mintmark/v1\nkind: Service\nname: pay\nhosts: [pay.example]\naudience: [https://pay.example]\nroutes: [{name: all, path: /*, scopes: [x]}]\n",
	"MM084": "---\napiVersion: mintmark/v1\nkind: Policy\nname: wide\nextends: orders\nscopes: [orders.read, orders.write, orders.admin]\n",
}

func check(t *testing.T, text string) []Finding {
	t.Helper()
	files := []policy.File{{Name: "r.yaml", Text: text}}
	set, errs := policy.Parse(files)
	if len(errs) == 0 {
		errs = policy.Check(set)
	}
	if len(errs) > 0 {
		t.Fatalf("the resources are not sound: %v", errs)
	}
	return Check(set, files)
}

func TestGoodResourcesHaveNoFinding(t *testing.T) {
	for _, f := range check(t, good) {
		t.Errorf("%s %s: %s", f.Location(), f.Rule, f.Message)
	}
}

func TestEveryRuleSpeaks(t *testing.T) {
	for _, r := range Rules() {
		change, ok := bad[r.ID]
		if !ok {
			t.Errorf("%s has no example", r.ID)
			continue
		}
		if !strings.Contains(good, change[0]) {
			t.Errorf("%s: nothing to change", r.ID)
			continue
		}
		found := check(t, strings.Replace(good, change[0], change[1], 1)+extra[r.ID])
		i := slices.IndexFunc(found, func(f Finding) bool { return f.Rule == r.ID })
		if i < 0 {
			t.Errorf("%s %s says nothing", r.ID, r.Name)
			continue
		}
		if f := found[i]; f.Line == 0 || f.File != "r.yaml" || f.Message == "" || f.Fix == "" {
			t.Errorf("%s: finding without place or cure: %+v", r.ID, f)
		}
	}
}

func TestSuppression(t *testing.T) {
	text := strings.Replace(good, "hosts: [orders.example]\n", "", 1)
	here := "kind: Service\n"
	find := func(comment string) (suppressed, useless int) {
		for _, f := range check(t, strings.Replace(text, "apiVersion: mintmark/v1\n"+here, comment+"apiVersion: mintmark/v1\n"+here, 1)) {
			switch {
			case f.Rule == Unused:
				useless++
			case f.Rule == "MM067" && f.Suppressed != "":
				suppressed++
			}
		}
		return suppressed, useless
	}
	for comment, want := range map[string][2]int{
		"": {0, 0},
		"# lint:ignore MM067 behind a proxy that checks\n": {1, 0},
		"# lint:ignore MM067\n":                            {0, 1},
		"# lint:ignore MM001 of another rule\n":            {0, 1},
	} {
		if s, u := find(comment); s != want[0] || u != want[1] {
			t.Errorf("%q: %d suppressed, %d useless; want %v", comment, s, u, want)
		}
	}
}

func TestSARIF(t *testing.T) {
	b, err := SARIF(check(t, strings.Replace(good, "hosts: [orders.example]\n", "", 1)), "v1")
	if err != nil {
		t.Fatal(err)
	}
	var log struct {
		Version string `json:"version"`
		Runs    []struct {
			Tool struct {
				Driver struct {
					Rules []struct {
						ID string `json:"id"`
					} `json:"rules"`
				} `json:"driver"`
			} `json:"tool"`
			Results []struct {
				RuleID    string `json:"ruleId"`
				RuleIndex int    `json:"ruleIndex"`
			} `json:"results"`
		} `json:"runs"`
	}
	if err := json.Unmarshal(b, &log); err != nil {
		t.Fatal(err)
	}
	run := log.Runs[0]
	if log.Version != "2.1.0" || len(run.Results) != 1 || run.Tool.Driver.Rules[run.Results[0].RuleIndex].ID != "MM067" || run.Results[0].RuleID != "MM067" {
		t.Errorf("%s", b)
	}
}

func TestRulesHaveOneMeaning(t *testing.T) {
	ids, names := map[string]bool{}, map[string]bool{}
	for _, r := range append(Rules(), unusedRule()) {
		if ids[r.ID] || names[r.Name] || len(r.ID) != 5 || r.Why == "" || r.Fix == "" || r.Source == "" || r.Severity.rank() < 0 {
			t.Errorf("%s %s is there twice or not whole", r.ID, r.Name)
		}
		ids[r.ID], names[r.Name] = true, true
		if got, ok := Describe(strings.ToLower(r.ID)); !ok || got.Name != r.Name {
			t.Errorf("%s is not found", r.ID)
		}
	}
}

func TestLintInDocs(t *testing.T) {
	var b bytes.Buffer
	b.WriteString("# Lint\n\n`mintmark policy lint -f DIRECTORY` names what is legal in resources and yet unwise; `--live` looks at what is in force.\n" +
		"`-o sarif` is for code scanning, `--fail-on` sets from which severity on it ends with 1, `--explain ID` says why. A finding that is meant\n" +
		"is suppressed on its line or the one above, with a reason:\n\n    # lint:ignore MM060 the site has no line to control for weeks\n\n" +
		"This page is made from the rules themselves.\n\n| id | name | severity | why | cure | source |\n|---|---|---|---|---|---|\n")
	for _, r := range append(Rules(), unusedRule()) {
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s |\n", r.ID, r.Name, r.Severity, r.Why, r.Fix, r.Source)
	}
	file := filepath.Join("..", "..", "docs", "lint.md")
	if *update {
		if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if have, err := os.ReadFile(file); err != nil || !bytes.Equal(have, b.Bytes()) {
		t.Errorf("docs/lint.md is not what the rules say: run go test ./internal/lint -run Docs -update-docs (%v)", err)
	}
}
