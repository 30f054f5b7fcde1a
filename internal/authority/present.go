package authority

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/handle"
	"github.com/mintmark/mintmark/internal/jose"
	"github.com/mintmark/mintmark/internal/ledger"
)

// find returns the token of ours behind a value, whatever became of it; nil when
// there is none. A JWT is found only if one of our keys verifies it.
func (a *Authority) find(ctx context.Context, value string) (*ledger.TokenRow, error) {
	if len(value) > jose.MaxToken {
		return nil, nil
	}
	var row ledger.TokenRow
	var err error
	if handle.Sniff(value) != mintmark.KindUnknown {
		if _, perr := handle.Parse(value); perr != nil {
			return nil, nil
		}
		row, err = a.d.Tokens.TokenByHandle(ctx, a.handleOf(value))
	} else {
		claims, ok := a.verifyOwn(value, typAccess)
		if !ok {
			return nil, nil
		}
		row, err = a.d.Tokens.TokenByID(ctx, mintmark.TokenID(claims.ID))
	}
	if errors.Is(err, ledger.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("find token: %w", err)
	}
	return &row, nil
}

// verifyOwn verifies a JWT of ours of one type.
func (a *Authority) verifyOwn(value, typ string) (jose.Claims, bool) {
	c, err := jose.Parse([]byte(value))
	if err != nil || c.Header.Type != strings.ToLower(typ) {
		return jose.Claims{}, false
	}
	k := a.keys.byID(c.Header.KeyID)
	if k == nil || k.State == KeyPending || k.signer.Key().Check(&c) != nil {
		return jose.Claims{}, false
	}
	claims, err := jose.ParseClaims(c.Payload, jose.Names{})
	return claims, err == nil && claims.Issuer == a.cfg.Issuer
}

// Present checks the access token of a request at one of our own endpoints and
// its binding: Authorization Bearer or DPoP, or a client certificate's. audience
// must be one of the token's, unless empty. base is the URL, without path, that
// callers know the endpoint's server by, which a DPoP proof must name; empty is the
// issuer's origin. The error is a refusal that Challenge answers.
func (a *Authority) Present(w http.ResponseWriter, r *http.Request, audience, base string) (*mintmark.Token, error) {
	auth := r.Header.Values("Authorization")
	if len(auth) == 0 {
		return nil, refuseWith(http.StatusUnauthorized, "", "")
	}
	scheme, value, ok := strings.Cut(auth[0], " ")
	dpop := strings.EqualFold(scheme, "dpop")
	if len(auth) > 1 || !ok || !dpop && !strings.EqualFold(scheme, "bearer") {
		return nil, refuse("invalid_request", "one Authorization header with Bearer or DPoP is wanted")
	}
	invalid := refuseWith(http.StatusUnauthorized, "invalid_token", "the token is not accepted")
	row, err := a.find(r.Context(), value)
	if err != nil {
		return nil, err
	}
	if row == nil || row.Kind != mintmark.KindAccessJWT && row.Kind != mintmark.KindOpaque && row.Kind != mintmark.KindAPIKey ||
		audience != "" && !row.HasAudience(audience) {
		return nil, invalid
	}
	// A service's policy may name any audience: whoever writes policies must not
	// make administrators.
	if audience == a.AdminAudience() && row.Mark.Release != adminRelease {
		return nil, invalid
	}
	v, err := a.view()
	if err != nil {
		return nil, err
	}
	if v.standingRow(&row.Token, row.State, a.d.Now()) != mintmark.CodeNone {
		return nil, invalid
	}
	if dpop != (row.Binding.JKT != "") {
		return nil, invalid // RFC 9449 §7.1: no downgrade to Bearer
	}
	if dpop {
		var once []ledger.Once
		jkt, err := a.proof(w, r, cmp.Or(base, a.origin), value, &once)
		if err != nil {
			var ref *refusal
			if errors.As(err, &ref) {
				return nil, refuseWith(http.StatusUnauthorized, ref.Code, ref.Detail)
			}
			return nil, err
		}
		if jkt != row.Binding.JKT {
			return nil, refuseWith(http.StatusUnauthorized, "invalid_dpop_proof", "the token is bound to another key")
		}
		if err := a.spend(r.Context(), once); errors.Is(err, ledger.ErrUsed) {
			return nil, refuseWith(http.StatusUnauthorized, "invalid_dpop_proof", "the DPoP proof was used before")
		} else if err != nil {
			return nil, err
		}
	}
	if x := row.Binding.X5T; x != "" {
		if cert := peerCertificate(r); cert == nil || thumbprint(cert) != x {
			return nil, invalid
		}
	}
	t := row.Token
	return &t, nil
}

// Stands reports whether a token that Present accepted is still good: not over, and
// taken back by nothing that is in force. It looks at memory alone.
func (a *Authority) Stands(t *mintmark.Token) bool {
	v, err := a.view()
	if err != nil {
		return !t.ExpiredAt(a.d.Now(), 0) // not to know is no reason
	}
	return v.standing(t, a.d.Now()) == mintmark.CodeNone
}

// Challenge answers an error of Present (RFC 6750 §3, RFC 9449 §7.1).
func (a *Authority) Challenge(w http.ResponseWriter, r *http.Request, err error) {
	ref := asRefusal(err)
	if ref.status != http.StatusUnauthorized {
		a.answerError(w, r, err)
		return
	}
	params := ` realm="` + a.cfg.Issuer + `"`
	if ref.Code != "" {
		params += `, error="` + ref.Code + `"`
	}
	if strings.Contains(ref.Code, "dpop") {
		w.Header().Add("WWW-Authenticate", "DPoP"+params)
	} else {
		w.Header().Add("WWW-Authenticate", "Bearer"+params)
	}
	if ref.Code == "" {
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	writeJSON(w, http.StatusUnauthorized, ref)
}
