package authority

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/epoch"
	"github.com/mintmark/mintmark/internal/jose"
	"github.com/mintmark/mintmark/internal/ledger"
)

// Keys lists all signing keys, retired ones included, without private parts.
func (a *Authority) Keys(ctx context.Context) ([]SigningKey, error) {
	docs, err := a.allDocuments(ctx, ledger.DocKey)
	if err != nil {
		return nil, err
	}
	out := make([]SigningKey, 0, len(docs))
	for _, d := range docs {
		var k SigningKey
		if err := json.Unmarshal(d.Body, &k); err != nil {
			return nil, fmt.Errorf("decode key %s: %w", d.ID, err)
		}
		k.Wrapped = nil
		out = append(out, k)
	}
	return out, nil
}

func (a *Authority) allDocuments(ctx context.Context, kind string) ([]ledger.Document, error) {
	var out []ledger.Document
	for after := ""; ; {
		page, err := a.d.Documents.Documents(ctx, kind, after, 500)
		if err != nil {
			return nil, fmt.Errorf("list %s documents: %w", kind, err)
		}
		out = append(out, page...)
		if len(page) < 500 {
			return out, nil
		}
		after = page[len(page)-1].ID
	}
}

// reload reads the keys that are not retired.
func (a *Authority) reload(ctx context.Context) error {
	docs, err := a.allDocuments(ctx, ledger.DocKey)
	if err != nil {
		return err
	}
	var keys []*keyEntry
	for _, d := range docs {
		k := &keyEntry{version: d.Version}
		if err := json.Unmarshal(d.Body, &k.SigningKey); err != nil {
			return fmt.Errorf("decode key %s: %w", d.ID, err)
		}
		if k.State == KeyRetired {
			continue
		}
		private, err := a.d.Keys.Unwrap(k.ID, k.Wrapped)
		if err != nil {
			return fmt.Errorf("unwrap key %s: %w", k.ID, err)
		}
		if k.signer, err = jose.NewSigner(k.ID, jose.ParseAlgorithm(k.Alg), private); err != nil {
			return fmt.Errorf("use key %s: %w", k.ID, err)
		}
		keys = append(keys, k)
	}
	a.keys.set(keys)
	return nil
}

// tend brings the keys to where they should be: loaded, one active per algorithm,
// rotated in time, and published as they stand. Every step is durable and
// repeatable, so that dying between two of them costs a repetition.
func (a *Authority) tend(ctx context.Context) error {
	a.keyMu.Lock()
	defer a.keyMu.Unlock()
	if err := a.reload(ctx); err != nil {
		return err
	}
	now := a.d.Now()
	for _, alg := range a.cfg.Algs {
		k, err := a.keys.active(alg)
		due := err != nil || k.Alg != alg || now.After(time.Unix(k.Activated, 0).Add(a.cfg.KeyLifetime))
		if !due && !a.refuses(k) {
			continue
		}
		if _, err := a.rotateLocked(ctx, alg, "system:authority", "due"); err != nil {
			return err
		}
	}
	// A key that can't be retired yet must not keep the others from the gateways.
	failed := a.retireSafe(ctx)
	return errors.Join(failed, a.publish(ctx, "system:authority", "as they stand"))
}

// refuses reports whether everything that k signs is refused, because a key was
// revoked or suspended as a whole. Nothing can be minted until another replaces
// it, operators' tokens included: it must not take one of those to mend that.
func (a *Authority) refuses(k *keyEntry) bool {
	s := a.d.State.Current()
	if s == nil || s.Revoked == nil {
		return false
	}
	// The newest token there can be: bounded facts end before it.
	fact := s.Revoked.Find(&mintmark.Token{
		Issuer: a.cfg.Issuer, Mark: mintmark.Mark{Key: k.ID, Seq: math.MaxUint64}, IssuedAt: a.d.Now().Unix(),
	})
	return fact != nil && fact.Selector.Key == k.ID // else another key would fare no better
}

// signsInVain reports whether an active key is refused.
func (a *Authority) signsInVain() bool {
	for _, k := range a.keys.list() {
		if k.State == KeyActive && a.refuses(k) {
			return true
		}
	}
	return false
}

// Rotate makes a new active key for an algorithm ("" is the first configured) and
// returns once tokens are signed with it: the new key was acknowledged by every
// leased gateway before. The one before goes on verifying.
func (a *Authority) Rotate(ctx context.Context, alg, actor, reason string) (SigningKey, error) {
	a.keyMu.Lock()
	defer a.keyMu.Unlock()
	if alg == "" {
		alg = a.cfg.Algs[0]
	}
	if jose.ParseAlgorithm(alg) == jose.Unknown || jose.ParseAlgorithm(alg).Symmetric() {
		return SigningKey{}, fmt.Errorf("%w: algorithm %.20q is not one of %s", ErrRequest, alg, strings.Join(jose.AsymmetricNames(), ", "))
	}
	if err := a.reload(ctx); err != nil {
		return SigningKey{}, err
	}
	return a.rotateLocked(ctx, alg, actor, reason)
}

func (a *Authority) rotateLocked(ctx context.Context, alg, actor, reason string) (SigningKey, error) {
	var next *keyEntry
	for _, k := range a.keys.list() {
		if k.State == KeyPending && k.Alg == alg {
			next = k // of a rotation that did not finish
		}
	}
	if next == nil {
		if err := a.addPending(ctx, alg, actor); err != nil {
			return SigningKey{}, err
		}
		if err := a.reload(ctx); err != nil {
			return SigningKey{}, err
		}
		for _, k := range a.keys.list() {
			if k.State == KeyPending && k.Alg == alg {
				next = k
			}
		}
	}
	if next == nil {
		return SigningKey{}, fmt.Errorf("pending key: %w", ledger.ErrNotFound)
	}
	// Accept before mint: nothing is signed with the key before every leased
	// gateway has it.
	if err := a.publish(ctx, actor, "new signing key"); err != nil {
		return SigningKey{}, err
	}
	var b ledger.Batch
	now := a.d.Now().Unix()
	for _, k := range a.keys.list() {
		changed := k.SigningKey
		switch {
		case k == next:
			changed.State, changed.Activated, changed.Reason = KeyActive, now, reason
		case k.State == KeyActive && k.Alg == alg:
			changed.State, changed.Replaced = KeyVerifying, now
		default:
			continue
		}
		b = join(b, put(ledger.DocKey, k.ID, k.version, changed))
	}
	if _, err := a.d.Ledger.Append(ctx, by(actor, b).With(ctx)); err != nil {
		return SigningKey{}, fmt.Errorf("activate key %s: %w", next.ID, err)
	}
	if err := a.reload(ctx); err != nil {
		return SigningKey{}, err
	}
	out := next.SigningKey
	out.State, out.Activated, out.Wrapped = KeyActive, now, nil
	return out, a.publish(ctx, actor, "signing key active")
}

// by names who caused a batch's events.
func by(actor string, b ledger.Batch) ledger.Batch {
	for i := range b.Events {
		b.Events[i].Actor = actor
	}
	return b
}

func (a *Authority) addPending(ctx context.Context, alg, actor string) error {
	private, err := a.d.Keys.Generate(alg)
	if err != nil {
		return fmt.Errorf("generate %s key: %w", alg, err)
	}
	kid, err := a.newID("key")
	if err != nil {
		return err
	}
	s, err := jose.NewSigner(kid, jose.ParseAlgorithm(alg), private)
	if err != nil {
		return fmt.Errorf("use new key: %w", err)
	}
	wrapped, err := a.d.Keys.Wrap(kid, private)
	if err != nil {
		return fmt.Errorf("wrap new key: %w", err)
	}
	doc := SigningKey{ID: kid, Alg: alg, State: KeyPending, JWK: s.Key().JWK(), Wrapped: wrapped, Created: a.d.Now().Unix()}
	if _, err := a.d.Ledger.Append(ctx, by(actor, put(ledger.DocKey, kid, 0, doc))); err != nil {
		return fmt.Errorf("store new key: %w", err)
	}
	return nil
}

// publish brings the keys as they stand to the gateways, unless they have them.
func (a *Authority) publish(ctx context.Context, actor, reason string) error {
	part := epoch.Keys{Issuer: a.cfg.Issuer}
	for _, k := range a.keys.list() {
		part.Keys = append(part.Keys, epoch.Key{
			ID: k.ID, Alg: k.Alg, JWK: k.JWK, State: k.State, Uses: []string{"access", "internal", "id"},
		})
	}
	slices.SortFunc(part.Keys, func(x, y epoch.Key) int { return strings.Compare(x.ID, y.ID) })
	if a.published(part) {
		return nil
	}
	if err := a.d.Publisher.PublishKeys(ctx, part, actor, reason); err != nil {
		return fmt.Errorf("publish keys: %w", err)
	}
	return nil
}

// published reports whether every leased gateway already has exactly these keys.
func (a *Authority) published(part epoch.Keys) bool {
	settled := a.d.State.Settled()
	if settled == nil || settled.Table == nil || settled.Table.Authority() != part.Issuer {
		return false
	}
	_, want, err := epoch.Encode(part)
	if err != nil {
		return false
	}
	have, ok := settled.Manifest.Find(epoch.PartKeys)
	return ok && have == want
}

// Retire drops a key that is no longer active. Unless forced it is refused while
// live tokens need it, suspended ones included (ErrInUse); how many, and until when,
// is in the error's text.
func (a *Authority) Retire(ctx context.Context, kid, actor, reason string, force bool) error {
	a.keyMu.Lock()
	defer a.keyMu.Unlock()
	k, err := a.retirable(ctx, kid)
	if err != nil {
		return err
	}
	if !force {
		n, err := a.needOf(ctx, &k.SigningKey)
		if err != nil {
			return err
		}
		if n.never || a.d.Now().Unix() < n.last {
			return fmt.Errorf("%w: %s", ErrInUse, neededText(kid, n))
		}
	}
	if err := a.retireLocked(ctx, k, actor, reason, nil); err != nil {
		return err
	}
	return a.publish(ctx, actor, reason)
}

// retireLocked makes a key retired, in one transaction with a revocation of its
// tokens if there is one.
func (a *Authority) retireLocked(ctx context.Context, k *keyEntry, actor, reason string, facts []mintmark.Revocation) error {
	doc := k.SigningKey
	doc.State, doc.Wrapped, doc.Retired, doc.Reason, doc.WhenSafe = KeyRetired, nil, a.d.Now().Unix(), reason, nil
	b := by(actor, put(ledger.DocKey, k.ID, k.version, doc))
	var err error
	if len(facts) > 0 {
		_, err = a.d.Revoker.Revoke(ctx, facts, b)
	} else {
		_, err = a.d.Ledger.Append(ctx, b)
	}
	if err != nil {
		return fmt.Errorf("retire key %s: %w", k.ID, err)
	}
	return a.reload(ctx)
}

// Kill is for a key that leaked: everything signed with it is refused as of one
// row of the state log, at once and for good; then a new key takes its place if
// it was active. Until that is acknowledged, nothing is minted under its
// algorithm unless another key is active.
func (a *Authority) Kill(ctx context.Context, kid, actor, reason string) error {
	a.keyMu.Lock()
	defer a.keyMu.Unlock()
	if err := a.reload(ctx); err != nil {
		return err
	}
	fact := mintmark.Revocation{
		// No cut-off: whoever holds the key can claim any number in a mark.
		Action: mintmark.ActionRevoke, Selector: mintmark.Selector{Key: kid}, Reason: reason, Actor: actor,
	}
	k := a.keys.byID(kid)
	if k == nil {
		// Retired before, or by a kill that did not live to answer: what it signed is
		// refused all the same, and tend puts a key in its place.
		if _, err := a.d.Documents.Document(ctx, ledger.DocKey, kid); err != nil {
			return fmt.Errorf("key %.80q: %w", kid, err)
		}
		if _, err := a.d.Revoker.Revoke(ctx, []mintmark.Revocation{fact}, ledger.Batch{}); err != nil {
			return fmt.Errorf("revoke what key %s signed: %w", kid, err)
		}
		return a.publish(ctx, actor, reason)
	}
	if err := a.retireLocked(ctx, k, actor, reason, []mintmark.Revocation{fact}); err != nil {
		return err
	}
	if k.State == KeyActive {
		if _, err := a.rotateLocked(ctx, k.Alg, actor, "replaces "+kid); err != nil {
			return err
		}
	}
	return a.publish(ctx, actor, reason)
}
