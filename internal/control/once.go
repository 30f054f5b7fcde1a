package control

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
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
	Request string          `json:"request"`          // hash of operation and body
	Answer  json.RawMessage `json:"answer,omitempty"` // none yet when the process died
	Expires int64           `json:"expires_at"`       // Unix seconds
	// Receipt is of the row that the deed wrote; written with it.
	Receipt mintmark.ReceiptID `json:"receipt,omitempty"`
}

// keyed is the request of an idempotency key while it runs.
type keyed struct {
	id, asked, actor string
	done             mintmark.ReceiptID // of an earlier run that did not live to answer
}

type keyedOf struct{}

// earlier returns the receipt of what an earlier run under the same idempotency
// key made durable without living to answer; "" when there is none. A deed that
// finds one answers from it and does nothing.
func earlier(ctx context.Context) mintmark.ReceiptID {
	k, _ := ctx.Value(keyedOf{}).(keyed)
	return k.done
}

// write commits a change and, in the same transaction, that the caller's
// idempotency key is used up for it: dying at any moment leaves both or neither.
func (c *Control) write(ctx context.Context, ch Change) (Committed, error) {
	if ch.Receipt == "" {
		id, err := c.newID(mintmark.PrefixReceipt)
		if err != nil {
			return Committed{}, err
		}
		ch.Receipt = mintmark.ReceiptID(id)
	}
	if k, ok := ctx.Value(keyedOf{}).(keyed); ok {
		e, err := put(ledger.DocReply, k.id, k.actor, reply{Request: k.asked, Expires: c.cfg.Now().Add(keepReplies).Unix(), Receipt: ch.Receipt})
		if err != nil {
			return Committed{}, err
		}
		ch.Also.Events = append(slices.Clone(ch.Also.Events), e)
	}
	return c.cfg.StateLog.Commit(ctx, ch)
}

// Once runs do and keeps its answer under the caller's idempotency key: asked
// again with the same key, the answer is repeated and nothing done. The same key
// for another request is ErrConflict. Failures are not kept. An empty key runs do.
//
// A deed that writes a row of the state log marks the key as used in the same
// transaction. If the process dies before the answer is stored, asking again
// answers from the row's receipt. The other deeds are done again: each of them is
// either a success a second time or refused as done.
func Once[T any](ctx context.Context, c *Control, actor, key, operation string, request any, do func(ctx context.Context) (*T, error)) (*T, error) {
	if key == "" {
		return do(ctx)
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
		if kept.Answer != nil {
			out := new(T)
			return out, json.Unmarshal(kept.Answer, out)
		}
	} else {
		kept = reply{}
	}
	out, err := do(context.WithValue(ctx, keyedOf{}, keyed{id: id, asked: asked, actor: actor, done: kept.Receipt}))
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
