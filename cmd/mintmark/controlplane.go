package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/adminapi"
	"github.com/mintmark/mintmark/internal/cli"
	"github.com/mintmark/mintmark/internal/config"
	ctl "github.com/mintmark/mintmark/internal/control"
	"github.com/mintmark/mintmark/internal/epoch"
	"github.com/mintmark/mintmark/internal/federation"
	"github.com/mintmark/mintmark/internal/fleet"
	"github.com/mintmark/mintmark/internal/keyring"
	"github.com/mintmark/mintmark/internal/ledger"
	"github.com/mintmark/mintmark/internal/recorder"
	"github.com/mintmark/mintmark/internal/telemetry"
	"github.com/mintmark/mintmark/internal/web"
)

// controlProcess is the process command: the control plane without a gateway.
func controlProcess(ctx context.Context, o cli.ProcessOptions) error {
	cfg, err := loadConfig(o)
	if err != nil {
		return err
	}
	log := newLogger(cfg, o.Stderr)
	p, err := openPlane(ctx, cfg, o.Environ, log)
	if err != nil {
		return err
	}
	defer p.close()
	g, ctx := errgroup.WithContext(ctx)
	if err := p.run(ctx, g, o); err != nil {
		return halt(g, err)
	}
	return g.Wait()
}

// run starts the control plane's roles in a group: fleet, recorder, authority,
// foreign issuers, housekeeping, and the listeners of authority and admin API.
func (p *plane) run(ctx context.Context, g *errgroup.Group, o cli.ProcessOptions) error {
	g.Go(func() error { return stopped(p.fleet.Run(ctx)) })
	rec := recorder.New(recorder.Config{Ledger: p.ledger, Store: p.store, Records: p.conn, Bus: p.conn, Folded: p.folded, SetAside: p.metrics.setAside, Log: p.log})
	g.Go(func() error { return stopped(rec.Run(ctx)) })
	g.Go(func() error { return stopped(p.auth.Run(ctx)) })
	if err := p.judging.run(ctx, g); err != nil {
		return err
	}
	state := ctl.Fleet{Fleet: p.fleet, Wall: time.Now}
	c := ctl.New(ctl.Config{
		StateLog: state, State: state, StateKeys: state.StateKeys(keyring.KeyID(p.keys.StateKey().Public())), Tokens: p.store, Reach: p.store, Store: p.store, Rows: p.store, Ledger: p.ledger,
		Secrets: clientSecrets{p.auth}, Now: time.Now, Random: rand.Reader, Timeout: p.cfg.Control.WaitTimeout.D(), Log: p.log, Analyst: p.judging, Recorded: p.samples,
	})
	if err := p.configureIssuers(ctx, c); err != nil {
		return err
	}
	c.OnApply(func(ctx context.Context) {
		if err := p.configureIssuers(ctx, c); err != nil {
			p.log.Error("foreign issuers", "error", err)
		}
	})
	g.Go(func() error { return stopped(p.issuers.Run(ctx)) })
	c.Resume(ctx)
	g.Go(func() error { return stopped(c.Run(ctx)) })
	g.Go(func() error { return p.tidy(ctx) })
	g.Go(func() error { return c.WatchSuspensions(ctx) })
	g.Go(func() error { return p.metrics.count(ctx, p.store) })

	tracing, end, err := newTracing(ctx, p.cfg, "control", p.log)
	if err != nil {
		return err
	}
	p.ends = append(p.ends, end)
	p.health.Ready("ledger", func(ctx context.Context) error { _, err := p.store.Head(ctx); return err })
	p.health.Ready("signing keys", func(context.Context) error { return p.auth.Ready() })
	if err := p.apply(ctx, c, o.Apply); err != nil {
		return err
	}
	ports := adminapi.Authority{A: p.auth, URLs: p.cfg.AdminURLs(), CountLive: func(ctx context.Context, s mintmark.Selector) (int64, error) {
		return p.store.CountLive(ctx, s, mintmark.Cutoff{}, time.Now())
	}}
	admin := adminapi.New(adminapi.Config{
		Control: c, Auth: ports, Issuance: ports, Keys: ports, Accounts: ports,
		Joining: adminapi.Fleet{F: p.fleet, Bus: "tls://" + p.cfg.Listen.Bus.Reached(), CA: p.busCA, Now: time.Now},
		Checks:  onlineChecks{p}, Events: p.store, Version: o.Version, Log: p.log,
	})
	for _, l := range []struct {
		at      config.Listener
		name    string
		handler http.Handler
	}{
		{p.cfg.Listen.Authority, "authority", web.Identify(tracing.Serve("authority", p.metrics.timed(p.authorityHandler(c, ports))))},
		{p.cfg.Listen.Admin, "admin", web.Identify(tracing.Serve("admin", admin))},
		{p.cfg.Listen.Metrics, "metrics", telemetry.Handler(p.health, p.registry)},
	} {
		if err := listen(ctx, g, l.at, l.name, l.handler, p.log); err != nil {
			return err
		}
	}
	return nil
}

// apply applies resource files given at the start, as the operator of this
// machine.
func (p *plane) apply(ctx context.Context, c *ctl.Control, names []string) error {
	names = append(append([]string(nil), p.firstApply(ctx)...), names...)
	if len(names) == 0 {
		return nil
	}
	r := api.ApplyRequest{Reason: "applied at the start"}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			return fmt.Errorf("apply: %w", err)
		}
		r.Files = append(r.Files, api.File{Name: name, Text: string(b)})
	}
	a, err := c.Apply(ctx, "system:start", r)
	if err != nil {
		return fmt.Errorf("apply: %w", err)
	}
	p.log.Info("applied", "files", names, "changes", len(a.Changes))
	return nil
}

// firstApply are the configured files, as long as nothing was ever applied.
func (p *plane) firstApply(ctx context.Context) []string {
	had, err := p.store.Documents(ctx, ledger.DocResource, "", 1)
	if err != nil || len(had) > 0 {
		return nil
	}
	return p.cfg.Apply
}

// configureIssuers tells the federation which foreign issuers are declared. c is
// asked, so that there is one reading of the resources.
func (p *plane) configureIssuers(ctx context.Context, c *ctl.Control) error {
	declared, err := c.ForeignIssuers(ctx)
	if err != nil {
		return fmt.Errorf("read the declared issuers: %w", err)
	}
	out := make([]federation.Issuer, 0, len(declared))
	for _, d := range declared {
		f := federation.Issuer{Part: d.Part, Discovery: d.Discovery, JWKSURI: d.JWKSURI, Algs: d.Algs, LoopbackHTTP: len(p.cfg.Egress.Allow) > 0}
		if i := d.Introspect; i != nil {
			f.Introspection = &federation.Introspection{URL: i.URL, ClientID: i.ClientID}
			if i.SecretFile != "" {
				if f.Introspection.Secret, err = config.ReadIn(namedSecrets(p.cfg), i.SecretFile); err != nil {
					// Whoever declares an issuer must not be able to stop control. The
					// issuer refuses questions without the secret: its tokens' state stays
					// unknown until the file is there.
					p.log.Error("issuer can't be asked", "issuer", d.Part.Name, "field", "introspect.secret_file", "error", err)
				}
			}
		}
		out = append(out, f)
	}
	var last epoch.Issuers
	for _, i := range p.fleet.Current().Table.Issuers() {
		last.Issuers = append(last.Issuers, *i.Issuer)
	}
	return p.issuers.Set(out, last)
}

// publishIssuers puts the foreign issuers' keys into an epoch.
func (p *plane) publishIssuers(ctx context.Context, part epoch.Issuers) (uint64, error) {
	body, _, err := epoch.Encode(&part)
	if err != nil {
		return 0, err
	}
	r, err := p.fleet.Commit(ctx, fleet.Change{
		Kind: "issuers", Parts: map[epoch.PartName][]byte{epoch.PartIssuers: body},
		Actor: "system:federation", Reason: "keys of foreign issuers changed",
	})
	return r.RowSeq, err
}

// tidy drops what is over, once a minute.
func (p *plane) tidy(ctx context.Context) error {
	t := time.NewTicker(time.Minute)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
			now := p.fleet.Over() // not by the wall clock alone: what it drops is gone
			if due, err := p.store.Due(ctx, now); err != nil || !due {
				continue
			}
			if err := p.ledger.Purge(ctx, now, 10_000); err != nil && ctx.Err() == nil {
				p.log.Warn("purge", "error", err)
			}
		}
	}
}

// operatorClient is the document of the first operator: may ask for every admin
// scope, and for nothing else.
func operatorClient(id mintmark.ClientID, audience string, secret json.RawMessage) (json.RawMessage, error) {
	return json.Marshal(map[string]any{
		"id": id, "name": "operator", "auth_method": "client_secret_basic", "secrets": []json.RawMessage{secret},
		"grant_types": []string{"client_credentials"}, "audiences": []string{audience},
		"scopes": []string{"admin:viewer", "admin:operator", "admin:security", "admin:admin"},
	})
}
