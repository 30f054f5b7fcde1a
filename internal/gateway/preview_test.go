package gateway

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/epoch"
)

// A preview reaches the candidate while it has no share, and nothing else does; what
// asked for it does not go upstream.
func TestPreview(t *testing.T) {
	says := func(name string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, name+" "+r.Header.Get("X-Preview")+"|"+r.Header.Get("Cookie"))
		}
	}
	s := service(server(t, says("v1")), epoch.Route{Name: "all", Path: "/*", Scopes: []string{"read"}}, epoch.Route{Name: "open", Path: "/open", Public: true})
	s.Releases[0].Accept = []string{"*"}
	v2 := release("v2", server(t, says("v2")))
	v2.Accept = []string{"*"}
	s.Releases = append(s.Releases, v2)
	s.Split = epoch.Split{Stable: "v1", Candidate: "v2", Salt: "x", Rollout: "rol_1"}
	put := func(r *rig, p *epoch.Preview, number uint64) {
		s.Split.Preview = p
		r.put(s, number)
	}
	r := newRig(t, s)
	r.token("qa", func(k *mintmark.Token) { k.Client = "qa" })
	r.token("minted", func(k *mintmark.Token) { k.Mark.Release = "orders/v2" })
	for i, c := range []struct {
		preview       *epoch.Preview
		path, token   string
		header, value string
		want          string
	}{
		{nil, "/x", "good", "X-Preview", "v2", "v1 v2|"},
		{&epoch.Preview{Header: "x-preview", Value: "v2"}, "/x", "good", "X-Preview", "v2", "v2 |"},
		{&epoch.Preview{Header: "x-preview", Value: "v2"}, "/open", "", "X-Preview", "v2", "v2 |"},
		{&epoch.Preview{Header: "x-preview", Value: "v2"}, "/x", "good", "X-Preview", "v3", "v1 |"},
		{&epoch.Preview{Header: "x-preview", Value: "v2"}, "/x", "good", "", "", "v1 |"},
		{&epoch.Preview{Cookie: "pv", Value: "1"}, "/x", "good", "Cookie", "a=b; pv=1; c=d", "v2 |a=b; c=d"},
		{&epoch.Preview{Cookie: "pv", Value: "1"}, "/x", "good", "Cookie", "pv=1; pv=1", "v1 |"},
		{&epoch.Preview{Clients: []string{"qa"}}, "/x", "qa", "", "", "v2 |"},
		{&epoch.Preview{Clients: []string{"qa"}}, "/x", "good", "", "", "v1 |"},
		{&epoch.Preview{Clients: []string{"qa"}}, "/x", "minted", "", "", "v2 |"}, // the candidate's own token meets it
		{&epoch.Preview{Share: epoch.Cohorts}, "/x", "good", "", "", "v2 |"},
		{&epoch.Preview{Host: "preview.test"}, "/x", "good", "Host", "preview.test:8080", "v2 |"},
		{&epoch.Preview{Host: "preview.test"}, "/x", "good", "Host", "other.test", "v1 |"},
	} {
		put(r, c.preview, uint64(10+i))
		req := r.request("GET", c.path, c.token)
		switch c.header {
		case "":
		case "Host":
			req.Host = c.value
		default:
			req.Header.Set(c.header, c.value)
		}
		if resp, body := r.do(req); resp.StatusCode != 200 || strings.TrimSpace(body) != strings.TrimSpace(c.want) {
			t.Errorf("%d: %+v with %s: %s: %d %q, want %q", i, c.preview, c.header, c.value, resp.StatusCode, body, c.want)
		}
	}
	// Two values: nobody knows which of them counts.
	put(r, &epoch.Preview{Header: "x-preview", Value: "v2"}, 99)
	req := r.request("GET", "/x", "good")
	req.Header["X-Preview"] = []string{"v2", "v2"}
	if _, body := r.do(req); body != "v1 |" {
		t.Errorf("twice the header: %q", body)
	}
}
