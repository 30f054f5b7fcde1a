package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/mintmark/mintmark/internal/auditlog"
	"github.com/mintmark/mintmark/internal/authority"
	"github.com/mintmark/mintmark/internal/boottime"
	"github.com/mintmark/mintmark/internal/config"
	"github.com/mintmark/mintmark/internal/federation"
	"github.com/mintmark/mintmark/internal/fleet"
	"github.com/mintmark/mintmark/internal/forwarded"
	"github.com/mintmark/mintmark/internal/jetstream"
	"github.com/mintmark/mintmark/internal/keyring"
	"github.com/mintmark/mintmark/internal/ledger"
	"github.com/mintmark/mintmark/internal/projection"
	"github.com/mintmark/mintmark/internal/sqlite"
	"github.com/mintmark/mintmark/internal/telemetry"
	"github.com/mintmark/mintmark/internal/web"
	"github.com/mintmark/mintmark/internal/whatif"
)

// plane is the control plane on its embedded engines, open but not yet serving.
// The order of its members is the order in which they are opened; close goes the
// other way.
type plane struct {
	cfg     config.Config
	log     *slog.Logger
	keys    *keyring.Keyring
	store   *sqlite.Store
	ledger  meteredLedger
	bus     *jetstream.Server
	conn    *jetstream.Conn
	fleet   *fleet.Fleet
	book    atomic.Pointer[fleet.Fleet] // fleet once it is open; the bus asks it whenever somebody connects
	issuers *federation.Federation
	auth    *authority.Authority
	judging judging
	samples *whatif.Ring // of requests, that policies are tried on
	busCA   string       // PEM

	registry *prometheus.Registry
	metrics  *metricSet
	health   *telemetry.Health

	ends  []func()        // called by close, first
	group *errgroup.Group // owns the ledger's writer
	stop  context.CancelFunc
}

// openPlane opens the data directory and everything that stands on it. The
// ledger's writer runs from here on; the rest waits for run.
func openPlane(ctx context.Context, cfg config.Config, environ []string, log *slog.Logger) (_ *plane, err error) {
	p := &plane{cfg: cfg, log: log, registry: telemetry.NewRegistry(version()), health: telemetry.NewHealth()}
	p.metrics = p.newMetrics()
	defer func() {
		if err != nil {
			p.close()
		}
	}()
	// The secrets first: without them nothing is made.
	if p.keys, err = openKeyring(cfg, environ); err != nil {
		return nil, err
	}
	if p.store, err = sqlite.Open(ctx, sqlite.Options{Dir: cfg.Data}); err != nil {
		return nil, err
	}
	if err = checkKeyring(ctx, p.store, p.keys); err != nil {
		return nil, err
	}
	if err = p.openLedger(ctx); err != nil {
		return nil, err
	}
	if err = p.openBus(ctx); err != nil {
		return nil, err
	}
	return p, p.openRoles(ctx)
}

// openLedger opens the ledger and starts its writer, which ends with close.
func (p *plane) openLedger(ctx context.Context) error {
	signer, err := auditlog.NewSigner(auditOrigin(p.keys), p.keys.AuditKey())
	if err != nil {
		return fmt.Errorf("audit log: %w", err)
	}
	p.ledger = meteredLedger{ledger.New(ledger.Config{Engine: p.store, Fold: projection.Fold, Sign: signer.Checkpoint, Now: time.Now, Random: rand.Reader}), p.metrics}
	if err := p.ledger.Open(ctx); err != nil {
		return fmt.Errorf("open ledger: %w", err)
	}
	// The writer outlives the processes' context: what they append while they
	// stop must still be written. close ends it last.
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	p.stop = stop
	p.group = new(errgroup.Group)
	p.group.Go(func() error { return p.ledger.Run(run) })
	return p.keepCheck(ctx)
}

// keepCheck writes down, once, which secrets this ledger was made with.
func (p *plane) keepCheck(ctx context.Context) error {
	body, err := p.keys.Check()
	if err != nil {
		return err
	}
	_, err = p.ledger.Append(ctx, documentBatch("keyring.bound", ledger.DocSetting, keyring.CheckDocument, body))
	if err != nil && !errors.Is(err, ledger.ErrConflict) {
		return fmt.Errorf("bind the secrets to the ledger: %w", err)
	}
	return nil
}

func (p *plane) openBus(ctx context.Context) error {
	o := jetstream.Options{
		Dir: filepath.Join(p.cfg.Data, "bus"), Random: rand.Reader, Log: p.log,
		// The fleet is opened after the bus it speaks over; nobody connects before.
		Member: p.member,
	}
	if !p.cfg.Listen.Bus.Off() {
		ca, err := busAuthority(p.cfg)
		if err != nil {
			return err
		}
		p.busCA = string(ca.CertPEM())
		var hosts []string
		for _, a := range []string{p.cfg.Listen.Bus.Address, p.cfg.Listen.Bus.Reached()} {
			host, _, err := net.SplitHostPort(a)
			if err != nil {
				return fmt.Errorf("listen.bus: %w", err)
			}
			if host != "" && !slices.Contains(hosts, host) {
				hosts = append(hosts, host)
			}
		}
		if o.TLS, err = busCertificate(ca, hosts); err != nil {
			return err
		}
		o.Listen = p.cfg.Listen.Bus.Address
	}
	var err error
	if p.bus, err = jetstream.Open(o); err != nil {
		return err
	}
	if p.conn, err = p.bus.Control(ctx); err != nil {
		return err
	}
	return p.conn.EnsureRecords(ctx)
}

func (p *plane) openRoles(ctx context.Context) error {
	state := p.keys.StateKey()
	p.fleet = fleet.New(fleet.Config{
		Ledger: p.ledger, Store: p.store, Bus: p.conn,
		Key: state, KeyID: keyring.KeyID(state.Public()),
		Clock: boottime.Now, Now: time.Now, Random: rand.Reader, Lease: p.cfg.Control.Lease.D(), Log: p.log,
		Credential: p.cfg.Control.Credential.D(), CredentialGrace: p.cfg.Control.Grace.D(), Expel: p.bus.Expel,
	})
	if err := p.fleet.Open(ctx); err != nil {
		return fmt.Errorf("open the state log: %w", err)
	}
	p.book.Store(p.fleet)
	egress := web.NewEgress(web.EgressConfig{Allow: p.cfg.Egress.Allow})
	p.issuers = federation.New(federation.Config{
		Egress: egress, Publish: p.publishIssuers, Head: func() uint64 { return p.fleet.Current().Seq }, Now: time.Now, Log: p.log,
	})
	upstreams, err := loginProviders(p.cfg.Login)
	if err != nil {
		return err
	}
	setup := authority.Config{Issuer: p.cfg.Issuer, Upstreams: upstreams, Trusted: forwarded.Trust(p.cfg.Authority.Trusted)}
	if setup.Renewal, setup.RenewalSecret, err = renewalHook(p.cfg.Renewal); err != nil {
		return err
	}
	p.samples = whatif.NewRing(ringSize, ringSeconds)
	if err := p.openJudging(egress); err != nil {
		return err
	}
	p.auth, err = authority.New(setup, authority.Deps{
		Ledger: p.ledger, Tokens: p.store, Documents: p.store, State: p.fleet, Revoker: p.fleet, Publisher: p.fleet,
		Meter: p.judging.meter, Keyring: p.keys, Keys: p.keys, Passwords: p.keys, Foreign: p.issuers, Egress: egress.Client(), Log: p.log, Metrics: p.metrics.authority,
	})
	if err != nil {
		return err
	}
	p.fleet.Answers(p.auth, p.issuers.RefreshKeys)
	return nil
}

// member tells the bus which gateway owns a public key.
func (p *plane) member(nkey string) (id gatewayID, ok bool) {
	f := p.book.Load()
	if f == nil {
		return "", false // it asks again: the fleet is not open yet
	}
	return f.Member(nkey)
}

// stateKeys verifies what control signs, in the same process.
func (p *plane) stateKey(kid string) ed25519.PublicKey { return p.fleet.StateKey(kid) }

// close ends what openPlane opened, last first. What the roles appended before is
// durable when it returns.
func (p *plane) close() {
	for _, end := range p.ends {
		end()
	}
	if p.conn != nil {
		p.conn.Close()
	}
	if p.bus != nil {
		p.bus.Close()
	}
	if p.stop != nil {
		p.stop()
		_ = p.group.Wait()
	}
	if p.store != nil {
		if err := p.store.Close(); err != nil {
			p.log.Error("close the ledger", "error", err)
		}
	}
}
