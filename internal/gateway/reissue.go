package gateway

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/bus"
)

var errReissue = errors.New("gateway: no internal token to be had")

// reissueWait bounds how long a request waits for an internal token.
const reissueWait = 2 * time.Second

// maxReissues bounds the internal tokens kept.
const maxReissues = 65536

// reissues keeps the internal tokens behind presented ones, each until shortly
// before it expires. Questions about one token are collapsed.
type reissues struct {
	from Reissuer
	mu   sync.Mutex
	kept map[reissueKey]*reissued // guarded by mu
}

type reissueKey struct {
	token   mintmark.TokenID
	release mintmark.ReleaseID
}

type reissued struct {
	done  chan struct{}
	value mintmark.Secret // set before done is closed
	until int64           // Unix seconds; set before done is closed
	err   error           // set before done is closed
}

func newReissues(from Reissuer) *reissues {
	return &reissues{from: from, kept: map[reissueKey]*reissued{}}
}

// fetch returns the internal token of the serving release's shape.
func (s *reissues) fetch(ctx context.Context, d *Decision) (string, error) {
	if s.from == nil {
		return "", errReissue
	}
	release := d.Verdict.Release
	k := reissueKey{d.Token.ID, release.ID}
	now := d.req.Now.Unix()
	s.mu.Lock()
	r := s.kept[k]
	if r != nil && r.over(now) {
		r = nil
	}
	if r == nil {
		if len(s.kept) >= maxReissues {
			s.sweep(now)
		}
		r = &reissued{done: make(chan struct{})}
		s.kept[k] = r
		ask := bus.ReissueRequest{V: 1, Token: *d.Token, Service: release.Service.Name, Release: release.ID}
		// Not the caller's context: others wait for the same answer. The call is
		// bounded and its goroutine ends with it.
		go s.ask(k, r, ask)
	}
	s.mu.Unlock()
	select {
	case <-r.done:
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
	if r.err != nil {
		return "", r.err
	}
	return r.value.Reveal(), nil
}

func (s *reissues) ask(k reissueKey, r *reissued, q bus.ReissueRequest) {
	ctx, cancel := context.WithTimeout(context.Background(), reissueWait)
	defer cancel()
	reply, err := s.from.Reissue(ctx, q)
	if err == nil && (reply.Error != "" || reply.Value == "") {
		err = errReissue
	}
	r.err = err
	if err == nil {
		r.value = mintmark.NewSecret(reply.Value)
		r.until = q.Token.Expires
		if t := reply.Token; t != nil && t.Expires != 0 {
			r.until = t.Expires
		}
	}
	if err != nil {
		s.mu.Lock()
		if s.kept[k] == r {
			delete(s.kept, k)
		}
		s.mu.Unlock()
	}
	close(r.done)
}

// over reports whether an answer is there and too old to be sent on.
func (r *reissued) over(now int64) bool {
	select {
	case <-r.done:
		return r.until != 0 && now >= r.until-2
	default:
		return false
	}
}

// sweep drops what is over and, when that is nothing, some of the rest: they can
// be fetched again. The caller holds mu.
func (s *reissues) sweep(now int64) {
	n := 0
	for k, r := range s.kept {
		if r.over(now) || n < 64 {
			delete(s.kept, k)
		}
		if n++; n >= 1024 {
			return
		}
	}
}
