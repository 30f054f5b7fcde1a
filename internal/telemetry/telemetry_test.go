package telemetry

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

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
	g := NewGateway(r, func() GatewayState { return GatewayState{Lease: -time.Second} })
	c := NewControl(r, func() ControlState { return ControlState{Gateways: []Member{{Gateway: "a", State: "live", Behind: 2}}} })
	a, tok, _ := NewAuthority(r), NewTokens(r), NewRecorder(r)
	for i := range 2000 {
		g.AddValidated("orders/v1", mintmark.ClientID(fmt.Sprint("client", i)), "https://i", 1)
	}
	g.AddRefused(mintmark.CodeExpired, "orders/v1", "c", "i", 3)
	a.Reused("c")
	a.Refused("/token", "invalid_grant", "c")
	tok.Issued(mintmark.KindAccessJWT, "orders/v1", "c", "i")
	tok.Renewed("orders/v1", "c", "i")
	pending := &mintmark.Receipt{ID: "rcp_1", Kind: "revoke", Outcome: mintmark.OutcomePending, Tokens: 4, Revocations: []mintmark.Revocation{{Action: mintmark.ActionRevoke}}}
	c.Receipt(pending)
	done := *pending
	done.Outcome = mintmark.OutcomeEffective
	c.Receipt(&done)
	c.Receipt(&done) // written again, as after a crash
	tok.SetLive([]Count{{Release: "orders/v1", Client: "c", Tokens: 7}, {Release: "orders/v1", Client: "c", Tokens: 1}})
	tok.Ended(mintmark.StateExpired, Count{Release: "orders/v1", Client: "c", Tokens: 2})
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
	if h := byName["mintmark_control_reach_seconds"].GetMetric()[0].GetHistogram(); h.GetSchema() == 0 || h.GetSampleCount() != 1 {
		t.Errorf("reach is not one observation in a native histogram: %v", h)
	}
	if got := byName["mintmark_control_revoked_tokens_total"].GetMetric()[0].GetCounter().GetValue(); got != 4 {
		t.Errorf("revoked = %v: a receipt counts once, at its commit", got)
	}
	if got := byName["mintmark_gateway_lease_seconds"].GetMetric()[0].GetGauge().GetValue(); got != -1 {
		t.Errorf("lease = %v", got)
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

// TestTracingExports: a sampled request becomes a span under the caller's, what is
// behind it is called under that span, and the collector gets it.
func TestTracingExports(t *testing.T) {
	got := make(chan *http.Request, 10)
	var body []byte
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ = io.ReadAll(r.Body)
		got <- r
	}))
	defer s.Close()
	tr, err := NewTracing(t.Context(), TracingConfig{Endpoint: s.URL, PerMille: 0, Role: "test"})
	if err != nil {
		t.Fatal(err)
	}
	const trace, caller = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
	var seen []string
	h := tr.Serve("admin", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen = append(seen, r.Header.Get("Traceparent"))
		w.WriteHeader(http.StatusTeapot)
		if err := http.NewResponseController(w).Flush(); err != nil {
			t.Error(err)
		}
	}))
	for _, flags := range []string{"01", "00"} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("Traceparent", "00-"+trace+"-"+caller+"-"+flags)
		h.ServeHTTP(httptest.NewRecorder(), r)
	}
	if !strings.HasPrefix(seen[0], "00-"+trace+"-") || strings.Contains(seen[0], caller) || !strings.HasSuffix(seen[0], "-01") {
		t.Errorf("sampled: passed on as %s", seen[0])
	}
	if seen[1] != "00-"+trace+"-"+caller+"-00" {
		t.Errorf("not sampled: passed on as %s", seen[1])
	}
	if err := tr.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	r := <-got
	if r.URL.Path != "/v1/traces" || r.Header.Get("Content-Type") != "application/x-protobuf" {
		t.Errorf("exported to %s as %s", r.URL.Path, r.Header.Get("Content-Type"))
	}
	id, err := hex.DecodeString(trace)
	if err != nil || !bytes.Contains(body, id) || !bytes.Contains(body, []byte("mintmark-test")) || bytes.Count(body, id) != 1 {
		t.Errorf("the collector did not get the one span: %q", body)
	}
	if len(got) != 0 {
		t.Error("exported more than once")
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
