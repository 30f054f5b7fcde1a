package authority

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/ledger"
)

// mintID makes an ID token (OpenID Core §2). Profile claims are userinfo's matter
// (§5.4). It is recorded like any token, and no gateway admits it.
func (a *Authority) mintID(t target, w wish, g mintmark.GrantMade, u *User, access string) (minted, error) {
	key, err := a.keys.active(t.mint.Alg)
	if err != nil {
		return minted{}, err
	}
	tok, err := a.blank(t, w, a.d.Now())
	if err != nil {
		return minted{}, err
	}
	tok.Kind, tok.Binding, tok.Subject = mintmark.KindID, mintmark.Binding{}, u.Sub()
	tok.Audience = []string{string(w.client.ID)}
	tok.Expires = tok.IssuedAt + max(t.mint.AccessSeconds, 300)
	// No release: it speaks to the client about the user, and is no service's.
	tok.Mark.Release, tok.Mark.Policy, tok.Mark.Key = "", 0, key.ID
	claims := map[string]any{
		"iss": tok.Issuer, "sub": tok.Subject, "aud": w.client.ID, "azp": w.client.ID, "jti": tok.ID,
		"iat": tok.IssuedAt, "exp": tok.Expires, "auth_time": g.AuthTime, "at_hash": atHash(key.Alg, access),
	}
	if g.Nonce != "" {
		claims["nonce"] = g.Nonce
	}
	if g.ACR != "" {
		claims["acr"] = g.ACR
	}
	value, err := key.sign(typID, claims)
	if err != nil {
		return minted{}, err
	}
	return a.issued(value, tok, nil, w), nil
}

// atHash is the left half of the hash that goes with the algorithm (OpenID Core
// §3.1.3.6); SHA-512 for EdDSA, as Ed25519 uses inside.
func atHash(alg, access string) string {
	var sum []byte
	switch {
	case strings.HasSuffix(alg, "256"):
		s := sha256.Sum256([]byte(access))
		sum = s[:]
	case strings.HasSuffix(alg, "384"):
		s := sha512.Sum384([]byte(access))
		sum = s[:]
	default:
		s := sha512.Sum512([]byte(access))
		sum = s[:]
	}
	return base64.RawURLEncoding.EncodeToString(sum[:len(sum)/2])
}

// scopeClaims are the claims that OpenID scopes stand for (OpenID Core §5.4).
var scopeClaims = map[string][]string{
	"profile": {
		"name", "family_name", "given_name", "middle_name", "nickname", "preferred_username", "profile",
		"picture", "website", "gender", "birthdate", "zoneinfo", "locale", "updated_at",
	},
	"email":   {"email", "email_verified"},
	"address": {"address"},
	"phone":   {"phone_number", "phone_number_verified"},
}

// serveUserinfo answers OpenID Core §5.3, for a token whose grant holds openid,
// whatever service the token itself is for.
func (a *Authority) serveUserinfo(w http.ResponseWriter, r *http.Request) {
	t, err := a.Present(w, r, "", "")
	if err != nil {
		a.Challenge(w, r, err)
		return
	}
	invalid := refuseWith(http.StatusUnauthorized, "invalid_token", "the token is not accepted")
	g, err := a.d.Tokens.Grant(r.Context(), t.Grant)
	if errors.Is(err, ledger.ErrNotFound) || err == nil && g.Revoked {
		err = invalid
	}
	if err != nil {
		a.Challenge(w, r, err)
		return
	}
	if !hasScope(g.Scopes, "openid") {
		a.answerError(w, r, refuseWith(http.StatusForbidden, "insufficient_scope", "the token was not granted openid"))
		return
	}
	u, err := a.userBySubject(r.Context(), t.Subject)
	if err == nil && u == nil {
		err = invalid
	}
	if err != nil {
		a.Challenge(w, r, err)
		return
	}
	have := u.claims()
	out := map[string]json.RawMessage{}
	for scope, names := range scopeClaims {
		for _, n := range names {
			if v, ok := have[n]; ok && hasScope(g.Scopes, scope) {
				out[n] = v
			}
		}
	}
	sub, err := json.Marshal(u.Sub())
	if err != nil {
		a.Challenge(w, r, err)
		return
	}
	out["sub"] = sub
	writeJSON(w, http.StatusOK, out)
}
