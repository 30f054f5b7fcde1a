package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/boottime"
	"github.com/mintmark/mintmark/internal/bus"
	"github.com/mintmark/mintmark/internal/cli"
	"github.com/mintmark/mintmark/internal/config"
	"github.com/mintmark/mintmark/internal/epoch"
	"github.com/mintmark/mintmark/internal/extauthz"
	"github.com/mintmark/mintmark/internal/follower"
	"github.com/mintmark/mintmark/internal/forwarded"
	"github.com/mintmark/mintmark/internal/gateway"
	"github.com/mintmark/mintmark/internal/jetstream"
	"github.com/mintmark/mintmark/internal/mirror"
	"github.com/mintmark/mintmark/internal/spool"
	"github.com/mintmark/mintmark/internal/sqlite"
	"github.com/mintmark/mintmark/internal/telemetry"
	"github.com/mintmark/mintmark/internal/upstream"
	"github.com/mintmark/mintmark/internal/usage"
	"github.com/mintmark/mintmark/internal/verifier"
	"github.com/mintmark/mintmark/internal/web"
)

// gatewayProcess is the process command: a gateway apart from control, joined by
// a one-time token at its first start.
func gatewayProcess(ctx context.Context, o cli.ProcessOptions) error {
	cfg, err := loadConfig(o)
	if err != nil {
		return err
	}
	if err := mintmark.CheckGatewayID(cfg.GatewayID()); err != nil {
		return fmt.Errorf("gateway.name: %w", err)
	}
	log := newLogger(cfg, o.Stderr).With("gateway", cfg.Gateway.Name)
	if err := os.MkdirAll(cfg.Data, 0o700); err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	who, err := member(ctx, cfg, o)
	if err != nil {
		return err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM([]byte(who.Reply.CA)) {
		return errors.New("the bus's authority in identity.json is no certificate: remove the file and join again")
	}
	credential, err := who.credential(filepath.Join(cfg.Data, identityFile))
	if err != nil {
		return err
	}
	conn, err := dialBus(ctx, cfg, who, credential, pool, log)
	if err != nil {
		return fmt.Errorf("bus %s: %w", who.Reply.Bus, err)
	}
	defer conn.Close()
	keys := func(kid string) ed25519.PublicKey { return who.Reply.StateKeys[kid] }
	registry := telemetry.NewRegistry(o.Version)
	health := telemetry.NewHealth()
	g, ctx := errgroup.WithContext(ctx)
	node, err := openGateway(ctx, cfg, cfg.Data, conn, credential, keys, time.Duration(who.Reply.LeaseMS)*time.Millisecond, o.Version, registry, log)
	if err != nil {
		return err
	}
	defer node.close()
	node.health(health)
	if err := node.run(ctx, g); err != nil {
		return halt(g, err)
	}
	if err := listen(ctx, g, cfg.Listen.Metrics, "metrics", telemetry.Handler(health, registry), log); err != nil {
		return halt(g, err)
	}
	return g.Wait()
}

// dialBus reaches the bus where control said, or where this gateway's
// configuration says; the bus proves itself by the name that control gave.
func dialBus(ctx context.Context, cfg config.Config, who *identity, credential *jetstream.Credential, trust *x509.CertPool, log *slog.Logger) (*jetstream.Conn, error) {
	told, err := url.Parse(who.Reply.Bus)
	if err != nil {
		return nil, err
	}
	dial := who.Reply.Bus
	if cfg.Gateway.Bus != "" {
		dial = "tls://" + cfg.Gateway.Bus
	}
	return jetstream.Dial(ctx, jetstream.DialOptions{
		URL: dial, TLS: &tls.Config{RootCAs: trust, MinVersion: tls.VersionTLS13, ServerName: told.Hostname()},
		Gateway: who.Reply.Gateway, Credential: credential,
		Refused: func() {
			log.Error("control refuses this gateway's credential: it has ended while the gateway was away, or the gateway was removed or joined elsewhere",
				"do", "make a token with `mintmark gateway join-token "+cfg.Gateway.Name+"`, remove "+filepath.Join(cfg.Data, identityFile)+", give the token as MINTMARK_JOIN and start again")
		},
	})
}

// identityFile is where a gateway keeps its identity, in its data directory.
const identityFile = "identity.json"

// identity is what a gateway keeps of its joining (identity.json): its own
// credential and whom to believe.
type identity struct {
	Seed string `json:"seed"` // NKEY, never leaves this machine
	// Next is the seed to follow it, while it is being replaced.
	Next  string        `json:"next_seed,omitempty"`
	Reply bus.JoinReply `json:"reply"`
}

// credential keeps itself in the file that the identity came from.
func (who identity) credential(file string) (*jetstream.Credential, error) {
	return jetstream.OpenCredential(mintmark.NewSecret(who.Seed), mintmark.NewSecret(who.Next), func(use, next mintmark.Secret) error {
		who := identity{Seed: use.Reveal(), Next: next.Reveal(), Reply: who.Reply}
		b, err := json.Marshal(who)
		if err != nil {
			return err
		}
		return writeDurably(file, b)
	})
}

// member reads the gateway's identity, or joins for one.
func member(ctx context.Context, cfg config.Config, o cli.ProcessOptions) (*identity, error) {
	file := filepath.Join(cfg.Data, identityFile)
	b, err := os.ReadFile(file)
	if err == nil {
		who := new(identity)
		if err := json.Unmarshal(b, who); err != nil || who.Reply.Gateway != cfg.GatewayID() {
			return nil, fmt.Errorf("%s is damaged or of gateway %q: remove it and join again with a new token", file, who.Reply.Gateway)
		}
		return who, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("identity: %w", err)
	}
	source := cfg.Gateway.Join
	if source.IsZero() {
		source.Env = "MINTMARK_JOIN"
	}
	token, err := source.Read(lookup(o.Environ))
	if errors.Is(err, config.ErrNoSecret) {
		return nil, fmt.Errorf("gateway %s has not joined yet: make a one-time token with `mintmark gateway join-token %[1]s` and give it as MINTMARK_JOIN, or name its file as gateway.join.file", cfg.Gateway.Name)
	}
	if err != nil {
		return nil, fmt.Errorf("gateway.join: %w", err)
	}
	seed, public, err := jetstream.NewCredential()
	if err != nil {
		return nil, err
	}
	reply, err := join(ctx, cfg, token, api.JoinRequest{V: bus.Version, Gateway: cfg.GatewayID(), NKey: public, Version: o.Version})
	if err != nil {
		return nil, err
	}
	who := &identity{Seed: seed.Reveal(), Reply: *reply}
	b, err = json.Marshal(who)
	if err != nil {
		return nil, err
	}
	// The token is used up: what came for it must not be lost to a crash here.
	return who, writeDurably(file, b)
}

func join(ctx context.Context, cfg config.Config, token mintmark.Secret, r api.JoinRequest) (*bus.JoinReply, error) {
	transport := &http.Transport{}
	if cfg.Gateway.ControlCA != "" {
		pool, err := web.PoolFromFile(cfg.Gateway.ControlCA)
		if err != nil {
			return nil, fmt.Errorf("gateway.control_ca: %w", err)
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	client, err := api.NewClient(api.Config{Server: cfg.Gateway.Control, HTTP: &http.Client{Transport: transport, Timeout: 15 * time.Second}})
	if err != nil {
		return nil, fmt.Errorf("gateway.control: %w", err)
	}
	a, err := client.Join(ctx, token, r)
	if err != nil {
		return nil, fmt.Errorf("join: %w", err)
	}
	reply := &bus.JoinReply{V: a.V, Gateway: a.Gateway, Bus: a.Bus, CA: a.CA, StateKeys: a.StateKeys, LeaseMS: a.LeaseMS}
	// The token pins whom to believe: an answer from in between is refused here.
	return reply, bus.CheckJoinReply(token, *reply)
}

// writeDurably writes a private file that is whole or not there.
func writeDurably(name string, b []byte) error {
	f, err := os.OpenFile(name+".new", os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err := errors.Join(err, f.Sync(), f.Close(), os.Rename(name+".new", name)); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	dir, err := os.Open(filepath.Dir(name))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// gatewayNode is one gateway, in a process of its own or in control's.
type gatewayNode struct {
	cfg       config.Config
	log       *slog.Logger
	store     *sqlite.GatewayStore
	follower  *follower.Follower
	spool     *spool.Spool
	upstreams *upstream.Set
	gateway   *gateway.Gateway
	copies    *mirror.Queue
	endTraces func()
	verifier  *verifier.Verifier
	counter   counted
}

// openGateway opens a gateway's own store and puts in force what it had applied.
// credential is nil in control's own process.
func openGateway(ctx context.Context, cfg config.Config, dir string, conn *jetstream.Conn, credential follower.Credential, keys func(string) ed25519.PublicKey,
	lease time.Duration, version string, registry gatewayMetrics, log *slog.Logger,
) (_ *gatewayNode, err error) {
	n := &gatewayNode{cfg: cfg, log: log, upstreams: upstream.New(upstream.Config{})}
	n.counter = counted{usage.New(usage.Config{}), telemetry.NewGateway(registry, n.state)}
	if n.store, err = sqlite.OpenGateway(ctx, dir); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			n.close()
		}
	}()
	var random [10]byte
	var cacheKey [32]byte
	_, _ = rand.Read(random[:])
	_, _ = rand.Read(cacheKey[:])
	boot := mintmark.BootID(mintmark.NewID(mintmark.PrefixBoot, time.Now(), random))
	// The follower cuts streams of the gateway that asks the follower for its
	// state: the gateway is there before anything runs.
	n.follower = follower.New(follower.Config{
		Gateway: cfg.GatewayID(), Boot: boot, Bus: conn, Store: n.store, StateKey: keys, Clock: boottime.Now, Random: rand.Reader,
		Cut: func(s *epoch.Snapshot) int { return n.gateway.Cut(s) }, Lease: lease, Version: version, Log: log,
		Credential: credential, Up: conn.Up(),
	})
	if err = n.follower.Open(ctx); err != nil {
		return nil, fmt.Errorf("open the gateway's state: %w", err)
	}
	n.spool = spool.New(spool.Config{
		Gateway: cfg.GatewayID(), Boot: boot, Store: n.store, Counter: n.counter, Records: conn, Bus: conn,
		Now: time.Now, MaxBytes: int64(cfg.Gateway.Spool) << 20, Log: log,
	})
	var access *slog.Logger
	if cfg.Log.Access {
		access = log
	}
	ask := n.follower
	n.verifier = verifier.New(verifier.Config{Puller: ask, Entries: cfg.Gateway.Cache, Key: cacheKey, Counts: n.counter})
	n.copies = mirror.New(mirror.Config{Metrics: registry, Log: log})
	n.gateway, err = gateway.New(gateway.Config{
		Mirror: n.copies,
		State:  ask, Verifier: n.verifier, Counter: n.counter, Recorder: n.spool, Meter: newSampling(newMeter(n.counter), n.counter), Reissuer: ask, Once: ask, Upstreams: n.upstreams,
		Now: time.Now, Log: log, Access: access, Metrics: registry, Trusted: forwarded.Trust(cfg.Gateway.Trusted),
	})
	return n, err
}

// run starts the gateway's parts and its listeners in a group.
func (n *gatewayNode) run(ctx context.Context, g *errgroup.Group) error {
	g.Go(func() error { return stopped(n.follower.Run(ctx)) })
	g.Go(func() error { return stopped(n.spool.Run(ctx)) })
	g.Go(func() error { n.upstreams.Run(ctx); return nil })
	g.Go(func() error { return n.copies.Run(ctx) })
	tracing, end, err := newTracing(ctx, n.cfg, "gateway", n.log)
	if err != nil {
		return err
	}
	n.endTraces = end
	if err := listenTraffic(ctx, g, n.cfg.Listen.Gateway, tracing.Serve("gateway", n.gateway), n.log); err != nil {
		return err
	}
	decide := extauthz.New(extauthz.Config{Decider: n.gateway.Decider(), Counter: n.counter, Recorder: n.spool, Trusted: forwarded.Trust(n.cfg.Gateway.Trusted)})
	return listen(ctx, g, n.cfg.Listen.Decide, "decide", decide, n.log)
}

// health says that the gateway is ready once it has a state that it may decide by.
func (n *gatewayNode) health(h *telemetry.Health) {
	h.Ready("state log", func(context.Context) error {
		if f := n.follower.Freshness(); !f.Leased {
			return errors.New("no lease from control")
		}
		return nil
	})
}

func (n *gatewayNode) close() {
	if n.endTraces != nil {
		n.endTraces()
	}
	if n.store != nil {
		if err := n.store.Close(); err != nil {
			n.log.Error("close the gateway's store", "error", err)
		}
	}
}
