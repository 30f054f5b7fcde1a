package web

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"sync/atomic"
	"time"
)

// Certificates serves a certificate from files and takes up changes to them: a
// renewed certificate is used from the next handshake on, a broken file keeps the
// one before. Safe for concurrent use.
type Certificates struct {
	files   CertificateFiles
	current atomic.Pointer[loaded]
}

// CertificateFiles names PEM files.
type CertificateFiles struct {
	Cert, Key string
	ClientCA  string // may be empty
	// RequireClient refuses handshakes without a certificate of ClientCA;
	// otherwise one is verified when given.
	RequireClient bool
	// SelfSigned takes certificates of no authority as well: whoever presents one
	// proves its key and nothing else (RFC 8705 §2.2). Handlers go through
	// Verified, which tells the two apart.
	SelfSigned bool
}

type loaded struct {
	config *tls.Config
	roots  *x509.CertPool // of ClientCA; nil without
	stamps [3]time.Time
}

// NewCertificates loads the files once.
func NewCertificates(files CertificateFiles) (*Certificates, error) {
	c := &Certificates{files: files}
	if err := c.Reload(); err != nil {
		return nil, err
	}
	return c, nil
}

// Config returns a configuration for servers that follows later reloads.
func (c *Certificates) Config() *tls.Config {
	base := serverTLS()
	base.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		return c.current.Load().config, nil
	}
	// Servers ask for a certificate before they start; handshakes use the above.
	base.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		return &c.current.Load().config.Certificates[0], nil
	}
	return base
}

func serverTLS() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}}
}

// Reload reads the files again; on error the certificate in use stays.
func (c *Certificates) Reload() error {
	stamps, err := c.stamps()
	if err != nil {
		return err
	}
	pair, err := tls.LoadX509KeyPair(c.files.Cert, c.files.Key)
	if err != nil {
		return fmt.Errorf("load certificate %s with key %s: %w", c.files.Cert, c.files.Key, err)
	}
	next := serverTLS()
	next.Certificates = []tls.Certificate{pair}
	var roots *x509.CertPool
	if c.files.ClientCA != "" {
		pem, err := os.ReadFile(c.files.ClientCA)
		if err != nil {
			return fmt.Errorf("load client authorities: %w", err)
		}
		if roots = x509.NewCertPool(); !roots.AppendCertsFromPEM(pem) {
			return fmt.Errorf("load client authorities: %s holds no certificate", c.files.ClientCA)
		}
		next.ClientCAs = roots
		next.ClientAuth = tls.VerifyClientCertIfGiven
		if c.files.RequireClient {
			next.ClientAuth = tls.RequireAndVerifyClientCert
		}
	}
	if c.files.SelfSigned {
		next.ClientCAs = nil // naming authorities would keep the other certificates at home
		next.ClientAuth = tls.RequestClientCert
		if c.files.RequireClient {
			next.ClientAuth = tls.RequireAnyClientCert
		}
	}
	c.current.Store(&loaded{config: next, roots: roots, stamps: stamps})
	return nil
}

// Verified gives a handler the connection state as a handshake that verifies
// client certificates leaves it: with VerifiedChains where the presented one comes
// from ClientCA. Only with SelfSigned is there anything to do.
func (c *Certificates) Verified(next http.Handler) http.Handler {
	if !c.files.SelfSigned {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		roots := c.current.Load().roots
		if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 || roots == nil {
			next.ServeHTTP(w, r)
			return
		}
		certs := r.TLS.PeerCertificates
		o := x509.VerifyOptions{Roots: roots, Intermediates: x509.NewCertPool(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
		for _, i := range certs[1:] {
			o.Intermediates.AddCert(i)
		}
		if chains, err := certs[0].Verify(o); err == nil {
			state := *r.TLS
			state.VerifiedChains = chains
			with := *r
			with.TLS = &state
			r = &with
		}
		next.ServeHTTP(w, r)
	})
}

// Run looks every interval whether a file changed and reloads, until ctx is over.
func (c *Certificates) Run(ctx context.Context, interval time.Duration, log *slog.Logger) error {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		stamps, err := c.stamps()
		if err == nil && stamps == c.current.Load().stamps {
			continue
		}
		if err == nil {
			err = c.Reload()
		}
		if err != nil {
			log.Error("certificate not reloaded, the one before stays in use", "error", err)
			continue
		}
		log.Info("certificate reloaded", "file", c.files.Cert)
	}
}

func (c *Certificates) stamps() (out [3]time.Time, err error) {
	for i, name := range []string{c.files.Cert, c.files.Key, c.files.ClientCA} {
		if name == "" {
			continue
		}
		info, err := os.Stat(name)
		if err != nil {
			return out, fmt.Errorf("look at certificate file: %w", err)
		}
		out[i] = info.ModTime()
	}
	return out, nil
}

// PoolFromFile reads authorities from a PEM file.
func PoolFromFile(name string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("read authorities: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, errors.New("read authorities: " + name + " holds no certificate")
	}
	return pool, nil
}
