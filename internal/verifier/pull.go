package verifier

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/admission"
	"github.com/mintmark/mintmark/internal/bus"
	"github.com/mintmark/mintmark/internal/epoch"
	"github.com/mintmark/mintmark/internal/handle"
)

const (
	// negativeFor is how long a "no such token" is believed: short, because the
	// value may be issued meanwhile, and it only saves questions.
	negativeFor = 5 * time.Second
	// maxNegative bounds how many are remembered.
	maxNegative = 65_536
	// introspectedFor bounds how long another issuer's answer about its token is
	// believed: that issuer pushes no revocations to us.
	introspectedFor = 60 // seconds
	// keyEvery is the shortest time between two questions about one issuer's
	// unknown keys; control limits its own fetches as well.
	keyEvery = time.Second
)

// errBusy means that too many questions are in flight: the state is unknown.
var errBusy = errors.New("too many questions to control in flight")

// puller asks control: one question per value at a time, few at once.
type puller struct {
	to    Puller
	limit int
	asked atomic.Uint64

	mu       sync.Mutex
	flights  map[[32]byte]*flight
	negative map[[32]byte]refusal // by digest, until its time
	keys     map[string]*keyFlight
}

type refusal struct {
	code  mintmark.Code
	until time.Time
}

type flight struct {
	done  chan struct{}
	reply bus.PullReply
	err   error
	// status says that the question is about a status: the answer has no token.
	status bool
}

type keyFlight struct {
	kid   string
	done  chan struct{}
	begun time.Time
	reply bus.KeyReply
	err   error
}

func newPuller(to Puller, limit int) puller {
	return puller{to: to, limit: limit, flights: map[[32]byte]*flight{}, negative: map[[32]byte]refusal{}, keys: map[string]*keyFlight{}}
}

// ask resolves a value that is no JWT: ours by its form, a foreign issuer's by
// its prefix.
func (v *Verifier) ask(ctx context.Context, snap *epoch.Snapshot, scheme admission.Scheme, d digest, value string, now time.Time, out *Verified) mintmark.Code {
	request := bus.PullRequest{V: 1}
	var issuer *epoch.IssuerEntry
	kind, err := handle.Parse(value)
	switch {
	case err == nil && kind == mintmark.KindOpaque && scheme != admission.SchemeAPIKey,
		err == nil && kind == mintmark.KindAPIKey:
		request.Kind = kind
	case handle.Sniff(value) != mintmark.KindUnknown:
		return mintmark.CodeMalformed // a refresh token, or ours with a bad checksum: no question
	default:
		if issuer = snap.Table.Introspected(value); issuer == nil || scheme == admission.SchemeAPIKey {
			return mintmark.CodeMalformed
		}
		request.Kind, request.Issuer, request.Value = mintmark.KindForeign, issuer.Name, value
	}
	sum := handle.Digest(value)
	request.Digest = sum[:]
	reply, code := v.pull.token(ctx, sum, request, now)
	if code != mintmark.CodeNone {
		return code
	}
	t := reply.Token
	if t.Kind != request.Kind || issuer != nil && t.Issuer != issuer.Issuer.Issuer {
		return mintmark.CodeStateUnknown // an answer to another question
	}
	out.AsOf = reply.AsOf
	until := int64(0)
	if issuer != nil {
		until = now.Unix() + introspectedFor
		out.First = true
	}
	first := out.First
	v.remember(d, t, byControl, 0, snap.Table, until, now, out)
	out.First = first
	return mintmark.CodeNone
}

// token asks about a token, together with whoever else asks now.
func (p *puller) token(ctx context.Context, sum [32]byte, r bus.PullRequest, now time.Time) (bus.PullReply, mintmark.Code) {
	if p.to == nil {
		return bus.PullReply{}, mintmark.CodeStateUnknown
	}
	p.mu.Lock()
	if n, ok := p.negative[sum]; ok {
		if now.Before(n.until) {
			p.mu.Unlock()
			return bus.PullReply{}, n.code
		}
		delete(p.negative, sum)
	}
	f := p.flights[sum]
	if f == nil {
		if len(p.flights) >= p.limit {
			p.mu.Unlock()
			return bus.PullReply{}, mintmark.CodeStateUnknown
		}
		f = &flight{done: make(chan struct{}), status: r.Status != nil}
		p.flights[sum] = f
		p.mu.Unlock()
		p.fly(ctx, sum, f, r, now)
	} else {
		p.mu.Unlock()
		select {
		case <-f.done:
		case <-ctx.Done():
			return bus.PullReply{}, mintmark.CodeStateUnknown
		}
	}
	return f.reply, outcome(f)
}

// fly asks, and lets the others know. The question goes on when the first asker
// goes away: the others wait for it.
func (p *puller) fly(ctx context.Context, sum [32]byte, f *flight, r bus.PullRequest, now time.Time) {
	f.err = errBusy // should the callee panic, the others learn nothing
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.flights, sum)
		if code := outcome(f); code != mintmark.CodeNone && code != mintmark.CodeStateUnknown {
			if len(p.negative) >= maxNegative {
				clear(p.negative) // it only saves questions
			}
			p.negative[sum] = refusal{code, now.Add(negativeFor)}
		}
		close(f.done)
	}()
	p.asked.Add(1)
	f.reply, f.err = p.to.Pull(context.WithoutCancel(ctx), r)
}

// outcome is the code of an answer. No answer is never a refusal.
func outcome(f *flight) mintmark.Code {
	switch {
	case f.err != nil, f.reply.Error != "":
		return mintmark.CodeStateUnknown
	case f.reply.Code != mintmark.CodeNone:
		return f.reply.Code
	case f.reply.Token == nil && !f.status:
		return mintmark.CodeMalformed // well formed, but never issued
	}
	return mintmark.CodeNone
}

// key reports an unknown kid: one question per issuer at a time and per interval.
// Who comes between with the same kid gets the last answer; with another kid the
// state is unknown, for nobody asked about that one.
func (p *puller) key(ctx context.Context, r bus.KeyRequest, now time.Time) (bus.KeyReply, error) {
	if p.to == nil {
		return bus.KeyReply{}, errBusy
	}
	p.mu.Lock()
	f := p.keys[r.Issuer] // one per issuer of the epoch: bounded
	if f != nil && now.Before(f.begun.Add(keyEvery)) {
		p.mu.Unlock()
		select {
		case <-f.done:
		case <-ctx.Done():
			return bus.KeyReply{}, ctx.Err()
		}
		if f.kid != r.KeyID {
			return bus.KeyReply{}, errBusy
		}
		return f.reply, f.err
	}
	f = &keyFlight{kid: r.KeyID, done: make(chan struct{}), begun: now, err: errBusy}
	p.keys[r.Issuer] = f
	p.mu.Unlock()
	defer close(f.done)
	p.asked.Add(1)
	f.reply, f.err = p.to.RefreshKey(context.WithoutCancel(ctx), r)
	if f.err == nil && f.reply.Error != "" {
		f.err = errors.New("refresh keys of " + r.Issuer + ": " + f.reply.Error)
	}
	return f.reply, f.err
}
