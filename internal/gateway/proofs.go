package gateway

import (
	"context"
	"sync"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/bus"
	"github.com/mintmark/mintmark/internal/oauth"
)

// Proofs sees to it that a DPoP proof is good and used once: on this gateway by a
// memory of its own, across gateways by Once. Safe for concurrent use.
type Proofs struct {
	once  Once
	mu    sync.Mutex
	seen  map[string]int64 // key → Unix second to forget it; guarded by mu
	swept int64            // Unix second of the last sweep; guarded by mu
}

// maxProofs bounds the memory: when it is full of proofs that could still be
// replayed, further ones are state_unknown rather than unchecked.
const maxProofs = 1 << 18

// onceWait bounds the question to control.
const onceWait = time.Second

// NewProofs returns an empty memory; once may be nil.
func NewProofs(once Once) *Proofs {
	return &Proofs{once: once, seen: map[string]int64{}}
}

// check judges the proof of a request that presents a token bound to the key with
// thumbprint bound. Only that key's proofs are marked as used: others are refused
// all the same, and must not fill the memory or ask control.
func (p *Proofs) check(ctx context.Context, q *Query, token, bound string, now time.Time) (jkt string, code mintmark.Code, nonce string) {
	proofs := q.Header["Dpop"]
	if p == nil || len(proofs) != 1 {
		return "", mintmark.CodeBinding, ""
	}
	proof, err := oauth.CheckProof(proofs[0], oauth.ProofCheck{
		Method: q.Method, URI: q.Scheme + "://" + q.Host + q.Path, Token: token, Now: now,
	})
	if err != nil {
		return "", mintmark.CodeBinding, ""
	}
	if proof.JKT != bound {
		return proof.JKT, mintmark.CodeBinding, ""
	}
	return proof.JKT, p.use(ctx, proof, now), ""
}

// use sets the proof's single-use mark.
func (p *Proofs) use(ctx context.Context, proof oauth.Proof, now time.Time) mintmark.Code {
	key := proof.JKT + "." + proof.ID
	unix := now.Unix()
	p.mu.Lock()
	if _, used := p.seen[key]; used {
		p.mu.Unlock()
		return mintmark.CodeBinding
	}
	if len(p.seen) >= maxProofs && p.swept != unix {
		p.swept = unix
		for k, until := range p.seen {
			if until < unix {
				delete(p.seen, k)
			}
		}
	}
	if len(p.seen) >= maxProofs {
		p.mu.Unlock()
		return mintmark.CodeStateUnknown
	}
	p.seen[key] = proof.Expires
	p.mu.Unlock()
	if p.once == nil {
		return mintmark.CodeNone
	}
	ctx, cancel := context.WithTimeout(ctx, onceWait)
	defer cancel()
	r, err := p.once.Once(ctx, bus.OnceRequest{V: 1, Space: "dpop", Key: key, Expires: proof.Expires})
	switch {
	case err != nil || r.Error != "":
		return mintmark.CodeStateUnknown
	case r.Used:
		return mintmark.CodeBinding
	}
	return mintmark.CodeNone
}
