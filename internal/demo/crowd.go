package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Person is a user of the sample service.
type Person struct{ Name, Password string }

// Machine is a client with credentials of its own.
type Machine struct{ ID, Secret string }

// CrowdConfig says who is in a crowd and whom it calls.
type CrowdConfig struct {
	Issuer   string   // the authority
	Gateways []string // base URLs
	Audience string
	// People sign in at PublicClient and come back to Redirect.
	PublicClient string
	Redirect     string
	People       []Person
	Machines     []Machine
	APIKeys      []string
	Scope        string
	// Pause between two requests of one client; half to one and a half times it.
	Pause time.Duration
	Seed  uint64
}

// Crowd is several hundred synthetic clients. Run owns its goroutines.
type Crowd struct {
	cfg   CrowdConfig
	flows *flows
	http  *http.Client
	Score *Score

	ready   atomic.Int64 // clients that hold a token
	logins  chan struct{}
	streams atomic.Int64
}

// NewCrowd prepares a crowd; nothing happens until Run.
func NewCrowd(cfg CrowdConfig) *Crowd {
	transport := &http.Transport{MaxIdleConns: 512, MaxIdleConnsPerHost: 256, IdleConnTimeout: 30 * time.Second}
	client := &http.Client{
		Transport: transport, Timeout: 15 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return &Crowd{
		cfg: cfg, http: client, Score: &Score{}, logins: make(chan struct{}, 4),
		flows: &flows{client: client, issuer: cfg.Issuer, audience: cfg.Audience},
	}
}

// Size is how many clients there are.
func (c *Crowd) Size() int { return len(c.cfg.People) + len(c.cfg.Machines) + len(c.cfg.APIKeys) }

// Ready is how many of them hold a token.
func (c *Crowd) Ready() int { return int(c.ready.Load()) }

// Streams is how many event streams are open.
func (c *Crowd) Streams() int { return int(c.streams.Load()) }

// Run lets everybody act until ctx ends.
func (c *Crowd) Run(ctx context.Context) error {
	if err := c.flows.discover(ctx); err != nil {
		return err
	}
	var wg sync.WaitGroup
	start := func(i int, w *walker) {
		w.crowd, w.rnd = c, rand.New(rand.NewPCG(c.cfg.Seed, uint64(i)))
		wg.Go(func() { w.run(ctx) })
	}
	i := 0
	for _, p := range c.cfg.People {
		start(i, &walker{name: p.Name, obtain: func(ctx context.Context) (*held, error) {
			return c.signIn(ctx, p)
		}, public: true, streams: i%4 == 0})
		i++
	}
	for _, m := range c.cfg.Machines {
		start(i, &walker{name: m.ID, obtain: func(ctx context.Context) (*held, error) {
			return c.flows.machine(ctx, m.ID, m.Secret, c.cfg.Scope)
		}, streams: i%16 == 0})
		i++
	}
	for n, key := range c.cfg.APIKeys {
		start(i, &walker{name: fmt.Sprintf("api key %d", n), obtain: func(context.Context) (*held, error) {
			return &held{access: key, expires: time.Now().Add(time.Hour)}, nil
		}})
		i++
	}
	wg.Wait()
	c.http.CloseIdleConnections()
	return nil
}

// signIn signs a person in; few at a time, as password hashing is meant to be
// slow.
func (c *Crowd) signIn(ctx context.Context, p Person) (*held, error) {
	select {
	case c.logins <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-c.logins }()
	return c.flows.person(ctx, c.cfg.PublicClient, c.cfg.Redirect, c.cfg.Scope, p.Name, p.Password)
}

// walker is one client.
type walker struct {
	crowd   *Crowd
	name    string
	obtain  func(context.Context) (*held, error)
	public  bool // renews by refresh token
	streams bool // keeps an event stream open
	rnd     *rand.Rand
	token   *held
	// stolen are harmful tokens that were refused: presented again and again, as
	// somebody would who should not have them.
	stolen []*held
}

func (w *walker) run(ctx context.Context) {
	var streams sync.WaitGroup
	defer streams.Wait()
	for ctx.Err() == nil {
		if w.token == nil || time.Now().After(w.token.renew) {
			if !w.renew(ctx) {
				w.pause(ctx)
				continue
			}
			if w.streams {
				h := w.token
				gateway := w.gateway()
				streams.Go(func() { w.crowd.stream(ctx, gateway, h) })
			}
		}
		w.call(ctx, w.token)
		for _, h := range w.stolen {
			if time.Now().Before(h.expires) { // later a refusal proves nothing
				w.call(ctx, h)
			}
		}
		w.pause(ctx)
	}
}

func (w *walker) gateway() string {
	return w.crowd.cfg.Gateways[w.rnd.IntN(len(w.crowd.cfg.Gateways))]
}

func (w *walker) pause(ctx context.Context) {
	d := w.crowd.cfg.Pause/2 + time.Duration(w.rnd.Int64N(int64(w.crowd.cfg.Pause)+1))
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// renew obtains a first token or renews the one held; on a refused refresh the
// client starts over, as a real one would.
func (w *walker) renew(ctx context.Context) bool {
	s := w.crowd.Score
	var h *held
	var err error
	if w.token != nil && w.token.refresh != "" {
		if h, err = w.crowd.flows.refresh(ctx, w.crowd.cfg.PublicClient, w.token); err == nil {
			s.Refreshed.Add(1)
		} else {
			var te *tokenError
			if !errors.As(err, &te) || te.Status >= 500 {
				s.MintFailed.Add(1)
				return time.Now().Before(w.token.expires) // the old one still works; ask again next round
			}
			w.drop()
		}
	}
	if h == nil {
		if h, err = w.obtain(ctx); err != nil {
			if ctx.Err() == nil {
				s.MintFailed.Add(1)
				if te := (*tokenError)(nil); errors.As(err, &te) && te.Status < 500 {
					s.violate("%s could not obtain a token: %v", w.name, err)
				}
			}
			return false
		}
		s.Issued.Add(1)
	}
	life := time.Until(h.expires)
	h.renew = time.Now().Add(time.Duration(float64(life) * (0.6 + 0.2*w.rnd.Float64())))
	if h.harmful() {
		s.Harmful.Add(1)
	}
	if w.token == nil {
		w.crowd.ready.Add(1)
	}
	w.token = h
	return true
}

func (w *walker) drop() {
	if w.token != nil {
		w.token = nil
		w.crowd.ready.Add(-1)
	}
}

// call makes one request with a token and keeps the score of its answer.
func (w *walker) call(ctx context.Context, h *held) {
	s := w.crowd.Score
	gateway := w.gateway()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("%s/orders/%d", gateway, w.rnd.IntN(1000)), nil)
	if err != nil {
		return
	}
	req.Header.Set("Authorization", "Bearer "+h.access)
	started := time.Now()
	res, err := w.crowd.http.Do(req)
	if err != nil {
		if ctx.Err() == nil {
			s.Unreachable.Add(1)
		}
		return
	}
	body, _ := io.ReadAll(io.LimitReader(res.Body, 1<<16))
	_ = res.Body.Close()
	s.Requests.Add(1)
	harmful, bound := h.harmful(), s.after(started)
	if harmful && bound {
		s.HarmfulTried.Add(1)
	}
	switch {
	case res.StatusCode < 300 || res.Header.Get("Orders-Release") != "":
		// The service saw the request: it was admitted, whatever it answered.
		if res.StatusCode < 300 {
			s.OK.Add(1)
		} else {
			s.Upstream.Add(1)
		}
		if served := res.Header.Get("Orders-Release") == candidate; harmful || served {
			s.admitted(metCanary{started.UnixNano(), fmt.Sprintf("%s at %s", w.name, gateway), harmful, served})
		}
	case res.StatusCode == http.StatusServiceUnavailable:
		s.Unknown.Add(1)
	case res.StatusCode == http.StatusUnauthorized || res.StatusCode == http.StatusForbidden:
		w.refused(h, harmful, res, body, gateway)
	default:
		s.Upstream.Add(1)
	}
}

// refused tells a cure from a violation.
func (w *walker) refused(h *held, harmful bool, res *http.Response, body []byte, gateway string) {
	s := w.crowd.Score
	switch {
	case harmful:
		s.HarmfulRefused.Add(1)
		if h == w.token && len(w.stolen) < 3 {
			w.stolen = append(w.stolen, h)
		}
	case time.Now().Before(h.expires.Add(-time.Second)):
		s.Harmless401.Add(1)
		var p struct {
			Code string `json:"code"`
		}
		_ = json.Unmarshal(body, &p)
		s.violate("%s: harmless token (minted by %q) refused by %s: %d %s", w.name, h.minted, gateway, res.StatusCode, p.Code)
	}
	if h == w.token {
		w.drop()
	}
}

// stream keeps an event stream open until it ends by itself or is cut.
func (c *Crowd) stream(ctx context.Context, gateway string, h *held) {
	ctx, cancel := context.WithDeadline(ctx, h.expires)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, gateway+"/orders/events", nil)
	if err != nil {
		return
	}
	req.Header.Set("Authorization", "Bearer "+h.access)
	client := &http.Client{Transport: c.http.Transport} // no overall time-out: it is a stream
	res, err := client.Do(req)
	if err != nil {
		return
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return
	}
	c.streams.Add(1)
	defer c.streams.Add(-1)
	_, _ = io.Copy(io.Discard, res.Body)
	if ctx.Err() == nil && h.harmful() {
		c.Score.StreamsCut.Add(1)
	}
}
