package gateway

import (
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/bus"
	"github.com/mintmark/mintmark/internal/epoch"
	"github.com/mintmark/mintmark/internal/identity"
)

func TestReissueSendsAnInternalTokenOnce(t *testing.T) {
	s := service(server(t, echo))
	s.Retired = []epoch.Retired{{
		Release: "v2", Rollout: "rol_1", CutoffSeq: 100,
		Rules: []epoch.DispositionRule{{Class: "unmapped", Disposition: mintmark.Reissue}},
	}}
	r := newRig(t, s)
	r.token("candidate", func(t *mintmark.Token) { t.Mark.Release = "orders/v2" })
	var asked atomic.Int32
	var fail atomic.Bool
	r.gateway.reissues.from = reissuerFunc(func(q bus.ReissueRequest) (bus.ReissueReply, error) {
		asked.Add(1)
		if fail.Load() {
			return bus.ReissueReply{}, errors.New("cut off")
		}
		if q.Release != "orders/v1" || q.Token.ID != "tok_candidate" {
			t.Errorf("asked for %+v", q)
		}
		return bus.ReissueReply{V: 1, Value: "internal.jwt.here", Token: &mintmark.Token{Expires: time.Now().Unix() + 60}}, nil
	})
	fail.Store(true)
	if resp, _ := r.get("/x", "candidate"); resp.StatusCode != 503 {
		t.Errorf("without an answer: %d, want 503", resp.StatusCode)
	}
	fail.Store(false)
	asked.Store(0)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			req := r.request("GET", "/x", "candidate")
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Error(err)
				return
			}
			resp.Body.Close()
			if resp.StatusCode != 200 {
				t.Errorf("status %d", resp.StatusCode)
			}
		})
	}
	wg.Wait()
	resp, body := r.get("/x", "candidate")
	if got := decode(t, body).Header.Get("Authorization"); got != "Bearer internal.jwt.here" || resp.Header.Get(identity.MustRenew) != "true" {
		t.Errorf("upstream saw %q; answer %v", got, resp.Header)
	}
	if asked.Load() != 1 {
		t.Errorf("asked %d times, want 1", asked.Load())
	}
}

func TestMappedClaimsReachTheRelease(t *testing.T) {
	s := service(server(t, echo))
	s.Routes[0].Transform = &epoch.Transform{Claims: map[string]string{"tier": "Acme-Tier"}}
	s.Releases[0].Maps = []epoch.ShapeMap{{From: "v2", Rename: map[string]string{"plan": "tier"}}}
	r2 := release("v2", "http://127.0.0.1:1")
	s.Releases = append(s.Releases, r2)
	r := newRig(t, s)
	r.token("candidate", func(t *mintmark.Token) {
		t.Mark.Release = "orders/v2"
		t.Claims = []byte(`{"plan":"gold"}`)
	})
	resp, body := r.get("/x", "candidate")
	if resp.StatusCode != 200 {
		t.Fatalf("%d %s", resp.StatusCode, body)
	}
	h := decode(t, body).Header
	if h.Get("Acme-Tier") != "gold" || h.Get(identity.Claims) == "" || h.Get(identity.Release) != "orders/v2" {
		t.Errorf("upstream saw %v", h)
	}
}

func TestCandidateTokenMeetsCandidate(t *testing.T) {
	name := func(n string) string {
		return server(t, func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte(n)) })
	}
	s := service(name("v1"))
	s.Releases[0].Accept = []string{"*"}
	v2 := release("v2", name("v2"))
	v2.Accept = []string{"*"}
	s.Releases = append(s.Releases, v2)
	s.Split = epoch.Split{Stable: "v1", Candidate: "v2", Weight: 1, Salt: "pepper", Rollout: "rol_1"}
	r := newRig(t, s)
	r.token("candidate", func(t *mintmark.Token) { t.Mark.Release = "orders/v2" })
	if _, body := r.get("/x", "candidate"); body != "v2" {
		t.Errorf("candidate's token met %s", body)
	}
	if _, body := r.get("/x", "good"); body != "v1" {
		t.Errorf("stable token met %s", body)
	}
}
