package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/authority"
	"github.com/mintmark/mintmark/internal/config"
	"github.com/mintmark/mintmark/internal/keyring"
	"github.com/mintmark/mintmark/internal/ledger"
	"github.com/mintmark/mintmark/internal/sqlite"
	"github.com/mintmark/mintmark/internal/web"
)

// secretsDir is where the secrets lie that are not given from elsewhere.
func secretsDir(cfg config.Config) string { return filepath.Join(cfg.Data, "secrets") }

// namedSecrets is where the secrets lie that resources name.
func namedSecrets(cfg config.Config) string {
	if cfg.Secrets.Files != "" {
		return cfg.Secrets.Files
	}
	return filepath.Join(secretsDir(cfg), "files")
}

// keyringOptions reads the secrets that come from elsewhere.
func keyringOptions(cfg config.Config, environ []string) (keyring.Options, error) {
	o := keyring.Options{Dir: secretsDir(cfg), Random: rand.Reader}
	for _, s := range []struct {
		name string
		from config.Source
		into *mintmark.Secret
	}{{"pepper", cfg.Secrets.Pepper, &o.Pepper}, {"kek", cfg.Secrets.KEK, &o.KEK}} {
		if s.from.IsZero() {
			continue
		}
		v, err := s.from.Read(lookup(environ))
		if err != nil {
			return o, fmt.Errorf("secrets.%s: %w", s.name, err)
		}
		*s.into = v
	}
	return o, nil
}

func openKeyring(cfg config.Config, environ []string) (*keyring.Keyring, error) {
	o, err := keyringOptions(cfg, environ)
	if err != nil {
		return nil, err
	}
	return keyring.Open(o)
}

// checkKeyring compares the secrets with those that the ledger was made with.
func checkKeyring(ctx context.Context, store *sqlite.Store, keys *keyring.Keyring) error {
	d, err := store.Document(ctx, ledger.DocSetting, keyring.CheckDocument)
	if errors.Is(err, ledger.ErrNotFound) {
		return nil // a new ledger: bound once it is open
	}
	if err != nil {
		return fmt.Errorf("read the secrets' check values: %w", err)
	}
	return keys.Matches(d.Body)
}

// auditOrigin names the audit log in its checkpoints: by its key, so that it is
// unique and never changes.
func auditOrigin(k *keyring.Keyring) string {
	return "mintmark.log/" + keyring.KeyID(k.AuditKey().Public())
}

// busAuthority is the certificate authority of the bus, made once and kept with
// the secrets.
func busAuthority(cfg config.Config) (*web.CA, error) {
	certFile, keyFile := filepath.Join(secretsDir(cfg), "bus-ca.pem"), filepath.Join(secretsDir(cfg), "bus-ca.key")
	certPEM, err := os.ReadFile(certFile)
	if err == nil {
		keyPEM, err := os.ReadFile(keyFile)
		if err != nil {
			return nil, fmt.Errorf("the bus's authority: %w", err)
		}
		return web.LoadCA(certPEM, keyPEM, rand.Reader)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("the bus's authority: %w", err)
	}
	ca, err := web.NewCA("Mintmark bus", time.Now(), 10*365*24*time.Hour, rand.Reader)
	if err != nil {
		return nil, err
	}
	keyPEM, err := ca.KeyPEM()
	if err != nil {
		return nil, err
	}
	// The key first: dying in between leaves no certificate, and both are made anew.
	if err := errors.Join(os.WriteFile(keyFile, keyPEM, 0o600), os.WriteFile(certFile, ca.CertPEM(), 0o600)); err != nil {
		return nil, fmt.Errorf("the bus's authority: %w", err)
	}
	return ca, nil
}

// busCertificate is a certificate for one run of the bus.
func busCertificate(ca *web.CA, hosts []string) (*tls.Config, error) {
	certPEM, keyPEM, err := ca.Issue(web.Leaf{Name: "bus", Hosts: hosts, Server: true, TTL: 365 * 24 * time.Hour}, time.Now())
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return nil, err
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS13}, nil
}

// loginProviders are the upstream OpenID providers of the configuration.
func loginProviders(in []config.Login) ([]authority.Upstream, error) {
	var out []authority.Upstream
	for _, l := range in {
		secret, err := l.Secret.Read(os.Getenv)
		if err != nil {
			return nil, fmt.Errorf("login provider %s: %w", l.Name, err)
		}
		name := strings.Map(func(r rune) rune {
			if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-' {
				return r
			}
			return '-'
		}, strings.ToLower(l.Name))
		out = append(out, authority.Upstream{Name: name, Title: l.Name, Issuer: l.Issuer, ClientID: l.ClientID, Secret: secret, Scopes: l.Scopes})
	}
	return out, nil
}

// renewalHook is the configured callout at each refresh, if there is one.
func renewalHook(r *config.Renewal) (*authority.Hook, mintmark.Secret, error) {
	if r == nil {
		return nil, mintmark.Secret{}, nil
	}
	h := &authority.Hook{URL: r.URL, TimeoutMS: r.Timeout.D().Milliseconds(), Outage: "deny"}
	if r.Outage == "allow" {
		h.Outage = "allow"
	}
	if r.Secret.IsZero() {
		return h, mintmark.Secret{}, nil
	}
	secret, err := r.Secret.Read(os.Getenv)
	if err != nil {
		return nil, secret, fmt.Errorf("renewal.secret: %w", err)
	}
	return h, secret, nil
}

// lookup reads a variable of an environment.
func lookup(environ []string) func(string) string {
	return func(name string) string {
		for _, line := range environ {
			if k, v, ok := strings.Cut(line, "="); ok && k == name {
				return v
			}
		}
		return ""
	}
}

// documentBatch makes a document that must not exist yet.
func documentBatch(event mintmark.EventType, kind, id string, body []byte) ledger.Batch {
	stream := kind + "/" + id
	return ledger.Batch{
		Events: []mintmark.Event{{Stream: stream, Type: event, Actor: "system:init", Data: json.RawMessage(body)}},
		Expect: []ledger.Expect{{Stream: stream}},
	}
}
