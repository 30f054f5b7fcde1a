package main

import (
	"context"
	"path/filepath"

	"golang.org/x/sync/errgroup"

	"github.com/mintmark/mintmark/internal/cli"
	"github.com/mintmark/mintmark/internal/ledger"
)

// serveProcess is the process command for everything at once: the control plane and one
// gateway, joined in-process. The same messages travel as between processes.
func serveProcess(ctx context.Context, o cli.ProcessOptions) error {
	cfg, err := loadConfig(o)
	if err != nil {
		return err
	}
	if cfg.Gateway.Name == "" {
		cfg.Gateway.Name = "local"
	}
	log := newLogger(cfg, o.Stderr)
	p, err := openPlane(ctx, cfg, o.Environ, log)
	if err != nil {
		return err
	}
	defer p.close()
	g, ctx := errgroup.WithContext(ctx)
	if err := p.fleet.Admit(ctx, cfg.GatewayID(), "", ledger.Batch{}); err != nil {
		return err
	}
	conn, err := p.bus.Gateway(ctx, cfg.GatewayID())
	if err != nil {
		return err
	}
	defer conn.Close()
	node, err := openGateway(ctx, cfg, filepath.Join(cfg.Data, "gateway"), conn, p.stateKey, cfg.Control.Lease.D(), o.Version, p.registry, log.With("gateway", cfg.Gateway.Name))
	if err != nil {
		return err
	}
	defer node.close()
	node.health(p.health)
	if err := p.run(ctx, g, o); err != nil {
		return halt(g, err)
	}
	if err := node.run(ctx, g); err != nil {
		return halt(g, err)
	}
	return g.Wait()
}

// halt ends a group whose process failed to start: its other parts end with it.
func halt(g *errgroup.Group, err error) error {
	g.Go(func() error { return err })
	return g.Wait()
}
