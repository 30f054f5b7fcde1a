package authority

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/mintmark/mintmark/internal/jose"
	"github.com/mintmark/mintmark/internal/ledger"
)

// providerAge is how long a provider's metadata and keys are kept.
const providerAge = 5 * time.Minute

// upstreamCache keeps providers' metadata and keys.
type upstreamCache struct {
	mu    sync.Mutex
	known map[string]*providerFacts // guarded by mu; by issuer
}

type providerFacts struct {
	Issuer    string `json:"issuer"`
	Authorize string `json:"authorization_endpoint"`
	Token     string `json:"token_endpoint"`
	JWKS      string `json:"jwks_uri"`
	keys      []*jose.Key
	fetched   time.Time
}

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
	var facts *providerFacts
	if err == nil {
		facts, err = a.provider(r.Context(), up)
	}
	if err == nil {
		tx.Provider = up.Name
		if tx.Verifier, _, err = a.secret(); err == nil {
			tx.Nonce, _, err = a.secret()
		}
	}
	if err == nil {
		_, err = a.d.Ledger.Append(r.Context(), put(ledger.DocLogin, tx.id, tx.version, tx))
	}
	if err != nil {
		a.pageError(w, r, err)
		return
	}
	sum := sha256.Sum256([]byte(tx.Verifier))
	q := url.Values{
		"response_type": {"code"}, "client_id": {up.ClientID}, "redirect_uri": {a.url(pathCallback)},
		"scope": {strings.Join(append([]string{"openid"}, up.Scopes...), " ")}, "state": {tx.value}, "nonce": {tx.Nonce},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])}, "code_challenge_method": {"S256"},
	}
	sep := "?"
	if strings.Contains(facts.Authorize, "?") {
		sep = "&"
	}
	w.Header().Set("Cache-Control", "no-store")
	http.Redirect(w, r, facts.Authorize+sep+q.Encode(), http.StatusSeeOther)
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
	u, err := a.upstreamUser(r.Context(), up, tx, f.get("code"))
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

// upstreamUser redeems the code and finds or makes the account; nil when linking
// finds none.
func (a *Authority) upstreamUser(ctx context.Context, up *Upstream, tx *transaction, code string) (*User, error) {
	facts, err := a.provider(ctx, up)
	if err != nil {
		return nil, err
	}
	body := url.Values{
		"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {a.url(pathCallback)},
		"code_verifier": {tx.Verifier},
	}
	if up.Secret.IsZero() {
		body.Set("client_id", up.ClientID)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, facts.Token, strings.NewReader(body.Encode()))
	if err != nil {
		return nil, fmt.Errorf("make token request: %w", err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	if !up.Secret.IsZero() {
		req.SetBasicAuth(url.QueryEscape(up.ClientID), url.QueryEscape(up.Secret.Reveal()))
	}
	var ans struct {
		ID string `json:"id_token"`
	}
	if err := a.fetch(req, &ans); err != nil {
		return nil, fmt.Errorf("redeem code: %w", err)
	}
	claims, err := a.verifyProviderToken(facts, up, tx, ans.ID)
	if err != nil {
		return nil, err
	}
	return a.accountOf(ctx, up, claims)
}

// verifyProviderToken checks an ID token (OpenID Core §3.1.3.7).
func (a *Authority) verifyProviderToken(facts *providerFacts, up *Upstream, tx *transaction, token string) (*jose.Claims, error) {
	parsed, err := jose.Parse([]byte(token))
	if err != nil {
		return nil, fmt.Errorf("read ID token: %w", err)
	}
	verified := false
	for _, k := range facts.keys {
		if parsed.Header.KeyID == "" || k.ID() == parsed.Header.KeyID {
			verified = verified || k.Check(&parsed) == nil
		}
	}
	claims, err := jose.ParseClaims(parsed.Payload, jose.Names{})
	now := a.d.Now()
	switch {
	case err != nil:
		return nil, fmt.Errorf("read ID token: %w", err)
	case !verified:
		return nil, errors.New("ID token: signature does not verify")
	case claims.Issuer != up.Issuer, !hasScope(claims.Audience, up.ClientID), claims.Subject == "":
		return nil, errors.New("ID token: not of this provider for us")
	case claims.Nonce != tx.Nonce || tx.Nonce == "":
		return nil, errors.New("ID token: nonce differs")
	case now.Add(-skew).After(time.Unix(claims.Expires, 0)), time.Unix(claims.IssuedAt, 0).After(now.Add(skew)):
		return nil, errors.New("ID token: not valid now")
	}
	return &claims, nil
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

// provider reads a provider's metadata and keys, at most every few minutes.
func (a *Authority) provider(ctx context.Context, up *Upstream) (*providerFacts, error) {
	c := &a.upstream
	c.mu.Lock()
	defer c.mu.Unlock() // held over the fetch: one at a time is enough
	if f := c.known[up.Issuer]; f != nil && a.d.Now().Sub(f.fetched) < providerAge {
		return f, nil
	}
	f := &providerFacts{fetched: a.d.Now()}
	if err := a.fetchURL(ctx, strings.TrimSuffix(up.Issuer, "/")+"/.well-known/openid-configuration", f); err != nil {
		return nil, fmt.Errorf("read metadata of %s: %w", up.Name, err)
	}
	if f.Issuer != up.Issuer || f.Authorize == "" || f.Token == "" {
		return nil, fmt.Errorf("read metadata of %s: it is of issuer %.200q", up.Name, f.Issuer)
	}
	var raw json.RawMessage
	if err := a.fetchURL(ctx, f.JWKS, &raw); err != nil {
		return nil, fmt.Errorf("read keys of %s: %w", up.Name, err)
	}
	set, err := jose.ParseSet(raw)
	if err != nil {
		return nil, fmt.Errorf("read keys of %s: %w", up.Name, err)
	}
	f.keys = set.Keys
	if c.known == nil {
		c.known = map[string]*providerFacts{}
	}
	c.known[up.Issuer] = f
	return f, nil
}

func (a *Authority) fetchURL(ctx context.Context, address string, v any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return fmt.Errorf("make request: %w", err)
	}
	return a.fetch(req, v)
}

// fetch makes an outbound request and decodes its JSON answer.
func (a *Authority) fetch(req *http.Request, v any) error {
	if a.d.Egress == nil {
		return errors.New("no outbound client")
	}
	res, err := a.d.Egress.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d", res.StatusCode)
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("decode answer: %w", err)
	}
	return nil
}
