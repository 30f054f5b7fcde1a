package authority

import (
	"context"
	"encoding/base64"
	"errors"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/ledger"
)

// authRequest is a checked authorization request (RFC 6749 §4.1.1). It is stored
// inside transactions, pushed requests and codes: members are added, never
// renamed.
type authRequest struct {
	Client      mintmark.ClientID `json:"client"`
	RedirectURI string            `json:"redirect_uri"`
	State       string            `json:"state,omitempty"`
	Scopes      []string          `json:"scopes,omitempty"`
	Targets     []string          `json:"targets,omitempty"`
	Challenge   string            `json:"challenge"` // S256
	Nonce       string            `json:"nonce,omitempty"`
	Prompt      []string          `json:"prompt,omitempty"`
	MaxAge      int64             `json:"max_age"` // seconds; -1 is absent
	Hint        string            `json:"hint,omitempty"`
	JKT         string            `json:"jkt,omitempty"` // RFC 9449 §10
}

// pushed is the body of the document par/<id> (RFC 9126).
type pushed struct {
	Request authRequest `json:"request"`
	Expires int64       `json:"expires_at"`
}

const (
	prefixRequestURI = "urn:ietf:params:oauth:request_uri:"
	pushedLifetime   = 90 * time.Second
)

// redirectable is an error that the client may be told by redirect: its redirect
// URI was checked before.
type redirectable struct {
	uri, state string
	err        *refusal
}

func (e *redirectable) Error() string { return e.err.Error() }

// parseAuthRequest checks a request's parameters. Until client and redirect URI
// are known to belong together errors are for the person, not the client (RFC
// 6749 §4.1.2.1).
func parseAuthRequest(f form, c *Client) (authRequest, error) {
	q := authRequest{Client: c.ID, RedirectURI: f.get("redirect_uri"), State: f.get("state"), Nonce: f.get("nonce"), MaxAge: -1}
	if q.RedirectURI == "" && len(c.RedirectURIs) == 1 && !strings.Contains(" "+f.get("scope")+" ", " openid ") {
		q.RedirectURI = c.RedirectURIs[0]
	}
	if !redirectAllowed(c, q.RedirectURI) {
		return q, refuse("invalid_request", "the redirect address is not registered for this application")
	}
	if err := q.fill(f, c); err != nil {
		return q, &redirectable{q.RedirectURI, q.State, asRefusal(err)}
	}
	return q, nil
}

// fill checks what may be told by redirect.
func (q *authRequest) fill(f form, c *Client) error {
	var err error
	switch {
	case f.get("request") != "":
		return refuse("request_not_supported", "request objects are taken by PAR only")
	case f.get("response_type") == "":
		return refuse("invalid_request", "response_type is missing")
	case f.get("response_type") != "code":
		return refuse("unsupported_response_type", "only code is supported")
	case f.get("response_mode") != "" && f.get("response_mode") != "query":
		return refuse("invalid_request", "only response_mode query is supported")
	case !c.May(GrantCode):
		return refuse("unauthorized_client", "the client may not use the code grant")
	case f.get("code_challenge_method") != "S256":
		return refuse("invalid_request", "PKCE with code_challenge_method S256 is required") // RFC 9700 §2.1.1
	case len(q.State) > 2048 || len(q.Nonce) > 512:
		return refuse("invalid_request", "state or nonce is too long")
	}
	q.Challenge = f.get("code_challenge")
	if b, err := base64.RawURLEncoding.Strict().DecodeString(q.Challenge); err != nil || len(b) != 32 {
		return refuse("invalid_request", "code_challenge is not the base64url of a SHA-256")
	}
	if q.Scopes, err = f.scopes(); err != nil {
		return err
	}
	for _, s := range q.Scopes {
		if !slices.Contains(c.Scopes, s) {
			return refuse("invalid_scope", "a scope is not allowed to this client")
		}
	}
	if q.Targets, err = f.targets(); err != nil {
		return err
	}
	for _, t := range q.Targets {
		if !c.mayAsk(t) {
			return refuse("invalid_target", "a resource is not allowed to this client")
		}
	}
	q.Prompt = strings.Fields(f.get("prompt"))
	for _, p := range q.Prompt {
		if !slices.Contains([]string{"none", "login", "consent", "select_account"}, p) || p == "none" && len(q.Prompt) > 1 {
			return refuse("invalid_request", "prompt is not understood")
		}
	}
	if s := f.get("max_age"); s != "" {
		if q.MaxAge, err = strconv.ParseInt(s, 10, 32); err != nil || q.MaxAge < 0 {
			return refuse("invalid_request", "max_age is not a number of seconds")
		}
	}
	if q.Hint = f.get("login_hint"); len(q.Hint) > 256 {
		q.Hint = ""
	}
	q.JKT = f.get("dpop_jkt")
	if b, err := base64.RawURLEncoding.Strict().DecodeString(q.JKT); q.JKT != "" && (err != nil || len(b) != 32) {
		return refuse("invalid_request", "dpop_jkt is not a thumbprint")
	}
	return nil
}

// redirectAllowed compares exactly (RFC 9700 §2.1); for a loopback address any
// port (RFC 8252 §7.3).
func redirectAllowed(c *Client, uri string) bool {
	if uri == "" || len(uri) > 2048 {
		return false
	}
	if slices.Contains(c.RedirectURIs, uri) {
		return true
	}
	u, err := url.Parse(uri)
	if err != nil || u.Scheme != "http" || u.User != nil || u.Fragment != "" {
		return false
	}
	if ip := net.ParseIP(u.Hostname()); ip == nil || !ip.IsLoopback() {
		return false
	}
	for _, r := range c.RedirectURIs {
		ru, err := url.Parse(r)
		if err == nil && ru.Scheme == "http" && ru.Hostname() == u.Hostname() && ru.EscapedPath() == u.EscapedPath() && ru.RawQuery == u.RawQuery {
			if ip := net.ParseIP(ru.Hostname()); ip != nil && ip.IsLoopback() {
				return true
			}
		}
	}
	return false
}

// serveAuthorize begins a transaction: it checks the request, and sends the
// browser to sign in, to consent, or straight back.
func (a *Authority) serveAuthorize(w http.ResponseWriter, r *http.Request) {
	if !a.mayStart(r) {
		a.pageError(w, r, errStarts)
		return
	}
	var f form
	var err error
	if r.Method == http.MethodPost {
		f, err = readForm(w, r)
	} else {
		f, err = parseForm(r.URL.RawQuery)
	}
	if err != nil {
		a.pageError(w, r, err)
		return
	}
	ctx := r.Context()
	c, err := a.client(ctx, mintmark.ClientID(f.get("client_id")))
	if err != nil {
		if errors.Is(err, errClient) {
			err = refuse("invalid_request", "this application is not registered here")
		}
		a.pageError(w, r, err)
		return
	}
	q, spent, err := a.authRequest(ctx, f, c)
	if err != nil {
		a.authorizeError(w, r, err)
		return
	}
	tx := &transaction{Request: q}
	a.begin(w, r, c, tx, spent)
}

// errStarts: an address begins more than its share. Each beginning is a durable
// write that anybody can cause.
var errStarts = refuseWith(http.StatusTooManyRequests, "temporarily_unavailable", "too many requests from your network; wait a little")

func (a *Authority) mayStart(r *http.Request) bool {
	return a.starts.Take("start\x00"+a.address(r), a.d.Now())
}

// authRequest reads the request itself or the pushed one it refers to; the latter
// is spent with the transaction that it begins.
func (a *Authority) authRequest(ctx context.Context, f form, c *Client) (authRequest, ledger.Batch, error) {
	ref := f.get("request_uri")
	if ref == "" {
		if c.RequirePAR {
			return authRequest{}, ledger.Batch{}, refuse("invalid_request", "this application must push its requests first")
		}
		q, err := parseAuthRequest(f, c)
		return q, ledger.Batch{}, err
	}
	value, ok := strings.CutPrefix(ref, prefixRequestURI)
	if !ok || len(value) > 64 {
		return authRequest{}, ledger.Batch{}, refuse("invalid_request_uri", "only pushed requests are taken")
	}
	var p pushed
	id := a.secretID(value)
	v, err := a.load(ctx, ledger.DocPAR, id, &p)
	if errors.Is(err, ledger.ErrNotFound) || err == nil && (p.Request.Client != c.ID || a.d.Now().Unix() >= p.Expires) {
		return authRequest{}, ledger.Batch{}, refuse("invalid_request_uri", "the pushed request is over; start again from the application")
	}
	if err != nil {
		return authRequest{}, ledger.Batch{}, err
	}
	return p.Request, put(ledger.DocPAR, id, v, nil), nil
}

// servePAR takes a pushed authorization request (RFC 9126).
func (a *Authority) servePAR(w http.ResponseWriter, r *http.Request) {
	ans, err := a.push(w, r)
	if err != nil {
		a.answerError(w, r, err)
		return
	}
	writeJSON(w, http.StatusCreated, ans)
}

func (a *Authority) push(w http.ResponseWriter, r *http.Request) (map[string]any, error) {
	f, err := readForm(w, r)
	if err != nil {
		return nil, err
	}
	who, err := a.authenticate(r, f)
	if err != nil {
		return nil, err
	}
	if who.client.Public() && !a.mayStart(r) {
		return nil, errStarts
	}
	if f.get("request_uri") != "" {
		return nil, refuse("invalid_request", "request_uri can't be pushed")
	}
	q, err := parseAuthRequest(f, who.client)
	if err != nil {
		var re *redirectable
		if errors.As(err, &re) {
			err = re.err
		}
		return nil, err
	}
	jkt, err := a.proof(w, r, a.origin, "", &who.once)
	if err != nil {
		return nil, err
	}
	if jkt != "" && q.JKT != "" && jkt != q.JKT {
		return nil, refuse("invalid_dpop_proof", "dpop_jkt is of another key")
	}
	if jkt != "" {
		q.JKT = jkt
	}
	value, id, err := a.secret()
	if err != nil {
		return nil, err
	}
	b := put(ledger.DocPAR, id, 0, pushed{Request: q, Expires: a.d.Now().Add(pushedLifetime).Unix()})
	b.Once = who.once
	if _, err := a.d.Ledger.Append(r.Context(), b); err != nil {
		return nil, err
	}
	return map[string]any{"request_uri": prefixRequestURI + value, "expires_in": int64(pushedLifetime / time.Second)}, nil
}

// redirect sends the browser back to the client, with iss (RFC 9207).
func (a *Authority) redirect(w http.ResponseWriter, r *http.Request, uri string, params url.Values) {
	params.Set("iss", a.cfg.Issuer)
	sep := "?"
	if strings.Contains(uri, "?") {
		sep = "&"
	}
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Referrer-Policy", "no-referrer")
	// 303: a POST with a password in it must not be repeated there (RFC 9700 §4.12).
	http.Redirect(w, r, uri+sep+params.Encode(), http.StatusSeeOther)
}

// authorizeError tells the client where that is safe, else the person.
func (a *Authority) authorizeError(w http.ResponseWriter, r *http.Request, err error) {
	var re *redirectable
	if !errors.As(err, &re) {
		a.pageError(w, r, err)
		return
	}
	a.d.Metrics.Refused(pathAuthorize, re.err.Code, "")
	v := url.Values{"error": {re.err.Code}}
	if re.err.Detail != "" {
		v.Set("error_description", re.err.Detail)
	}
	if re.state != "" {
		v.Set("state", re.state)
	}
	a.redirect(w, r, re.uri, v)
}

// back is an error for the client of a transaction.
func (t *transaction) back(code, detail string) error {
	return &redirectable{t.Request.RedirectURI, t.Request.State, &refusal{Code: code, Detail: detail}}
}
