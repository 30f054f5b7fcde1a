package authority_test

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/mintmark/mintmark/internal/epoch"
)

// Both colours mint at once: a preview of the candidate gets its tokens while the
// candidate has no share, everybody else the stable release's.
func TestPreviewMintsUnderTheCandidate(t *testing.T) {
	w := newWorld(t)
	secret := w.client(machine())
	ask := func(header ...string) string {
		t.Helper()
		status, ans := w.post("/token", url.Values{"grant_type": {"client_credentials"}, "scope": {"orders:read"}, "basic": {"machine:" + secret}}, header...)
		if status != http.StatusOK {
			t.Fatalf("%d %v", status, ans)
		}
		return ans["scope"].(string)
	}
	const stable, candidate = "orders:read", "orders:admin orders:read"
	put := func(p *epoch.Preview) {
		svc := orders()
		svc.Split.Candidate, svc.Split.Rollout, svc.Split.Preview = "v2", "rol_1", p
		w.state.setService(t, svc)
	}
	for i, c := range []struct {
		preview *epoch.Preview
		header  []string
		want    string
	}{
		{nil, []string{"X-Preview", "v2"}, stable},
		{&epoch.Preview{Header: "x-preview", Value: "v2"}, []string{"X-Preview", "v2"}, candidate},
		{&epoch.Preview{Header: "x-preview", Value: "v2"}, []string{"X-Preview", "v3"}, stable},
		{&epoch.Preview{Header: "x-preview", Value: "v2"}, []string{"X-Preview", "v2", "X-Preview", "v2"}, stable},
		{&epoch.Preview{Header: "x-preview", Value: "v2"}, nil, stable},
		{&epoch.Preview{Cookie: "pv", Value: "1"}, []string{"Cookie", "a=b; pv=1"}, candidate},
		{&epoch.Preview{Clients: []string{"machine"}}, nil, candidate},
		{&epoch.Preview{Clients: []string{"other"}}, nil, stable},
		{&epoch.Preview{Share: epoch.Cohorts}, nil, candidate},
	} {
		put(c.preview)
		if got := ask(c.header...); got != c.want {
			t.Errorf("%d: %+v with %v: %s, want %s", i, c.preview, c.header, got, c.want)
		}
	}
	// A candidate that not every gateway knows mints nothing, also for a preview.
	old := orders()
	old.Releases = old.Releases[:1]
	w.state.setService(t, old)
	w.state.settled.Store(w.state.Current())
	put(&epoch.Preview{Clients: []string{"machine"}})
	if got := ask(); got != stable {
		t.Errorf("minted %s before every gateway accepts it", got)
	}
}
