package gateway

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/arrival"
	"github.com/mintmark/mintmark/internal/epoch"
	"github.com/mintmark/mintmark/internal/health"
)

// jobs is a mirror that runs what it is offered when the test says so.
type jobs struct {
	mu   sync.Mutex
	list []func(context.Context) // guarded by mu
	full bool
}

func (j *jobs) Offer(job func(context.Context)) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.full {
		return false
	}
	j.list = append(j.list, job)
	return true
}

func (j *jobs) run(t *testing.T) int {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), 5*time.Second)
	defer stop()
	j.mu.Lock()
	list := j.list
	j.list = nil
	j.mu.Unlock()
	for _, job := range list {
		job(ctx)
	}
	return len(list)
}

// sights keeps what the meter was told.
type sights struct {
	mu   sync.Mutex
	list []string // guarded by mu
}

func (s *sights) Observe(o *health.Observed) {
	s.mu.Lock()
	defer s.mu.Unlock()
	release := "none"
	if o.Served != nil {
		release = o.Served.Name
	}
	s.list = append(s.list, fmt.Sprintf("%s %d %s", release, o.Upstream, o.Code))
}

func (s *sights) take() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := strings.TrimSpace(strings.Join(s.list, ", "))
	s.list = nil
	return out
}

// shadowRig is a gateway with a shadow rollout from v1 to v2, and what v2 got.
func shadowRig(t *testing.T, m epoch.Mirror, change func(*epoch.Service)) (*rig, *jobs, *sights, func() string) {
	t.Helper()
	var mu sync.Mutex
	var got []string
	s := service(server(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, "v1")
	}))
	s.Releases[0].Accept = []string{"*"}
	v2 := release("v2", server(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		mu.Lock()
		got = append(got, fmt.Sprintf("%s %s %s shadow=%s subject=%s auth=%q body=%s", r.Method, r.URL, r.Header.Get("X-Mine"), r.Header.Get(HeaderShadow), r.Header.Get("Mintmark-Token-Subject"), r.Header.Get("Authorization"), b))
		mu.Unlock()
		w.WriteHeader(http.StatusInternalServerError)
	}))
	v2.Accept = []string{"*"}
	s.Releases = append(s.Releases, v2)
	s.Split = epoch.Split{Stable: "v1", Candidate: "v2", Salt: "x", Rollout: "rol_1", Mirror: &m}
	if change != nil {
		change(s)
	}
	j, w := &jobs{}, &sights{}
	r := newRig(t, s, func(c *Config, _ *arrival.ServerConfig) { c.Mirror, c.Meter = j, w })
	return r, j, w, func() string {
		mu.Lock()
		defer mu.Unlock()
		out := strings.Join(got, "\n")
		got = nil
		return out
	}
}

// A copy goes to the candidate once the request was answered, as the request went to
// the stable release; its answer is dropped and counted.
func TestShadow(t *testing.T) {
	r, j, met, got := shadowRig(t, epoch.Mirror{Share: epoch.Cohorts, Methods: []string{"GET", "POST"}, MaxBody: 8}, nil)
	req := r.request("GET", "/x?q=1", "good")
	req.Header.Set("X-Mine", "yes")
	if resp, body := r.do(req); resp.StatusCode != 200 || body != "v1" {
		t.Fatalf("the client got %d %q", resp.StatusCode, body)
	}
	if s := got(); s != "" {
		t.Errorf("sent before it was let: %s", s)
	}
	// The exchange is used again before the copy goes out: nothing may leak in.
	for range 20 {
		other := r.request("DELETE", "/other", "good")
		other.Header.Set("X-Mine", "other")
		r.do(other)
	}
	if n := j.run(t); n != 1 {
		t.Fatalf("%d copies, want 1", n)
	}
	if s := got(); s != `GET /x?q=1 yes shadow=true subject=alice auth="" body=` {
		t.Errorf("copy: %s", s)
	}
	if s := met.take(); s != "v2 500" {
		t.Errorf("the meter was told %q", s)
	}
	post := func(body string) {
		t.Helper()
		req, _ := http.NewRequest("POST", r.url+"/p", strings.NewReader(body))
		req.Header.Set("Authorization", "Bearer good")
		if resp, _ := r.do(req); resp.StatusCode != 200 {
			t.Fatalf("post: %d", resp.StatusCode)
		}
	}
	post("12345678")
	j.run(t)
	if s := got(); !strings.HasSuffix(s, "body=12345678") || !strings.HasPrefix(s, "POST /p ") {
		t.Errorf("copy with a body: %s", s)
	}
	met.take()
	post("123456789") // too large: counts for neither side
	if n := j.run(t); n != 0 || met.take() != "" {
		t.Errorf("%d copies of what is too large", n)
	}
	// No room: served all the same, and says nothing.
	j.full = true
	if _, body := r.get("/x", "good"); body != "v1" || met.take() != "" {
		t.Errorf("without room: %q", body)
	}
}

// Only safe methods when none is named; subjects outside the share are the other
// side; what was taken back meanwhile gets no copy.
func TestShadowBounds(t *testing.T) {
	r, j, met, got := shadowRig(t, epoch.Mirror{Share: epoch.Cohorts}, nil)
	r.do(r.request("POST", "/x", "good"))
	if n := j.run(t); n != 0 || met.take() != "" {
		t.Errorf("%d copies of a POST", n)
	}
	// A rollback between the request and its copy.
	r.get("/x", "good")
	s := service(server(t, echo))
	s.Releases = append(s.Releases, release("v2", "http://127.0.0.1:1"))
	r.put(s, 8)
	if j.run(t); got() != "" || met.take() != "" {
		t.Error("a copy reached a release that was taken back")
	}
	r, j, met, _ = shadowRig(t, epoch.Mirror{Share: 0}, nil)
	r.get("/x", "good")
	if n := j.run(t); n != 0 || met.take() != "v1 200" {
		t.Errorf("outside the share: %d copies", n)
	}
}

// A token that the candidate would refuse is judged, not refused.
func TestShadowJudgesThePolicy(t *testing.T) {
	r, j, met, got := shadowRig(t, epoch.Mirror{Share: epoch.Cohorts}, func(s *epoch.Service) { s.Releases[1].Accept = nil })
	if resp, body := r.get("/x", "good"); resp.StatusCode != 200 || body != "v1" {
		t.Fatalf("served %d %q", resp.StatusCode, body)
	}
	n := j.run(t)
	if s := met.take(); n != 0 || got() != "" || s != "v2 0 release_retired" {
		t.Errorf("%d copies, meter %q", n, s)
	}
}

// A copy's token is held to what the request's would be, at the moment it goes out.
func TestShadowSendsNothingOfATokenTakenBack(t *testing.T) {
	r, j, met, got := shadowRig(t, epoch.Mirror{Share: epoch.Cohorts}, nil)
	// The fake verifier lets a key pass that no epoch has: withdrawn, as it were, since.
	r.token("withdrawn", func(t *mintmark.Token) { t.Kind, t.Mark.Key = mintmark.KindAccessJWT, "k1" })
	now := time.Now()
	r.token("brief", func(t *mintmark.Token) { t.Expires = now.Unix() + 3 })
	for _, token := range []string{"withdrawn", "brief"} {
		if resp, _ := r.get("/x", token); resp.StatusCode != http.StatusOK {
			t.Fatalf("%s: %d", token, resp.StatusCode)
		}
		r.gateway.cfg.Now = func() time.Time { return now.Add(time.Minute) }
		if j.run(t); got() != "" || met.take() != "" {
			t.Errorf("%s: a copy was sent", token)
		}
		r.gateway.cfg.Now = func() time.Time { return now }
	}
}

// What was reshaped for the stable release is not shown to the candidate, which would
// have got another shape.
func TestShadowCopiesNoShapeOfTheStableRelease(t *testing.T) {
	r, j, met, got := shadowRig(t, epoch.Mirror{Share: epoch.Cohorts}, func(s *epoch.Service) {
		s.Releases = append(s.Releases, release("v0", "http://127.0.0.1:1"))
		s.Releases[0].Accept, s.Releases[0].Maps = nil, []epoch.ShapeMap{{From: "v0"}}
	})
	r.token("old", func(t *mintmark.Token) { t.Mark.Release = "orders/v0" })
	if resp, _ := r.get("/x", "old"); resp.StatusCode != http.StatusOK {
		t.Fatal(resp.StatusCode)
	}
	if n := j.run(t); n != 0 || got() != "" || met.take() != "" {
		t.Errorf("%d copies", n)
	}
}

// Bodies kept for copies take a bounded room, however many requests bring them.
func TestShadowBodiesAreBounded(t *testing.T) {
	r, j, _, got := shadowRig(t, epoch.Mirror{Share: epoch.Cohorts, Methods: []string{"POST"}, MaxBody: 8}, nil)
	post := func() {
		t.Helper()
		req, _ := http.NewRequest("POST", r.url+"/p", strings.NewReader("12345678"))
		req.Header.Set("Authorization", "Bearer good")
		if resp, _ := r.do(req); resp.StatusCode != http.StatusOK {
			t.Fatal(resp.StatusCode)
		}
	}
	r.gateway.shadowing.Store(maxShadowing - 7)
	if post(); j.run(t) != 0 {
		t.Error("copied without room")
	}
	r.gateway.shadowing.Store(maxShadowing - 8)
	post()
	post() // the first one's copy still waits
	if n := j.run(t); n != 1 || !strings.HasSuffix(got(), "body=12345678") {
		t.Errorf("%d copies, want 1", n)
	}
	j.full = true
	post()
	if n := r.gateway.shadowing.Load(); n != maxShadowing-8 {
		t.Errorf("%d bytes are still taken", n-maxShadowing+8)
	}
}

// A server may answer before it has read the body, which is then kept while the
// request is already over.
func TestShadowBodyOutlastsItsRequest(t *testing.T) {
	const n = 4096
	c := &shadowCopy{body: make([]byte, 0, n), length: n}
	b := &teeBody{ReadCloser: io.NopCloser(iotest.OneByteReader(strings.NewReader(strings.Repeat("a", n)))), into: c}
	var wg sync.WaitGroup
	wg.Go(func() { _, _ = io.Copy(io.Discard, b) })
	for !c.whole() {
		runtime.Gosched()
	}
	if s := string(c.body); s != strings.Repeat("a", n) {
		t.Errorf("%d bytes", len(s))
	}
	wg.Wait()
}
