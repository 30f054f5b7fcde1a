package gateway

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"sync/atomic"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/epoch"
	"github.com/mintmark/mintmark/internal/health"
	"github.com/mintmark/mintmark/internal/upstream"
)

// HeaderShadow marks a copy of a request: nobody reads the answer.
const HeaderShadow = "Mintmark-Shadow"

// Mirror sends copies of requests beside them; see mirror.Queue. False means that
// there is no room.
type Mirror interface {
	Offer(job func(ctx context.Context)) bool
}

// safeMethods are copied when the rollout names none: they change nothing (RFC 9110
// §9.2.1).
var safeMethods = []string{http.MethodGet, http.MethodHead, http.MethodOptions}

// errShadowOver: the rollout that asked for copies is over, or this gateway can't
// know.
var errShadowOver = errors.New("gateway: no more copies")

// arm says for which side of a shadow rollout a request counts.
type arm uint8

const (
	armNone      arm = iota // for neither: it is of a kind that is not copied
	armStable               // the request itself, for the stable release
	armCandidate            // its copy, for the candidate
)

// shadow decides whether a request of a service with a shadow rollout is copied,
// and takes what the copy needs before the request goes up. The candidate's policy
// is judged on the way: a token that it would refuse counts as its refusal, and is
// served as ever.
//
// Requests that could not be copied count for neither side, so that the two are
// compared by the same kind of request.
func (x *exchange) shadow(s *epoch.ServiceEntry) {
	m, d := s.Split.Mirror, &x.d
	x.met.arm, x.met.copied = armNone, nil
	methods := m.Methods
	if len(methods) == 0 {
		methods = safeMethods
	}
	body := x.out.Body != nil && x.out.Body != http.NoBody
	if s.Candidate == nil || x.g.cfg.Mirror == nil || !slices.Contains(methods, x.r.Method) || upgradeOf(x.r) != "" ||
		body && (x.out.ContentLength < 0 || x.out.ContentLength > m.MaxBody) {
		return
	}
	seen := health.Observed{Token: d.Token, Peer: x.facts.Peer}
	key, ok := seen.Key(s)
	if !ok {
		return
	}
	if int(epoch.CohortOfKey(key)) >= m.Share {
		x.met.arm = armStable
		return
	}
	x.met.arm = armCandidate
	c := &shadowCopy{
		g: x.g, service: s.Name, rollout: s.Split.Rollout, method: x.r.Method, proto: x.out.Proto,
		host: x.out.Host, url: x.url, header: x.out.Header.Clone(), extra: slices.Clone(x.opts.Extra), timeout: x.opts.Timeout,
		seen: health.Observed{Snapshot: d.Snapshot, Route: d.Verdict.Route, Served: s.Candidate, Peer: x.facts.Peer, Method: x.r.Method, Now: x.start},
	}
	if d.Token != nil {
		t := *d.Token
		c.seen.Token = &t
		if d.Verdict.Fate.Disposition != mintmark.Keep {
			// This copy would show the candidate the shape that the stable release gets.
			x.met.arm = armNone
			return
		}
		switch d.Snapshot.Table.Dispose(&t, s.Candidate, x.start.Unix()).Disposition {
		case mintmark.Keep:
		case mintmark.Revoke:
			c.seen.Code = mintmark.CodeReleaseRetired
		default:
			// It would be served by another shape of the token than this copy has.
			x.met.arm = armNone
			return
		}
	}
	if body && c.seen.Code == mintmark.CodeNone {
		n := x.out.ContentLength
		if x.g.shadowing.Add(n) > maxShadowing {
			x.g.shadowing.Add(-n)
			x.met.arm = armNone
			return
		}
		c.body, c.length = make([]byte, 0, n), n
		x.out.Body = &teeBody{ReadCloser: x.out.Body, into: c}
	}
	x.met.copied = c
}

// sendCopy sends the copy of a request that was answered. What finds no room says
// nothing about the candidate.
func (x *exchange) sendCopy(v *view) {
	c := x.met.copied
	x.met.copied = nil
	if c == nil {
		return
	}
	if x.met.upstream != 0 && c.whole() {
		if c.seen.Code != mintmark.CodeNone {
			x.g.observeCopy(c)
			return
		}
		if c.to = v.to[c.seen.Served]; c.to != nil && x.g.cfg.Mirror.Offer(c.send) {
			return
		}
	}
	c.done()
}

// maxShadowing bounds the bytes of bodies that are kept for copies: of requests under
// way, which no queue bounds, and of copies.
const maxShadowing = 32 << 20

// shadowCopy is a copy of a request. It refers to nothing of the exchange.
type shadowCopy struct {
	g       *Gateway
	to      *destination
	service string
	rollout mintmark.RolloutID

	method, proto, host string
	url                 url.URL
	header              http.Header
	extra               []upstream.Field
	body                []byte
	length              int64
	got                 atomic.Bool // all of body is here, and nobody writes to it any more
	timeout             time.Duration
	seen                health.Observed
}

// whole reports whether the body is here, if there is one. The request may be over
// while its body is still coming in.
func (c *shadowCopy) whole() bool { return c.length == 0 || c.got.Load() }

// done gives back the room that the body took.
func (c *shadowCopy) done() { c.g.shadowing.Add(-c.length) }

// Pass implements upstream.Gate: a copy that waited must not reach a release that
// was taken back meanwhile, nor go on with a token that was.
func (c *shadowCopy) Pass() error {
	snap := c.g.cfg.State.Current()
	s := snap.Table.Service(c.service)
	if s == nil || s.Split.Rollout != c.rollout || s.Split.Mirror == nil || c.g.cfg.State.Freshness().Fenced(c.seen.Route.Budget) {
		return errShadowOver
	}
	now := c.g.cfg.Now()
	if t := c.seen.Token; t != nil && (t.Expires != 0 && now.Unix() >= t.Expires || takenBack(snap, t, now)) {
		return errShadowOver
	}
	return nil
}

// send sends the copy and drops the answer, but for its status and how long it took.
func (c *shadowCopy) send(ctx context.Context) {
	defer c.done()
	req := (&http.Request{
		Method: c.method, URL: &c.url, Host: c.host, Header: c.header, Proto: c.proto, ProtoMajor: 1, ProtoMinor: 1, Body: http.NoBody,
	}).WithContext(ctx)
	if c.length > 0 {
		req.Body, req.ContentLength = io.NopCloser(bytes.NewReader(c.body)), c.length
	}
	began := c.g.cfg.Now()
	resp, err := c.to.pool.Do(req, &upstream.Options{Gate: c, Timeout: c.timeout, Extra: append(c.extra, upstream.Field{Name: HeaderShadow, Value: "true"})})
	if errors.Is(err, errShadowOver) {
		return
	}
	if err != nil {
		c.seen.Code = mintmark.CodeUpstream
	} else {
		c.seen.Upstream, c.seen.Status = resp.StatusCode, resp.StatusCode
		_, err = io.Copy(io.Discard, io.LimitReader(resp.Body, maxShadowAnswer))
		c.seen.Cut = err != nil
		resp.Body.Close()
	}
	c.seen.Latency = c.g.cfg.Now().Sub(began)
	c.g.observeCopy(c)
}

// maxShadowAnswer is how much of an answer to a copy is read, so that the connection
// can be used again.
const maxShadowAnswer = 1 << 20

func (g *Gateway) observeCopy(c *shadowCopy) {
	if g.cfg.Meter != nil {
		g.cfg.Meter.Observe(&c.seen)
	}
}

// teeBody keeps what goes up for the copy.
type teeBody struct {
	io.ReadCloser
	into *shadowCopy
}

// Read implements io.Reader.
func (b *teeBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	c := b.into
	if n == 0 || c.got.Load() || int64(len(c.body)+n) > c.length {
		return n, err
	}
	if c.body = append(c.body, p[:n]...); int64(len(c.body)) == c.length {
		c.got.Store(true)
	}
	return n, err
}
