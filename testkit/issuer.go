package testkit

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/auditlog"
	"github.com/mintmark/mintmark/internal/authority"
	"github.com/mintmark/mintmark/internal/keyring"
	"github.com/mintmark/mintmark/internal/ledger"
	"github.com/mintmark/mintmark/internal/projection"
	"github.com/mintmark/mintmark/internal/sqlite"
)

// Defaults of a Config.
const (
	DefaultAudience = "https://service.test"
	DefaultLifetime = 5 * time.Minute
	// MaxLifetime is the longest that a token can be asked to live.
	MaxLifetime = 30 * 24 * time.Hour
)

// clientID is the client that the service under test introspects as.
const clientID = "service-under-test"

// Config says what an Issuer is for. The zero value is usable.
type Config struct {
	// Audience is the aud of good tokens; empty is DefaultAudience.
	Audience string
	// Scopes are what tokens may have; empty is read and write.
	Scopes []string
	// Releases of the service under which tokens can be minted, the stable one
	// first; empty is v1 and v2.
	Releases []string
	// Service is the base URL of the service under test, for the gateway in front of
	// it; empty starts none.
	Service string
	// Listen is the address of the issuer, host:port on loopback; empty is any free
	// port of 127.0.0.1.
	Listen string
}

// Issuer is an authority whose clock its owner moves. Make it with Start.
type Issuer struct {
	cfg     Config
	auth    *authority.Authority
	store   *sqlite.Store
	ledger  *ledger.Ledger
	state   *state
	signers *signers
	url     string
	gateway string
	secret  string
	stop    func()

	mu        sync.Mutex
	offset    time.Duration     // how far the clock is ahead; guarded by mu
	outage    Outage            // guarded by mu
	presented map[string]string // value sent to a service → value minted; guarded by mu

	// making is held while a client is made, mu never: the ledger asks for the time.
	making  sync.Mutex
	clients map[string]bool // made so far; guarded by making
}

// ErrConfig reports a Config or a request that cannot work; the text says why.
var ErrConfig = errors.New("testkit: can't work")

// Start makes an issuer and serves it on loopback until Close. ctx bounds the
// start alone.
func Start(ctx context.Context, c Config) (_ *Issuer, err error) {
	if c.Audience == "" {
		c.Audience = DefaultAudience
	}
	if len(c.Scopes) == 0 {
		c.Scopes = []string{"read", "write"}
	}
	if len(c.Releases) == 0 {
		c.Releases = []string{"v1", "v2"}
	}
	if c.Listen == "" {
		c.Listen = "127.0.0.1:0"
	}
	host, _, err := net.SplitHostPort(c.Listen)
	if ip := net.ParseIP(host); err != nil || ip == nil || !ip.IsLoopback() {
		return nil, fmt.Errorf("%w: listen %.80q is not an address and port of loopback, such as 127.0.0.1:9400: an issuer that mints whatever it is asked for must not be reached from elsewhere", ErrConfig, c.Listen)
	}
	i := &Issuer{cfg: c, presented: map[string]string{}, clients: map[string]bool{}, stop: func() {}}
	defer func() {
		if err != nil {
			i.Close()
		}
	}()
	if err := i.open(ctx); err != nil {
		return nil, fmt.Errorf("open the issuer's ledger: %w", err)
	}
	if err := i.serve(); err != nil {
		return nil, err
	}
	if err := i.populate(ctx); err != nil {
		return nil, fmt.Errorf("prepare the issuer: %w", err)
	}
	return i, nil
}

// cleanup makes f part of Close, before what was added earlier.
func (i *Issuer) cleanup(f func()) {
	before := i.stop
	i.stop = func() { f(); before() }
}

// open makes the ledger in a directory that goes away with the issuer.
func (i *Issuer) open(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "mintmark-testkit-")
	if err != nil {
		return err
	}
	i.cleanup(func() { _ = os.RemoveAll(dir) })
	keys, err := keyring.Init(keyring.Options{Dir: filepath.Join(dir, "secrets"), Random: rand.Reader})
	if err != nil {
		return err
	}
	if i.store, err = sqlite.Open(ctx, sqlite.Options{Dir: dir, Scratch: true}); err != nil {
		return err
	}
	i.cleanup(func() { _ = i.store.Close() })
	signer, err := auditlog.NewSigner("testkit.invalid", keys.AuditKey())
	if err != nil {
		return err
	}
	i.ledger = ledger.New(ledger.Config{Engine: i.store, Fold: projection.Fold, Sign: signer.Checkpoint, Now: i.Now, Random: rand.Reader})
	if err := i.ledger.Open(ctx); err != nil {
		return err
	}
	running, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = i.ledger.Run(running) }) // ends with Close
	i.cleanup(func() { stop(); wg.Wait() })
	i.signers = &signers{KeyMaker: keys}
	i.state = newState(i.ledger, keys.StateKey(), i.Now)
	return nil
}

// serve listens and makes the authority, whose identifier holds the port.
func (i *Issuer) serve() error {
	l, err := net.Listen("tcp", i.cfg.Listen)
	if err != nil {
		return fmt.Errorf("listen for the issuer: %w", err)
	}
	i.url = "http://" + l.Addr().String()
	keys := i.signers.KeyMaker.(*keyring.Keyring)
	i.auth, err = authority.New(authority.Config{Issuer: i.url}, authority.Deps{
		Ledger: i.ledger, Tokens: i.store, Documents: i.store, State: i.state, Revoker: i.state, Publisher: i.state,
		Keyring: keys, Keys: i.signers, Passwords: keys, Now: i.Now, Random: rand.Reader,
	})
	if err != nil {
		_ = l.Close()
		return err
	}
	srv := &http.Server{Handler: i.front(i.auth.Handler()), ReadHeaderTimeout: 10 * time.Second}
	var wg sync.WaitGroup
	wg.Go(func() { _ = srv.Serve(l) }) // ends with Close
	i.cleanup(func() { _ = srv.Close(); wg.Wait() })
	return nil
}

// populate brings the service, the first key and the service's own client in.
func (i *Issuer) populate(ctx context.Context) error {
	upstream := i.cfg.Service
	if upstream == "" {
		upstream = "http://127.0.0.1:1" // never called: there is no gateway
	}
	if err := i.state.setService(ctx, serviceOf(i.cfg, upstream, i.cfg.Releases[0])); err != nil {
		return fmt.Errorf("%w: %w", ErrConfig, err)
	}
	if _, err := i.auth.Rotate(ctx, "", actor, "the first key"); err != nil {
		return err
	}
	secret, entry, err := i.auth.NewClientSecret()
	if err != nil {
		return err
	}
	i.secret = secret.Reveal()
	err = i.auth.PutClient(ctx, authority.Client{
		ID: clientID, AuthMethod: authority.AuthBasic, Secrets: []authority.ClientSecret{entry}, Introspect: true,
		Scopes: i.cfg.Scopes, GrantTypes: []string{authority.GrantClient, authority.GrantExchange},
	}, actor)
	if err != nil || i.cfg.Service == "" {
		return err
	}
	return i.startGateway()
}

// actor stands behind what the kit does, in the ledger's events.
const actor = "system:testkit"

// Close ends everything that Start started and removes the ledger. It may be
// called twice.
func (i *Issuer) Close() {
	stop := i.stop
	i.stop = func() {}
	stop()
}

// URL is the issuer identifier and the base of its endpoints; its metadata is at
// URL()/.well-known/oauth-authorization-server (RFC 8414).
func (i *Issuer) URL() string { return i.url }

// GatewayURL is where the gateway in front of the service listens; empty when there
// is none.
func (i *Issuer) GatewayURL() string { return i.gateway }

// Client is the client by which the service under test may introspect tokens and
// ask for its own.
func (i *Issuer) Client() (id, secret string) { return clientID, i.secret }

// Env are the variables that tell a service where its issuer is: MINTMARK_ISSUER,
// MINTMARK_JWKS_URI, MINTMARK_TOKEN_URI, MINTMARK_INTROSPECTION_URI,
// MINTMARK_AUDIENCE, MINTMARK_CLIENT_ID, MINTMARK_CLIENT_SECRET, and
// MINTMARK_TIME_URI, which answers the issuer's clock in Unix seconds.
func (i *Issuer) Env() []string {
	return []string{
		"MINTMARK_ISSUER=" + i.url,
		"MINTMARK_JWKS_URI=" + i.url + "/jwks",
		"MINTMARK_TOKEN_URI=" + i.url + "/token",
		"MINTMARK_INTROSPECTION_URI=" + i.url + "/introspect",
		"MINTMARK_TIME_URI=" + i.url + timePath,
		"MINTMARK_AUDIENCE=" + i.cfg.Audience,
		"MINTMARK_CLIENT_ID=" + clientID,
		"MINTMARK_CLIENT_SECRET=" + i.secret,
	}
}

// Now is the issuer's clock.
func (i *Issuer) Now() time.Time { return time.Now().Add(i.ahead()) }

func (i *Issuer) ahead() time.Duration {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.offset
}

// Advance moves the issuer's clock ahead by whole seconds; what is less than one is
// cut off, and a clock is never moved back.
func (i *Issuer) Advance(d time.Duration) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.offset += max(d, 0).Truncate(time.Second)
}

// Release makes one of Config.Releases the stable one: what is minted from now on
// is minted under it.
func (i *Issuer) Release(ctx context.Context, name string) error {
	if !slices.Contains(i.cfg.Releases, name) {
		return fmt.Errorf("%w: release %.80q is none of %v", ErrConfig, name, i.cfg.Releases)
	}
	upstream := i.cfg.Service
	if upstream == "" {
		upstream = "http://127.0.0.1:1"
	}
	return i.state.setService(ctx, serviceOf(i.cfg, upstream, name))
}

// Rotate makes a new signing key and returns its id. The one before goes on
// verifying.
func (i *Issuer) Rotate(ctx context.Context) (string, error) {
	k, err := i.auth.Rotate(ctx, "", actor, "asked for")
	return k.ID, err
}

// Kill takes back the active key as one that leaked: what it signed is refused from
// now on, it leaves the JWKS, and a new one takes its place.
func (i *Issuer) Kill(ctx context.Context) error {
	keys, err := i.auth.Keys(ctx)
	if err != nil {
		return err
	}
	for _, k := range keys {
		if k.State == authority.KeyActive {
			return i.auth.Kill(ctx, k.ID, actor, "asked for")
		}
	}
	return authority.ErrNoKey
}

// Revoke takes back what was minted so far and a selector covers: conditions like
// subject=ada or release=service/v2, separated by commas; all must hold. It is in
// force when Revoke returns.
func (i *Issuer) Revoke(ctx context.Context, selector string) error {
	sel, err := mintmark.ParseSelector(selector)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrConfig, err)
	}
	_, err = i.state.Revoke(ctx, []mintmark.Revocation{{
		Action: mintmark.ActionRevoke, Selector: sel, Cutoff: mintmark.Cutoff{ToSeq: i.ledger.Reserve()},
		Actor: actor, Reason: "asked for",
	}}, ledger.Batch{})
	return err
}

// RevokeToken takes back one token.
func (i *Issuer) RevokeToken(ctx context.Context, t Token) error {
	return i.Revoke(ctx, "token="+t.ID)
}
