package authority_test

import (
	"net/http"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/mintmark/mintmark/internal/authority"
	"github.com/mintmark/mintmark/internal/epoch"
	"github.com/mintmark/mintmark/internal/health"
)

// gathered is a Meter that keeps every metric it was ever told of.
type gathered struct {
	mu  sync.Mutex
	bad uint32
}

func (m *gathered) Subject(_ *epoch.Snapshot, _ *epoch.ServiceEntry, _ string, bad uint32, _ time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.bad |= bad
}

func (m *gathered) take() uint32 {
	m.mu.Lock()
	defer m.mu.Unlock()
	bad := m.bad
	m.bad = 0
	return bad
}

// A token that a candidate mints is judged by the stable release at once; the same
// token without a rollout, and one that the stable release could have minted, are
// nobody's business.
func TestCandidateIsJudgedByTheStableRelease(t *testing.T) {
	m := &gathered{}
	w := newWorld(t, func(_ *authority.Config, d *authority.Deps) { d.Meter = m })
	secret := w.client(machine())
	for _, tt := range []struct {
		what   string
		change func(s *epoch.Service)
		want   uint32
	}{
		{"over-scoped", func(*epoch.Service) {}, 1 << health.PlaceStranded},
		{"another audience", func(s *epoch.Service) {
			s.Releases[1].Mint.ForcedScopes = nil
			s.Releases[1].Mint.Audience = append([]string{"https://payroll.example"}, s.Releases[0].Mint.Audience...)
		}, 1 << health.PlaceStranded},
		{"like the stable release's", func(s *epoch.Service) { s.Releases[1].Mint = s.Releases[0].Mint }, 0},
		{"minted by the stable release", func(s *epoch.Service) { s.Split.Weight = 0 }, 0},
		{"no rollout", func(s *epoch.Service) { s.Split = epoch.Split{Stable: "v2"} }, 0},
	} {
		svc := orders()
		svc.Split.Candidate, svc.Split.Rollout, svc.Split.Weight = "v2", "rol_1", epoch.Cohorts
		tt.change(svc)
		w.state.setService(t, svc)
		status, ans := w.post("/token", url.Values{"grant_type": {"client_credentials"}, "scope": {"orders:read"}, "basic": {"machine:" + secret}})
		if status != http.StatusOK {
			t.Fatalf("%s: %d %v", tt.what, status, ans)
		}
		if got := m.take(); got != tt.want {
			t.Errorf("%s: told %b, want %b", tt.what, got, tt.want)
		}
	}
}
