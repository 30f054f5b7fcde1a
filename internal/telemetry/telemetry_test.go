package telemetry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"

	"github.com/mintmark/mintmark"
)

const canary = "canaryCANARYcanaryCANARYcanaryCANARY0123456"

func TestLogRedacts(t *testing.T) {
	jwt := "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJjYW5hcnkifQ." + canary
	for name, say := range map[string]func(*slog.Logger){
		"by type":          func(l *slog.Logger) { l.Info("x", "v", mintmark.NewSecret(canary)) },
		"by key":           func(l *slog.Logger) { l.Info("x", "client_secret", canary) },
		"by key in group":  func(l *slog.Logger) { l.WithGroup("g").With("Authorization", canary).Info("x") },
		"cookie":           func(l *slog.Logger) { l.Info("x", "set_cookie", canary) },
		"password":         func(l *slog.Logger) { l.Info("x", "userPassword", canary) },
		"opaque in value":  func(l *slog.Logger) { l.Info("x", "v", "got mma_"+canary) },
		"in the message":   func(l *slog.Logger) { l.Info("got mmr_" + canary) },
		"jwt in error":     func(l *slog.Logger) { l.Info("x", "error", fmt.Errorf("bad %s", jwt)) },
		"bearer in string": func(l *slog.Logger) { l.Info("x", "v", "Authorization: Bearer "+canary) },
		"header":           func(l *slog.Logger) { l.Info("x", "v", http.Header{"Authorization": {canary}}) },
		"url query":        func(l *slog.Logger) { l.Info("x", "v", &url.URL{Host: "h", RawQuery: "code=" + canary}) },
		"url user":         func(l *slog.Logger) { l.Info("x", "v", "https://u:"+canary+"@h/") },
		"bytes":            func(l *slog.Logger) { l.Info("x", "v", []byte(canary)) },
		"list":             func(l *slog.Logger) { l.Info("x", "v", []string{"mmk_" + canary}) },
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			say(NewLogger(&out, "info"))
			if out.Len() == 0 || strings.Contains(out.String(), canary) {
				t.Errorf("logged %s", out.String())
			}
		})
	}
}

func TestLogKeepsWhatHelps(t *testing.T) {
	var out bytes.Buffer
	NewLogger(&out, "info").Info("token revoked", "token_id", "tok_1", "tokens", 5, "release", "orders/v2", "error", errors.New("plain"))
	for _, want := range []string{`"token_id":"tok_1"`, `"tokens":5`, `"release":"orders/v2"`, `"error":"plain"`, `"msg":"token revoked"`} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("lost %s in %s", want, out.String())
		}
	}
}

func TestBounded(t *testing.T) {
	b := NewBounded(2)
	for _, tt := range []struct{ in, want string }{
		{"a", "a"}, {"b", "b"}, {"c", Other}, {"a", "a"}, {"", "none"}, {strings.Repeat("x", 129), Other},
	} {
		if got := b.Label(tt.in); got != tt.want {
			t.Errorf("Label(%q) = %q, want %q", tt.in, got, tt.want)
		}
	}
}

func TestMetricsAreBoundedAndLint(t *testing.T) {
	r := prometheus.NewRegistry()
	g, a, c, rec := NewGateway(r), NewAuthority(r), NewControl(r), NewRecorder(r)
	for i := range 2000 {
		g.AddValidated("orders/v1", mintmark.ClientID(fmt.Sprint("client", i)), "https://i", 1)
	}
	g.AddRefused(mintmark.CodeExpired, "orders/v1", "c", "i", 3)
	token := &mintmark.Token{Kind: mintmark.KindAccessJWT, Client: "c", Mark: mintmark.Mark{Release: "orders/v1"}}
	a.Issued(token)
	a.Renewed(token)
	a.Reused(token)
	a.Failed("refresh_token", "invalid_grant")
	c.Receipt(&mintmark.Receipt{Kind: "revoke", Outcome: mintmark.OutcomeEffective, Tokens: 4, Revocations: []mintmark.Revocation{{Action: mintmark.ActionRevoke}}})
	c.Members(3, 0)
	rec.SetLive([]LiveCount{{Release: "orders/v1", Client: "c", Tokens: 7}, {Release: "orders/v1", Client: "c", Tokens: 1}})
	rec.Ended(mintmark.StateExpired, "orders/v1", "c", "", 2)
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	byName := map[string]*dto.MetricFamily{}
	for _, f := range families {
		byName[f.GetName()] = f
	}
	if n := len(byName["mintmark_gateway_validated_total"].GetMetric()); n != 501 { // 500 clients and "other"
		t.Errorf("%d series of 2,000 clients, want 501", n)
	}
	if got := byName["mintmark_tokens_live"].GetMetric()[0].GetGauge().GetValue(); got != 8 {
		t.Errorf("live = %v", got)
	}
	if h := byName["mintmark_gateway_decision_seconds"].GetMetric()[0].GetHistogram(); h.GetSchema() == 0 {
		t.Error("decisions are not in a native histogram")
	}
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("%v %v", problems, err)
	}
}

func TestHandler(t *testing.T) {
	h := NewHealth()
	var broken error
	h.Ready("ledger", func(context.Context) error { return broken })
	r := NewRegistry("v0")
	get := func(path string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		Handler(h, r).ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		return w
	}
	if w := get("/readyz"); w.Code != 200 {
		t.Errorf("ready: %d", w.Code)
	}
	broken = errors.New("disk full")
	if w := get("/readyz"); w.Code != 503 || !strings.Contains(w.Body.String(), "disk full") {
		t.Errorf("not ready: %d %s", w.Code, w.Body)
	}
	if w := get("/livez"); w.Code != 200 {
		t.Errorf("live: %d", w.Code)
	}
	if w := get("/metrics"); !strings.Contains(w.Body.String(), `mintmark_build_info{version="v0"} 1`) {
		t.Error("no metrics")
	}
}

func TestTracingPassesContextWhenOff(t *testing.T) {
	tr, err := NewTracing(t.Context(), TracingConfig{})
	if err != nil {
		t.Fatal(err)
	}
	in := http.Header{"Traceparent": {"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}}
	ctx, span := tr.Start(tr.Extract(t.Context(), in), "x")
	defer span.End()
	out := http.Header{}
	tr.Inject(ctx, out)
	if out.Get("Traceparent") != in.Get("Traceparent") {
		t.Errorf("got %q", out.Get("Traceparent"))
	}
}

func TestTracingExports(t *testing.T) {
	got := make(chan string, 10)
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got <- r.URL.Path }))
	defer s.Close()
	tr, err := NewTracing(t.Context(), TracingConfig{Endpoint: s.URL + "/v1/traces", PerMille: 1000, Role: "test"})
	if err != nil {
		t.Fatal(err)
	}
	_, span := tr.Start(t.Context(), "x")
	span.End()
	if err := tr.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if p := <-got; p != "/v1/traces" {
		t.Errorf("exported to %s", p)
	}
}

func FuzzRedact(f *testing.F) {
	f.Add("mma_" + canary)
	f.Add("x eyJaaaaaaaaaa.b.c y")
	f.Fuzz(func(t *testing.T, s string) {
		if once := Redact(s); Redact(once) != once && strings.Contains(Redact(once), "eyJ") {
			t.Errorf("not settled: %q", once)
		}
	})
}
