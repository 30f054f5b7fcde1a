package login

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
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/jose"
)

// Provider is an OpenID provider that people may sign in with.
type Provider struct {
	Name     string // in URLs and subjects: name:sub
	Title    string // on the button
	Issuer   string
	ClientID string
	Secret   mintmark.Secret
	Scopes   []string // besides openid
	// Link maps the provider's users to local ones by this claim (email,
	// preferred_username); empty makes subjects of their own, "name:sub".
	Link string
}

// Egress makes outbound requests: resolve then pin, private ranges refused unless
// listed, no redirects, bounded size and time.
type Egress interface {
	Do(req *http.Request) (*http.Response, error)
}

// Attempt is one sign-in at a provider, kept by the caller between sending the
// browser there and its coming back.
type Attempt struct {
	Redirect string // where the provider sends the browser back to
	State    string
	Verifier string // PKCE
	Nonce    string
}

const (
	// providerAge is how long a provider's metadata and keys are kept.
	providerAge = 5 * time.Minute
	// cooldown is how long a provider is not asked again for keys because of a key
	// id that nobody knows: ID tokens come from elsewhere.
	cooldown = 30 * time.Second
	skew     = 30 * time.Second
)

// Providers speaks to providers: by code, PKCE, state and nonce.
type Providers struct {
	egress Egress
	now    func() time.Time

	mu    sync.Mutex
	known map[string]*source // guarded by mu; by issuer, as configured
}

// source is where a provider's facts come from.
type source struct {
	mu    sync.Mutex // held over a fetch, so that those who wait share its outcome
	facts *facts     // last good ones; guarded by mu
	asked time.Time  // last fetch because of an unknown key, successful or not; guarded by mu
}

// NewProviders returns a client of providers; egress may be nil, and nothing can
// be asked then.
func NewProviders(egress Egress, now func() time.Time) *Providers {
	return &Providers{egress: egress, now: now, known: map[string]*source{}}
}

// facts are a provider's metadata and keys.
type facts struct {
	Issuer    string `json:"issuer"`
	Authorize string `json:"authorization_endpoint"`
	Token     string `json:"token_endpoint"`
	JWKS      string `json:"jwks_uri"`
	keys      []*jose.Key
	fetched   time.Time
}

// Address is where to send the browser for an attempt.
func (ps *Providers) Address(ctx context.Context, p *Provider, a Attempt) (string, error) {
	f, err := ps.facts(ctx, p)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256([]byte(a.Verifier))
	q := url.Values{
		"response_type": {"code"}, "client_id": {p.ClientID}, "redirect_uri": {a.Redirect},
		"scope": {strings.Join(append([]string{"openid"}, p.Scopes...), " ")}, "state": {a.State}, "nonce": {a.Nonce},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])}, "code_challenge_method": {"S256"},
	}
	sep := "?"
	if strings.Contains(f.Authorize, "?") {
		sep = "&"
	}
	return f.Authorize + sep + q.Encode(), nil
}

// Redeem trades an attempt's code for the verified claims of an ID token.
func (ps *Providers) Redeem(ctx context.Context, p *Provider, a Attempt, code string) (*jose.Claims, error) {
	f, err := ps.facts(ctx, p)
	if err != nil {
		return nil, err
	}
	body := url.Values{
		"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {a.Redirect}, "code_verifier": {a.Verifier},
	}
	if p.Secret.IsZero() {
		body.Set("client_id", p.ClientID)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, f.Token, strings.NewReader(body.Encode()))
	if err != nil {
		return nil, fmt.Errorf("make token request: %w", err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	if !p.Secret.IsZero() {
		req.SetBasicAuth(url.QueryEscape(p.ClientID), url.QueryEscape(p.Secret.Reveal()))
	}
	var ans struct {
		ID string `json:"id_token"`
	}
	if err := ps.fetch(req, &ans); err != nil {
		return nil, fmt.Errorf("redeem code: %w", err)
	}
	claims, err := verify(f, p, a, ans.ID, ps.now())
	if !errors.Is(err, errKey) {
		return claims, err
	}
	// The provider may have begun to sign with a key that it published after we
	// looked.
	newer, ferr := ps.newer(ctx, p, f)
	if ferr != nil {
		return nil, ferr
	}
	if newer == f {
		return nil, err
	}
	return verify(newer, p, a, ans.ID, ps.now())
}

// errKey: the key that an ID token names is not among the provider's.
var errKey = errors.New("ID token: the provider has no such key")

// verify checks an ID token (OpenID Core §3.1.3.7).
func verify(f *facts, p *Provider, a Attempt, token string, now time.Time) (*jose.Claims, error) {
	parsed, err := jose.Parse([]byte(token))
	if err != nil {
		return nil, fmt.Errorf("read ID token: %w", err)
	}
	known, verified := false, false
	for _, k := range f.keys {
		if parsed.Header.KeyID == "" || k.ID() == parsed.Header.KeyID {
			known, verified = true, verified || k.Check(&parsed) == nil
		}
	}
	if !known {
		return nil, errKey
	}
	claims, err := jose.ParseClaims(parsed.Payload, jose.Names{})
	switch {
	case err != nil:
		return nil, fmt.Errorf("read ID token: %w", err)
	case !verified:
		return nil, errors.New("ID token: signature does not verify")
	case claims.Issuer != p.Issuer, !slices.Contains(claims.Audience, p.ClientID), claims.Subject == "":
		return nil, errors.New("ID token: not of this provider for us")
	case claims.Nonce != a.Nonce || a.Nonce == "":
		return nil, errors.New("ID token: nonce differs")
	case now.Add(-skew).After(time.Unix(claims.Expires, 0)), time.Unix(claims.IssuedAt, 0).After(now.Add(skew)):
		return nil, errors.New("ID token: not valid now")
	}
	return &claims, nil
}

func (ps *Providers) source(issuer string) *source {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	s := ps.known[issuer]
	if s == nil {
		s = &source{}
		ps.known[issuer] = s
	}
	return s
}

// facts reads a provider's metadata and keys, at most every few minutes.
func (ps *Providers) facts(ctx context.Context, p *Provider) (*facts, error) {
	s := ps.source(p.Issuer)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.facts != nil && ps.now().Sub(s.facts.fetched) < providerAge {
		return s.facts, nil
	}
	return ps.read(ctx, p, s)
}

// newer returns facts that were read after old, or old when the provider was asked
// too lately to be asked again.
func (ps *Providers) newer(ctx context.Context, p *Provider, old *facts) (*facts, error) {
	s := ps.source(p.Issuer)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.facts != nil && s.facts != old {
		return s.facts, nil // somebody else met the key, too
	}
	if since := ps.now().Sub(s.asked); since >= 0 && since < cooldown {
		return old, nil
	}
	s.asked = ps.now()
	return ps.read(ctx, p, s)
}

// read fetches the facts. It is called with s.mu held.
func (ps *Providers) read(ctx context.Context, p *Provider, s *source) (*facts, error) {
	f := &facts{fetched: ps.now()}
	if err := ps.get(ctx, strings.TrimSuffix(p.Issuer, "/")+"/.well-known/openid-configuration", f); err != nil {
		return nil, fmt.Errorf("read metadata of %s: %w", p.Name, err)
	}
	if f.Issuer != p.Issuer || f.Authorize == "" || f.Token == "" {
		return nil, fmt.Errorf("read metadata of %s: it is of issuer %.200q", p.Name, f.Issuer)
	}
	var raw json.RawMessage
	if err := ps.get(ctx, f.JWKS, &raw); err != nil {
		return nil, fmt.Errorf("read keys of %s: %w", p.Name, err)
	}
	set, err := jose.ParseSet(raw)
	if err != nil {
		return nil, fmt.Errorf("read keys of %s: %w", p.Name, err)
	}
	f.keys = set.Keys
	s.facts = f
	return f, nil
}

func (ps *Providers) get(ctx context.Context, address string, v any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return fmt.Errorf("make request: %w", err)
	}
	return ps.fetch(req, v)
}

// fetch makes an outbound request and decodes its JSON answer.
func (ps *Providers) fetch(req *http.Request, v any) error {
	if ps.egress == nil {
		return errors.New("no outbound client")
	}
	res, err := ps.egress.Do(req)
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
