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

// told is a Meter that remembers what it was told last of each subject.
type told struct {
	mu  sync.Mutex
	bad map[string]uint32
}

func (m *told) Subject(_ *epoch.Snapshot, s *epoch.ServiceEntry, subject string, bad uint32, _ time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.bad[s.Name+"/"+subject] = bad
}

// last takes the only thing told.
func (m *told) last(t *testing.T) (who string, bad uint32) {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.bad) != 1 {
		t.Fatalf("told %v, want one thing", m.bad)
	}
	for who, bad = range m.bad {
		delete(m.bad, who)
	}
	return who, bad
}

func TestMeterIsToldOfTheTokenEndpoint(t *testing.T) {
	m := &told{bad: map[string]uint32{}}
	w := newWorld(t, func(_ *authority.Config, d *authority.Deps) { d.Meter = m })
	secret := w.client(machine())
	w.client(webApp())
	first := w.tokens()
	who, bad := m.last(t)
	if bad != 0 {
		t.Errorf("issuance: %s %b", who, bad)
	}
	_, next := w.refresh(first["refresh_token"])
	if again, bad := m.last(t); again != who || bad != 0 {
		t.Errorf("refresh: %s %b, want %s", again, bad, who)
	}
	w.clock.advance(time.Minute)
	if status, _ := w.refresh(first["refresh_token"]); status != http.StatusBadRequest {
		t.Fatalf("re-use was answered %d", status)
	}
	if again, bad := m.last(t); again != who || bad != 1<<health.PlaceReused|1<<health.PlaceRefreshFailed {
		t.Errorf("re-use: %s %b", again, bad)
	}
	if status, _ := w.refresh(next["refresh_token"]); status != http.StatusBadRequest {
		t.Fatalf("a killed family's token was answered %d", status)
	}
	if _, bad := m.last(t); bad != 1<<health.PlaceRefreshFailed {
		t.Errorf("refresh of a killed family: %b", bad)
	}
	ask := func(scope string) int {
		status, _ := w.post("/token", url.Values{"grant_type": {"client_credentials"}, "scope": {scope}, "resource": {ordersAudience}, "basic": {"machine:" + secret}})
		return status
	}
	if status := ask("orders:read"); status != http.StatusOK {
		t.Fatalf("client credentials: %d", status)
	}
	if who, bad := m.last(t); who != "orders/machine" || bad != 0 {
		t.Errorf("client credentials: %s %b", who, bad)
	}
	if status := ask("orders:nothing"); status == http.StatusOK {
		t.Fatal("an unknown scope was granted")
	}
	if _, bad := m.last(t); bad != 1<<health.PlaceIssuanceFailed {
		t.Errorf("refused scope: %b", bad)
	}
}
