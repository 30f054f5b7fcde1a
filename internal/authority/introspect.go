package authority

import (
	"encoding/json"
	"net/http"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/ledger"
)

// serveIntrospect answers RFC 7662. A token that is not active, not ours, or not
// the asker's business gets exactly {"active":false}.
func (a *Authority) serveIntrospect(w http.ResponseWriter, r *http.Request) {
	f, who, err := a.authenticated(w, r)
	if err != nil {
		a.answerError(w, r, err)
		return
	}
	if who.client.Public() {
		a.answerError(w, r, errClient) // RFC 7662 §2.1
		return
	}
	inactive := map[string]bool{"active": false}
	v, err := a.view()
	if err != nil {
		a.answerError(w, r, err)
		return
	}
	row, err := a.find(r.Context(), f.get("token"))
	switch {
	case err != nil:
		a.answerError(w, r, err)
	case row == nil, row.Kind == mintmark.KindID, row.Kind == mintmark.KindInternal,
		row.Client != who.client.ID && !who.client.Introspect,
		v.standingRow(&row.Token, row.State, a.d.Now()) != mintmark.CodeNone:
		writeJSON(w, http.StatusOK, inactive)
	default:
		writeJSON(w, http.StatusOK, a.introspection(row))
	}
}

// introspection is the answer for an active token (RFC 7662 §2.2).
func (a *Authority) introspection(row *ledger.TokenRow) map[string]any {
	m := map[string]any{}
	if len(row.Claims) > 0 && row.Kind != mintmark.KindRefresh {
		var extra map[string]json.RawMessage
		if json.Unmarshal(row.Claims, &extra) == nil {
			for k, v := range extra {
				m[k] = v
			}
		}
	}
	for k, v := range accessClaims(&row.Token, nil) {
		m[k] = v
	}
	m["active"] = true
	switch {
	case row.Kind == mintmark.KindRefresh:
		m["token_type"] = "refresh_token"
	case row.Binding.JKT != "":
		m["token_type"] = "DPoP"
	default:
		m["token_type"] = "Bearer"
	}
	if row.Expires == 0 {
		delete(m, "exp")
	}
	return m
}

// authenticated reads a form and the client that sends it, and spends its proofs.
func (a *Authority) authenticated(w http.ResponseWriter, r *http.Request) (form, authenticated, error) {
	f, err := readForm(w, r)
	if err != nil {
		return f, authenticated{}, err
	}
	who, err := a.authenticate(r, f)
	if err != nil {
		return f, who, err
	}
	if f.get("token") == "" {
		return f, who, refuse("invalid_request", "token is missing")
	}
	return f, who, a.spend(r.Context(), who.once)
}

// serveRevoke answers RFC 7009: 200 and nothing, also for a token that is unknown
// or another client's; not before the revocation is durable, else 503. A refresh
// token takes its family along.
func (a *Authority) serveRevoke(w http.ResponseWriter, r *http.Request) {
	f, who, err := a.authenticated(w, r)
	if err == nil {
		err = a.revokeValue(r, f.get("token"), who.client)
	}
	if err != nil {
		a.answerError(w, r, err)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusOK)
}

func (a *Authority) revokeValue(r *http.Request, value string, c *Client) error {
	row, err := a.find(r.Context(), value)
	if err != nil {
		return err
	}
	if row == nil || row.Client != c.ID || row.Kind == mintmark.KindInternal {
		return nil
	}
	actor := "client:" + string(c.ID)
	if row.Kind == mintmark.KindRefresh && row.Family != "" {
		return a.endFamily(r.Context(), &row.Token, "revoked by its client", actor)
	}
	return a.endToken(r.Context(), row.ID, "revoked by its client", actor)
}

// final reports whether a state is for good.
func final(s mintmark.TokenState) bool {
	return s == mintmark.StateRevoked || s == mintmark.StateSuperseded || s == mintmark.StateExpired
}
