package whatif

import (
	"slices"
	"strings"
	"testing"

	"github.com/mintmark/mintmark/internal/policy"
)

const shop = `apiVersion: mintmark/v1
kind: Policy
name: base
audience: [https://shop.example]
scopes: [shop:read, shop:write]
---
apiVersion: mintmark/v1
kind: Policy
name: shop
extends: base
---
apiVersion: mintmark/v1
kind: Release
name: shop/v1
policy: shop
upstreams: [{url: "http://127.0.0.1:9001"}]
---
apiVersion: mintmark/v1
kind: Service
name: shop
audience: [https://shop.example]
release: v1
routes:
  - {name: read, path: /read, scopes: [shop:read]}
  - {name: all, path: /*, scopes: [shop:read]}
---
apiVersion: mintmark/v1
kind: Client
name: web
scopes: [shop:read]
---
apiVersion: mintmark/v1
kind: Client
name: elsewhere
audiences: [https://else.example]
`

func set(t *testing.T, text string) policy.Set {
	t.Helper()
	s, errs := policy.Parse([]policy.File{{Name: "a.yaml", Text: text}})
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	return s
}

func TestCompare(t *testing.T) {
	old := set(t, shop)
	for _, tt := range []struct {
		what     string
		from, to string
		want     func(d []Difference) bool
	}{
		{"nothing", "", "", func(d []Difference) bool { return len(d) == 0 }},
		{"order of a set", "[shop:read, shop:write]", "[shop:write, shop:read]", func(d []Difference) bool { return len(d) == 0 }},
		{"inherited", "[shop:read, shop:write]", "[shop:read]", func(d []Difference) bool {
			return len(d) == 2 && d[0].Name == "base" && d[1].Name == "shop" && slices.Equal(d[1].Fields[0].Removed, []string{"shop:write"}) &&
				slices.Equal(d[1].Releases, []string{"shop/v1"}) && slices.Equal(d[1].Services, []string{"shop"}) && slices.Equal(d[1].Clients, []string{"web"}) &&
				len(d[0].Releases) == 0 && len(d[1].Notes) == 1
		}},
		{"one route of several", "path: /read, scopes: [shop:read]", "path: /read, scopes: [shop:read, shop:audit]", func(d []Difference) bool {
			return len(d) == 1 && len(d[0].Fields) == 1 && d[0].Fields[0].Path == "routes[read].scopes" && slices.Equal(d[0].Clients, []string{"web"}) &&
				strings.Contains(d[0].Notes[0], "web")
		}},
		{"order of routes", "  - {name: read, path: /read, scopes: [shop:read]}\n  - {name: all, path: /*, scopes: [shop:read]}", "  - {name: all, path: /*, scopes: [shop:read]}\n  - {name: read, path: /read, scopes: [shop:read]}", func(d []Difference) bool { return len(d) == 0 }},
		{"a client", "name: web\nscopes: [shop:read]", "name: web\nscopes: []", func(d []Difference) bool {
			return len(d) == 1 && slices.Equal(d[0].Clients, []string{"web"}) && len(d[0].Services) == 0
		}},
		{"a client gone", "---\napiVersion: mintmark/v1\nkind: Client\nname: web\nscopes: [shop:read]\n", "", func(d []Difference) bool {
			return len(d) == 1 && d[0].Verb == "delete" && d[0].Notes[0] == "its tokens are revoked"
		}},
		{"upstream", "127.0.0.1:9001", "127.0.0.1:9009", func(d []Difference) bool {
			return len(d) == 1 && d[0].Fields[0].Path == "upstreams" && slices.Equal(d[0].Services, []string{"shop"})
		}},
	} {
		text := shop
		if tt.from != "" {
			if !strings.Contains(shop, tt.from) {
				t.Fatalf("%s: %q is not there", tt.what, tt.from)
			}
			text = strings.Replace(shop, tt.from, tt.to, 1)
		}
		d, err := Compare(old, set(t, text))
		if err != nil || !tt.want(d) {
			t.Errorf("%s: %+v, %v", tt.what, d, err)
		}
	}
}
