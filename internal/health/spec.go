package health

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/mintmark/mintmark"
)

// ErrSpec reports a specification that makes no sense.
var ErrSpec = errors.New("health specification")

// Spec says what a rollout is judged by. The zero value is the catalogue with its
// default weights, a false alarm in a hundred rollouts, and a pass for a candidate
// that is not worse than twice the stable release. It is part of a document:
// members are added, never renamed.
type Spec struct {
	// Alpha and Beta are the probabilities of a false fail and of a false pass,
	// above 0 and below a half; 0 is 0.01 and 0.05.
	Alpha float64 `json:"alpha,omitempty"`
	Beta  float64 `json:"beta,omitempty"`
	// Tolerated is the rate ratio up to which the candidate is not called worse, 1 or
	// more; 0 is 1. Acceptable is the ratio that a pass rules out, above Tolerated;
	// 0 is 2.
	Tolerated  float64 `json:"tolerated,omitempty"`
	Acceptable float64 `json:"acceptable,omitempty"`
	// MinSubjects is how many subjects of the candidate must have been seen before
	// it can pass; 0 is 50.
	MinSubjects uint64 `json:"min_subjects,omitempty"`
	// Metrics change weights of the catalogue; those that are not named keep theirs.
	Metrics []MetricSpec `json:"metrics,omitempty"`
	// User are metrics of one's own over each request, at most MaxUser with Queries.
	User []UserSpec `json:"user,omitempty"`
	// Queries are metrics that Prometheus counts.
	Queries []QuerySpec `json:"queries,omitempty"`
}

// MetricSpec changes one metric of the catalogue.
type MetricSpec struct {
	Name Metric `json:"name"`
	// Weight in the mean of the evidence; 0 only watches.
	Weight float64 `json:"weight"`
	// Needed: a pass waits for this metric's own evidence. Latency always is.
	Needed bool `json:"needed,omitempty"`
}

// UserSpec is a metric over requests: a request is bad when the expression holds.
type UserSpec struct {
	Name string `json:"name"` // as a resource's name; the metric is "user.NAME"
	// When is a CEL expression of type bool over status, upstream_status (0: none),
	// code, route, method, release, client, kind, latency_ms.
	When   string  `json:"when"`
	Weight float64 `json:"weight,omitempty"` // 0 is 1
	About  string  `json:"about,omitempty"`
}

// QuerySpec is a metric that Prometheus counts: both queries give one sample per
// value of the label, a count that only grows.
type QuerySpec struct {
	Name  string `json:"name"` // the metric is "prometheus.NAME"
	Bad   string `json:"bad"`
	Total string `json:"total"`
	// Label tells the arms apart; "" is release. Its value is the release's name or
	// service/name.
	Label string `json:"label,omitempty"`
	// IntervalMS between two polls, 1,000 to 300,000; 0 is 10,000.
	IntervalMS int64   `json:"interval_ms,omitempty"`
	Weight     float64 `json:"weight,omitempty"` // 0 is 1
	About      string  `json:"about,omitempty"`
}

// Metric returns the metric's name.
func (u *UserSpec) Metric() Metric { return Metric(userPrefix + u.Name) }

// Metric returns the metric's name.
func (q *QuerySpec) Metric() Metric { return Metric(prometheusPrefix + q.Name) }

// Interval between two polls.
func (q *QuerySpec) Interval() time.Duration {
	if q.IntervalMS == 0 {
		return 10 * time.Second
	}
	return time.Duration(q.IntervalMS) * time.Millisecond
}

// Filled returns the specification with its defaults filled in.
func (s Spec) Filled() Spec {
	fill := func(f *float64, def float64) {
		if *f == 0 {
			*f = def
		}
	}
	fill(&s.Alpha, 0.01)
	fill(&s.Beta, 0.05)
	fill(&s.Tolerated, 1)
	fill(&s.Acceptable, max(2, 2*s.Tolerated))
	if s.MinSubjects == 0 {
		s.MinSubjects = 50
	}
	return s
}

// Check reports everything that is wrong with the specification, each with the
// path of its field; nil when nothing is. Expressions are compiled elsewhere.
func (s Spec) Check() error {
	var errs []error
	fail := func(field, format string, args ...any) {
		errs = append(errs, fmt.Errorf("%w: %s: %s", ErrSpec, field, fmt.Sprintf(format, args...)))
	}
	f := s.Filled()
	if !(f.Alpha > 0 && f.Alpha < 0.5) {
		fail("alpha", "%v: want a probability above 0 and below 0.5", s.Alpha)
	}
	if !(f.Beta > 0 && f.Beta < 0.5) {
		fail("beta", "%v: want a probability above 0 and below 0.5", s.Beta)
	}
	if !(f.Tolerated >= 1 && f.Tolerated <= 100) {
		fail("tolerated", "%v: want a rate ratio from 1 to 100", s.Tolerated)
	}
	if !(f.Acceptable > f.Tolerated && f.Acceptable <= 1000) {
		fail("acceptable", "%v: want a rate ratio above tolerated (%v), at most 1000", s.Acceptable, f.Tolerated)
	}
	catalogue, seen := Catalogue(), map[Metric]bool{}
	once := func(field string, name Metric) {
		if seen[name] {
			fail(field, "%s is there twice", name)
		}
		seen[name] = true
	}
	weight := func(field string, w float64) {
		if !(w >= 0 && w <= 1000) {
			fail(field, "%v: want 0 to 1000", w)
		}
	}
	for i, m := range s.Metrics {
		field := fmt.Sprintf("metrics[%d]", i)
		if _, err := find(catalogue, m.Name); err != nil {
			fail(field+".name", "%v", err)
		}
		once(field+".name", m.Name)
		weight(field+".weight", m.Weight)
	}
	named := func(field, name string) {
		if !mintmark.IsName(name) {
			fail(field, "%.70q: want 1 to 63 characters of [A-Za-z0-9._-]", name)
		}
	}
	for i, u := range s.User {
		field := fmt.Sprintf("user[%d]", i)
		named(field+".name", u.Name)
		once(field+".name", u.Metric())
		weight(field+".weight", u.Weight)
		if strings.TrimSpace(u.When) == "" || len(u.When) > MaxExpression {
			fail(field+".when", "want an expression of 1 to %d bytes", MaxExpression)
		}
	}
	for i, q := range s.Queries {
		field := fmt.Sprintf("queries[%d]", i)
		named(field+".name", q.Name)
		once(field+".name", q.Metric())
		weight(field+".weight", q.Weight)
		if q.Bad == "" || q.Total == "" || len(q.Bad)+len(q.Total) > 2*MaxExpression {
			fail(field, "want bad and total, queries of 1 to %d bytes", MaxExpression)
		}
		if q.IntervalMS != 0 && (q.IntervalMS < 1000 || q.IntervalMS > 300_000) {
			fail(field+".interval_ms", "%d: want 1000 to 300000", q.IntervalMS)
		}
	}
	if n := len(s.User) + len(s.Queries); n > MaxUser {
		fail("user", "%d metrics with queries: at most %d", n, MaxUser)
	}
	return errors.Join(errs...)
}

// MaxExpression is the longest expression or query, in bytes.
const MaxExpression = 4096

// Entries returns the metrics that a rollout of this specification is judged by,
// in the order of their places. The specification must be checked.
func (s Spec) Entries() []Entry {
	out := Catalogue()
	for _, m := range s.Metrics {
		if e, err := find(out, m.Name); err == nil {
			e.Weight, e.Needed = m.Weight, e.Needed || m.Needed
		}
	}
	place := PlaceUser
	add := func(name Metric, kind Kind, weight float64, about, what string) {
		if weight == 0 {
			weight = 1
		}
		if about == "" {
			about = what
		}
		out = append(out, Entry{Name: name, Place: place, Kind: kind, Weight: weight, About: about})
		place++
	}
	for i := range s.User {
		u := &s.User[i]
		add(u.Metric(), Proportion, u.Weight, u.About, "requests for which "+u.When)
	}
	for i := range s.Queries {
		q := &s.Queries[i]
		add(q.Metric(), Queried, q.Weight, q.About, "counted by Prometheus: "+q.Bad)
	}
	return out
}
