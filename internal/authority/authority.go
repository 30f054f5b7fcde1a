package authority

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/forwarded"
	"github.com/mintmark/mintmark/internal/limit"
	"github.com/mintmark/mintmark/internal/login"
	"github.com/mintmark/mintmark/internal/statuslist"
)

// Config is what an operator chooses.
type Config struct {
	// Issuer is the issuer identifier (RFC 8414 §2): https without query or
	// fragment; http is accepted for a loopback host only.
	Issuer string
	// Name is shown on the sign-in page; empty is "Mintmark".
	Name string
	// KeyLifetime is how long a signing key stays active; 0 is 90 days.
	KeyLifetime time.Duration
	// Algs are the algorithms to keep an active key for; empty is ES256. The first
	// is used when a mint policy names one that has no key.
	Algs []string
	// SignInLifetime is how long a browser stays signed in; 0 is 12 hours.
	SignInLifetime time.Duration
	// Trusted is the networks of the proxies in front, whose word about the client's
	// address counts; nil trusts nobody.
	Trusted forwarded.Trust
	// DPoPNonce demands a server nonce in DPoP proofs (RFC 9449 §8).
	DPoPNonce bool
	// Upstreams are OpenID providers that people may sign in with.
	Upstreams []Upstream
	// Renewal re-validates the user at each refresh by clients that have no hook of
	// their own; nil asks nobody. RenewalSecret, when there is one, is sent to it,
	// and to no client's hook, as a bearer token.
	Renewal       *Hook
	RenewalSecret mintmark.Secret
}

// Upstream is an OpenID provider that people may sign in with.
type Upstream = login.Provider

// Deps are what an Authority works with. Foreign, Egress and Log may be nil.
type Deps struct {
	Ledger    Ledger
	Tokens    Tokens
	Documents Documents
	State     State
	Revoker   Revoker
	Publisher Publisher
	Keyring   Keyring
	Keys      KeyMaker
	Passwords Passwords
	Foreign   Foreign
	Egress    Egress
	Log       *slog.Logger
	Metrics   Metrics
	Meter     Meter // nil measures nothing
	// Now is the wall clock and Random the source of values; nil means the
	// system's.
	Now    func() time.Time
	Random io.Reader
}

// Metrics counts what the authority does. Labels are bounded by the
// implementation.
type Metrics interface {
	Issued(release mintmark.ReleaseID, client mintmark.ClientID, kind mintmark.TokenKind)
	// Refused counts an OAuth error answered at an endpoint.
	Refused(endpoint, code string, client mintmark.ClientID)
	// Reused counts a superseded refresh token presented outside grace.
	Reused(client mintmark.ClientID)
}

type noMetrics struct{}

func (noMetrics) Issued(mintmark.ReleaseID, mintmark.ClientID, mintmark.TokenKind) {}
func (noMetrics) Refused(string, string, mintmark.ClientID)                        {}
func (noMetrics) Reused(mintmark.ClientID)                                         {}

// Authority is our OAuth 2 and OpenID Connect core.
type Authority struct {
	cfg    Config
	d      Deps
	secure bool   // issuer is https
	origin string // scheme and host of the issuer
	path   string // path of the issuer, no trailing slash
	macKey []byte // for nonces and form tokens
	places statuslist.Layout

	keys      keySet
	refresh   singleflight.Group
	failures  *limit.Buckets // by address, and by client or user name
	starts    *limit.Buckets // what strangers make us write, by address
	polls     *limit.Buckets // device codes
	providers *login.Providers
	keyMu     sync.Mutex // one change of signing keys at a time
	rndMu     sync.Mutex // guards d.Random
}

// Errors of the management methods.
var (
	// ErrConfig reports a configuration that can't work.
	ErrConfig = errors.New("authority: configuration")
	// ErrNoKey: no signing key is active yet.
	ErrNoKey = errors.New("authority: no active signing key")
	// ErrInUse: live tokens still need the key.
	ErrInUse = errors.New("authority: key still needed")
	// ErrNotReady: there is no epoch to mint under yet.
	ErrNotReady = errors.New("authority: no epoch in force")
	// ErrRequest: a management request that can't be met; the text says why.
	ErrRequest = errors.New("authority: request refused")
)

// New checks the configuration. It does no I/O and starts nothing.
func New(cfg Config, d Deps) (*Authority, error) {
	u, err := url.Parse(cfg.Issuer)
	if err != nil || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return nil, fmt.Errorf("%w: issuer %.200q: want https://host[:port][/path]", ErrConfig, cfg.Issuer)
	}
	loopback := u.Hostname() == "localhost" || u.Hostname() == "::1" || strings.HasPrefix(u.Hostname(), "127.")
	if u.Scheme != "https" && (u.Scheme != "http" || !loopback) {
		return nil, fmt.Errorf("%w: issuer %.200q: plain http is for loopback only", ErrConfig, cfg.Issuer)
	}
	if strings.HasSuffix(cfg.Issuer, "/") {
		return nil, fmt.Errorf("%w: issuer %.200q: leave out the final slash", ErrConfig, cfg.Issuer)
	}
	if d.Ledger == nil || d.Tokens == nil || d.Documents == nil || d.State == nil || d.Revoker == nil ||
		d.Publisher == nil || d.Keyring == nil || d.Keys == nil || d.Passwords == nil {
		return nil, fmt.Errorf("%w: a dependency is missing", ErrConfig)
	}
	if len(cfg.Algs) == 0 {
		cfg.Algs = []string{"ES256"}
	}
	cfg.Name = cmp.Or(cfg.Name, "Mintmark")
	cfg.KeyLifetime = cmp.Or(cfg.KeyLifetime, 90*24*time.Hour)
	cfg.SignInLifetime = cmp.Or(cfg.SignInLifetime, 12*time.Hour)
	if d.Now == nil {
		d.Now = time.Now
	}
	if d.Random == nil {
		d.Random = rand.Reader
	}
	if d.Log == nil {
		d.Log = slog.New(slog.DiscardHandler)
	}
	if d.Metrics == nil {
		d.Metrics = noMetrics{}
	}
	if d.Meter == nil {
		d.Meter = noMeter{}
	}
	return &Authority{
		cfg: cfg, d: d, origin: u.Scheme + "://" + u.Host, macKey: d.Keyring.Derive("authority-mac-v1"), secure: u.Scheme == "https", path: strings.TrimSuffix(u.Path, "/"),
		failures: limit.NewBuckets(10, 30*time.Second), polls: limit.NewBuckets(1, 5*time.Second),
		starts: limit.NewBuckets(600, 50*time.Millisecond), providers: login.NewProviders(d.Egress, d.Now),
		places: statuslist.Layout{Base: cfg.Issuer + pathStatus, Key: d.Keyring.Derive("status-list-v1")},
	}, nil
}

// Issuer returns the issuer identifier.
func (a *Authority) Issuer() string { return a.cfg.Issuer }

// AdminAudience is the audience of tokens for the admin API.
func (a *Authority) AdminAudience() string { return a.cfg.Issuer + "/admin" }

// Run loads the signing keys, makes the first, and rotates them when their time
// is up. It returns with ctx's error.
func (a *Authority) Run(ctx context.Context) error {
	t := time.NewTicker(time.Second)
	defer t.Stop()
	for wait := 0; ; wait-- {
		if wait <= 0 || a.signsInVain() {
			wait = 15
			if err := a.tend(ctx); err != nil && ctx.Err() == nil {
				a.d.Log.Error("signing keys", "error", err)
				wait = 2
			}
			if err := a.endKeys(ctx); err != nil && ctx.Err() == nil {
				a.d.Log.Error("replaced API keys", "error", err)
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.C:
		}
	}
}

// mac is HMAC-SHA-256 for one of our own purposes.
func (a *Authority) mac(purpose, text string) []byte {
	m := hmac.New(sha256.New, a.macKey)
	m.Write([]byte(purpose + "\x00" + text))
	return m.Sum(nil)
}

// Ready reports whether tokens can be minted: ErrNoKey before the first signing
// key is active.
func (a *Authority) Ready() error {
	for _, alg := range a.cfg.Algs {
		if _, err := a.keys.active(alg); err == nil {
			return nil
		}
	}
	return ErrNoKey
}

// random fills b.
func (a *Authority) random(b []byte) error {
	a.rndMu.Lock()
	defer a.rndMu.Unlock()
	if _, err := io.ReadFull(a.d.Random, b); err != nil {
		return fmt.Errorf("read randomness: %w", err)
	}
	return nil
}

// newID makes an identifier.
func (a *Authority) newID(prefix string) (string, error) {
	var r [10]byte
	if err := a.random(r[:]); err != nil {
		return "", err
	}
	return mintmark.NewID(prefix, a.d.Now(), r), nil
}
