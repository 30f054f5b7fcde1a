package authority

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/ledger"
)

// KeyWish is that somebody wants a key retired as soon as no token needs it. It is
// kept in the key's document, so that it outlives us; Run carries it out.
type KeyWish struct {
	Since  int64  `json:"since"` // Unix seconds
	Actor  string `json:"actor"`
	Reason string `json:"reason,omitempty"`
}

// keySlack is how much longer than a token's expiry, and than a key's replacement,
// its key is kept: the greatest skew that a gateway may allow for (300 s), which
// also lets what was being minted when the key was replaced come to the ledger.
const keySlack = 300 * time.Second

// need is what still needs a key.
type need struct {
	tokens int64 // live; suspended ones are not counted, but bound last
	last   int64 // Unix second at which the last one is over
	never  bool  // one never is
	until  int64 // Unix second from which nothing can need it
}

func (n need) over(now time.Time) bool { return !n.never && n.tokens == 0 && now.Unix() >= n.until }

// needOf asks the ledger what needs a key, suspended tokens included: they may be
// restored.
func (a *Authority) needOf(ctx context.Context, k *SigningKey) (need, error) {
	n := need{until: k.Replaced + int64(keySlack/time.Second)}
	reached, err := a.d.Tokens.Reach(ctx, mintmark.Selector{Key: k.ID}, mintmark.Cutoff{}, a.d.Now().Add(-keySlack))
	if err != nil {
		return n, fmt.Errorf("count tokens of key %s: %w", k.ID, err)
	}
	for _, r := range reached {
		n.tokens += r.Tokens
		n.last, n.never = max(n.last, r.Last), n.never || r.Last == 0
	}
	if n.last > 0 {
		n.until = max(n.until, n.last+int64(keySlack/time.Second))
	}
	return n, nil
}

// RetireWhenSafe retires a key as soon as the ledger shows that no token needs it:
// at once when that is so, else later by Run, which the wish outlives. Asked again
// it keeps the first wish. Errors are as of Retire, but never ErrInUse.
func (a *Authority) RetireWhenSafe(ctx context.Context, kid, actor, reason string) error {
	a.keyMu.Lock()
	defer a.keyMu.Unlock()
	k, err := a.retirable(ctx, kid)
	if err != nil {
		return err
	}
	if k.WhenSafe == nil {
		doc := k.SigningKey
		doc.WhenSafe = &KeyWish{Since: a.d.Now().Unix(), Actor: actor, Reason: reason}
		if err := a.writeKey(ctx, k, doc, actor); err != nil {
			return fmt.Errorf("note that key %s is to be retired: %w", kid, err)
		}
	}
	if err := a.retireSafe(ctx); err != nil {
		return err
	}
	return a.publish(ctx, actor, reason)
}

// KeepKey takes a wish to retire a key back. ErrRequest when there is none, also
// because it was carried out.
func (a *Authority) KeepKey(ctx context.Context, kid, actor string) error {
	a.keyMu.Lock()
	defer a.keyMu.Unlock()
	if err := a.reload(ctx); err != nil {
		return err
	}
	k := a.keys.byID(kid)
	switch {
	case k == nil:
		return fmt.Errorf("key %.80q, among those not retired: %w", kid, ledger.ErrNotFound)
	case k.WhenSafe == nil:
		return fmt.Errorf("%w: nobody asked to retire key %s when it is safe", ErrRequest, kid)
	}
	doc := k.SigningKey
	doc.WhenSafe = nil
	if err := a.writeKey(ctx, k, doc, actor); err != nil {
		return fmt.Errorf("keep key %s: %w", kid, err)
	}
	return nil
}

// writeKey replaces a key's document. The caller holds keyMu.
func (a *Authority) writeKey(ctx context.Context, k *keyEntry, doc SigningKey, actor string) error {
	if _, err := a.d.Ledger.Append(ctx, by(actor, put(ledger.DocKey, k.ID, k.version, doc))); err != nil {
		return err
	}
	return a.reload(ctx)
}

// retirable returns a key that may be retired as far as its state goes. The caller
// holds keyMu.
func (a *Authority) retirable(ctx context.Context, kid string) (*keyEntry, error) {
	if err := a.reload(ctx); err != nil {
		return nil, err
	}
	k := a.keys.byID(kid)
	switch {
	case k == nil:
		return nil, fmt.Errorf("key %.80q, among those not retired: %w", kid, ledger.ErrNotFound)
	case k.State == KeyActive:
		return nil, fmt.Errorf("%w: key %s is active: rotate first", ErrRequest, kid)
	}
	return k, nil
}

// retireSafe carries out the wishes whose time has come. Dying before the append
// leaves the wish, after it a retired key that tend takes from the gateways. One
// that can't be carried out does not keep the others. The caller holds keyMu.
func (a *Authority) retireSafe(ctx context.Context) error {
	var failed error
	for _, k := range a.keys.list() {
		if k.WhenSafe == nil || k.State != KeyVerifying {
			continue
		}
		n, err := a.needOf(ctx, &k.SigningKey)
		if err == nil && n.over(a.d.Now()) {
			err = a.retireLocked(ctx, k, k.WhenSafe.Actor, k.WhenSafe.Reason, nil)
		}
		failed = errors.Join(failed, err)
	}
	return failed
}

// neededText says what needs a key, for whoever wants it gone.
func neededText(kid string, n need) string {
	switch {
	case n.never:
		return fmt.Sprintf("%d live tokens are signed with %s, and one never expires", n.tokens, kid)
	case n.tokens == 0:
		return fmt.Sprintf("tokens signed with %s may be accepted until %s", kid, time.Unix(n.until, 0).UTC().Format(time.RFC3339))
	}
	return fmt.Sprintf("%d live tokens are signed with %s; the last is over at %s", n.tokens, kid, time.Unix(n.last, 0).UTC().Format(time.RFC3339))
}
