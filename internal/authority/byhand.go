package authority

import (
	"context"
	"errors"
	"fmt"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/ledger"
)

// errAdminByHand: whoever may make tokens for others must not make himself an
// administrator with one.
var errAdminByHand = fmt.Errorf("%w: tokens for the admin API are had with the client's own credentials only", ErrRequest)

// IssueRequest asks for an access token by hand, on a client's behalf.
type IssueRequest struct {
	Client   mintmark.ClientID
	Subject  string // empty for the client itself
	Audience string // resource or service; empty is the client's first
	Scopes   []string
	// Seconds shortens the policy's lifetime; 0 is that.
	Seconds int64
	Actor   string
	Reason  string // kept with the token's first event
}

// IssueFor mints an access token that an operator asked for, under the same
// policy and bounds as the client's own requests. It has no grant and no refresh
// token.
func (a *Authority) IssueFor(ctx context.Context, q IssueRequest) (APIKey, error) {
	c, err := a.client(ctx, q.Client)
	if errors.Is(err, errClient) {
		return APIKey{}, fmt.Errorf("%w: client %.80q is unknown or disabled", ErrRequest, q.Client)
	}
	if err != nil {
		return APIKey{}, err
	}
	if q.Seconds < 0 {
		return APIKey{}, fmt.Errorf("%w: a lifetime is not negative", ErrRequest)
	}
	w := wish{client: c, subject: q.Subject, scopes: q.Scopes, reason: q.Reason}
	if q.Seconds > 0 {
		w.notAfter = a.d.Now().Unix() + q.Seconds
	}
	cohort := string(c.ID)
	if q.Subject != "" {
		cohort = q.Subject
		u, err := a.userBySubject(ctx, q.Subject)
		if err != nil {
			return APIKey{}, err
		}
		if u != nil {
			w.user = u.claims()
		}
	}
	var targets []string
	if q.Audience != "" {
		targets = []string{q.Audience}
	}
	var out minted
	err = a.decide(ctx, func(v view) (ledger.Batch, error) {
		t, err := a.target(v, c, targets, cohort, false)
		if err != nil {
			return ledger.Batch{}, fmt.Errorf("%w: %w", ErrRequest, err)
		}
		if t.service == adminService {
			return ledger.Batch{}, errAdminByHand
		}
		if out, err = a.mintAccess(t, w); err != nil {
			var ref *refusal
			if errors.As(err, &ref) {
				err = fmt.Errorf("%w: %w", ErrRequest, err)
			}
			return ledger.Batch{}, err
		}
		if err := mintable(v, &out.token); err != nil {
			return ledger.Batch{}, fmt.Errorf("%w: %w", ErrRequest, err)
		}
		return by(q.Actor, ledger.Batch{Events: []mintmark.Event{out.event}}).With(ctx), nil
	})
	if err != nil {
		return APIKey{}, err
	}
	return APIKey{Value: mintmark.NewSecret(out.value), Token: out.token}, nil
}
