package federation

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/epoch"
	"github.com/mintmark/mintmark/internal/jose"
)

// Bounds of introspection.
const (
	// answerTTL is the longest an answer "active" is believed, inactiveTTL the
	// longest any other is.
	answerTTL   = time.Minute
	inactiveTTL = 10 * time.Second
	answersMax  = 10_000
	// inFlight bounds questions under way, over all issuers.
	inFlight = 64
)

// answer is what an issuer said about one value: a token, or a code.
type answer struct {
	token *mintmark.Token
	code  mintmark.Code
	until time.Time
}

// question is one under way; its result is set before done is closed.
type question struct {
	done   chan struct{}
	answer answer
	err    error
}

// answers are believed for a while, by issuer and digest of the value: values are
// not kept.
type answers struct {
	slots chan struct{}

	mu    sync.Mutex
	known map[[32]byte]answer    // guarded by mu
	asked map[[32]byte]*question // guarded by mu
}

func newAnswers() answers {
	return answers{slots: make(chan struct{}, inFlight), known: map[[32]byte]answer{}, asked: map[[32]byte]*question{}}
}

// Introspect returns the token behind an opaque value of the named issuer (RFC
// 7662), or nil and a code when the issuer says that it is not active, or
// ErrUnavailable when it gives no usable answer. Answers are believed until exp,
// a minute at the most; equal questions are asked once.
func (f *Federation) Introspect(ctx context.Context, issuer, value string) (*mintmark.Token, mintmark.Code, error) {
	s := f.source(issuer)
	if s == nil || s.issuer.Introspection == nil || !strings.HasPrefix(value, s.issuer.Part.Prefix) {
		return nil, mintmark.CodeIssuerUnknown, nil
	}
	if value == "" || len(value) > jose.MaxToken {
		return nil, mintmark.CodeMalformed, nil
	}
	a := &f.answers
	digest := sha256.Sum256([]byte(issuer + "\n" + s.issuer.Introspection.URL + "\n" + value))
	a.mu.Lock()
	if known, ok := a.known[digest]; ok && f.c.Now().Before(known.until) {
		a.mu.Unlock()
		return known.token, known.code, nil
	}
	q := a.asked[digest]
	if q == nil {
		q = &question{done: make(chan struct{})}
		a.asked[digest] = q
		if !f.spawn(ctx, func(ctx context.Context) {
			q.answer, q.err = f.ask(ctx, &s.issuer, value)
			a.settle(digest, q, f.c.Now())
		}) {
			delete(a.asked, digest)
			a.mu.Unlock()
			return nil, mintmark.CodeStateUnknown, errEnded
		}
	}
	a.mu.Unlock()
	select {
	case <-ctx.Done():
		return nil, mintmark.CodeStateUnknown, fmt.Errorf("%w: %w", ErrUnavailable, ctx.Err())
	case <-q.done:
	}
	if q.err != nil {
		return nil, mintmark.CodeStateUnknown, fmt.Errorf("%w: %w", ErrUnavailable, q.err)
	}
	return q.answer.token, q.answer.code, nil
}

func (a *answers) settle(digest [32]byte, q *question, now time.Time) {
	a.mu.Lock()
	delete(a.asked, digest)
	if q.err == nil {
		a.room(now)
		a.known[digest] = q.answer
	}
	a.mu.Unlock()
	close(q.done)
}

// room makes place: what is over goes first, then anything.
func (a *answers) room(now time.Time) {
	if len(a.known) < answersMax {
		return
	}
	for d, k := range a.known {
		if !now.Before(k.until) {
			delete(a.known, d)
		}
	}
	for d := range a.known {
		if len(a.known) < answersMax*3/4 {
			return
		}
		delete(a.known, d)
	}
}

func (f *Federation) ask(ctx context.Context, i *Issuer, value string) (answer, error) {
	select {
	case f.answers.slots <- struct{}{}:
		defer func() { <-f.answers.slots }()
	case <-ctx.Done():
		return answer{}, ctx.Err()
	}
	form := url.Values{"token": {value}, "token_type_hint": {"access_token"}}.Encode()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, i.Introspection.URL, strings.NewReader(form))
	if err != nil {
		return answer{}, fmt.Errorf("make request: %w", err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Accept", "application/json")
	// RFC 6749 §2.3.1: both are form-encoded before they become Basic.
	r.SetBasicAuth(url.QueryEscape(i.Introspection.ClientID), url.QueryEscape(i.Introspection.Secret.Reveal()))
	res, err := f.c.Egress.Do(ctx, r)
	if err != nil {
		return answer{}, err
	}
	if res.Status != http.StatusOK {
		return answer{}, fmt.Errorf("introspect at %s: status %d", r.URL.Host, res.Status)
	}
	return read(&i.Part, string(res.Body), value, f.c.Now())
}

// read turns an introspection response into an answer. Only a boolean "active"
// counts; an answer about another issuer's token is none.
func read(i *epoch.Issuer, body, value string, now time.Time) (answer, error) {
	names := jose.Names{Subject: i.Claims["subject"], Client: i.Claims["client"], Scopes: i.Claims["scopes"], ID: i.Claims["id"]}
	c, err := jose.ParseClaims(body, names)
	if err != nil {
		return answer{}, fmt.Errorf("read introspection: %w", err)
	}
	v, _ := c.Lookup("active")
	active, ok := v.Bool()
	switch {
	case !ok:
		return answer{}, fmt.Errorf("read introspection: no boolean \"active\"")
	case !active:
		// Expired, revoked or never issued: RFC 7662 §2.2 does not say which.
		return answer{code: mintmark.CodeRevoked, until: now.Add(inactiveTTL)}, nil
	case c.Issuer != "" && c.Issuer != i.Issuer:
		return answer{}, fmt.Errorf("read introspection: the token is of issuer %.100q", c.Issuer)
	}
	until := now.Add(answerTTL)
	if c.Expires == 0 {
		// Without exp we vouch for it as long as for the answer.
		c.Expires = until.Unix()
	}
	if exp := time.Unix(c.Expires, 0); exp.Before(until) {
		until = exp
	}
	c.Issuer = i.Issuer
	t := c.Token(mintmark.KindForeign, "")
	unique := c.ID
	if unique == "" {
		sum := sha256.Sum256([]byte(value))
		unique = "value\n" + hex.EncodeToString(sum[:])
	}
	t.ID = epoch.ForeignID(i.Issuer, unique)
	t.Claims = c.Further(names)
	t.Mark.Release = epoch.MarkFor(i.Marks, "", func(name string) string {
		v, _ := c.Lookup(name)
		text, _ := v.Str()
		return text
	}, c.IssuedAt)
	return answer{token: t, until: until}, nil
}
