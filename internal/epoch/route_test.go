package epoch

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/mintmark/mintmark"
)

func TestPathOK(t *testing.T) {
	for _, p := range []string{"/", "/a", "/a/", "/a/b.c", "/a/...", "/.well-known/x", "/a%20b", "/caf%C3%A9", "/100%25", "/a:b@c!$&'()*+,=", "/~x"} {
		if !PathOK(p) {
			t.Errorf("%q refused", p)
		}
	}
	for _, p := range []string{
		"", "a", "*", "//", "//a", "/a//b", "/.", "/..", "/a/./b", "/a/../b", "/a/..", "/%2e%2e/a", "/%2E", "/a%2fb", "/a%2Fb", "/a%5cb", `/a\b`,
		"/a%00", "/a\x00", "/a%0a", "/a%7f", "/a b", "/a\tb", "/é", "/%", "/%2", "/%zz", "/%61dmin", "/a;x=1/b", "/..;/a", "/a%3bb", "/a?b", "/a#b", "/" + strings.Repeat("a", 9000),
	} {
		if PathOK(p) {
			t.Errorf("%q accepted", p)
		}
	}
}

func FuzzPathOK(f *testing.F) {
	f.Add("/a/%2e%2e/b")
	f.Add("/a//b")
	f.Fuzz(func(t *testing.T, p string) {
		if !PathOK(p) {
			return
		}
		for _, bad := range []string{"//", "/./", "/../", "\\", ";", "\x00", "%2e", "%2E", "%2f", "%2F", "%00", "%5c", "%5C"} {
			if strings.Contains(p, bad) {
				t.Errorf("%q has %q", p, bad)
			}
		}
	})
}

func routed(t testing.TB, routes ...Route) *Table {
	s := testService()
	s.Routes = routes
	return mustCompile(t, s)
}

func TestMatch(t *testing.T) {
	table := routed(t,
		Route{Name: "rest", Path: "/*"},
		Route{Name: "api", Path: "/api/*"},
		Route{Name: "api-get", Path: "/api/*", Methods: []string{"GET"}},
		Route{Name: "api-beta", Path: "/api/*", Methods: []string{"GET"}, Headers: map[string]string{"x-beta": "1"}},
		Route{Name: "user", Path: "/api/users/{id}"},
		Route{Name: "me", Path: "/api/users/me"},
		Route{Name: "deep", Path: "/api/users/{id}/keys/*"},
		Route{Name: "root", Path: "/"},
	)
	beta := func(n string) string {
		if n == "x-beta" {
			return "1"
		}
		return ""
	}
	for _, tc := range []struct {
		method, path string
		header       func(string) string
		want         string
	}{
		{"GET", "/", nil, "root"},
		{"GET", "/x", nil, "rest"},
		{"GET", "/api", nil, "rest"},
		{"POST", "/api/", nil, "api"},
		{"GET", "/api/x", nil, "api-get"},
		{"GET", "/api/x", beta, "api-beta"},
		{"POST", "/api/x/y/z", beta, "api"},
		{"GET", "/api/users/me", nil, "me"},
		{"GET", "/api/users/7", nil, "user"},
		{"POST", "/api/users/", nil, "api"}, // {id} is not empty
		{"GET", "/api/users/7/keys/1", nil, "deep"},
		{"POST", "/api/users/7/keys", nil, "api"}, // backs out of the tree
		{"GET", "/api/users/me/keys/1", nil, "deep"},
		{"GET", "/api/%2e%2e/x", nil, ""},
		{"GET", "/api//x", nil, ""},
	} {
		got := ""
		if e := table.Match(tc.method, "any.example:80", tc.path, tc.header); e != nil {
			got = e.Name
		}
		if got != tc.want {
			t.Errorf("%s %s: %q, want %q", tc.method, tc.path, got, tc.want)
		}
	}
}

// Literals are found alike when they are few and when they are many, and so are
// methods that every program knows and those that few do.
func TestMatchManyLiteralsAndOddMethods(t *testing.T) {
	for _, n := range []int{1, few, few + 1, 3 * few} {
		routes := []Route{
			{Name: "purge", Path: "/x/0", Methods: []string{"PURGE"}},
			{Name: "link", Path: "/x/0", Methods: []string{"LINK", "DELETE"}},
			{Name: "rest", Path: "/x/{id}"},
		}
		for i := range n {
			routes = append(routes, Route{Name: fmt.Sprint("r", i), Path: fmt.Sprint("/x/", i), Methods: []string{"GET", "HEAD"}})
		}
		table := routed(t, routes...)
		check := func(method, path, want string) {
			t.Helper()
			if e := table.Match(method, "h", path, nil); e == nil || e.Name != want {
				t.Errorf("%d literals: %s %s: %v, want %s", n, method, path, e, want)
			}
		}
		for i := range n {
			path, name := fmt.Sprint("/x/", i), fmt.Sprint("r", i)
			check("GET", path, name)
			check("HEAD", path, name)
			check("POST", path, "rest")
			check("get", path, "rest")
		}
		check("PURGE", "/x/0", "purge")
		check("LINK", "/x/0", "link")
		check("DELETE", "/x/0", "link")
		check("MERGE", "/x/0", "rest")
		check("GET", fmt.Sprint("/x/", n), "rest")
	}
}

// A server decodes a path: an encoded character must not lead past the route that
// guards what it means.
func TestMatchReadsEscapesAsServersDo(t *testing.T) {
	table := routed(t,
		Route{Name: "rest", Path: "/v1/*"},
		Route{Name: "delete", Path: "/v1/things:delete", Methods: []string{"POST"}},
		Route{Name: "under", Path: "/v1/a+b/*"},
		Route{Name: "one", Path: "/v1/users/{id}"},
	)
	for path, want := range map[string]string{
		"/v1/things:delete": "delete", "/v1/things%3Adelete": "delete", "/v1/things%3adelete": "delete",
		"/v1/a+b/x": "under", "/v1/a%2Bb/x": "under", "/v1/a%20b/x": "rest", "/v1/users/a%40b": "one", "/v1/%C3%A9": "rest",
	} {
		if e := table.Match("POST", "h", path, nil); e == nil || e.Name != want {
			t.Errorf("%s: %v, want %s", path, e, want)
		}
	}
}

func TestMatchByHost(t *testing.T) {
	build := func(name string, hosts ...string) *Service {
		s := testService()
		s.Name, s.Hosts = name, hosts
		return s
	}
	m, bodies, err := Build(build("exact", "a.example"), build("wild", "*.example"), build("deep", "*.b.example"), testKeys(), testIssuers())
	if err != nil {
		t.Fatal(err)
	}
	table, err := Compile(m, bodies)
	if err != nil {
		t.Fatal(err)
	}
	for host, want := range map[string]string{
		"a.example": "exact", "A.Example:8443": "exact", "a.example.": "exact", "c.example": "wild", "x.c.example": "wild",
		"x.b.example": "deep", "b.example": "wild", "example": "", "other": "", "[::1]:80": "", "": "", strings.Repeat("a", 300): "",
	} {
		got := ""
		if e := table.Match("GET", host, "/x", nil); e != nil {
			got = e.Service.Name
		}
		if got != want {
			t.Errorf("%s: %q, want %q", host, got, want)
		}
	}
}

func TestMatchDoesNotAllocate(t *testing.T) {
	table := routed(t, Route{Name: "user", Path: "/api/users/{id}", Methods: []string{"GET"}}, Route{Name: "rest", Path: "/*"})
	if n := testing.AllocsPerRun(100, func() { table.Match("GET", "Shop.Example:443", "/api/users/1234", nil) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkMatch(b *testing.B) {
	table := routed(b, Route{Name: "user", Path: "/api/users/{id}", Methods: []string{"GET"}}, Route{Name: "rest", Path: "/*"})
	b.ReportAllocs()
	for b.Loop() {
		table.Match("GET", "shop.example:443", "/api/users/1234", nil)
	}
}

func TestCompileRefuses(t *testing.T) {
	for field, change := range map[string]func(*Service){
		"audience":                     func(s *Service) { s.Audience = nil },
		"hosts[0]":                     func(s *Service) { s.Hosts = []string{"A.example"} },
		"issuers[0]":                   func(s *Service) { s.Issuers = []string{"nobody"} },
		"releases":                     func(s *Service) { s.Releases = nil },
		"releases[1].name":             func(s *Service) { s.Releases[1].Name = "one" },
		"releases[0].upstreams[0].url": func(s *Service) { s.Releases[0].Upstreams[0].URL = "ftp://x" },
		"releases[0].accept[0]":        func(s *Service) { s.Releases[0].Accept = []string{"a/b"} },
		"releases[0].mint.format":      func(s *Service) { s.Releases[0].Mint = Mint{Format: "paper", AccessSeconds: 1} },
		"split.stable":                 func(s *Service) { s.Split.Stable = "none" },
		"split.candidate":              func(s *Service) { s.Split.Candidate = "one"; s.Split.Salt = "x" },
		"split.salt":                   func(s *Service) { s.Split.Candidate = "two" },
		"split.weight":                 func(s *Service) { s.Split.Weight = 1 },
		"routes[0].path":               func(s *Service) { s.Routes[0].Path = "/a/*/b" },
		"routes[0].methods":            func(s *Service) { s.Routes[0].Methods = []string{"get"} },
		"routes[0].kinds":              func(s *Service) { s.Routes[0].Kinds = []mintmark.TokenKind{mintmark.KindRefresh} },
		"routes[0].public":             func(s *Service) { s.Routes[0].Public, s.Routes[0].Scopes = true, []string{"x"} },
		"routes[0].bound":              func(s *Service) { s.Routes[0].Bound = "rope" },
		"routes[1].path":               func(s *Service) { s.Routes = append(s.Routes, Route{Name: "same", Path: "/*"}) },
		"routes[1].name":               func(s *Service) { s.Routes = append(s.Routes, Route{Name: "all", Path: "/b"}) },
		"retired[0].release":           func(s *Service) { s.Retired = []Retired{{Release: "?"}} },
		"routes[0].transform.request.set": func(s *Service) {
			s.Routes[0].Transform = &Transform{Request: HeaderChange{Set: map[string]string{"mintmark_subject": "root"}}}
		},
	} {
		s := testService()
		change(s)
		m, bodies, err := Build(s, testKeys(), testIssuers())
		if err != nil {
			t.Fatal(err)
		}
		_, err = Compile(m, bodies)
		var ce *CompileError
		if !errors.As(err, &ce) || ce.Field != field && !strings.Contains(err.Error(), " "+field+":") {
			t.Errorf("%s: %v", field, err)
		}
	}
}

func TestCompileRefusesAWrongBody(t *testing.T) {
	m, bodies, _ := Build(testService(), testKeys(), testIssuers())
	for h := range bodies {
		bodies[h] = append(bodies[h], ' ')
	}
	if _, err := Compile(m, bodies); err == nil {
		t.Error("bodies of other hashes compiled")
	}
	if _, err := Compile(m, nil); err == nil {
		t.Error("no bodies compiled")
	}
}
