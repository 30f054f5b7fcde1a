package control

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
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
	// Fix is what to do about values that the answer showed once; "" when there were
	// none.
	Fix string `json:"fix,omitempty"`
}

// keyed is the request of an idempotency key while it runs.
type keyed struct {
	id, asked, actor string
	done             mintmark.ReceiptID // of an earlier run that did not live to answer
	fix              string             // see reply
	expires          int64
}

// spent is the event that uses the key up.
func (k keyed) spent(receipt mintmark.ReceiptID) (mintmark.Event, error) {
	return put(ledger.DocReply, k.id, k.actor, reply{Request: k.asked, Expires: k.expires, Receipt: receipt, Fix: k.fix})
}

// carry returns a context that knows the key, and brings its event along to the
// append that is the deed.
func (k keyed) carry(ctx context.Context) (context.Context, error) {
	e, err := k.spent("")
	if err != nil {
		return ctx, err
	}
	return ledger.Along(context.WithValue(ctx, keyedOf{}, k), e), nil
}

// shows notes, before the deed is written, what to do about values that only its
// answer shows, for whoever asks again.
func shows(ctx context.Context, fix string) context.Context {
	k, ok := ctx.Value(keyedOf{}).(keyed)
	if !ok || fix == "" {
		return ctx
	}
	k.fix = fix
	with, err := k.carry(ctx)
	if err != nil {
		return ctx // it encoded before
	}
	return with
}

// rotateSecrets says how to get over lost secrets of clients.
func rotateSecrets(clients []string) string {
	if len(clients) == 0 {
		return ""
	}
	return "give a new one: mintmark client rotate-secret " + strings.Join(clients, "; mintmark client rotate-secret ")
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
		e, err := k.spent(ch.Receipt)
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
// A deed marks the key as used in its own transaction: by a row of the state log, or
// by ledger.Batch.With. If the process dies before the answer is stored, asking
// again answers from the row's receipt, or else says that it was done. It says so,
// too, instead of an answer that showed values once: those are kept nowhere.
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
		switch {
		case kept.Fix != "":
			return nil, api.NewProblem(api.CodeShown, "this was done under the same idempotency key; what its answer showed is kept nowhere"+receiptOf(kept), kept.Fix)
		case kept.Answer != nil:
			out := new(T)
			return out, json.Unmarshal(kept.Answer, out)
		case kept.Receipt == "":
			return nil, api.NewProblem(api.CodeShown, "this was done under the same idempotency key, but control ended before it could answer", "look at what is there; where a secret or a token was to be shown, rotate it or issue another")
		}
	} else {
		kept = reply{}
	}
	expires := c.cfg.Now().Add(keepReplies).Unix()
	ctx, err = keyed{id: id, asked: asked, actor: actor, done: kept.Receipt, expires: expires}.carry(ctx)
	if err != nil {
		return nil, err
	}
	out, err := do(ctx)
	if err != nil {
		return nil, err
	}
	kept = reply{Request: asked, Expires: expires}
	var open any
	open, kept.Fix = withoutSecrets(out)
	if kept.Answer, err = json.Marshal(open); err == nil {
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

// receiptOf names a reply's receipt, if there is one.
func receiptOf(r reply) string {
	if r.Receipt == "" {
		var a struct {
			Receipt *struct {
				ID mintmark.ReceiptID `json:"id"`
			} `json:"receipt"`
		}
		if json.Unmarshal(r.Answer, &a) != nil || a.Receipt == nil {
			return ""
		}
		r.Receipt = a.Receipt.ID
	}
	return "; see receipt " + string(r.Receipt)
}

// withoutSecrets is what may be kept of an answer, and what to do about values that
// are shown once and not written down; "" when there are none.
func withoutSecrets(answer any) (any, string) {
	switch a := answer.(type) {
	case *api.ApplyAnswer:
		if len(a.Secrets) > 0 {
			b := *a
			b.Secrets = nil
			return &b, rotateSecrets(slices.Sorted(maps.Keys(a.Secrets)))
		}
	case *api.ClientAnswer:
		if a.Secret != "" {
			b := *a
			b.Secret = ""
			return &b, rotateSecrets([]string{string(a.Client.ID)})
		}
	case *api.Issued:
		b := *a
		b.Value = ""
		if a.Token.Kind == mintmark.KindAPIKey {
			return &b, "replace it: mintmark apikey rotate " + string(a.Token.ID)
		}
		return &b, "issue another, and revoke this one: mintmark token revoke " + string(a.Token.ID)
	}
	return answer, ""
}
