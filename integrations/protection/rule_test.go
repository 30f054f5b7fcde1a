package main

import (
	"context"
	"crypto"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/web"
)

// verdicts is a control whose verdict the test chooses.
type verdicts struct {
	mu    sync.Mutex
	gate  api.Gate
	err   error
	asked []mintmark.RolloutID
}

func (v *verdicts) RolloutGate(_ context.Context, id mintmark.RolloutID, _ time.Duration) (*api.Gate, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.asked = append(v.asked, id)
	g := v.gate
	return &g, v.err
}

func (v *verdicts) set(state, verdict string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.gate = api.Gate{Rollout: "rol_1", Service: "shop", Candidate: "v2", State: state, Verdict: verdict, OK: verdict == "pass", Reasons: []string{"because"}}
}

// hub is GitHub's API: it wants the app's signature, and a token of the installation.
type hub struct {
	*httptest.Server
	mu      sync.Mutex
	reviews []review
	failing int // answers of 500 to give first
}

func newHub(t *testing.T, key *rsa.PublicKey) *hub {
	h := &hub{}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /app/installations/7/access_tokens", func(w http.ResponseWriter, r *http.Request) {
		parts := strings.Split(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "), ".")
		sig, err := base64.RawURLEncoding.DecodeString(parts[len(parts)-1])
		sum := sha256.Sum256([]byte(strings.Join(parts[:len(parts)-1], ".")))
		if err != nil || len(parts) != 3 || rsa.VerifyPKCS1v15(key, crypto.SHA256, sum[:], sig) != nil {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		w.WriteHeader(http.StatusCreated)
		_, _ = w.Write([]byte(`{"token":"ghs_x"}`))
	})
	mux.HandleFunc("POST /repos/o/r/actions/runs/{run}/deployment_protection_rule", func(w http.ResponseWriter, r *http.Request) {
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.failing > 0 {
			h.failing--
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		var v review
		if r.Header.Get("Authorization") != "Bearer ghs_x" || json.NewDecoder(r.Body).Decode(&v) != nil {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		h.reviews = append(h.reviews, v)
		w.WriteHeader(http.StatusNoContent)
	})
	h.Server = httptest.NewServer(mux)
	t.Cleanup(h.Close)
	return h
}

const secret = "a secret of sixteen bytes or more"

func rig(t *testing.T) (*rule, *verdicts, *hub) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	h := newHub(t, &key.PublicKey)
	g, err := newGitHub(h.URL, "12345", pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}),
		web.NewEgress(web.EgressConfig{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}))
	if err != nil {
		t.Fatal(err)
	}
	v := &verdicts{}
	return newRule([]byte(secret), map[string]string{"production": "shop"}, v, g, time.Hour, slog.New(slog.DiscardHandler)), v, h
}

func deliver(r *rule, event, body, key string) int {
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write([]byte(body))
	q := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
	q.Header.Set("X-GitHub-Event", event)
	q.Header.Set("X-Hub-Signature-256", "sha256="+hex.EncodeToString(mac.Sum(nil)))
	w := httptest.NewRecorder()
	r.ServeHTTP(w, q)
	return w.Code
}

func requested(h *hub, run, environment string) string {
	return `{"action":"requested","environment":"` + environment + `","event":"push","deployment_callback_url":"` + h.URL + `/repos/o/r/actions/runs/` + run +
		`/deployment_protection_rule","installation":{"id":7},"repository":{"id":1}}`
}

// settleAll does one round of Run.
func settleAll(r *rule) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for callback, d := range r.pending {
		if r.settle(context.WithoutCancel(ctx), d) {
			delete(r.pending, callback)
		}
	}
}

// Nothing is believed unsigned, and no token goes to a server that the webhook names.
func TestRefusals(t *testing.T) {
	r, _, h := rig(t)
	good := requested(h, "1", "production")
	for what, c := range map[string]struct {
		event, body, key string
		want             int
	}{
		"wrong signature":        {"deployment_protection_rule", good, "another secret of enough bytes", 401},
		"another event":          {"ping", "{}", secret, 204},
		"not JSON":               {"deployment_protection_rule", "x", secret, 400},
		"another action":         {"deployment_protection_rule", strings.Replace(good, "requested", "x", 1), secret, 400},
		"unknown environment":    {"deployment_protection_rule", requested(h, "1", "staging"), secret, 404},
		"a callback elsewhere":   {"deployment_protection_rule", strings.Replace(good, h.URL, "https://evil.example", 1), secret, 400},
		"a callback beside it":   {"deployment_protection_rule", strings.Replace(good, h.URL, h.URL+".evil.example", 1), secret, 400},
		"a callback by its dots": {"deployment_protection_rule", strings.Replace(good, "/repos", "/../repos", 1), secret, 400},
	} {
		if got := deliver(r, c.event, c.body, c.key); got != c.want {
			t.Errorf("%s: %d, want %d", what, got, c.want)
		}
	}
	q := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(good))
	q.Header.Set("X-GitHub-Event", "deployment_protection_rule")
	w := httptest.NewRecorder()
	if r.ServeHTTP(w, q); w.Code != http.StatusUnauthorized {
		t.Errorf("no signature: %d", w.Code)
	}
	if len(r.pending) != 0 {
		t.Errorf("%d wait", len(r.pending))
	}
}

// One answer for each deployment, when there is a verdict, and only a pass approves.
func TestReviews(t *testing.T) {
	for _, c := range []struct{ state, verdict, want string }{
		{"promoted", "pass", "approved"}, {"rolled_back", "fail", "rejected"}, {"progressing", "fail", "rejected"},
	} {
		r, v, h := rig(t)
		v.set("progressing", "wait")
		for range 2 { // GitHub may deliver twice
			if got := deliver(r, "deployment_protection_rule", requested(h, "1", "production"), secret); got != http.StatusAccepted {
				t.Fatalf("delivered: %d", got)
			}
		}
		settleAll(r)
		if len(h.reviews) != 0 || len(r.pending) != 1 {
			t.Fatalf("answered before a verdict: %+v", h.reviews)
		}
		v.set(c.state, c.verdict)
		h.failing = 1 // and GitHub may fail
		settleAll(r)
		settleAll(r)
		settleAll(r)
		if len(h.reviews) != 1 || h.reviews[0].State != c.want || h.reviews[0].Environment != "production" || !strings.Contains(h.reviews[0].Comment, "because") || len(r.pending) != 0 {
			t.Errorf("%+v: reviews %+v, %d pending", c, h.reviews, len(r.pending))
		}
		if last := v.asked[len(v.asked)-1]; last != "rol_1" {
			t.Errorf("asked about %s at last: another rollout's verdict would count", last)
		}
	}
}

// What is over already says nothing about this deployment; an absence is waited out.
func TestNothingUnderWay(t *testing.T) {
	r, v, h := rig(t)
	v.set("finalised", "pass")
	deliver(r, "deployment_protection_rule", requested(h, "1", "production"), secret)
	settleAll(r)
	if len(h.reviews) != 1 || h.reviews[0].State != "rejected" {
		t.Errorf("an old pass: %+v", h.reviews)
	}
	v.set("progressing", "pass")
	v.err = api.NewProblem(api.CodeUnreachable, "away", "")
	deliver(r, "deployment_protection_rule", requested(h, "2", "production"), secret)
	settleAll(r)
	if len(h.reviews) != 1 || len(r.pending) != 1 {
		t.Errorf("control away: %+v", h.reviews)
	}
	v.err = nil
	settleAll(r)
	if len(h.reviews) != 2 || h.reviews[1].State != "approved" {
		t.Errorf("control back: %+v", h.reviews)
	}
}
