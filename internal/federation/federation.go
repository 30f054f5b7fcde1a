// Package federation answers, at control, which keys other issuers sign with and
// what they say about their opaque tokens.
//
// Keys come by discovery (OpenID Connect Discovery, RFC 8414), from a JWKS URL or
// from configuration; they reach gateways as the epoch's part "issuers", through
// Config.Publish. Gateways never call an issuer themselves.
//
// What holds:
//
//   - Absence of information revokes nothing: an issuer that is down, slow, or
//     answers an empty set, HTML or an ambiguous set keeps its last good keys
//     until they are MaxAge old.
//   - A key is never swapped under its kid: such a set is refused and logged.
//   - At most one fetch per issuer and Cooldown, whatever is asked: floods of
//     unknown kids cost the issuer nothing.
//   - An introspection endpoint that gives no answer is ErrUnavailable, never
//     "not active".
//
// A Federation is safe for concurrent use. New starts nothing; Run fetches until
// its context ends.
package federation

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/epoch"
	"github.com/mintmark/mintmark/internal/web"
)

// Timing of key fetches.
const (
	// Cooldown is the least time between two fetches of one issuer.
	Cooldown = 30 * time.Second
	// minTTL and maxTTL bound what Cache-Control may ask for; defaultTTL is when it
	// says nothing.
	minTTL     = time.Minute
	maxTTL     = 6 * time.Hour
	defaultTTL = 15 * time.Minute
	// fetchTime bounds one fetch: metadata and keys.
	fetchTime = 15 * time.Second
	// negativeTTL is how long a kid that a fetch did not bring is not asked for
	// again; negativeMax bounds how many are remembered per issuer.
	negativeTTL = 5 * time.Minute
	negativeMax = 1000
)

var (
	// ErrUnavailable: the issuer gave no usable answer: the state is unknown.
	ErrUnavailable = errors.New("federation: issuer gave no usable answer")
	errEnded       = fmt.Errorf("%w: shutting down", ErrUnavailable)
	// ErrUnknownIssuer: no issuer of that name is configured.
	ErrUnknownIssuer = errors.New("federation: unknown issuer")
)

// Egress makes calls whose address others chose: resolved then pinned, private
// ranges refused unless listed, no redirects, time and size bounded.
type Egress interface {
	Do(ctx context.Context, r *http.Request) (web.Answer, error)
}

// Config of a Federation.
type Config struct {
	Egress Egress
	// Publish makes issuers part of the next epoch and returns the state-log number
	// at which they are. It is called by one goroutine at a time; on an error it is
	// called again later.
	Publish func(ctx context.Context, part epoch.Issuers) (seq uint64, err error)
	// Head returns the state log's present number.
	Head func() uint64
	// Now is the wall clock.
	Now func() time.Time
	Log *slog.Logger
}

// Issuer is one issuer as configured.
type Issuer struct {
	// Part is what gateways see of it, with its static keys, if any, and MaxAge.
	Part epoch.Issuer
	// Discovery finds the keys by metadata; otherwise JWKSURI says where they are;
	// with neither they are static.
	Discovery bool
	JWKSURI   string
	// Algs are the algorithms believed; empty means those of the keys.
	Algs []string
	// LoopbackHTTP allows http to loopback addresses, for trying things out.
	LoopbackHTTP bool
	// Introspection is how to ask about opaque tokens; nil: not at all.
	Introspection *Introspection
}

// Introspection is an endpoint of RFC 7662 and the client we are there.
type Introspection struct {
	URL      string
	ClientID string
	Secret   mintmark.Secret
}

// Federation holds the issuers.
type Federation struct {
	c        Config
	answers  answers
	statuses statuses
	changed  chan struct{} // the set of issuers or a key has changed; capacity 1

	stop    context.CancelFunc // ends life
	life    context.Context    // of fetches and questions that outlive their caller; owned by Run
	work    sync.WaitGroup     // those
	mu      sync.Mutex
	ended   bool               // Run is over: no more work; guarded by mu
	sources map[string]*source // by name; guarded by mu
	order   []string           // names in configured order; guarded by mu

	publishing sync.Mutex    // held around Publish
	published  epoch.Issuers // guarded by publishing
	seq        uint64        // of the last publication; guarded by publishing
}

// New returns a Federation without issuers.
func New(c Config) *Federation {
	life, stop := context.WithCancel(context.Background())
	return &Federation{c: c, changed: make(chan struct{}, 1), sources: map[string]*source{}, answers: newAnswers(), statuses: statuses{kept: map[listName]*statusEntry{}}, life: life, stop: stop}
}

// spawn runs work that may outlive its caller's context, because others wait for
// its result as well: bounded by fetchTime and by Run. False when Run is over.
func (f *Federation) spawn(ctx context.Context, work func(ctx context.Context)) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ended {
		return false
	}
	f.work.Go(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), fetchTime)
		defer cancel()
		defer context.AfterFunc(f.life, cancel)()
		work(ctx)
	})
	return true
}

// end stops what was spawned and waits for it.
func (f *Federation) end() {
	f.mu.Lock()
	f.ended = true
	f.mu.Unlock()
	f.stop()
	f.work.Wait()
}

// Set replaces the issuers. Keys that were fetched survive where issuer and
// source are the same; after a restart they come from last, the part in force.
func (f *Federation) Set(issuers []Issuer, last epoch.Issuers) error {
	next, order := map[string]*source{}, []string{}
	for _, i := range issuers {
		if err := i.check(); err != nil {
			return err
		}
		if next[i.Part.Name] != nil {
			return fmt.Errorf("federation: issuer %.60q is configured twice", i.Part.Name)
		}
		next[i.Part.Name] = newSource(i)
		order = append(order, i.Part.Name)
	}
	f.publishing.Lock()
	if f.seq == 0 {
		f.published = last // nothing to tell that is not told already
	}
	f.publishing.Unlock()
	f.mu.Lock()
	defer f.mu.Unlock()
	for name, s := range next {
		switch old := f.sources[name]; {
		case old != nil && old.same(s):
			s.inherit(old)
		default:
			for _, p := range last.Issuers {
				if p.Name == name && p.Issuer == s.issuer.Part.Issuer && s.fetches() {
					s.keys, s.fetched = p.Keys, time.Unix(p.Fetched, 0)
				}
			}
		}
	}
	f.sources, f.order = next, order
	f.signal()
	return nil
}

func (i *Issuer) check() error {
	for _, u := range []string{i.JWKSURI, i.introspectionURL()} {
		if u == "" {
			continue
		}
		if err := i.checkURL(u); err != nil {
			return err
		}
	}
	if i.Discovery {
		return i.checkURL(i.Part.Issuer)
	}
	return nil
}

func (i *Issuer) introspectionURL() string {
	if i.Introspection == nil {
		return ""
	}
	return i.Introspection.URL
}

func (f *Federation) signal() {
	select {
	case f.changed <- struct{}{}:
	default:
	}
}

func (f *Federation) source(name string) *source {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.sources[name]
}

// Part returns the issuers as gateways should see them now.
func (f *Federation) Part() epoch.Issuers {
	f.mu.Lock()
	defer f.mu.Unlock()
	var part epoch.Issuers
	for _, name := range f.order {
		part.Issuers = append(part.Issuers, f.sources[name].part())
	}
	part.Requires = required(part.Issuers)
	return part
}

// Run fetches keys when they are due and publishes changes, until ctx ends. It
// returns when its goroutines have.
func (f *Federation) Run(ctx context.Context) error {
	var fetches sync.WaitGroup
	defer fetches.Wait()
	defer f.end()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		case <-f.changed:
		}
		wait := maxTTL
		now := f.c.Now()
		for _, s := range f.all() {
			due := s.due(now)
			if due <= 0 {
				fetches.Go(func() { _ = f.fetch(ctx, s) })
				due = Cooldown
			}
			wait = min(wait, due)
		}
		if err := f.publish(ctx); err != nil && ctx.Err() == nil {
			f.c.Log.WarnContext(ctx, "issuers could not be published; will be tried again", "error", err)
			wait = min(wait, 5*time.Second)
		}
		timer.Reset(wait)
	}
}

func (f *Federation) all() []*source {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := make([]*source, 0, len(f.order))
	for _, name := range f.order {
		out = append(out, f.sources[name])
	}
	return out
}

// publish hands the part over when it differs from what was handed over last in
// more than the time of confirmation, or when that has aged.
func (f *Federation) publish(ctx context.Context) error {
	f.publishing.Lock()
	defer f.publishing.Unlock()
	part := f.Part()
	if sameIssuers(f.published, part) {
		return nil
	}
	seq, err := f.c.Publish(ctx, part)
	if err != nil {
		return fmt.Errorf("publish issuers: %w", err)
	}
	f.published, f.seq = part, seq
	return nil
}

// sameIssuers ignores Fetched until a quarter of MaxAge has gone by: each
// publication is an epoch.
func sameIssuers(a, b epoch.Issuers) bool {
	return slices.EqualFunc(a.Issuers, b.Issuers, func(x, y epoch.Issuer) bool {
		if y.MaxAge > 0 && y.Fetched-x.Fetched > y.MaxAge/4 {
			return false
		}
		x.Fetched = y.Fetched
		_, hx, errX := epoch.Encode(epoch.Issuers{Issuers: []epoch.Issuer{x}})
		_, hy, errY := epoch.Encode(epoch.Issuers{Issuers: []epoch.Issuer{y}})
		return errX == nil && errY == nil && hx == hy
	})
}
