package authority

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/ledger"
)

// APIKeyRequest asks for an API key.
type APIKeyRequest struct {
	Name  string // for people
	Owner string // whom to tell when something happens to it
	// Client the key acts for; Subject it speaks for, empty for the client.
	Client   mintmark.ClientID
	Subject  string
	Audience string // resource or service; empty is the client's first
	Scopes   []string
	Expires  time.Time // zero is never
	Actor    string
}

// APIKey is a new key: Value is shown once and never again.
type APIKey struct {
	Value mintmark.Secret
	Token mintmark.Token
}

// CreateAPIKey makes an API key under the mint policy of its audience: scopes are
// bounded by policy and client.
func (a *Authority) CreateAPIKey(ctx context.Context, q APIKeyRequest) (APIKey, error) {
	return a.apiKey(ctx, q, nil, time.Time{})
}

// apiKey makes a key; if it replaces another one, that is to end at end.
func (a *Authority) apiKey(ctx context.Context, q APIKeyRequest, from *ledger.TokenRow, end time.Time) (APIKey, error) {
	c, err := a.client(ctx, q.Client)
	if errors.Is(err, errClient) {
		return APIKey{}, fmt.Errorf("%w: client %.80q is unknown or disabled", ErrRequest, q.Client)
	}
	if err != nil {
		return APIKey{}, err
	}
	if q.Name == "" || len(q.Name) > 128 || len(q.Owner) > 256 {
		return APIKey{}, fmt.Errorf("%w: an API key needs a name of at most 128 characters", ErrRequest)
	}
	if !q.Expires.IsZero() && !q.Expires.After(a.d.Now()) {
		return APIKey{}, fmt.Errorf("%w: the key would be expired already", ErrRequest)
	}
	var targets []string
	if q.Audience != "" {
		targets = []string{q.Audience}
	}
	cohort := q.Subject
	if cohort == "" {
		cohort = string(c.ID)
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
		w := wish{client: c, subject: q.Subject}
		tok, err := a.blank(t, w, a.d.Now())
		if err != nil {
			return ledger.Batch{}, err
		}
		for _, s := range q.Scopes {
			if !slices.Contains(t.mint.Scopes, s) || !slices.Contains(c.Scopes, s) {
				return ledger.Batch{}, fmt.Errorf("%w: scope %.80q is not allowed to client %s by policy", ErrRequest, s, c.ID)
			}
		}
		tok.Kind, tok.Audience = mintmark.KindAPIKey, mintmark.SortedSet(t.mint.Audience)
		tok.Scopes = mintmark.SortedSet(append(slices.Clone(q.Scopes), t.mint.ForcedScopes...))
		if !q.Expires.IsZero() {
			tok.Expires = q.Expires.Unix()
		}
		if err := mintable(v, &tok); err != nil {
			return ledger.Batch{}, fmt.Errorf("%w: %w", ErrRequest, err)
		}
		a.shadow(t, &tok)
		if out, err = a.opaque(tok, w); err != nil {
			return ledger.Batch{}, err
		}
		issuedData := mintmark.TokenIssued{Token: tok, Handle: a.handleOf(out.value), Name: q.Name, Owner: q.Owner}
		if from != nil {
			issuedData.Parent = from.ID
		}
		e := event("token/"+string(tok.ID), mintmark.EventTokenIssued, &tok, issuedData)
		b := ledger.Batch{Events: []mintmark.Event{e}}
		if from != nil {
			// Whatever dies from here on, the old key ends: see endKeys.
			b = join(b, put(ledger.DocSetting, keyEndPrefix+string(from.ID), 0, keyEnd{Token: from.ID, At: end.Unix(), By: tok.ID, Actor: q.Actor}))
		}
		return by(q.Actor, b).With(ctx), nil
	})
	if err != nil {
		return APIKey{}, err
	}
	return APIKey{Value: mintmark.NewSecret(out.value), Token: out.token}, nil
}

// RotateAPIKey makes a successor with the same name, owner, scopes and end. The
// old key goes on until overlap is over; with overlap 0 it ends before RotateAPIKey
// returns. Its end is planned in the transaction that makes the new one.
func (a *Authority) RotateAPIKey(ctx context.Context, id mintmark.TokenID, overlap time.Duration, actor string) (APIKey, error) {
	row, err := a.d.Tokens.TokenByID(ctx, id)
	if err != nil {
		return APIKey{}, fmt.Errorf("read key: %w", err)
	}
	if row.Kind != mintmark.KindAPIKey || final(row.State) {
		return APIKey{}, fmt.Errorf("%w: %s is not a live API key", ErrRequest, id)
	}
	v, err := a.view()
	if err != nil {
		return APIKey{}, err
	}
	// A rule may have taken it back that its own row does not show: a successor
	// would bring it to life again.
	if v.standingRow(&row.Token, row.State, a.d.Now()) != mintmark.CodeNone {
		return APIKey{}, fmt.Errorf("%w: %s is revoked, suspended or expired", ErrRequest, id)
	}
	q := APIKeyRequest{
		Name: row.Name, Owner: row.Owner, Client: row.Client, Subject: row.Subject,
		Scopes: row.Scopes, Actor: actor,
	}
	if len(row.Audience) > 0 {
		q.Audience = row.Audience[0]
	}
	if row.Expires != 0 {
		q.Expires = time.Unix(row.Expires, 0)
	}
	var planned keyEnd
	switch _, err := a.load(ctx, ledger.DocSetting, keyEndPrefix+string(id), &planned); {
	case err == nil:
		return APIKey{}, fmt.Errorf("%w: %s was replaced by %s already and is about to end; rotate that one", ErrRequest, id, planned.By)
	case !errors.Is(err, ledger.ErrNotFound):
		return APIKey{}, fmt.Errorf("read the end of %s: %w", id, err)
	}
	next, err := a.apiKey(ctx, q, &row, a.d.Now().Add(overlap))
	if err != nil || overlap > 0 {
		return next, err
	}
	return next, a.endToken(ctx, id, "replaced by "+string(next.Token.ID), actor)
}

// keyEnd is the body of the document setting/apikey-end.<id>: a replaced API key
// that is to end when its overlap is over.
type keyEnd struct {
	Token mintmark.TokenID `json:"token"`
	At    int64            `json:"at"` // Unix seconds
	By    mintmark.TokenID `json:"by"`
	Actor string           `json:"actor"`
}

const keyEndPrefix = "apikey-end."

// endKeys ends replaced API keys whose overlap is over. Dying between the two
// writes repeats the first, which is idempotent.
func (a *Authority) endKeys(ctx context.Context) error {
	docs, err := a.d.Documents.Documents(ctx, ledger.DocSetting, keyEndPrefix, 500)
	if err != nil {
		return fmt.Errorf("list ends of API keys: %w", err)
	}
	for _, d := range docs {
		var end keyEnd
		if len(d.ID) <= len(keyEndPrefix) || d.ID[:len(keyEndPrefix)] != keyEndPrefix {
			break
		}
		if v, err := a.load(ctx, ledger.DocSetting, d.ID, &end); err != nil || a.d.Now().Unix() < end.At || v != d.Version {
			continue
		}
		if err := a.endToken(ctx, end.Token, "replaced by "+string(end.By), end.Actor); err != nil {
			return err
		}
		if _, err := a.d.Ledger.Append(ctx, by(end.Actor, put(ledger.DocSetting, d.ID, d.Version, nil))); err != nil {
			return fmt.Errorf("forget end of %s: %w", end.Token, err)
		}
	}
	return nil
}

// endToken revokes one token, durably and for every gateway. Idempotent.
func (a *Authority) endToken(ctx context.Context, id mintmark.TokenID, reason, actor string) error {
	row, err := a.d.Tokens.TokenByID(ctx, id)
	if err != nil {
		return fmt.Errorf("read token: %w", err)
	}
	e := event("token/"+string(id), mintmark.EventTokenRevoked, &row.Token, mintmark.TokenChanged{ID: id, Reason: reason})
	e.Actor = actor
	return a.revokeOnce(ctx, mintmark.Selector{Token: id}, reason, actor, e, func() (bool, error) {
		row, err := a.d.Tokens.TokenByID(ctx, id)
		return final(row.State), err
	})
}
