package main

import (
	"cmp"
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
	if err := p.fleet.Admit(ctx, cfg.GatewayID(), "", ledger.Batch{}); err != nil {
		return err
	}
	conn, err := p.bus.Gateway(ctx, cfg.GatewayID())
	if err != nil {
		return err
	}
	defer conn.Close()
	node, err := openGateway(ctx, cfg, filepath.Join(cfg.Data, "gateway"), conn, nil, p.stateKey, cfg.Control.Lease.D(), o.Version, p.registry, log.With("gateway", cfg.Gateway.Name))
	if err != nil {
		return err
	}
	defer node.close()
	node.health(p.health)
	return together(ctx, func(ctx context.Context, g *errgroup.Group) error {
		return p.run(ctx, g, o)
	}, node.run)
}

// together runs control's parts and the gateway's in one process. The gateway ends
// first, so that it can take its leave and deliver its last counts; control's
// failure ends it, too.
func together(ctx context.Context, control, gateway func(context.Context, *errgroup.Group) error) error {
	outer, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	inner, stop := context.WithCancel(ctx)
	defer stop()
	c, outer := errgroup.WithContext(outer)
	g, inner := errgroup.WithContext(inner)
	defer context.AfterFunc(outer, stop)()
	err := control(outer, c)
	if err == nil {
		err = gateway(inner, g)
	}
	if err != nil {
		stop()
	}
	err = cmp.Or(err, g.Wait())
	end()
	return cmp.Or(c.Wait(), err)
}

// halt ends a group whose process failed to start: its other parts end with it.
func halt(g *errgroup.Group, err error) error {
	g.Go(func() error { return err })
	return g.Wait()
}
