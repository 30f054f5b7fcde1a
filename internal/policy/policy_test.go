package policy

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/jsonschema-go/jsonschema"
	"go.yaml.in/yaml/v4"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/epoch"
)

var update = flag.Bool("update", false, "write golden files")

const whole = `apiVersion: mintmark/v1
kind: Issuer
name: corp
issuer: https://corp.example
discovery: true
skew: 30s
marks: [{release: shop/v1, kid: k1}]
---
apiVersion: mintmark/v1
kind: Policy
name: base
audience: [https://shop.example]
scopes: [shop:read, shop:write]
default_scopes: [shop:read]
access: 5m
claims: {tier: "${user.tier}", tags: [1, true, null, "a"]}
---
apiVersion: mintmark/v1
kind: Policy
name: next
extends: base
forced_scopes: [shop:admin]
claims: {shape: "2"}
---
apiVersion: mintmark/v1
kind: Release
name: shop/v1
policy: base
upstreams: [{url: "http://127.0.0.1:9001"}]
accept: [v2]
---
apiVersion: mintmark/v1
kind: Release
name: shop/v2
policy: next
upstreams: [{url: "https://10.0.0.1:9002/", weight: 2}]
health: {path: /healthz, interval: 1s}
maps: [{from: v1, rename: {tier: level}, default: {shape: "1"}, lossy: true}]
---
apiVersion: mintmark/v1
kind: Service
name: shop
hosts: ["*.shop.example"]
audience: [https://shop.example]
issuers: [corp]
release: v1
routes:
  - {name: read, path: "/items/{id}", methods: [GET], scopes: [shop:read], max_age: 1h}
  - name: all
    path: /*
    staleness: strict
    rate_limit: {per_minute: 60, burst: 10, by: subject}
    transform: {strip_prefix: /api, request: {set: {x-tier: gold}}, claims: {tier: x-user-tier}}
---
apiVersion: mintmark/v1
kind: Client
name: web
auth: client_secret_basic
grants: [client_credentials, token_exchange]
renewal_hook: {url: https://hook.example/renew, outage: allow-until, outage_for: 1h}
---
apiVersion: mintmark/v1
kind: User
name: ada
claims: {email: ada@example.com}
`

func parse(t *testing.T, text string) Set {
	t.Helper()
	s, errs := Parse([]File{{Name: "x.yaml", Text: text}})
	if errs == nil {
		errs = Check(s)
	}
	if errs != nil {
		t.Fatal(errs)
	}
	return s
}

func TestErrors(t *testing.T) {
	for _, name := range []string{"broken", "dangling"} {
		t.Run(name, func(t *testing.T) {
			text, err := os.ReadFile(filepath.Join("testdata", name+".yaml"))
			if err != nil {
				t.Fatal(err)
			}
			s, errs := Parse([]File{{Name: name + ".yaml", Text: string(text)}})
			if errs == nil {
				errs = Check(s)
			} else if len(s.Resources) != 0 {
				t.Error("a refused set is not empty")
			}
			golden := filepath.Join("testdata", name+".golden")
			if *update {
				if err := os.WriteFile(golden, []byte(errs.Error()+"\n"), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got := errs.Error() + "\n"; got != string(want) {
				t.Errorf("got:\n%s\nwant:\n%s", got, want)
			}
		})
	}
}

func TestSyntaxErrorHasItsLine(t *testing.T) {
	_, errs := Parse([]File{{Name: "x.yaml", Text: "kind: Policy\nname: [a\nscopes: b\n"}})
	if len(errs) != 1 || errs[0].Line < 2 || !strings.Contains(errs[0].Message, "is not YAML") {
		t.Errorf("got %v", errs)
	}
}

func TestCompile(t *testing.T) {
	s := parse(t, whole)
	c, err := Compile(s, Versions(Set{}, nil, s))
	if err != nil {
		t.Fatal(err)
	}
	svc := c.Services[0]
	if svc.Split.Stable != "v1" || !svc.OwnIssuer || len(svc.Routes) != 2 {
		t.Errorf("service: %+v", svc)
	}
	if svc.Routes[0].Staleness.Budget != mintmark.DefaultStaleness || !svc.Routes[1].Staleness.IsStrict() || svc.Routes[0].MaxAge != 3600 {
		t.Errorf("routes: %+v", svc.Routes)
	}
	v1, v2 := svc.Releases[0].Mint, svc.Releases[1].Mint
	if v1.AccessSeconds != 300 || v1.Version != 1 || v1.ForcedScopes != nil || len(v1.Claims) != 2 {
		t.Errorf("mint of v1: %+v", v1)
	}
	if v2.AccessSeconds != 300 || len(v2.ForcedScopes) != 1 || len(v2.Claims) != 3 || len(v2.Scopes) != 2 {
		t.Errorf("mint of v2 does not inherit: %+v", v2)
	}
	if i := c.Issuers.Issuers[0]; i.SkewSeconds != 30 || i.MaxAge != 86400 || len(i.Marks) != 1 {
		t.Errorf("issuer: %+v", i)
	}
	var client struct {
		Grants []string `json:"grant_types"`
		Hook   struct {
			Seconds int64 `json:"outage_seconds"`
		} `json:"renewal_hook"`
	}
	if err := json.Unmarshal(c.Clients["web"], &client); err != nil || client.Hook.Seconds != 3600 || client.Grants[1] != "urn:ietf:params:oauth:grant-type:token-exchange" {
		t.Errorf("client: %s, %v", c.Clients["web"], err)
	}
	compileEpoch(t, c)
}

// compileEpoch holds what gateways would say of it.
func compileEpoch(t *testing.T, c Compiled) {
	t.Helper()
	var m epoch.Manifest
	bodies := map[epoch.Hash][]byte{}
	add := func(name epoch.PartName, part any) {
		body, hash, err := epoch.Encode(part)
		if err != nil {
			t.Fatal(err)
		}
		bodies[hash] = body
		m = m.With(epoch.PartRef{Name: name, Hash: hash})
	}
	for i := range c.Services {
		add(epoch.ServicePartName(c.Services[i].Name), &c.Services[i])
	}
	add(epoch.PartIssuers, &c.Issuers)
	if _, err := epoch.Compile(m, bodies); err != nil {
		t.Errorf("what Check lets pass, gateways refuse: %v", err)
	}
}

func TestVersions(t *testing.T) {
	a := parse(t, whole)
	v1 := Versions(Set{}, nil, a)
	if v1["base"] != 1 || v1["next"] != 1 {
		t.Fatalf("first: %v", v1)
	}
	if same := Versions(a, v1, parse(t, whole)); same["base"] != 1 || same["next"] != 1 {
		t.Errorf("unchanged: %v", same)
	}
	b := parse(t, strings.Replace(whole, "access: 5m", "access: 6m", 1))
	if v2 := Versions(a, v1, b); v2["base"] != 2 || v2["next"] != 2 {
		t.Errorf("a parent's change must reach the child: %v", v2)
	}
	gone := Versions(a, v1, Set{})
	if gone["base"] != 1 || Versions(Set{}, gone, a)["base"] != 2 {
		t.Errorf("a removed policy's number came back: %v", gone)
	}
}

func TestExportRoundTrips(t *testing.T) {
	a := parse(t, whole)
	text, err := Export(a)
	if err != nil {
		t.Fatal(err)
	}
	b := parse(t, text)
	if changes, err := Diff(a, b); err != nil || len(changes) != 0 {
		t.Errorf("export differs: %+v, %v\n%s", changes, err, text)
	}
	for _, r := range a.Resources {
		body, err := r.JSON()
		if err != nil {
			t.Fatal(err)
		}
		back, err := FromJSON(r.Kind, body)
		if err != nil || back.Name != r.Name {
			t.Fatalf("%s: %v", r.ID(), err)
		}
		if again, _ := back.JSON(); string(again) != string(body) {
			t.Errorf("%s stored and read:\n%s\n%s", r.ID(), body, again)
		}
	}
}

func TestDiff(t *testing.T) {
	a := parse(t, whole)
	b := parse(t, strings.Replace(strings.Replace(whole, "weight: 2", "weight: 3", 1), "name: ada", "name: bob", 1))
	changes, err := Diff(a, b)
	if err != nil || len(changes) != 3 {
		t.Fatalf("%+v, %v", changes, err)
	}
	c := changes[0]
	if c.Name != "shop/v2" || c.Verb != "update" || c.Fields[0].Path != "upstreams[0].weight" || string(c.Fields[0].Old) != "2" || string(c.Fields[0].New) != "3" {
		t.Errorf("update: %+v", c)
	}
	if changes[1].Verb != "delete" || changes[2].Verb != "create" {
		t.Errorf("users: %+v", changes[1:])
	}
}

func TestFormat(t *testing.T) {
	in := "# why\nname: p\nkind:   Policy # a policy\napiVersion: mintmark/v1\nscopes:\n    - b\n"
	want := "# why\napiVersion: mintmark/v1\nkind: Policy # a policy\nname: p\nscopes:\n"
	got, errs := Format(File{Text: in})
	if errs != nil || !strings.Contains(got, "kind: Policy # a policy\n") || strings.Index(got, "apiVersion") > strings.Index(got, "kind") || !strings.Contains(got, "# why") {
		t.Errorf("got\n%s\nwant about\n%s", got, want)
	}
	if again, _ := Format(File{Text: got}); again != got {
		t.Errorf("formatting twice differs:\n%s\n%s", got, again)
	}
}

// The schema and the decoder must say the same about every document.
func TestSchema(t *testing.T) {
	for _, kind := range Kinds() {
		if _, err := Schema(kind); err != nil {
			t.Fatal(err)
		}
	}
	all, err := Schemas()
	if err != nil {
		t.Fatal(err)
	}
	resolved, err := all.Resolve(&jsonschema.ResolveOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for doc := range strings.SplitSeq(whole, "---\n") {
		var v any
		if err := yaml.Unmarshal([]byte(doc), &v); err != nil {
			t.Fatal(err)
		}
		if err := resolved.Validate(jsonOf(t, v)); err != nil {
			t.Errorf("schema refuses\n%s\n%v", doc, err)
		}
		v.(map[string]any)["nonsense"] = "x"
		if err := resolved.Validate(jsonOf(t, v)); err == nil {
			t.Errorf("schema takes an unknown field in\n%s", doc)
		}
	}
	for _, r := range parse(t, whole).Resources {
		s, err := Schema(r.Kind)
		if err != nil || s.Properties["name"].Description == "" {
			t.Errorf("%s: no description", r.Kind)
		}
	}
}

func jsonOf(t *testing.T, v any) any {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var out any
	if err := json.Unmarshal(b, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestDuration(t *testing.T) {
	for in, want := range map[string]int64{"90s": 90, "15m": 900, "30d": 2592000, "1h30m": 5400, "1ms": 1} {
		d, err := ParseDuration(in)
		if err != nil || d.Seconds() != want {
			t.Errorf("%s: %v, %v; want %ds", in, d, err, want)
		}
		if back, err := ParseDuration(d.String()); err != nil || back != d {
			t.Errorf("%s prints as %s", in, d)
		}
	}
	for _, in := range []string{"", "0", "0s", "-1s", "1", "1ns", "99999d", "1.5d", "9999999h", "10 minutes"} {
		if d, err := ParseDuration(in); err == nil {
			t.Errorf("%q read as %v", in, d)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(whole)
	for _, name := range []string{"broken", "dangling"} {
		text, err := os.ReadFile(filepath.Join("testdata", name+".yaml"))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	f.Add("a: &a [*a]")
	f.Add("kind: Service\nroutes: [{name: x, path: /{}}]")
	f.Fuzz(func(t *testing.T, text string) {
		s, errs := Parse([]File{{Name: "f", Text: text}})
		if len(errs) > 0 {
			_ = errs.Error()
			return
		}
		if errs := Check(s); len(errs) > 0 {
			_ = errs.Error()
		}
		out, err := Export(s)
		if err != nil {
			t.Fatal(err)
		}
		back, errs := Parse([]File{{Name: "f", Text: out}})
		if len(errs) > 0 {
			t.Fatalf("export does not parse: %v\n%s", errs, out)
		}
		if changes, err := Diff(s, back); err != nil || len(changes) > 0 {
			t.Fatalf("export differs: %+v %v\n%s", changes, err, out)
		}
	})
}
