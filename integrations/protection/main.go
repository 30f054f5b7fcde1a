// Command mintmark-github is a deployment protection rule of GitHub's: an environment
// that wants it is deployed to only after Mintmark's verdict about the service's rollout
// is a pass.
//
//	mintmark-github -listen :8080 -api URL -app 12345 -key app.pem -secret-file hook -environment production=shop
//
// It reaches Mintmark with a credential of the role gate (MINTMARK_CREDENTIAL). What it
// waits for is kept in memory: after a restart let GitHub deliver the webhook again.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/mintmark/mintmark/integrations/connect"
	"github.com/mintmark/mintmark/internal/web"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Getenv, slog.New(slog.NewTextHandler(os.Stderr, nil))); err != nil {
		fmt.Fprintln(os.Stderr, "mintmark-github: "+err.Error())
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, getenv func(string) string, log *slog.Logger) error {
	f := flag.NewFlagSet("mintmark-github", flag.ContinueOnError)
	listen := f.String("listen", "127.0.0.1:8080", "address for GitHub's webhooks; put TLS in front")
	base := f.String("api", "", "base URL of GitHub's API; callbacks elsewhere are refused")
	app := f.String("app", "", "the GitHub app's id")
	key := f.String("key", "", "file of the app's private key, PEM")
	secret := f.String("secret-file", "", "file of the webhook's secret")
	allow := f.String("allow", "", "private network that may be called, such as 10.0.0.0/8, for a GitHub of your own")
	limit := f.Duration("limit", 24*time.Hour, "reject when there is no verdict for so long")
	services := map[string]string{}
	f.Func("environment", "ENVIRONMENT=SERVICE; again for more", func(s string) error {
		env, service, ok := strings.Cut(s, "=")
		if !ok || env == "" || service == "" {
			return errors.New("want ENVIRONMENT=SERVICE")
		}
		services[env] = service
		return nil
	})
	if err := f.Parse(args); err != nil {
		return err
	}
	if u, err := url.Parse(*base); err != nil || u.Scheme != "https" && *allow == "" || u.Host == "" {
		return errors.New("-api: want an https URL")
	}
	hook, err := os.ReadFile(*secret)
	if err != nil {
		return fmt.Errorf("read the webhook's secret: %w", err)
	}
	if hook = bytes.TrimSpace(hook); len(hook) < 16 {
		return errors.New("the webhook's secret is shorter than 16 bytes")
	}
	pem, err := os.ReadFile(*key)
	if err != nil {
		return fmt.Errorf("read the app's key: %w", err)
	}
	var egress web.EgressConfig
	if *allow != "" {
		p, err := netip.ParsePrefix(*allow)
		if err != nil {
			return fmt.Errorf("-allow: %w", err)
		}
		egress.Allow = []netip.Prefix{p}
	}
	github, err := newGitHub(strings.TrimSuffix(*base, "/"), *app, pem, web.NewEgress(egress))
	if err != nil {
		return err
	}
	client, err := connect.FromEnv(getenv, "mintmark-github", 20*time.Second)
	if err != nil {
		return err
	}
	r := newRule(hook, services, client, github, *limit, log)
	server := &http.Server{Addr: *listen, Handler: r, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 20 * time.Second}
	done := make(chan struct{})
	go func() { defer close(done); r.Run(ctx, 15*time.Second) }()
	go func() { <-ctx.Done(); _ = server.Shutdown(context.Background()) }()
	if err = server.ListenAndServe(); errors.Is(err, http.ErrServerClosed) {
		err = nil
		<-done
	}
	return err
}
