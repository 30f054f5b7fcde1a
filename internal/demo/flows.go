package demo

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"time"

	"golang.org/x/net/html"
)

// flows are the OAuth flows as a stranger's client does them: by discovery, over
// HTTP, reading the login page's form like a browser.
type flows struct {
	client   *http.Client // no redirects followed, no cookies
	issuer   string
	audience string // resource asked for (RFC 8707)

	authorize, token string
}

// discover reads the authorization server's metadata (RFC 8414).
func (f *flows) discover(ctx context.Context) error {
	var meta struct {
		Issuer    string `json:"issuer"`
		Authorize string `json:"authorization_endpoint"`
		Token     string `json:"token_endpoint"`
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, f.issuer+"/.well-known/oauth-authorization-server", nil)
	if err != nil {
		return err
	}
	res, err := f.client.Do(req)
	if err != nil {
		return fmt.Errorf("discovery: %w", err)
	}
	defer res.Body.Close()
	if err := json.NewDecoder(io.LimitReader(res.Body, 1<<20)).Decode(&meta); err != nil {
		return fmt.Errorf("discovery at %s: %w", f.issuer, err)
	}
	if meta.Issuer != f.issuer || meta.Token == "" || meta.Authorize == "" {
		return fmt.Errorf("discovery at %s: incomplete or for issuer %q", f.issuer, meta.Issuer)
	}
	f.authorize, f.token = meta.Authorize, meta.Token
	return nil
}

// tokenError is an error answer of the token endpoint (RFC 6749 §5.2).
type tokenError struct {
	Status int
	Code   string `json:"error"`
	Detail string `json:"error_description"`
}

func (e *tokenError) Error() string {
	return fmt.Sprintf("token endpoint: %d %s: %s", e.Status, e.Code, e.Detail)
}

// ask posts to the token endpoint.
func (f *flows) ask(ctx context.Context, form url.Values, client, secret string) (*held, error) {
	if secret == "" {
		form.Set("client_id", client)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, f.token, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if secret != "" {
		req.SetBasicAuth(url.QueryEscape(client), url.QueryEscape(secret))
	}
	asked := time.Now()
	res, err := f.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusOK {
		e := &tokenError{Status: res.StatusCode}
		_ = json.Unmarshal(body, e)
		return nil, e
	}
	var t struct {
		Access  string `json:"access_token"`
		Refresh string `json:"refresh_token"`
		Expires int64  `json:"expires_in"`
		Scope   string `json:"scope"`
	}
	if err := json.Unmarshal(body, &t); err != nil || t.Access == "" {
		return nil, fmt.Errorf("token endpoint: 200 without an access token: %w", err)
	}
	h := &held{
		access: t.Access, refresh: t.Refresh, scopes: strings.Fields(t.Scope),
		expires: asked.Add(time.Duration(t.Expires) * time.Second),
	}
	h.look()
	return h, nil
}

// machine obtains a token by client credentials (RFC 6749 §4.4).
func (f *flows) machine(ctx context.Context, client, secret, scope string) (*held, error) {
	return f.ask(ctx, url.Values{"grant_type": {"client_credentials"}, "scope": {scope}, "resource": {f.audience}}, client, secret)
}

// refresh renews (RFC 6749 §6).
func (f *flows) refresh(ctx context.Context, client string, h *held) (*held, error) {
	return f.ask(ctx, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {h.refresh}}, client, "")
}

// person signs a user in through the login and consent pages and obtains tokens
// by authorization code with PKCE (RFC 7636).
func (f *flows) person(ctx context.Context, client, redirect, scope, user, password string) (*held, error) {
	verifier, state := nonce(), nonce()
	sum := sha256.Sum256([]byte(verifier))
	next := f.authorize + "?" + url.Values{
		"response_type": {"code"}, "client_id": {client}, "redirect_uri": {redirect}, "scope": {scope},
		"state": {state}, "code_challenge_method": {"S256"}, "resource": {f.audience},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])},
	}.Encode()
	jar, err := cookiejar.New(nil)
	if err != nil {
		return nil, err
	}
	browser := &http.Client{
		Transport: f.client.Transport, Jar: jar, Timeout: f.client.Timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, next, nil)
	if err != nil {
		return nil, err
	}
	for range 12 {
		res, err := browser.Do(req)
		if err != nil {
			return nil, err
		}
		page, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
		_ = res.Body.Close()
		if err != nil {
			return nil, err
		}
		if loc := res.Header.Get("Location"); loc != "" {
			to, err := req.URL.Parse(loc)
			if err != nil {
				return nil, fmt.Errorf("sign-in: redirect: %w", err)
			}
			if strings.HasPrefix(to.String(), redirect) {
				return f.redeem(ctx, to.Query(), state, verifier, client, redirect)
			}
			if req, err = http.NewRequestWithContext(ctx, http.MethodGet, to.String(), nil); err != nil {
				return nil, err
			}
			continue
		}
		if res.StatusCode != http.StatusOK {
			return nil, fmt.Errorf("sign-in: %s answered %d", req.URL.Path, res.StatusCode)
		}
		if req, err = submit(ctx, req.URL, page, user, password); err != nil {
			return nil, err
		}
	}
	return nil, errors.New("sign-in: too many pages")
}

// redeem turns the code of the redirect into tokens, checking state and iss (RFC
// 9207).
func (f *flows) redeem(ctx context.Context, q url.Values, state, verifier, client, redirect string) (*held, error) {
	if q.Get("state") != state || q.Get("iss") != f.issuer || q.Get("code") == "" {
		return nil, fmt.Errorf("sign-in: redirect without code, or of another: error=%q", q.Get("error"))
	}
	return f.ask(ctx, url.Values{
		"grant_type": {"authorization_code"}, "code": {q.Get("code")},
		"redirect_uri": {redirect}, "code_verifier": {verifier},
	}, client, "")
}

// submit fills the page's first form like a person would: name, password, and the
// first button that agrees.
func submit(ctx context.Context, base *url.URL, page []byte, user, password string) (*http.Request, error) {
	doc, err := html.Parse(strings.NewReader(string(page)))
	if err != nil {
		return nil, fmt.Errorf("sign-in page: %w", err)
	}
	form := find(doc, "form")
	if form == nil {
		return nil, errors.New("sign-in page: no form")
	}
	values := url.Values{}
	pressed := false
	for n := range form.Descendants() {
		name, kind := attr(n, "name"), attr(n, "type")
		switch {
		case n.Type != html.ElementNode || name == "":
		case n.Data == "button" && !pressed:
			values.Set(name, attr(n, "value"))
			pressed = true
		case n.Data != "input":
		case kind == "password":
			values.Set(name, password)
		case kind == "checkbox":
			values.Add(name, attr(n, "value"))
		case kind == "hidden":
			values.Set(name, attr(n, "value"))
		case kind == "submit":
			if !pressed {
				values.Set(name, attr(n, "value"))
				pressed = true
			}
		default:
			values.Set(name, user)
		}
	}
	to, err := base.Parse(attr(form, "action"))
	if err != nil {
		return nil, fmt.Errorf("sign-in page: action: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to.String(), strings.NewReader(values.Encode()))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Origin", base.Scheme+"://"+base.Host)
	return req, nil
}

func find(n *html.Node, element string) *html.Node {
	for d := range n.Descendants() {
		if d.Type == html.ElementNode && d.Data == element {
			return d
		}
	}
	return nil
}

func attr(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

// nonce is 256 random bits in base64url.
func nonce() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand ends the process instead
	return base64.RawURLEncoding.EncodeToString(b[:])
}
