package predicate

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/epoch"
	"github.com/mintmark/mintmark/internal/health"
)

func request() *health.Observed {
	return &health.Observed{
		Route: &epoch.RouteEntry{ID: "shop/cart"}, Served: &epoch.ReleaseEntry{Release: &epoch.Release{Name: "v2"}},
		Token: &mintmark.Token{Client: "web", Kind: mintmark.KindOpaque}, Upstream: 409, Status: 409, Method: "POST", Latency: 1500 * time.Microsecond,
	}
}

func TestHolds(t *testing.T) {
	for expression, want := range map[string]bool{
		`status == 409 && route == "shop/cart"`:                    true,
		`upstream_status in [409, 423] && client.startsWith("we")`: true,
		`latency_ms > 1.4 && latency_ms < 1.6`:                     true,
		`kind == "opaque" && release == "v2" && method == "POST"`:  true,
		`code != ""`:                  false,
		`status / (status - 409) > 0`: false, // fails in running
		`route.matches("^shop/.*$")`:  true,
	} {
		p, err := Compile(expression)
		if err != nil {
			t.Errorf("%s: %v", expression, err)
			continue
		}
		if got := p.Holds(request()); got != want {
			t.Errorf("%s: %v", expression, got)
		}
	}
	p, err := Compile(`client == "" && kind == "" && route == "" && release == "" && code == "token_expired"`)
	if err != nil || !p.Holds(&health.Observed{Code: mintmark.CodeExpired}) {
		t.Errorf("a request of nobody: %v", err)
	}
}

func TestCompileSaysWhereItIsWrong(t *testing.T) {
	for expression, want := range map[string]string{
		"status ==\n  staus": "line 2 column 3: undeclared reference to 'staus'",
		"status = 500":       "line 1 column 8",
		"status":             "it is of type int: want bool",
		`"a" == 1`:           "line 1 column 5",
		"":                   "line 1 column",
		strings.Repeat("(", 100) + "true" + strings.Repeat(")", 100):                                                                  "",
		`[1,2,3,4,5,6,7,8,9].all(a, [1,2,3,4,5,6,7,8,9].all(b, [1,2,3,4,5,6,7,8,9].all(c, [1,2,3,4,5,6,7,8,9].all(d, a+b+c+d > 0))))`: "may cost",
		strings.Repeat("true || ", 1000) + "true":                                                                                     "at most",
	} {
		_, err := Compile(expression)
		if !errors.Is(err, ErrExpression) || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60q: %v, want %q", expression, err, want)
		}
	}
}

func FuzzCompile(f *testing.F) {
	f.Add(`status >= 500 && route == "shop/cart"`)
	f.Add(`[status].all(s, s > 0)`)
	f.Add("\x00((")
	f.Fuzz(func(t *testing.T, expression string) {
		if p, err := Compile(expression); err == nil {
			p.Holds(request())
		}
	})
}

func BenchmarkHolds(b *testing.B) {
	p, err := Compile(`upstream_status == 409 && route == "shop/cart"`)
	if err != nil {
		b.Fatal(err)
	}
	o := request()
	b.ReportAllocs()
	for b.Loop() {
		p.Holds(o)
	}
}
