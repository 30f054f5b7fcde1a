package main

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/api"
)

// Bounds.
const (
	maxHook    = 1 << 20 // bytes of a webhook
	maxPending = 1000    // deployments waited for at once
)

// gates asks for verdicts.
type gates interface {
	RolloutGate(ctx context.Context, id mintmark.RolloutID, wait time.Duration) (*api.Gate, error)
}

// reviews answers GitHub.
type reviews interface {
	answer(ctx context.Context, callback string, installation int64, r review) error
	owns(callback string) bool
}

// rule takes GitHub's requests and answers them when there is a verdict.
type rule struct {
	secret   []byte
	services map[string]string // by environment
	gates    gates
	reviews  reviews
	limit    time.Duration
	log      *slog.Logger

	mu      sync.Mutex
	pending map[string]*deployment // by callback, guarded by mu: a webhook that comes twice is one
}

// deployment waits for a verdict.
type deployment struct {
	callback, environment, service string
	installation                   int64
	since                          time.Time
	// rollout is the one that was under way when it was first asked about; owned by Run.
	rollout mintmark.RolloutID
}

func newRule(secret []byte, services map[string]string, g gates, r reviews, limit time.Duration, log *slog.Logger) *rule {
	return &rule{secret: secret, services: services, gates: g, reviews: r, limit: limit, log: log, pending: map[string]*deployment{}}
}

// signed checks X-Hub-Signature-256, in constant time.
func (r *rule) signed(header string, body []byte) bool {
	given, err := hex.DecodeString(strings.TrimPrefix(header, "sha256="))
	if err != nil || !strings.HasPrefix(header, "sha256=") {
		return false
	}
	mac := hmac.New(sha256.New, r.secret)
	mac.Write(body)
	return hmac.Equal(given, mac.Sum(nil))
}

// ServeHTTP takes a webhook: nothing of it is believed before its signature is checked.
func (r *rule) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	if q.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, "POST a webhook of GitHub's", http.StatusMethodNotAllowed)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, q.Body, maxHook))
	if err != nil {
		http.Error(w, "the body can't be read, or is too large", http.StatusBadRequest)
		return
	}
	if !r.signed(q.Header.Get("X-Hub-Signature-256"), body) {
		http.Error(w, "X-Hub-Signature-256 does not match: compare the webhook's secret", http.StatusUnauthorized)
		return
	}
	if q.Header.Get("X-GitHub-Event") != "deployment_protection_rule" {
		w.WriteHeader(http.StatusNoContent) // ping, and what nobody asked for
		return
	}
	var e struct {
		Action       string `json:"action"`
		Environment  string `json:"environment"`
		Callback     string `json:"deployment_callback_url"`
		Installation struct {
			ID int64 `json:"id"`
		} `json:"installation"`
	}
	if err := json.Unmarshal(body, &e); err != nil || e.Action != "requested" || e.Installation.ID == 0 {
		http.Error(w, "not a request for a deployment: action requested and an installation are wanted", http.StatusBadRequest)
		return
	}
	service := r.services[e.Environment]
	if service == "" {
		http.Error(w, "this environment is not known here: start with -environment "+"NAME=SERVICE", http.StatusNotFound)
		return
	}
	if !r.reviews.owns(e.Callback) {
		http.Error(w, "deployment_callback_url is not of the API given by -api", http.StatusBadRequest)
		return
	}
	if !r.add(&deployment{callback: e.Callback, environment: e.Environment, service: service, installation: e.Installation.ID, since: time.Now()}) {
		http.Error(w, "too many deployments wait", http.StatusServiceUnavailable)
		return
	}
	w.WriteHeader(http.StatusAccepted)
}

func (r *rule) add(d *deployment) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.pending[d.callback] != nil {
		return true
	}
	if len(r.pending) >= maxPending {
		return false
	}
	r.pending[d.callback] = d
	return true
}

// Run asks for verdicts and answers, until the context ends.
func (r *rule) Run(ctx context.Context, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		r.mu.Lock()
		now := maps.Clone(r.pending)
		r.mu.Unlock()
		for callback, d := range now {
			if r.settle(ctx, d) {
				r.mu.Lock()
				delete(r.pending, callback)
				r.mu.Unlock()
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// settle answers about a deployment if there is something to say, and reports whether
// it is done with.
func (r *rule) settle(ctx context.Context, d *deployment) bool {
	v, ok := r.judge(ctx, d)
	if !ok {
		return false
	}
	v.Environment = d.environment
	err := r.reviews.answer(ctx, d.callback, d.installation, v)
	if err != nil && !errors.Is(err, errGone) {
		r.log.Warn("answer GitHub; asked again later", "environment", d.environment, "error", err)
		return false
	}
	r.log.Info("deployment reviewed", "environment", d.environment, "service", d.service, "rollout", d.rollout, "state", v.State, "wanted", err == nil)
	return true
}

// judge says what to answer, if anything: only a pass approves.
func (r *rule) judge(ctx context.Context, d *deployment) (review, bool) {
	id := d.rollout
	if id == "" {
		id = mintmark.RolloutID(d.service)
	}
	late := time.Since(d.since) > r.limit
	g, err := r.gates.RolloutGate(ctx, id, 0)
	var p *api.Problem
	switch {
	case errors.As(err, &p) && p.Code == api.CodeNotFound, err == nil && d.rollout == "" && (g.State == "rolled_back" || g.State == "finalised"):
		return review{State: "rejected", Comment: "Mintmark: no rollout of " + d.service + " is under way"}, true
	case err != nil && late:
		return review{State: "rejected", Comment: "Mintmark did not answer for " + r.limit.String()}, true
	case err != nil:
		r.log.Warn("ask for the verdict; asked again later", "service", d.service, "error", err)
		return review{}, false
	}
	d.rollout = g.Rollout
	comment := "Mintmark: verdict " + g.Verdict + " on " + g.Candidate + " of " + g.Service
	if len(g.Reasons) > 0 {
		comment += ": " + strings.Join(g.Reasons, "; ")
	}
	switch {
	case g.Verdict == api.VerdictPass:
		return review{State: "approved", Comment: comment}, true
	case g.Verdict == api.VerdictFail, late:
		return review{State: "rejected", Comment: comment}, true
	}
	return review{}, false
}
