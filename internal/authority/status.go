package authority

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/bus"
	"github.com/mintmark/mintmark/internal/statuslist"
)

// pathStatus is where the status lists are, below the issuer.
const pathStatus = "/status"

// pathGlobal is the global token revocation endpoint, below the issuer: a deed of
// control's, which stands on this listener.
const pathGlobal = "/global-token-revocation"

// GlobalPath is the path of the global token revocation endpoint on the
// authority's listener.
func (a *Authority) GlobalPath() string { return a.path + pathGlobal }

// StatusLayout says where tokens have their places in the status lists.
func (a *Authority) StatusLayout() statuslist.Layout { return a.places }

// StatusPath is the path of the status lists on the authority's listener, with a
// slash at the end.
func (a *Authority) StatusPath() string { return a.path + pathStatus + "/" }

// Judge returns the judgement of tokens of ours by the state of this moment: the
// one that introspection, refresh and exchange go by.
func (a *Authority) Judge() (func(t *mintmark.Token, stored mintmark.TokenState) mintmark.Code, error) {
	v, err := a.view()
	if err != nil {
		return nil, err
	}
	now := a.d.Now()
	return func(t *mintmark.Token, stored mintmark.TokenState) mintmark.Code {
		return v.standingRow(t, stored, now)
	}, nil
}

// SignList signs the claims of a status list; ErrNoKey before the first key.
func (a *Authority) SignList(payload []byte) (string, error) {
	key, err := a.keys.active(a.cfg.Algs[0])
	if err != nil {
		return "", err
	}
	text, err := key.signer.Sign(rand.Reader, statuslist.Type, payload)
	if err != nil {
		return "", fmt.Errorf("sign status list with %s: %w", key.ID, err)
	}
	return text, nil
}

// lookupStatus answers a gateway's question about the status of a foreign token.
func (a *Authority) lookupStatus(ctx context.Context, q bus.PullRequest, reply bus.PullReply) bus.PullReply {
	if a.d.Foreign == nil {
		reply.Code = mintmark.CodeIssuerUnknown
		return reply
	}
	status, ttl, err := a.d.Foreign.Status(ctx, q.Issuer, *q.Status)
	if err != nil {
		a.d.Log.WarnContext(ctx, "status of a token not known", "issuer", q.Issuer, "list", q.Status.URI, "error", err)
		reply.Error = "the issuer's status list is not available"
		return reply
	}
	reply.TTL = max(int64(ttl/time.Second), 1)
	switch status {
	case statuslist.Valid:
	case statuslist.Suspended:
		reply.Code = mintmark.CodeSuspended
	default:
		// Revoked, or a status that only the issuer knows: not VALID all the same.
		reply.Code = mintmark.CodeRevoked
	}
	return reply
}
