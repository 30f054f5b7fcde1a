package control

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/ledger"
)

// keepReplies is how long an answer is kept for its idempotency key.
const keepReplies = 24 * time.Hour

// reply is the document reply/<hash>: an answer, and what it answered.
type reply struct {
	Request string          `json:"request"` // hash of operation and body
	Answer  json.RawMessage `json:"answer"`
	Expires int64           `json:"expires_at"` // Unix seconds
}

// Once runs do and keeps its answer under the caller's idempotency key: asked
// again with the same key, the answer is repeated and nothing done. The same key
// for another request is ErrConflict. Failures are not kept. An empty key runs do.
//
// The answer is stored after the deed. If the process dies in between, asking
// again does it again: every deed of control is either a success a second time or
// refused as done.
func Once[T any](ctx context.Context, c *Control, actor, key, operation string, request any, do func() (*T, error)) (*T, error) {
	if key == "" {
		return do()
	}
	if len(key) > 255 {
		return nil, fmt.Errorf("%w: idempotency key is longer than 255 bytes", ErrInvalid)
	}
	body, err := json.Marshal(request)
	if err != nil {
		return nil, fmt.Errorf("encode request: %w", err)
	}
	id, asked := digest(actor, key), digest(operation, string(body))
	defer c.enter(id)()
	var kept reply
	_, ok, err := c.document(ctx, ledger.DocReply, id, &kept)
	if err != nil {
		return nil, err
	}
	if ok && kept.Expires > c.cfg.Now().Unix() {
		if kept.Request != asked {
			return nil, fmt.Errorf("%w: the idempotency key was used for another request", ErrConflict)
		}
		out := new(T)
		return out, json.Unmarshal(kept.Answer, out)
	}
	out, err := do()
	if err != nil {
		return nil, err
	}
	kept = reply{Request: asked, Expires: c.cfg.Now().Add(keepReplies).Unix()}
	if kept.Answer, err = json.Marshal(withoutSecrets(out)); err == nil {
		var e mintmark.Event
		if e, err = put(ledger.DocReply, id, actor, kept); err == nil {
			_, err = c.cfg.Ledger.Append(context.WithoutCancel(ctx), ledger.Batch{Events: []mintmark.Event{e}})
		}
	}
	if err != nil {
		c.cfg.Log.Warn("answer not kept for its idempotency key", "operation", operation, "error", err)
	}
	return out, nil
}

func digest(a, b string) string {
	h := sha256.Sum256([]byte(fmt.Sprintf("%d %s %s", len(a), a, b)))
	return hex.EncodeToString(h[:])
}

// call is one idempotency key in use.
type call struct {
	mu    sync.Mutex
	users int // guarded by Control.mu
}

// enter lets one call with an id run at a time; it returns how to leave.
func (c *Control) enter(id string) func() {
	c.mu.Lock()
	k := c.calls[id]
	if k == nil {
		k = &call{}
		c.calls[id] = k
	}
	k.users++
	c.mu.Unlock()
	k.mu.Lock()
	return func() {
		k.mu.Unlock()
		c.mu.Lock()
		defer c.mu.Unlock()
		if k.users--; k.users == 0 {
			delete(c.calls, id)
		}
	}
}

// withoutSecrets is what may be kept of an answer: values that are shown once are
// not written down.
func withoutSecrets(answer any) any {
	if a, ok := answer.(*api.ApplyAnswer); ok && a.Secrets != nil {
		b := *a
		b.Secrets = nil
		return &b
	}
	return answer
}
