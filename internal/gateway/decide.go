package gateway

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/admission"
	"github.com/mintmark/mintmark/internal/bus"
	"github.com/mintmark/mintmark/internal/epoch"
	"github.com/mintmark/mintmark/internal/limit"
	"github.com/mintmark/mintmark/internal/oauth"
	"github.com/mintmark/mintmark/internal/verifier"
)

// catchUpWait bounds how long a request waits for the state that its token was
// minted under.
const catchUpWait = 400 * time.Millisecond

// Decider takes the facts of a request to admission.Decide: the one way to a
// decision, for our own proxy and for every other gateway's dialect. Safe for
// concurrent use.
type Decider struct {
	State    State
	Verifier Verifier
	// Proofs checks DPoP proofs; nil refuses bound tokens.
	Proofs *Proofs
	// Now is the wall clock.
	Now func() time.Time
	// Skew is how far clocks may differ when times of our own tokens are judged.
	Skew time.Duration
	// limits is nil when the caller limits nothing.
	limits *limit.Rates
}

// Query is the facts of one request, as the gateway that asks saw them. All fields
// are borrowed until the decision is made, Header until the exchange ends.
type Query struct {
	Method string
	Scheme string // http or https, for the htu of a proof
	Host   string
	Path   string // as it was sent, without the query
	Header http.Header
	Peer   netip.Addr
	// X5T is the thumbprint of the client's certificate, if any.
	X5T string
	// At is when it came; zero asks the clock.
	At time.Time
}

// Decision is what came out. The zero value is ready; it may be reused.
type Decision struct {
	Query    Query
	Snapshot *epoch.Snapshot
	Verdict  admission.Verdict
	// Token is nil unless a token was verified.
	Token *mintmark.Token
	// RetryAfter is in how long to try again after rate_limited or
	// state_unknown.
	RetryAfter time.Duration
	// Nonce, if not empty, is what a DPoP client must use (RFC 9449 §9).
	Nonce string

	verified verifier.Verified
	req      admission.Request
	header   func(string) string // reads Query.Header; made once
	version  uint64              // of the revocation set when decided
	proof    proved
}

// proved remembers a checked proof, because a proof is good once only and one
// request may be decided several times.
type proved struct {
	text, jkt string
	code      mintmark.Code
	nonce     string
}

// Use is the record of an admitted request; traceparent may be empty.
func (d *Decision) Use(traceparent string) bus.Use {
	u := bus.Use{
		At: d.req.Now.UnixMilli(), Route: d.Verdict.Route.ID, Method: d.Query.Method,
		Path: strings.Clone(d.Query.Path), Epoch: d.Snapshot.Epoch, Trace: traceID(traceparent),
	}
	if t := d.Token; t != nil {
		u.Token, u.Subject, u.Client = t.ID, t.Subject, t.Client
	}
	return u
}

// Refused reports whether the request may not pass.
func (d *Decision) Refused() bool { return !d.Verdict.Allow }

// Decide answers d.Query.
func (dc *Decider) Decide(ctx context.Context, d *Decision) {
	if d.header == nil {
		d.header = d.lookup
	}
	now := d.Query.At
	if now.IsZero() {
		now = dc.Now()
	}
	d.RetryAfter, d.Nonce = 0, ""
	dc.once(ctx, d, now, false)
	if d.Verdict.NeedCatchUp {
		cctx, cancel := context.WithTimeout(ctx, catchUpWait)
		err := dc.State.CatchUp(cctx, d.Verdict.NeedSeq)
		cancel()
		if err == nil {
			dc.once(ctx, d, dc.Now(), true)
		}
	}
	if d.Verdict.Code == mintmark.CodeStateUnknown {
		d.RetryAfter = time.Second
	}
	if d.Verdict.Allow && dc.limits != nil {
		dc.limit(d, now)
	}
}

// once pins a snapshot and decides by it.
func (dc *Decider) once(ctx context.Context, d *Decision, now time.Time, atHead bool) {
	snap := dc.State.Current()
	q := &d.Query
	d.Snapshot, d.Token = snap, nil
	d.version = snap.Revoked.Version()
	d.req = admission.Request{
		Snapshot: snap, Method: q.Method, Host: q.Host, Path: q.Path, Header: d.header,
		Peer: q.Peer, X5T: q.X5T, Now: now, Skew: dc.Skew,
	}
	r := &d.req
	r.Route = snap.Table.Match(q.Method, q.Host, q.Path, d.header)
	if r.Route == nil {
		d.Verdict = admission.Decide(r) // says which refusal it is
		return
	}
	value, scheme := credential(q.Header)
	r.Scheme = scheme
	if !r.Route.Public {
		dc.identify(ctx, d, value)
	} else {
		r.Scheme = admission.SchemeNone
	}
	r.Fresh = dc.State.Freshness()
	r.Fresh.AtHead = atHead
	d.Verdict = admission.Decide(r)
}

// identify verifies what was presented, with its proof.
func (dc *Decider) identify(ctx context.Context, d *Decision, value string) {
	r, v := &d.req, &d.verified
	switch r.Scheme {
	case admission.SchemeNone:
		return
	case admission.SchemeSeveral:
		r.Code = mintmark.CodeInvalidRequest
		return
	}
	v.Memo, v.AsOf, v.First = nil, 0, false
	if r.Code = dc.Verifier.Verify(ctx, r.Snapshot, r.Scheme, value, r.Now, v); r.Code != mintmark.CodeNone {
		r.AsOf = v.AsOf // what is missing may have come by a later state
		return
	}
	d.Token = &v.Token
	r.Token, r.Memo, r.AsOf = &v.Token, v.Memo, v.AsOf
	if r.Scheme == admission.SchemeDPoP || v.Token.Binding.JKT != "" {
		text := ""
		if p := d.Query.Header["Dpop"]; len(p) == 1 {
			text = p[0]
		}
		if text == "" || d.proof.text != text {
			d.proof.text = text
			d.proof.jkt, d.proof.code, d.proof.nonce = dc.Proofs.check(ctx, &d.Query, value, v.Token.Binding.JKT, r.Now)
		}
		r.JKT, r.ProofCode, d.Nonce = d.proof.jkt, d.proof.code, d.proof.nonce
	}
}

// Moved is the final check of callers that do not forward themselves: it decides
// once more against the state of this moment and reports whether the epoch changed
// since, so that the request must be decided anew.
func (dc *Decider) Moved(d *Decision) bool { return dc.again(d) }

// again decides against the state of this moment: the last word before the first
// byte goes upstream. It reports moved when the epoch changed since, so that the
// request has to start over. It must not be called after d is reused.
func (dc *Decider) again(d *Decision) (moved bool) {
	cur := dc.State.Current()
	fresh := dc.State.Freshness()
	if cur.Table != d.Snapshot.Table || cur.Epoch != d.Snapshot.Epoch {
		return true
	}
	version := cur.Revoked.Version()
	if version == d.version && !fresh.Fenced(d.Verdict.Route.Budget) && !d.expired(dc.Now()) {
		return false
	}
	d.Snapshot, d.version = cur, version
	d.req.Snapshot, d.req.Now = cur, dc.Now()
	fresh.AtHead = d.req.Fresh.AtHead
	d.req.Fresh = fresh
	served := d.Verdict.Release
	v := admission.Decide(&d.req)
	if v.Allow && v.Release != served {
		return true
	}
	d.Verdict = v
	if v.Code == mintmark.CodeStateUnknown {
		d.RetryAfter = time.Second
	}
	return false
}

// expired reports whether the token's time may have run out since the decision.
func (d *Decision) expired(now time.Time) bool {
	return d.Token != nil && d.Token.Expires != 0 && now.Unix() >= d.Token.Expires
}

// lookup is Query.Header by lower-case name, for Table.Match. A repeated header
// matches nothing: which of its values counts would be anybody's guess.
func (d *Decision) lookup(name string) string {
	if v := d.Query.Header[http.CanonicalHeaderKey(name)]; len(v) == 1 {
		return v[0]
	}
	return ""
}

// credential finds the one credential of a request (RFC 6750 §2, RFC 9449 §7.1).
// A scheme of authentication that is not ours is no credential.
func credential(h http.Header) (string, admission.Scheme) {
	auth, key := h["Authorization"], h["X-Api-Key"]
	if len(auth) > 1 || len(key) > 1 || len(auth) > 0 && len(key) > 0 {
		return "", admission.SchemeSeveral
	}
	if len(key) == 1 {
		return key[0], admission.SchemeAPIKey
	}
	scheme, value, err := oauth.ParseAuthorization(auth)
	switch {
	case errors.Is(err, oauth.ErrAuthorization):
		return "", admission.SchemeSeveral // refused alike: invalid_request
	case scheme == oauth.Bearer:
		return value, admission.SchemeBearer
	case scheme == oauth.DPoP:
		return value, admission.SchemeDPoP
	}
	return "", admission.SchemeNone
}
