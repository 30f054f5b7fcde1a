package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/ledger"
	"github.com/mintmark/mintmark/internal/policy"
)

// ErrDecided: a pending revocation was decided already, or nobody did in time.
var ErrDecided = errors.New("no longer pending")

// ErrPending: it was asked for, and waits for a second person.
var ErrPending = errors.New("waits for a second person")

// keepPending is how long a pending revocation can be looked at after its time.
const keepPending = 90 * 24 * time.Hour

// pendingDoc is the document pending/<id>. It is written when a revocation is
// asked for and once more when it is decided; an approval is written in the
// transaction that makes the revocation.
type pendingDoc struct {
	api.PendingRevocation
	Forgotten int64 `json:"expires_at"` // Unix seconds
}

// guard is the guard in force; the zero one when none is declared.
func (c *Control) guard(ctx context.Context) (policy.Guard, error) {
	const prefix = policy.KindGuard + "/"
	page, err := c.cfg.Store.Documents(ctx, ledger.DocResource, prefix, 1)
	if err != nil {
		return policy.Guard{}, fmt.Errorf("read the guard: %w", err)
	}
	var g policy.Guard
	if len(page) == 0 || !strings.HasPrefix(page[0].ID, prefix) {
		return g, nil
	}
	if err := json.Unmarshal(page[0].Body, &g); err != nil {
		return g, fmt.Errorf("read the guard: %w", err)
	}
	return g, nil
}

// pend writes down a wish that waits for a second person. Nothing is revoked yet.
func (c *Control) pend(ctx context.Context, w *wish, why string) (*api.PendingRevocation, error) {
	guard, err := c.guard(ctx)
	if err != nil {
		return nil, err
	}
	id, err := c.newID(mintmark.PrefixRevocation)
	if err != nil {
		return nil, err
	}
	now := c.cfg.Now().UTC().Truncate(time.Millisecond)
	p := pendingDoc{PendingRevocation: api.PendingRevocation{
		ID: mintmark.RevocationID(id), State: api.PendingWaiting, Action: w.fact.Action.String(), Selector: w.fact.Selector.String(),
		Reason: w.fact.Reason, Why: why, Requester: w.fact.Actor, Tokens: w.tokens, Made: now, Expires: now.Add(guard.Waits()), Version: 1,
	}}
	if w.last > 0 {
		p.For = w.last.String()
	}
	p.Forgotten = p.Expires.Add(keepPending).Unix()
	return &p.PendingRevocation, c.store(ctx, &p, 0, w.fact.Actor)
}

// askedFor is what an actor asked for in the same words and still waits, or was
// approved no longer ago than window; nil when there is no such thing.
func (c *Control) askedFor(ctx context.Context, actor string, w *wish, window time.Duration) (*api.PendingRevocation, error) {
	var found *api.PendingRevocation
	now := c.cfg.Now()
	err := documents(ctx, c.cfg.Store, ledger.DocPending, func(d ledger.Document, p pendingDoc) error {
		if p.Requester != actor || p.Selector != w.fact.Selector.String() || p.Action != w.fact.Action.String() {
			return nil
		}
		switch q := p.at(now, d.Version); {
		case q.State == api.PendingApproved && now.Sub(q.Decided) <= window:
			found = q
		case q.State == api.PendingWaiting && found == nil:
			found = q
		}
		return nil
	})
	return found, err
}

// store writes a pending revocation that was read at a version.
func (c *Control) store(ctx context.Context, p *pendingDoc, version uint64, actor string) error {
	b, err := p.batch(version, actor)
	if err == nil {
		_, err = c.cfg.Ledger.Append(ctx, b.With(ctx))
	}
	return conflict(err)
}

func (p *pendingDoc) batch(version uint64, actor string) (ledger.Batch, error) {
	e, err := put(ledger.DocPending, string(p.ID), actor, p)
	return ledger.Batch{Events: []mintmark.Event{e}, Expect: []ledger.Expect{{Stream: e.Stream, Version: version}}}, err
}

// at fills in what time does to a pending revocation.
func (p *pendingDoc) at(now time.Time, version uint64) *api.PendingRevocation {
	out := p.PendingRevocation
	out.Version = version
	if out.State == api.PendingWaiting && !now.Before(out.Expires) {
		out.State = api.PendingExpired
	}
	return &out
}

func (c *Control) pending(ctx context.Context, id mintmark.RevocationID) (*pendingDoc, uint64, error) {
	var p pendingDoc
	version, ok, err := c.document(ctx, ledger.DocPending, string(id), &p)
	if err == nil && !ok {
		err = fmt.Errorf("%w: there is no pending revocation %.80q", ErrNotFound, id)
	}
	return &p, version, err
}

// PendingRevocations lists those that wait or waited for a second person, newest
// first.
func (c *Control) PendingRevocations(ctx context.Context) (*api.PendingRevocations, error) {
	out := &api.PendingRevocations{Pending: []api.PendingRevocation{}}
	now := c.cfg.Now()
	err := documents(ctx, c.cfg.Store, ledger.DocPending, func(d ledger.Document, p pendingDoc) error {
		out.Pending = append(out.Pending, *p.at(now, d.Version))
		return nil
	})
	slices.Reverse(out.Pending)
	return out, err
}

// decidable refuses who may not decide, and what can't be decided any more.
func (c *Control) decidable(ctx context.Context, actor string, p *pendingDoc) error {
	guard, err := c.guard(ctx)
	switch now := p.at(c.cfg.Now(), 0); {
	case err != nil:
		return err
	case now.State == api.PendingExpired:
		return fmt.Errorf("%w: nobody decided on %s before %s; ask for it again", ErrDecided, p.ID, p.Expires.Format(time.RFC3339))
	case now.State != api.PendingWaiting:
		return fmt.Errorf("%w: %s was %s by %s", ErrDecided, p.ID, p.State, p.Approver)
	case actor == p.Requester:
		return fmt.Errorf("%w: %s asked for it; the second person must be another one", ErrForbidden, actor)
	case guard.Binds(actor):
		return fmt.Errorf("%w: the guard caps %s, so that it approves nothing", ErrForbidden, actor)
	}
	return nil
}

// Approve is the second person's word: it carries out a pending revocation, as it
// was asked for, on the tokens issued until now. The receipt names both.
func (c *Control) Approve(ctx context.Context, actor string, id mintmark.RevocationID, r api.DecideRequest) (*api.RevokeAnswer, error) {
	if err := c.checkTimeout(r.Timeout); err != nil {
		return nil, err
	}
	p, version, err := c.pending(ctx, id)
	if err != nil {
		return nil, err
	}
	q := api.RevokeRequest{Selector: p.Selector, Action: p.Action, Reason: p.Reason, For: p.For}
	w, err := c.wish(p.Requester, q)
	if err != nil {
		return nil, err
	}
	done := earlier(ctx)
	if done == "" && p.State == api.PendingApproved && p.Approver == actor {
		done = p.Receipt // said twice
	}
	if done != "" {
		out, err := c.revoked(ctx, done, w.fact.Selector, r.Wait, r.Timeout)
		if err == nil {
			out.Pending = p.at(c.cfg.Now(), version)
		}
		return out, err
	}
	if err := c.decidable(ctx, actor, p); err != nil {
		return nil, err
	}
	if err := c.weigh(ctx, &w); err != nil {
		return nil, err
	}
	out := c.outlook(&w)
	if out.Confirm = out.Selector; r.Confirm != out.Confirm {
		return nil, &ConfirmError{Text: out.Confirm, Tokens: w.tokens}
	}
	w.fact.ID = p.ID
	ch := w.change()
	ch.Approver = actor
	if r.Reason != "" {
		ch.Reason += "; approved: " + r.Reason
	}
	receipt, err := c.newID(mintmark.PrefixReceipt)
	if err != nil {
		return nil, err
	}
	ch.Receipt = mintmark.ReceiptID(receipt)
	p.State, p.Approver, p.Decided, p.Receipt = api.PendingApproved, actor, c.cfg.Now().UTC(), ch.Receipt
	must, err := p.batch(version, actor)
	if err != nil {
		return nil, err
	}
	out.Pending = p.at(c.cfg.Now(), version+1)
	return out, c.carryOut(ctx, ch, must, out, r.Wait, r.Timeout)
}

// Deny ends a pending revocation without effect. Its requester may take it back
// that way.
func (c *Control) Deny(ctx context.Context, actor string, id mintmark.RevocationID, r api.DecideRequest) (*api.PendingRevocation, error) {
	p, version, err := c.pending(ctx, id)
	if err != nil {
		return nil, err
	}
	if p.State == api.PendingDenied && p.Approver == actor {
		return p.at(c.cfg.Now(), version), nil // said twice
	}
	if err := c.decidable(ctx, actor, p); err != nil && !(errors.Is(err, ErrForbidden) && actor == p.Requester) {
		return nil, err
	}
	if r.Reason == "" {
		return nil, fmt.Errorf("%w: a reason is wanted: its requester is told", ErrInvalid)
	}
	p.State, p.Approver, p.Decided, p.DenyReason = api.PendingDenied, actor, c.cfg.Now().UTC(), r.Reason
	return p.at(c.cfg.Now(), version+1), c.store(ctx, p, version, actor)
}
