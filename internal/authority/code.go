package authority

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"strings"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/ledger"
)

const (
	codeLifetime = time.Minute
	// codeMemory is how long a used code is remembered, so that its second use
	// still takes back what the first one got (RFC 9700 §4.5).
	codeMemory = 24 * time.Hour
)

// codeDoc is the body of the document code/<id>.
type codeDoc struct {
	Request authRequest        `json:"request"`
	Grant   mintmark.GrantMade `json:"grant"`
	Valid   int64              `json:"valid_until"`
	Used    bool               `json:"used,omitempty"`
	Expires int64              `json:"expires_at"`
}

// grantCode answers authorization_code (RFC 6749 §4.1.3). The code's stream
// version makes it single: of two concurrent uses one append wins, and the other
// finds it used. If the process dies before the append the code is still good;
// after it, the client has to start again, since its retry is a replay.
func (a *Authority) grantCode(ctx context.Context, req *tokenRequest) (*tokenAnswer, error) {
	invalid := refuse("invalid_grant", "the code is not valid")
	value := req.form.get("code")
	if value == "" {
		return nil, refuse("invalid_request", "code is missing")
	}
	id := a.secretID(value)
	var ans *tokenAnswer
	var replayed *mintmark.GrantMade
	err := a.decide(ctx, func(v view) (ledger.Batch, error) {
		var doc codeDoc
		version, err := a.load(ctx, ledger.DocCode, id, &doc)
		if errors.Is(err, ledger.ErrNotFound) {
			return ledger.Batch{}, invalid
		}
		if err != nil {
			return ledger.Batch{}, err
		}
		if doc.Used {
			replayed = &doc.Grant
			return ledger.Batch{}, invalid
		}
		if doc.Request.Client != req.client.ID || a.d.Now().Unix() >= doc.Valid {
			return ledger.Batch{}, invalid
		}
		if req.form.get("redirect_uri") != doc.Request.RedirectURI {
			return ledger.Batch{}, refuse("invalid_grant", "redirect_uri differs from the authorization request")
		}
		if !verifierMatches(req.form.get("code_verifier"), doc.Request.Challenge) {
			return ledger.Batch{}, refuse("invalid_grant", "code_verifier does not match")
		}
		if doc.Request.JKT != "" && doc.Request.JKT != req.binding.JKT {
			return ledger.Batch{}, refuse("invalid_dpop_proof", "the code is bound to another key")
		}
		doc.Used = true
		got, b, err := a.openFamily(ctx, v, issue{req: req, grant: doc.Grant, openedBy: put(ledger.DocCode, id, version, doc)})
		ans = got
		return b, err
	})
	if replayed != nil {
		if err := a.endGrant(ctx, replayed, "authorization code used twice", "system:authority"); err != nil {
			return nil, err
		}
	}
	if err != nil {
		return nil, err
	}
	return ans, nil
}

// verifierMatches checks PKCE (RFC 7636 §4.6).
func verifierMatches(verifier, challenge string) bool {
	if len(verifier) < 43 || len(verifier) > 128 || strings.Trim(verifier, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~") != "" {
		return false
	}
	sum := sha256.Sum256([]byte(verifier))
	return subtle.ConstantTimeCompare([]byte(base64.RawURLEncoding.EncodeToString(sum[:])), []byte(challenge)) == 1
}

// endGrant takes a grant back with everything issued under it. Idempotent.
func (a *Authority) endGrant(ctx context.Context, g *mintmark.GrantMade, reason, actor string) error {
	e := event("grant/"+string(g.Grant), mintmark.EventGrantRevoked, nil, mintmark.GrantRevoked{Grant: g.Grant, Reason: reason})
	e.Subject, e.Client, e.Actor = g.Subject, g.Client, actor
	return a.revokeOnce(ctx, mintmark.Selector{Grant: g.Grant}, reason, actor, e, func() (bool, error) {
		row, err := a.d.Tokens.Grant(ctx, g.Grant)
		return row.Revoked, err
	})
}
