package whatif

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/admission"
	"github.com/mintmark/mintmark/internal/epoch"
	"github.com/mintmark/mintmark/internal/revocation"
)

// Kinds of change.
const (
	NewlyRefused  = "newly_refused"
	NewlyAdmitted = "newly_admitted"
	OtherReason   = "other_reason"  // refused before and after
	OtherRelease  = "other_release" // admitted before and after
)

// Report is what a candidate would have changed. Requests are estimates: each shape
// counts for as many as it stands for.
type Report struct {
	Shapes   int   `json:"shapes"`
	Requests int64 `json:"requests"`
	// From and To are the Unix seconds of the first and last shape.
	From int64 `json:"from,omitempty"`
	To   int64 `json:"to,omitempty"`
	// Assumed are requests refused for what a shape can't tell, such as a signature, or
	// a revocation: taken to be as they were. Drifted were not decided as the policy in
	// force decides their shape now: it has changed since, or a shape does not say
	// enough.
	Assumed int64 `json:"assumed"`
	Drifted int64 `json:"drifted"`
	// Refused, Admitted, Reasons and Releases sum up the rows by kind.
	Refused  int64 `json:"newly_refused"`
	Admitted int64 `json:"newly_admitted"`
	Reasons  int64 `json:"other_reason"`
	Releases int64 `json:"other_release"`
	Rows     []Row `json:"rows"`
	// More is how many rows were left out.
	More int `json:"more,omitempty"`
}

// Row is one change for the requests of a client on a route.
type Row struct {
	Change  string             `json:"change"`
	Client  mintmark.ClientID  `json:"client,omitempty"`
	Issuer  string             `json:"issuer,omitempty"`
	Release mintmark.ReleaseID `json:"release,omitempty"` // that minted
	Route   string             `json:"route"`
	Method  string             `json:"method"`
	Before  string             `json:"before"` // admitted, or a code
	After   string             `json:"after"`
	// ServedBefore and ServedAfter are the releases of admitted requests.
	ServedBefore mintmark.ReleaseID `json:"served_before,omitempty"`
	ServedAfter  mintmark.ReleaseID `json:"served_after,omitempty"`
	Requests     int64              `json:"requests"`
	Shapes       int                `json:"shapes"`
	Sample       []Shape            `json:"sample,omitempty"`
}

// Bounds of a report.
const (
	maxRows   = 500
	maxSample = 2
)

// verdict is what a table says of a shape.
type verdict struct {
	code   mintmark.Code
	served mintmark.ReleaseID
}

func (v verdict) String() string {
	if v.code == mintmark.CodeNone {
		return "admitted"
	}
	return string(v.code)
}

// Simulate judges shapes by a candidate's table and says what differs from what base
// says. base nil: from how they were decided when they were recorded.
func Simulate(base, candidate *epoch.Table, shapes []Shape, now time.Time) Report {
	r := Report{Shapes: len(shapes)}
	rows := map[rowKey]*Row{}
	var requests, assumed, drifted int64
	inForce, next := pin(base), pin(candidate)
	for i := range shapes {
		s := &shapes[i]
		was := decided(s.Code)
		requests += s.Weight
		if r.From == 0 || s.At < r.From {
			r.From = s.At
		}
		r.To = max(r.To, s.At)
		before := verdict{was, s.Served}
		told := telling(was)
		if base != nil {
			v := judge(inForce, s, true, now)
			told = v.code == was || was == mintmark.CodeNone
			if told {
				if v.code != was {
					drifted += s.Weight
				}
				before = v
			}
		}
		if was != mintmark.CodeNone && was != mintmark.CodeCredentialsMissing && s.Token == nil {
			told = false // it did not come as far as the policy
		}
		if !told {
			assumed += s.Weight
			before.served = ""
		}
		after := judge(next, s, told, now)
		change := changed(before, after, base != nil)
		if change == "" {
			continue
		}
		add(rows, s, change, before, after)
	}
	r.Requests, r.Assumed, r.Drifted = whole(requests), whole(assumed), whole(drifted)
	r.collect(rows)
	return r
}

// changed names the kind of a change; empty for none. Releases are compared only
// where both come from a table: a pseudonym's cohort is not its subject's.
func changed(before, after verdict, both bool) string {
	switch {
	case before.code == mintmark.CodeNone && after.code != mintmark.CodeNone:
		return NewlyRefused
	case before.code != mintmark.CodeNone && after.code == mintmark.CodeNone:
		return NewlyAdmitted
	case before.code != after.code:
		return OtherReason
	case before.code == mintmark.CodeNone && both && before.served != after.served:
		return OtherRelease
	}
	return ""
}

// telling reports whether a shape says enough to explain a refusal.
func telling(code mintmark.Code) bool {
	switch code {
	case mintmark.CodeNone, mintmark.CodeCredentialsMissing, mintmark.CodeAudience, mintmark.CodeScope, mintmark.CodeAuthentication, mintmark.CodePolicyRefused,
		mintmark.CodeIssuerUnknown, mintmark.CodeReleaseRetired:
		return true
	}
	return false
}

// decided is what a gateway decided when it answered with code: what went wrong
// after an admission is no refusal.
func decided(code mintmark.Code) mintmark.Code {
	switch code {
	case mintmark.CodeUpstream, mintmark.CodeRateLimited, mintmark.CodeTooLarge:
		return mintmark.CodeNone
	}
	return code
}

// pin is a table as a snapshot in which nothing is revoked: what was revoked is an
// outcome that is taken as it was.
func pin(t *epoch.Table) *epoch.Snapshot {
	return &epoch.Snapshot{Epoch: 1, Seq: 1, Table: t, Revoked: revocation.NewSet()}
}

// judge lets a table decide about a shape, by the code of gateways. told false: the
// token is taken to be refused for the reason that it was.
func judge(snapshot *epoch.Snapshot, s *Shape, told bool, now time.Time) verdict {
	q := admission.Request{
		Snapshot: snapshot,
		Method:   s.Method, Host: strings.Replace(s.Host, "*", "any", 1), Path: sent(s.Path), Header: func(name string) string { return s.Headers[name] },
		Fresh: admission.Freshness{Leased: true}, Now: now,
	}
	switch {
	case s.Token != nil && told:
		q.Token, q.Scheme, q.JKT, q.X5T = s.Token.token(now), admission.SchemeBearer, bindingKey, bindingKey
		if q.Token.Binding.JKT != "" {
			q.Scheme = admission.SchemeDPoP
		} else if s.Token.Kind == mintmark.KindAPIKey {
			q.Scheme = admission.SchemeAPIKey
		}
	case decided(s.Code) != mintmark.CodeNone && s.Code != mintmark.CodeCredentialsMissing:
		q.Scheme, q.Code = admission.SchemeBearer, s.Code
	}
	d := admission.Decide(&q)
	v := verdict{code: d.Code}
	if d.Allow && d.Release != nil {
		v.served = d.Release.ID
	}
	return v
}

// sent is a path that a pattern matches.
func sent(pattern string) string {
	segments := strings.Split(pattern, "/")
	for i, s := range segments {
		if s == "*" || strings.HasPrefix(s, "{") {
			segments[i] = "any"
		}
	}
	return strings.Join(segments, "/")
}

// rowKey is what one row is about.
type rowKey struct {
	Change                    string
	Client                    mintmark.ClientID
	Issuer                    string
	Release                   mintmark.ReleaseID
	Route, Method             string
	Before, After             string
	ServedBefore, ServedAfter mintmark.ReleaseID
}

func (k rowKey) row() *Row {
	return &Row{
		Change: k.Change, Client: k.Client, Issuer: k.Issuer, Release: k.Release, Route: k.Route, Method: k.Method,
		Before: k.Before, After: k.After, ServedBefore: k.ServedBefore, ServedAfter: k.ServedAfter,
	}
}

// add counts a shape in its row. Until collect a row's requests are thousandths.
func add(rows map[rowKey]*Row, s *Shape, change string, before, after verdict) {
	k := rowKey{Change: change, Route: s.Route, Method: s.Method, Before: before.String(), After: after.String(), ServedBefore: before.served, ServedAfter: after.served}
	if t := s.Token; t != nil {
		k.Client, k.Issuer, k.Release = t.Client, t.Issuer, t.Release
	}
	row := rows[k]
	if row == nil {
		row = k.row()
		rows[k] = row
	}
	row.Requests += s.Weight
	row.Shapes++
	if len(row.Sample) < maxSample {
		row.Sample = append(row.Sample, *s)
	}
}

// collect sorts the rows, most requests first, and sums them up.
func (r *Report) collect(rows map[rowKey]*Row) {
	sums := map[string]int64{}
	r.Rows = make([]Row, 0, len(rows))
	for _, row := range rows {
		sums[row.Change] += row.Requests
		row.Requests = whole(row.Requests)
		r.Rows = append(r.Rows, *row)
	}
	r.Refused, r.Admitted = whole(sums[NewlyRefused]), whole(sums[NewlyAdmitted])
	r.Reasons, r.Releases = whole(sums[OtherReason]), whole(sums[OtherRelease])
	slices.SortFunc(r.Rows, func(a, b Row) int {
		return cmp.Or(cmp.Compare(order[a.Change], order[b.Change]), cmp.Compare(b.Requests, a.Requests), cmp.Compare(a.Route, b.Route), cmp.Compare(a.Client, b.Client),
			cmp.Compare(a.Method, b.Method), cmp.Compare(a.Release, b.Release), cmp.Compare(a.After, b.After), cmp.Compare(a.Before, b.Before), cmp.Compare(a.Issuer, b.Issuer))
	})
	if n := len(r.Rows) - maxRows; n > 0 {
		r.Rows, r.More = r.Rows[:maxRows], n
	}
}

var order = map[string]int{NewlyRefused: 0, NewlyAdmitted: 1, OtherReason: 2, OtherRelease: 3}

// whole rounds thousandths, up from nothing: what was seen once is not none.
func whole(milli int64) int64 {
	if milli > 0 && milli < 1000 {
		return 1
	}
	return (milli + 500) / 1000
}
