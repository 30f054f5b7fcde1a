package authority

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/mintmark/mintmark/internal/jose"
	"github.com/mintmark/mintmark/internal/ledger"
	"github.com/mintmark/mintmark/internal/login"
)

func (a *Authority) findUpstream(name string) *Upstream {
	for i := range a.cfg.Upstreams {
		if a.cfg.Upstreams[i].Name == name {
			return &a.cfg.Upstreams[i]
		}
	}
	return nil
}

// serveProvider sends the browser to sign in at an upstream provider, by code,
// PKCE, state and nonce, all kept in the transaction.
func (a *Authority) serveProvider(w http.ResponseWriter, r *http.Request) {
	tx, _, err := a.current(r, r.URL.Query().Get("tx"))
	up := a.findUpstream(r.URL.Query().Get("name"))
	if err == nil && (up == nil || tx.Subject != "") {
		err = errTransaction
	}
	if err == nil {
		tx.Provider = up.Name
		if tx.Verifier, _, err = a.secret(); err == nil {
			tx.Nonce, _, err = a.secret()
		}
	}
	address := ""
	if err == nil {
		address, err = a.providers.Address(r.Context(), up, a.attempt(tx))
	}
	if err == nil {
		_, err = a.d.Ledger.Append(r.Context(), put(ledger.DocLogin, tx.id, tx.version, tx))
	}
	if err != nil {
		a.pageError(w, r, err)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	http.Redirect(w, r, address, http.StatusSeeOther)
}

func (a *Authority) attempt(tx *transaction) login.Attempt {
	return login.Attempt{Redirect: a.url(pathCallback), State: tx.value, Verifier: tx.Verifier, Nonce: tx.Nonce}
}

// serveCallback takes the provider's answer.
func (a *Authority) serveCallback(w http.ResponseWriter, r *http.Request) {
	f, err := parseForm(r.URL.RawQuery)
	if err != nil {
		a.pageError(w, r, err)
		return
	}
	tx, c, err := a.current(r, f.get("state"))
	if err != nil {
		a.pageError(w, r, err)
		return
	}
	up := a.findUpstream(tx.Provider)
	if up == nil || tx.Subject != "" {
		a.pageError(w, r, errTransaction)
		return
	}
	if iss := f.get("iss"); iss != "" && iss != up.Issuer { // RFC 9207 §2.4: a mix-up
		a.pageError(w, r, errTransaction)
		return
	}
	if f.get("error") != "" || f.get("code") == "" {
		a.showSignIn(w, http.StatusOK, tx, c, "", "Signing in with "+up.Title+" was not completed.")
		return
	}
	claims, err := a.providers.Redeem(r.Context(), up, a.attempt(tx), f.get("code"))
	var u *User
	if err == nil {
		u, err = a.accountOf(r.Context(), up, claims)
	}
	if err != nil {
		a.d.Log.WarnContext(r.Context(), "sign in at provider", "provider", up.Name, "error", err)
		a.showSignIn(w, http.StatusBadGateway, tx, c, "", "Signing in with "+up.Title+" did not work. Try again.")
		return
	}
	if u == nil {
		a.showSignIn(w, http.StatusForbidden, tx, c, "", "There is no account here for you yet.")
		return
	}
	if err := a.signedIn(w, r, tx, u.Sub(), "provider"); err != nil {
		a.pageError(w, r, err)
	}
}

// accountOf maps a provider's user to an account: by the link claim to one that
// exists, else to one of its own, made at the first sign-in.
func (a *Authority) accountOf(ctx context.Context, up *Upstream, claims *jose.Claims) (*User, error) {
	if up.Link != "" {
		v, ok := claims.Lookup(up.Link)
		s, isText := v.Str()
		if !ok || !isText || s == "" {
			return nil, nil
		}
		if ev, ok := claims.Lookup("email_verified"); up.Link == "email" && (!ok || ev.Raw() != "true") {
			return nil, nil // an unverified address proves nothing
		}
		return a.userBySubject(ctx, s)
	}
	subject := up.Name + ":" + claims.Subject
	u, err := a.userBySubject(ctx, subject)
	if u != nil || err != nil {
		return u, err
	}
	u = &User{Name: subject, Subject: subject, Ref: "sub:" + subject, Claims: map[string]json.RawMessage{}}
	for _, n := range []string{"name", "preferred_username", "email", "email_verified", "locale"} {
		if v, ok := claims.Lookup(n); ok {
			u.Claims[n] = json.RawMessage(v.Raw())
		}
	}
	_, err = a.d.Ledger.Append(ctx, by("system:authority", put(ledger.DocUser, subject, 0, u)))
	if errors.Is(err, ledger.ErrConflict) {
		return a.userBySubject(ctx, subject) // made meanwhile, or disabled
	}
	return u, err
}
