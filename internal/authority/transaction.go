package authority

import (
	"context"
	"crypto/hmac"
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/ledger"
)

// transaction is what a person is in the middle of: an authorization request or a
// device's code to approve. It is the body of the document login/tx.<id>; its
// value is in the page's address, and useless without the browser's cookie.
type transaction struct {
	Request authRequest `json:"request"`
	// Device is the id of the device document to approve, instead of a code.
	Device string `json:"device,omitempty"`
	// Browser is the keyed hash of the cookie of the browser that began it.
	Browser string `json:"browser"`
	// Subject is set once signed in.
	Subject  string `json:"sub,omitempty"`
	AuthTime int64  `json:"auth_time,omitempty"`
	ACR      string `json:"acr,omitempty"`
	// Seq is the issuance sequence number of the sign-in.
	Seq uint64 `json:"seq,omitempty"`
	// Provider, Verifier and Nonce are of a sign-in at an upstream provider.
	Provider string `json:"provider,omitempty"`
	Verifier string `json:"verifier,omitempty"`
	Nonce    string `json:"nonce,omitempty"`
	Expires  int64  `json:"expires_at"`

	value   string
	id      string
	version uint64
}

// signIn is the body of the document login/in.<id>: a browser that is signed in.
type signIn struct {
	Subject  string `json:"sub"`
	AuthTime int64  `json:"auth_time"`
	ACR      string `json:"acr"`
	Expires  int64  `json:"expires_at"`
	// Seq is the issuance sequence number then: a revocation of the subject ends
	// sign-ins from before it. 0 in those of earlier versions.
	Seq uint64 `json:"seq,omitempty"`
}

// ended reports whether the subject was revoked since a sign-in.
func (a *Authority) ended(subject string, authTime int64, seq uint64) (bool, error) {
	v, err := a.view()
	if err != nil {
		return false, err
	}
	return v.revoked(&mintmark.Token{
		Kind: mintmark.KindRefresh, Issuer: a.cfg.Issuer, Subject: subject, IssuedAt: authTime, Mark: mintmark.Mark{Seq: seq},
	}) != mintmark.CodeNone, nil
}

const (
	cookieBrowser       = "mintmark_browser"
	cookieSignIn        = "mintmark_signin"
	transactionLifetime = 15 * time.Minute
)

// errTransaction is for a page whose transaction is over or another browser's.
var errTransaction = refuse("invalid_request", "this page is no longer valid; go back to the application and start again")

// cookieName prefixes a name so that a browser takes it only over https, for
// this host and all its paths (RFC 6265bis §4.1.3).
func (a *Authority) cookieName(name string) string {
	if a.secure {
		return "__Host-" + name
	}
	return name
}

// setCookie sets a cookie that comes back with top-level navigation from other
// sites, never with their posts.
func (a *Authority) setCookie(w http.ResponseWriter, name, value string, life time.Duration) {
	http.SetCookie(w, &http.Cookie{
		Name: a.cookieName(name), Value: value, Path: "/", MaxAge: int(life / time.Second),
		HttpOnly: true, Secure: a.secure, SameSite: http.SameSiteLaxMode,
	})
}

func (a *Authority) cookie(r *http.Request, name string) string {
	found := r.CookiesNamed(a.cookieName(name))
	if len(found) != 1 || len(found[0].Value) > 64 {
		return ""
	}
	return found[0].Value
}

// begin stores a new transaction and sends the browser to its next step.
func (a *Authority) begin(w http.ResponseWriter, r *http.Request, c *Client, tx *transaction, spent ledger.Batch) {
	ctx := r.Context()
	browser := a.cookie(r, cookieBrowser)
	if browser == "" {
		value, _, err := a.secret()
		if err != nil {
			a.pageError(w, r, err)
			return
		}
		browser = value
		a.setCookie(w, cookieBrowser, browser, 365*24*time.Hour)
	}
	tx.Browser = a.secretID(browser)
	if err := a.resume(ctx, r, tx); err != nil {
		a.pageError(w, r, err)
		return
	}
	if slices.Contains(tx.Request.Prompt, "none") {
		if _, err := a.d.Ledger.Append(ctx, spent); err != nil && len(spent.Events) > 0 {
			a.pageError(w, r, err)
			return
		}
		a.silent(w, r, c, tx)
		return
	}
	var err error
	var id string
	if tx.value, id, err = a.secret(); err != nil {
		a.pageError(w, r, err)
		return
	}
	tx.id = "tx." + id
	tx.Expires = a.d.Now().Add(transactionLifetime).Unix()
	if _, err := a.d.Ledger.Append(ctx, join(spent, put(ledger.DocLogin, tx.id, 0, tx))); err != nil {
		if errors.Is(err, ledger.ErrConflict) {
			err = refuse("invalid_request_uri", "the pushed request was used before")
		}
		a.pageError(w, r, err)
		return
	}
	next := pathSignIn
	if tx.Subject != "" {
		next = pathConsent
	}
	a.goOn(w, r, next, tx)
}

// goOn sends the browser to a page of the transaction.
func (a *Authority) goOn(w http.ResponseWriter, r *http.Request, path string, tx *transaction) {
	w.Header().Set("Cache-Control", "no-store")
	http.Redirect(w, r, a.path+path+"?tx="+url.QueryEscape(tx.value), http.StatusSeeOther)
}

// resume signs the transaction in by the browser's cookie, where prompt and
// max_age allow that (OpenID Core §3.1.2.1).
func (a *Authority) resume(ctx context.Context, r *http.Request, tx *transaction) error {
	if slices.Contains(tx.Request.Prompt, "login") || slices.Contains(tx.Request.Prompt, "select_account") {
		return nil
	}
	value := a.cookie(r, cookieSignIn)
	if value == "" {
		return nil
	}
	var s signIn
	_, err := a.load(ctx, ledger.DocLogin, "in."+a.secretID(value), &s)
	if errors.Is(err, ledger.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	now := a.d.Now().Unix()
	if now >= s.Expires || tx.Device == "" && tx.Request.MaxAge >= 0 && now-s.AuthTime > tx.Request.MaxAge {
		return nil
	}
	if over, err := a.ended(s.Subject, s.AuthTime, s.Seq); err != nil || over {
		return err
	}
	u, err := a.userBySubject(ctx, s.Subject)
	if err != nil || u == nil {
		return err
	}
	tx.Subject, tx.AuthTime, tx.ACR, tx.Seq = s.Subject, s.AuthTime, s.ACR, s.Seq
	return nil
}

// silent answers prompt=none: no page, whatever the outcome.
func (a *Authority) silent(w http.ResponseWriter, r *http.Request, c *Client, tx *transaction) {
	if tx.Subject == "" {
		a.authorizeError(w, r, tx.back("login_required", "nobody is signed in"))
		return
	}
	ok, err := a.consented(r.Context(), c, tx)
	if err != nil {
		a.pageError(w, r, err)
		return
	}
	if !ok {
		a.authorizeError(w, r, tx.back("consent_required", "the user has not consented yet"))
		return
	}
	a.finish(w, r, tx, ledger.Batch{})
}

// current reads the transaction of a page and checks that it is this browser's.
func (a *Authority) current(r *http.Request, value string) (*transaction, *Client, error) {
	if value == "" || len(value) > 64 {
		return nil, nil, errTransaction
	}
	tx := &transaction{value: value, id: "tx." + a.secretID(value)}
	v, err := a.load(r.Context(), ledger.DocLogin, tx.id, tx)
	if errors.Is(err, ledger.ErrNotFound) {
		return nil, nil, errTransaction
	}
	if err != nil {
		return nil, nil, err
	}
	tx.version = v
	browser := a.cookie(r, cookieBrowser)
	if browser == "" || !hmac.Equal([]byte(a.secretID(browser)), []byte(tx.Browser)) || a.d.Now().Unix() >= tx.Expires {
		return nil, nil, errTransaction
	}
	c, err := a.client(r.Context(), tx.Request.Client)
	if errors.Is(err, errClient) {
		err = errTransaction
	}
	return tx, c, err
}

// csrf is what a page's form must bring back.
func (a *Authority) csrf(tx *transaction) string {
	return base64.RawURLEncoding.EncodeToString(a.mac("csrf", tx.value+"\x00"+tx.Browser))
}

// posted reads a page's form and its transaction.
func (a *Authority) posted(w http.ResponseWriter, r *http.Request) (form, *transaction, *Client, error) {
	f, err := readForm(w, r)
	if err != nil {
		return f, nil, nil, err
	}
	tx, c, err := a.current(r, f.get("tx"))
	if err != nil {
		return f, nil, nil, err
	}
	if !hmac.Equal([]byte(f.get("csrf")), []byte(a.csrf(tx))) {
		return f, nil, nil, errTransaction
	}
	return f, tx, c, nil
}

// signedIn notes who signed in, under a new cookie so that one planted before is
// worth nothing, and goes on to consent.
func (a *Authority) signedIn(w http.ResponseWriter, r *http.Request, tx *transaction, subject, acr string) error {
	now := a.d.Now()
	value, id, err := a.secret()
	if err != nil {
		return err
	}
	tx.Subject, tx.AuthTime, tx.ACR, tx.Seq = subject, now.Unix(), acr, a.d.Ledger.Reserve()
	tx.Provider, tx.Verifier, tx.Nonce = "", "", ""
	b := join(
		put(ledger.DocLogin, "in."+id, 0, signIn{subject, now.Unix(), acr, now.Add(a.cfg.SignInLifetime).Unix(), tx.Seq}),
		put(ledger.DocLogin, tx.id, tx.version, tx))
	if _, err := a.d.Ledger.Append(r.Context(), by("user:"+subject, b)); err != nil {
		return err
	}
	a.setCookie(w, cookieSignIn, value, a.cfg.SignInLifetime)
	a.goOn(w, r, pathConsent, tx)
	return nil
}

// finish ends a transaction: the grant is made and the code handed out, or the
// device approved. consent is what is remembered with it.
func (a *Authority) finish(w http.ResponseWriter, r *http.Request, tx *transaction, consent ledger.Batch) {
	gid, err := a.newID(mintmark.PrefixGrant)
	if err != nil {
		a.pageError(w, r, err)
		return
	}
	// The number is taken before the revocations are looked at: one that comes
	// after the look is later than the number, and ends the grant at its first use.
	g := mintmark.GrantMade{
		Grant: mintmark.GrantID(gid), Subject: tx.Subject, Client: tx.Request.Client, Scopes: tx.Request.Scopes,
		Audience: tx.Request.Targets, AuthTime: tx.AuthTime, ACR: tx.ACR, Nonce: tx.Request.Nonce, Seq: a.d.Ledger.Reserve(),
	}
	over, err := a.ended(tx.Subject, tx.AuthTime, tx.Seq)
	if err == nil && over {
		err = errTransaction
	}
	if err != nil {
		a.pageError(w, r, err)
		return
	}
	made := event("grant/"+gid, mintmark.EventGrantMade, nil, g)
	made.Subject, made.Client = g.Subject, g.Client
	b := join(consent, ledger.Batch{Events: []mintmark.Event{made}, Expect: []ledger.Expect{{Stream: "grant/" + gid}}})
	if tx.version > 0 {
		b = join(b, put(ledger.DocLogin, tx.id, tx.version, nil))
	}
	if tx.Device != "" {
		a.approveDevice(w, r, tx, g, b)
		return
	}
	code, id, err := a.secret()
	if err != nil {
		a.pageError(w, r, err)
		return
	}
	now := a.d.Now()
	b = join(b, put(ledger.DocCode, id, 0, codeDoc{
		Request: tx.Request, Grant: g, Valid: now.Add(codeLifetime).Unix(), Expires: now.Add(codeMemory).Unix(),
	}))
	if _, err := a.d.Ledger.Append(r.Context(), by("user:"+tx.Subject, b)); err != nil {
		if errors.Is(err, ledger.ErrConflict) {
			err = errTransaction // sent twice
		}
		a.pageError(w, r, err)
		return
	}
	v := url.Values{"code": {code}}
	if tx.Request.State != "" {
		v.Set("state", tx.Request.State)
	}
	a.redirect(w, r, tx.Request.RedirectURI, v)
}

// formTarget is where a page's form may lead in the end: browsers apply
// form-action to redirects, too.
func (t *transaction) formTarget() string {
	u, err := url.Parse(t.Request.RedirectURI)
	switch {
	case err != nil || u.Scheme == "":
		return ""
	case u.Host != "" && !strings.ContainsAny(u.Host, " ;,'\""):
		return u.Scheme + "://" + u.Host
	}
	return u.Scheme + ":"
}
