package authority

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/ledger"
	"github.com/mintmark/mintmark/internal/login"
)

// serveSignIn shows the sign-in page of a transaction.
func (a *Authority) serveSignIn(w http.ResponseWriter, r *http.Request) {
	tx, c, err := a.current(r, r.URL.Query().Get("tx"))
	if err != nil {
		a.pageError(w, r, err)
		return
	}
	if tx.Subject != "" {
		a.goOn(w, r, pathConsent, tx)
		return
	}
	a.showSignIn(w, http.StatusOK, tx, c, tx.Request.Hint, "")
}

func (a *Authority) showSignIn(w http.ResponseWriter, status int, tx *transaction, c *Client, name, problem string) {
	p := login.SignIn{Client: c.Title(), Name: name, Problem: problem, Form: a.formOf(tx)}
	for _, u := range a.cfg.Upstreams {
		p.Providers = append(p.Providers, login.Choice{Name: u.Name, Title: u.Title})
	}
	a.page(w, status, p)
}

// servePassword checks a name and password. Failures are counted by name and by
// address; a name that doesn't exist takes as long as one that does.
func (a *Authority) servePassword(w http.ResponseWriter, r *http.Request) {
	f, tx, c, err := a.posted(w, r)
	if err != nil {
		a.pageError(w, r, err)
		return
	}
	name, password := strings.TrimSpace(f.get("username")), f.get("password")
	now := a.d.Now()
	byName, byPlace := "user\x00"+name, "place\x00"+a.address(r)
	// A guess is counted before it is looked at, and given back when it was none: of
	// any number at once no more are looked at than one after the other.
	if a.failures.Spent(byPlace, now) || !a.failures.Take(byName, now) {
		w.Header().Set("Retry-After", "30")
		a.showSignIn(w, http.StatusTooManyRequests, tx, c, name, "Too many attempts. Wait half a minute, then try again.")
		return
	}
	u, err := a.checkPassword(r.Context(), name, password)
	if err != nil {
		a.failures.Give(byName, now)
		a.pageError(w, r, err)
		return
	}
	if u == nil {
		a.failures.Take(byPlace, now)
		a.showSignIn(w, http.StatusUnauthorized, tx, c, name, "That name and password don’t match.")
		return
	}
	a.failures.Give(byName, now)
	if err := a.signedIn(w, r, tx, u.Sub(), "password"); err != nil {
		a.pageError(w, r, err)
	}
}

// checkPassword returns the user, or nil when name and password don't match.
func (a *Authority) checkPassword(ctx context.Context, name, password string) (*User, error) {
	var u User
	if len(name) <= 128 && name != "" {
		if _, err := a.load(ctx, ledger.DocUser, name, &u); err != nil && !errors.Is(err, ledger.ErrNotFound) {
			return nil, err
		}
	}
	if len(password) > 1024 {
		password = ""
	}
	ok, err := a.d.Passwords.VerifyPassword(ctx, u.Password, mintmark.NewSecret(password))
	if err != nil {
		return nil, err
	}
	if !ok || u.Disabled || u.Password == "" || u.Name != name {
		return nil, nil
	}
	return &u, nil
}

// consentDoc is the body of the document consent/<id>: what a subject allowed a
// client for good.
type consentDoc struct {
	Subject string   `json:"sub"`
	Client  string   `json:"client"`
	Scopes  []string `json:"scopes"`
	Targets []string `json:"targets,omitempty"`
}

func (a *Authority) consentID(c *Client, subject string) string {
	return a.secretID("consent\x00" + string(c.ID) + "\x00" + subject)
}

// consented reports whether no question needs to be asked.
func (a *Authority) consented(ctx context.Context, c *Client, tx *transaction) (bool, error) {
	if slices.Contains(tx.Request.Prompt, "consent") || tx.Device != "" {
		return false, nil // a device's code is always asked about (RFC 8628 §5.4)
	}
	if c.FirstParty {
		return true, nil
	}
	var d consentDoc
	_, err := a.load(ctx, ledger.DocConsent, a.consentID(c, tx.Subject), &d)
	if errors.Is(err, ledger.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return covers(d.Scopes, tx.Request.Scopes) && covers(d.Targets, tx.Request.Targets), nil
}

func covers(have, want []string) bool {
	return !slices.ContainsFunc(want, func(s string) bool { return !slices.Contains(have, s) })
}

// serveConsent asks whether the client may, unless that is known.
func (a *Authority) serveConsent(w http.ResponseWriter, r *http.Request) {
	tx, c, err := a.current(r, r.URL.Query().Get("tx"))
	if err != nil {
		a.pageError(w, r, err)
		return
	}
	if tx.Subject == "" {
		a.goOn(w, r, pathSignIn, tx)
		return
	}
	ok, err := a.consented(r.Context(), c, tx)
	if err != nil {
		a.pageError(w, r, err)
		return
	}
	if ok {
		a.finish(w, r, tx, ledger.Batch{})
		return
	}
	u, err := a.userBySubject(r.Context(), tx.Subject)
	if err != nil || u == nil {
		a.pageError(w, r, errors.Join(err, errTransaction))
		return
	}
	p := login.Consent{Client: c.Title(), User: display(u), Device: tx.Device != "", Form: a.formOf(tx)}
	for _, s := range tx.Request.Scopes {
		p.Scopes = append(p.Scopes, login.ScopeOf(s))
	}
	p.Targets = tx.Request.Targets
	a.page(w, http.StatusOK, p)
}

// serveDecision takes the person's answer.
func (a *Authority) serveDecision(w http.ResponseWriter, r *http.Request) {
	f, tx, c, err := a.posted(w, r)
	if err != nil {
		a.pageError(w, r, err)
		return
	}
	if tx.Subject == "" {
		a.goOn(w, r, pathSignIn, tx)
		return
	}
	if f.get("decision") != "allow" {
		a.denied(w, r, tx)
		return
	}
	var remember ledger.Batch
	if tx.Device == "" {
		id := a.consentID(c, tx.Subject)
		var d consentDoc
		v, err := a.load(r.Context(), ledger.DocConsent, id, &d)
		if err != nil && !errors.Is(err, ledger.ErrNotFound) {
			a.pageError(w, r, err)
			return
		}
		if v == 0 {
			if doc, derr := a.d.Documents.Document(r.Context(), ledger.DocConsent, id); derr == nil {
				v = doc.Version
			}
		}
		next := consentDoc{tx.Subject, string(c.ID), union(d.Scopes, tx.Request.Scopes), union(d.Targets, tx.Request.Targets)}
		remember = put(ledger.DocConsent, id, v, next)
	}
	a.finish(w, r, tx, remember)
}

func union(a, b []string) []string {
	out := slices.Concat(a, b)
	slices.Sort(out)
	return slices.Compact(out)
}

// denied ends the transaction with access_denied.
func (a *Authority) denied(w http.ResponseWriter, r *http.Request, tx *transaction) {
	b := put(ledger.DocLogin, tx.id, tx.version, nil)
	if tx.Device != "" {
		a.denyDevice(w, r, tx, b)
		return
	}
	if _, err := a.d.Ledger.Append(r.Context(), by("user:"+tx.Subject, b)); err != nil {
		a.pageError(w, r, err)
		return
	}
	a.authorizeError(w, r, tx.back("access_denied", "the user said no"))
}

// display is how a person is addressed.
func display(u *User) string {
	var s string
	if raw, ok := u.Claims["name"]; ok && json.Unmarshal(raw, &s) == nil && s != "" {
		return s
	}
	return u.Name
}
