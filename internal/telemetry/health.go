package telemetry

import (
	"context"
	"encoding/json"
	"net/http"
	"sort"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Health collects the checks that decide whether a process is ready. Safe for
// concurrent use.
type Health struct {
	mu     sync.Mutex
	checks map[string]func(context.Context) error // guarded by mu
}

// NewHealth returns a process without checks, which is ready.
func NewHealth() *Health { return &Health{checks: map[string]func(context.Context) error{}} }

// Ready adds a check under a name: nil means ready. A check must return soon
// after its context, which ends after 2 s.
func (h *Health) Ready(name string, check func(context.Context) error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.checks[name] = check
}

// Check runs all checks and returns the reasons of those that fail, redacted.
func (h *Health) Check(ctx context.Context) map[string]string {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	h.mu.Lock()
	names := make([]string, 0, len(h.checks))
	checks := make(map[string]func(context.Context) error, len(h.checks))
	for n, c := range h.checks {
		names, checks[n] = append(names, n), c
	}
	h.mu.Unlock()
	sort.Strings(names)
	failing := map[string]string{}
	for _, n := range names {
		if err := checks[n](ctx); err != nil {
			failing[n] = Redact(err.Error())
		}
	}
	return failing
}

// Handler serves /livez (the process answers), /readyz (its checks hold, else 503
// with the reasons) and /metrics of the registry.
func Handler(h *Health, r prometheus.Gatherer) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = w.Write([]byte("ok\n"))
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, req *http.Request) {
		failing := h.Check(req.Context())
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		if len(failing) > 0 {
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		_ = json.NewEncoder(w).Encode(struct {
			Ready   bool              `json:"ready"`
			Failing map[string]string `json:"failing,omitempty"`
		}{len(failing) == 0, failing})
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(r, promhttp.HandlerOpts{EnableOpenMetrics: true, MaxRequestsInFlight: 4, Timeout: 10 * time.Second}))
	return mux
}
