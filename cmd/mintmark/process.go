package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/mintmark/mintmark/internal/arrival"
	"github.com/mintmark/mintmark/internal/cli"
	"github.com/mintmark/mintmark/internal/config"
	"github.com/mintmark/mintmark/internal/telemetry"
	"github.com/mintmark/mintmark/internal/web"
)

// loadConfig reads the configuration of a process.
func loadConfig(o cli.ProcessOptions) (config.Config, error) {
	cfg, err := config.Load(o.Config, o.Environ)
	if err != nil {
		return cfg, err
	}
	if o.Data != "" {
		cfg.Data = o.Data
	}
	return cfg, nil
}

// newLogger is a process's log on standard error.
func newLogger(cfg config.Config, w io.Writer) *slog.Logger {
	return telemetry.NewLogger(w, cfg.Log.Level)
}

// listen serves a handler on a configured listener until ctx ends; off listeners
// are skipped. The socket is open on return, so that a taken port is an error of
// the start.
func listen(ctx context.Context, g *errgroup.Group, l config.Listener, name string, h http.Handler, log *slog.Logger) error {
	return open(ctx, g, l, name, h, log, func(t *tls.Config, h http.Handler) server {
		return web.NewServer(web.ServerConfig{Handler: h, TLS: t, Log: log})
	})
}

// listenTraffic serves a gateway's clients, with the gateway's own framing.
func listenTraffic(ctx context.Context, g *errgroup.Group, l config.Listener, h http.Handler, log *slog.Logger) error {
	return open(ctx, g, l, "gateway", h, log, func(t *tls.Config, h http.Handler) server {
		return arrival.NewServer(arrival.ServerConfig{Handler: h, TLS: t, H2C: true, Log: log})
	})
}

// server runs on a socket until its context ends.
type server interface {
	Run(ctx context.Context, l net.Listener) error
}

func open(ctx context.Context, g *errgroup.Group, l config.Listener, name string, h http.Handler, log *slog.Logger, make func(*tls.Config, http.Handler) server) error {
	if l.Off() {
		return nil
	}
	var tlsConfig *tls.Config
	if l.TLS != nil {
		certs, err := web.NewCertificates(web.CertificateFiles{Cert: l.TLS.Cert, Key: l.TLS.Key, ClientCA: l.TLS.ClientCA, RequireClient: l.TLS.RequireClient, SelfSigned: l.TLS.SelfSigned})
		if err != nil {
			return fmt.Errorf("listen.%s.tls: %w", name, err)
		}
		g.Go(func() error { return stopped(certs.Run(ctx, certificateReload, log)) })
		tlsConfig, h = certs.Config(), certs.Verified(h)
	}
	socket, err := web.Listen(ctx, l.Address)
	if err != nil {
		return fmt.Errorf("listen.%s: %w", name, err)
	}
	s := make(tlsConfig, h)
	g.Go(func() error { return s.Run(ctx, socket) })
	log.Info("listening", "part", name, "address", socket.Addr().String(), "tls", tlsConfig != nil)
	return nil
}

// newTracing opens a process's traces; end sends what is left of them.
func newTracing(ctx context.Context, cfg config.Config, role string, log *slog.Logger) (tracing *telemetry.Tracing, end func(), err error) {
	tracing, err = telemetry.NewTracing(ctx, telemetry.TracingConfig{
		Endpoint: cfg.OTLP.Endpoint, PerMille: cfg.OTLP.SamplePerMille, Role: role, Version: version(),
	})
	if err != nil {
		return nil, nil, fmt.Errorf("otlp: %w", err)
	}
	return tracing, func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		if err := tracing.Shutdown(ctx); err != nil {
			log.Warn("last traces not sent", "error", err)
		}
	}, nil
}

// stopped forgets the error of a part that ended because it was told to.
func stopped(err error) error {
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// certificateReload is how often certificate files are looked at.
const certificateReload = 30 * time.Second
