package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/analysis"
	"github.com/mintmark/mintmark/internal/bus"
	"github.com/mintmark/mintmark/internal/exposure"
	"github.com/mintmark/mintmark/internal/health"
	"github.com/mintmark/mintmark/internal/predicate"
	"github.com/mintmark/mintmark/internal/telemetry"
)

// judging is what finds out how the candidates of open rollouts fare.
type judging struct {
	*analysis.Analysis
	meter *exposure.Meter // the authority's
}

// openJudging makes the analysis and the authority's meter; nothing runs yet.
func (p *plane) openJudging(egress analysis.Egress) error {
	fetch, err := p.prometheus(egress)
	if err != nil {
		return err
	}
	p.judging.meter = exposure.New(exposure.Config{Hurry: func() { p.judging.Wake() }})
	p.judging.Analysis = analysis.New(analysis.Config{
		Ledger: p.ledger, Store: p.store, Now: time.Now, Log: p.log, Local: p.judging.meter.Drain, Fetch: fetch,
	})
	telemetry.NewRollouts(p.registry, p.judging.Reports)
	return nil
}

// prometheus asks the configured server; nil when there is none.
func (p *plane) prometheus(egress analysis.Egress) (analysis.Fetch, error) {
	c := p.cfg.Control.Prometheus
	if c.URL == "" {
		return nil, nil
	}
	var bearer mintmark.Secret
	if !c.Bearer.IsZero() {
		var err error
		if bearer, err = c.Bearer.Read(os.Getenv); err != nil {
			return nil, fmt.Errorf("control.prometheus.bearer: %w", err)
		}
	}
	return analysis.Prometheus(egress, c.URL, bearer), nil
}

// run goes on with the open rollouts and follows them until ctx ends.
func (j *judging) run(ctx context.Context, g *errgroup.Group) error {
	if err := j.Resume(ctx); err != nil {
		return err
	}
	g.Go(func() error { return stopped(j.Run(ctx)) })
	return nil
}

// folded takes a batch of records that became durable.
func (p *plane) folded(b *bus.RecordBatch) {
	p.metrics.folded(b)
	p.judging.Recorded(b)
	keep(p.samples, b)
}

// newMeter makes a gateway's meter; what it finds rides with the gateway's counts.
func newMeter(c counted) *exposure.Meter {
	m := exposure.New(exposure.Config{Hurry: c.Hurry, Compile: compile})
	c.Include(m.Drain)
	return m
}

// compile makes a rollout's own metrics run at a gateway.
func compile(when string) (func(*health.Observed) bool, error) {
	p, err := predicate.Compile(when)
	if err != nil {
		return nil, err
	}
	return p.Holds, nil
}
