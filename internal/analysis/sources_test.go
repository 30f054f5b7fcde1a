package analysis

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/epoch"
	"github.com/mintmark/mintmark/internal/exposure"
	"github.com/mintmark/mintmark/internal/health"
	"github.com/mintmark/mintmark/internal/predicate"
	"github.com/mintmark/mintmark/internal/web"
)

// counters play Prometheus.
type counters struct {
	mu     sync.Mutex
	values map[string]string // body by query
}

func (c *counters) set(query, body string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.values[query] = body
}

func vector(stable, candidate int) string {
	return fmt.Sprintf(`{"status":"success","data":{"resultType":"vector","result":[
		{"metric":{"release":"shop/v1"},"value":[1,"%d"]},{"metric":{"release":"v2"},"value":[1,"%d"]}]}}`, stable, candidate)
}

func (c *counters) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r.URL.Path != "/prom/api/v1/query" || r.Header.Get("Authorization") != "Bearer sesame" {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	fmt.Fprint(w, c.values[r.FormValue("query")])
}

func TestQueriesAreJudged(t *testing.T) {
	c := &counters{values: map[string]string{}}
	server := httptest.NewServer(c)
	defer server.Close()
	egress := web.NewEgress(web.EgressConfig{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	w := newWorld(t, func(cfg *Config) { cfg.Fetch = Prometheus(egress, server.URL+"/prom/", mintmark.NewSecret("sesame")) })
	o := opening
	o.Spec.Queries = []health.QuerySpec{{Name: "carts", Bad: "lost", Total: "all", IntervalMS: 1000}}
	c.set("all", "<html>")
	w.must(w.analysis.Open(t.Context(), o))
	until := func(what string, ok func(health.Report) bool) health.Report {
		t.Helper()
		deadline := time.Now().Add(20 * time.Second)
		for time.Now().Before(deadline) {
			if r, _ := w.analysis.Health("ro_1"); ok(r) {
				return r
			}
			time.Sleep(time.Millisecond)
		}
		t.Fatalf("never: %s", what)
		return health.Report{}
	}
	until("a fault is inconclusive", func(r health.Report) bool {
		return r.Outcome == health.Inconclusive && strings.Contains(r.Reasons[0], "prometheus.carts does not answer")
	})
	next := func() { w.tick(1100 * time.Millisecond) }
	c.set("lost", vector(10, 0))
	c.set("all", vector(10_000, 0))
	next()
	until("the fault is over", func(r health.Report) bool { return r.Outcome == health.Wait })
	c.set("lost", vector(20, 60))
	c.set("all", vector(20_000, 1_000))
	next()
	r := until("the candidate loses carts", func(r health.Report) bool { return r.Outcome == health.Fail })
	if m := metric(t, r, "prometheus.carts"); m.Events != (health.Arms{Stable: 10, Candidate: 60}) || r.Tripped != "prometheus.carts" {
		t.Errorf("events %+v, tripped %q", m.Events, r.Tripped)
	}
}

func TestReadVector(t *testing.T) {
	for body, want := range map[string]string{
		"": "answered 400", `{"status":"error","error":"parse error at char 3"}`: "parse error at char 3",
		`{"status":"success","data":{"resultType":"matrix"}}`:                                                                                                    "must give an instant vector",
		`{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1,"NaN"]}]}}`:                                                         "want a count",
		`{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1,"-3"]}]}}`:                                                          "want a count",
		`{"status":"success","data":{"resultType":"vector","result":[{"metric":{"release":"v1"},"value":[1,"3"]},{"metric":{"release":"v1"},"value":[1,"4"]}]}}`: "",
	} {
		got, err := readVector(400, []byte(body), "release")
		if want == "" && (err != nil || got["v1"] != 7) || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v %v, want %q", body, got, err, want)
		}
	}
}

func TestExpressionsAreCheckedWhenOpened(t *testing.T) {
	w := newWorld(t, nil)
	o := opening
	o.Spec.User = []health.UserSpec{{Name: "conflict", When: "staus == 409"}}
	if err := w.analysis.Open(t.Context(), o); !errors.Is(err, health.ErrSpec) || !strings.Contains(err.Error(), "user[0].when") || !strings.Contains(err.Error(), "line 1 column 1") {
		t.Errorf("a bad expression: %v", err)
	}
	o.Spec.User, o.Spec.Queries = nil, []health.QuerySpec{{Name: "q", Bad: "a", Total: "b"}}
	if err := w.analysis.Open(t.Context(), o); !errors.Is(err, health.ErrSpec) || !strings.Contains(err.Error(), "no Prometheus is configured") {
		t.Errorf("queries without Prometheus: %v", err)
	}
}

// TestUserMetric: an expression that a rollout declares, from the gateway's meter
// to the verdict; and what the authority's own meter sees, without a recorder.
func TestUserMetric(t *testing.T) {
	authority := exposure.New(exposure.Config{})
	w := newWorld(t, func(c *Config) { c.Local = authority.Drain })
	o := opening
	o.Spec.User = []health.UserSpec{{Name: "conflict", When: "upstream_status == 409 && method == 'PUT'"}}
	w.must(w.analysis.Open(t.Context(), o))
	m := exposure.New(exposure.Config{Now: func() time.Time { return w.now }, Compile: func(when string) (func(*health.Observed) bool, error) {
		p, err := predicate.Compile(when)
		if err != nil {
			return nil, err
		}
		return p.Holds, nil
	}})
	snap := shop(t, 2000, &epoch.Watch{User: []epoch.Expression{{Name: "conflict", When: o.Spec.User[0].When}}})
	s := snap.Table.Service("shop")
	for i := range 200 {
		r := request(snap, subject(i), 200, w.now)
		r.Method = "PUT"
		if r.Served == s.Candidate {
			r.Upstream = 409
		}
		m.Observe(r)
		authority.Subject(snap, s, subject(i), 0, w.now)
		if i == 7 {
			authority.Subject(snap, s, subject(i), 1<<health.PlaceIssuanceFailed, w.now)
		}
	}
	w.deliver("east", m, false)
	w.analysis.Wake()
	deadline := time.Now().Add(20 * time.Second)
	for {
		r := w.settled("ro_1")
		if r.Outcome == health.Fail && len(r.Sources) == 2 {
			if r.Tripped != "user.conflict" || r.Sources[0].Name != "authority" {
				t.Errorf("tripped %q by %+v", r.Tripped, r.Sources)
			}
			if n := metric(t, r, health.IssuanceFailed).Events; n.Stable+n.Candidate != 1 {
				t.Errorf("issuance failures %+v", n)
			}
			if n := r.Exposed; n.Stable+n.Candidate != 200 {
				t.Errorf("exposed %+v", n)
			}
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s %v by %+v", r.Outcome, r.Reasons, r.Sources)
		}
		time.Sleep(time.Millisecond)
	}
}
