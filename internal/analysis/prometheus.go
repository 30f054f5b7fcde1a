package analysis

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/health"
	"github.com/mintmark/mintmark/internal/ledger"
	"github.com/mintmark/mintmark/internal/predicate"
	"github.com/mintmark/mintmark/internal/web"
)

// Fetch asks Prometheus for an instant vector: the value of each sample by the
// value of a label. Samples of one value add up.
type Fetch func(ctx context.Context, query, label string) (map[string]float64, error)

// Egress makes outgoing calls. See web.Egress.
type Egress interface {
	Do(ctx context.Context, r *http.Request) (web.Answer, error)
}

// Prometheus returns a Fetch over Prometheus's HTTP API (stable/api/v1: instant
// queries) at a base URL. bearer, if it is not empty, goes with each request.
func Prometheus(egress Egress, base string, bearer mintmark.Secret) Fetch {
	return func(ctx context.Context, query, label string) (map[string]float64, error) {
		form := url.Values{"query": {query}}.Encode()
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(base, "/")+"/api/v1/query", strings.NewReader(form))
		if err != nil {
			return nil, fmt.Errorf("ask Prometheus: %w", err)
		}
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if t := bearer.Reveal(); t != "" {
			r.Header.Set("Authorization", "Bearer "+t)
		}
		a, err := egress.Do(ctx, r)
		if err != nil {
			return nil, fmt.Errorf("ask Prometheus: %w", err)
		}
		return readVector(a.Status, a.Body, label)
	}
}

// readVector reads the answer to an instant query.
func readVector(status int, body []byte, label string) (map[string]float64, error) {
	var a struct {
		Status string `json:"status"`
		Error  string `json:"error"`
		Data   struct {
			Type   string `json:"resultType"`
			Result []struct {
				Metric map[string]string `json:"metric"`
				Value  [2]any            `json:"value"`
			} `json:"result"`
		} `json:"data"`
	}
	if err := json.NewDecoder(bytes.NewReader(body)).Decode(&a); err != nil || a.Status != "success" {
		return nil, fmt.Errorf("Prometheus answered %d: %.200s", status, a.Error)
	}
	if a.Data.Type != "vector" {
		return nil, fmt.Errorf("Prometheus answered a %.20s: the query must give an instant vector", a.Data.Type)
	}
	out := map[string]float64{}
	for _, s := range a.Data.Result {
		text, _ := s.Value[1].(string)
		v, err := strconv.ParseFloat(text, 64)
		if err != nil || math.IsNaN(v) || math.IsInf(v, 0) || v < 0 || v > 1e15 {
			return nil, fmt.Errorf("Prometheus answered the value %.40q: want a count", text)
		}
		out[s.Metric[label]] += v
	}
	return out, nil
}

// poll is one query's state, owned by Run but for busy and next, which its poll
// sets.
type poll struct {
	mu         sync.Mutex
	busy       bool
	next       time.Time
	had        bool // a poll before this one was answered
	total, bad health.Arms
	fault      string
}

// pollTime bounds one poll.
const pollTime = 10 * time.Second

// poll begins the polls that are due.
func (a *Analysis) poll(ctx context.Context, wg *sync.WaitGroup) {
	if a.cfg.Fetch == nil {
		return
	}
	now := a.cfg.Now()
	for _, f := range a.followed() {
		f.mu.Lock()
		o := f.judge.Opening()
		f.mu.Unlock()
		for i := range o.Spec.Queries {
			q := &o.Spec.Queries[i]
			p := f.polls[q.Metric()]
			if p == nil {
				p = &poll{}
				f.polls[q.Metric()] = p
			}
			p.mu.Lock()
			due := !p.busy && !now.Before(p.next)
			if due {
				p.busy, p.next = true, now.Add(q.Interval())
			}
			p.mu.Unlock()
			if due {
				wg.Go(func() { a.pollOnce(ctx, &o, q, p) })
			}
		}
	}
}

// pollOnce asks once and writes what was counted since the time before into the
// ledger, whence it is folded like everything else. Dying between the answer and
// the append loses one interval's counts, no more: the next poll begins anew.
func (a *Analysis) pollOnce(ctx context.Context, o *health.Opening, q *health.QuerySpec, p *poll) {
	c, cancel := context.WithTimeout(ctx, pollTime)
	defer cancel()
	total, bad, err := a.ask(c, o, q)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.busy = false
	if ctx.Err() != nil {
		return
	}
	counted := health.Counted{Rollout: o.Rollout, Metric: q.Metric()}
	switch {
	case err != nil:
		counted.Fault = strings.ToValidUTF8(err.Error()[:min(len(err.Error()), 300)], "")
		if counted.Fault == p.fault {
			return
		}
	case !p.had || less(total, p.total) || less(bad, p.bad):
		// The first answer, or a counter that began anew: from here on it counts.
	default:
		counted.Total, counted.Bad = minus(total, p.total), minus(bad, p.bad)
	}
	r := health.Record{Source: string(q.Metric()), At: a.cfg.Now().UnixMilli(), Counted: &counted}
	e, err2 := r.Event()
	if err2 == nil {
		_, err2 = a.cfg.Ledger.Append(ctx, ledger.Batch{Events: []mintmark.Event{e}})
	}
	if err2 != nil {
		a.cfg.Log.Warn("a query's counts not recorded", "rollout", o.Rollout, "metric", q.Metric(), "error", err2)
		return
	}
	p.fault = counted.Fault
	if err == nil {
		p.had, p.total, p.bad = true, total, bad
	}
	a.Wake()
}

func (a *Analysis) ask(ctx context.Context, o *health.Opening, q *health.QuerySpec) (total, bad health.Arms, err error) {
	label := q.Label
	if label == "" {
		label = "release"
	}
	totals, err := a.cfg.Fetch(ctx, q.Total, label)
	if err != nil {
		return total, bad, err
	}
	bads, err := a.cfg.Fetch(ctx, q.Bad, label)
	if err != nil {
		return total, bad, err
	}
	total, known := byArm(o, totals)
	if !known {
		return total, bad, fmt.Errorf("the total has no sample whose label %s is %s or %s", label, o.Stable, o.Candidate)
	}
	bad, _ = byArm(o, bads)
	return total, bad, nil
}

// byArm reads a vector's samples by the releases' names, short or whole.
func byArm(o *health.Opening, v map[string]float64) (a health.Arms, known bool) {
	of := func(name string) uint64 {
		short, ok1 := v[name]
		whole, ok2 := v[o.Service+"/"+name]
		known = known || ok1 || ok2
		return uint64(math.Round(short + whole))
	}
	a.Stable, a.Candidate = of(o.Stable), of(o.Candidate)
	return a, known
}

func less(a, b health.Arms) bool { return a.Stable < b.Stable || a.Candidate < b.Candidate }

func minus(a, b health.Arms) health.Arms {
	return health.Arms{Stable: a.Stable - b.Stable, Candidate: a.Candidate - b.Candidate}
}

// CheckExpressions compiles the specification's expressions; the error names each
// fault with its field, line and column.
func CheckExpressions(s health.Spec) error {
	var errs []error
	for i, u := range s.User {
		if _, err := predicate.Compile(u.When); err != nil {
			errs = append(errs, fmt.Errorf("%w: user[%d].when: %w", health.ErrSpec, i, err))
		}
	}
	return errors.Join(errs...)
}
