package cli

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// soonOver is how long before its end a kept token is no longer used: a command
// must not run out of it half-way.
const soonOver = 30 * time.Second

// tokens is an http.RoundTripper that speaks as a credential's client. It keeps the
// access token in a private file until shortly before its end, so that a command is
// not one more token in everybody's list; what can't be kept is had anew each time.
type tokens struct {
	c    *Credential
	next http.RoundTripper
	hc   *http.Client // to ask for a token with
	file string       // "" keeps none
	anew bool         // asks for a token even if one is kept
	now  func() time.Time

	mu   sync.Mutex
	held keptToken // guarded by mu
	kept bool      // held comes from the file; guarded by mu
}

// keptToken is the content of the file.
type keptToken struct {
	Value   string `json:"access_token"`
	Expires int64  `json:"expires_at"` // Unix seconds
}

func (a *app) tokens(server string, c *Credential, hc *http.Client) *tokens {
	return &tokens{c: c, next: hc.Transport, hc: hc, file: a.tokenFile(server, c), anew: a.anew, now: time.Now}
}

// tokenFile is where the token for a server and a client is kept; "" is nowhere.
func (a *app) tokenFile(server string, c *Credential) string {
	dir := a.getenv("XDG_CACHE_HOME")
	if dir == "" {
		home := a.getenv("HOME")
		if home == "" {
			return ""
		}
		dir = filepath.Join(home, ".cache")
	}
	if !filepath.IsAbs(dir) || c.Token != "" || c.ClientID == "" {
		return ""
	}
	of, err := json.Marshal([]string{server, c.TokenURL, c.ClientID, c.Scope, c.Resource})
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(of)
	return filepath.Join(dir, "mintmark", "token-"+hex.EncodeToString(sum[:12])+".json")
}

// start finds a token, kept or new.
func (t *tokens) start(ctx context.Context) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if k, ok := t.read(); ok && !t.anew {
		t.held, t.kept = k, true
		return nil
	}
	return t.renew(ctx)
}

// read is the kept token; a file that others may read is as if it were not there.
func (t *tokens) read() (k keptToken, ok bool) {
	if t.file == "" {
		return k, false
	}
	info, err := os.Lstat(t.file)
	if err != nil || !info.Mode().IsRegular() || info.Mode().Perm()&0o077 != 0 || info.Size() > 64<<10 {
		return k, false
	}
	b, err := os.ReadFile(t.file)
	if err != nil || json.Unmarshal(b, &k) != nil {
		return k, false
	}
	return k, k.Value != "" && t.now().Add(soonOver).Unix() < k.Expires
}

// renew asks for a token. It is called with mu held.
func (t *tokens) renew(ctx context.Context) error {
	value, life, err := t.c.token(ctx, t.hc)
	if err != nil {
		return err
	}
	t.held, t.kept = keptToken{value.Reveal(), t.now().Add(life).Unix()}, false
	if t.file == "" || life <= soonOver {
		return nil
	}
	b, err := json.Marshal(t.held)
	if err == nil && os.MkdirAll(filepath.Dir(t.file), 0o700) == nil {
		_ = replaceFile(t.file, b) // kept nowhere, then
	}
	return nil
}

// RoundTrip implements http.RoundTripper. A kept token that is no longer accepted
// is forgotten, and the request sent once more with a new one: refused as it was, it
// did nothing.
func (t *tokens) RoundTrip(r *http.Request) (*http.Response, error) {
	t.mu.Lock()
	held, kept := t.held, t.kept
	t.mu.Unlock()
	res, err := t.next.RoundTrip(t.with(r, held))
	if err != nil || res.StatusCode != http.StatusUnauthorized || !kept || r.Body != nil && r.GetBody == nil {
		return res, err
	}
	t.mu.Lock()
	if t.held == held {
		_ = os.Remove(t.file)
		err = t.renew(r.Context())
	}
	held = t.held
	t.mu.Unlock()
	if err != nil {
		return res, nil // the refusal says enough
	}
	again := t.with(r, held)
	if r.GetBody != nil {
		if again.Body, err = r.GetBody(); err != nil {
			return res, nil
		}
	}
	_ = res.Body.Close()
	return t.next.RoundTrip(again)
}

func (t *tokens) with(r *http.Request, k keptToken) *http.Request {
	r = r.Clone(r.Context())
	if k.Value != "" {
		r.Header.Set("Authorization", "Bearer "+k.Value)
	}
	return r
}
