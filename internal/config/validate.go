package config

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/mintmark/mintmark"
)

// Validate checks values against each other and their bounds. file is for
// messages only.
func (c Config) Validate(file string) Errors {
	v := &validator{file: file, pos: c.origin}
	if c.Data == "" {
		v.fail("data", "is empty", "name a directory")
	}
	v.url("issuer", c.Issuer, true)
	for _, l := range c.listeners() {
		v.listener("listen."+l.name, l.Listener)
	}
	v.bus("listen.bus", c.Listen.Bus)
	v.span("control.lease", c.Control.Lease.D(), 500*time.Millisecond, time.Minute)
	v.span("control.wait_timeout", c.Control.WaitTimeout.D(), 10*time.Millisecond, 10*time.Minute)
	v.span("control.gateway_credential", c.Control.Credential.D(), 10*time.Minute, 365*24*time.Hour)
	v.span("control.gateway_grace", c.Control.Grace.D(), 0, 365*24*time.Hour)
	if c.Control.Prometheus.URL != "" {
		v.url("control.prometheus.url", c.Control.Prometheus.URL, false)
	}
	v.source("control.prometheus.bearer", c.Control.Prometheus.Bearer)
	if c.Admin.URL != "" {
		v.url("admin.url", c.Admin.URL, false)
		if u, err := url.Parse(c.Admin.URL); err == nil && (u.Path != "" || u.RawQuery != "" || u.Fragment != "") {
			v.fail("admin.url", fmt.Sprintf("%.80q is more than a server", c.Admin.URL), "leave out what comes after host and port")
		}
	}
	v.proxies("authority.trusted_proxies", c.Authority.Trusted)
	v.proxies("gateway.trusted_proxies", c.Gateway.Trusted)
	v.number("gateway.cache", c.Gateway.Cache, 1_000, 10_000_000)
	v.number("gateway.spool_mb", c.Gateway.Spool, 1, 65_536)
	if c.Gateway.Name != "" {
		if err := mintmark.CheckGatewayID(c.GatewayID()); err != nil {
			v.fail("gateway.name", err.Error(), "")
		}
	}
	if c.Gateway.Bus != "" {
		v.hostPort("gateway.bus", c.Gateway.Bus)
	}
	if c.Gateway.Control != "" {
		v.url("gateway.control", c.Gateway.Control, false)
		// The join token is sent there: whoever reads it joins in this one's place.
		if u, err := url.Parse(c.Gateway.Control); err == nil && u.Scheme == "http" && !loopbackHost(u.Hostname()) {
			v.fail("gateway.control", "the join token would travel readable", "use https, or join over loopback")
		}
	}
	switch c.Log.Level {
	case "debug", "info", "warn", "error":
	default:
		v.fail("log.level", fmt.Sprintf("%.40q is no level", c.Log.Level), "want debug, info, warn or error")
	}
	if c.OTLP.Endpoint != "" {
		v.url("otlp.endpoint", c.OTLP.Endpoint, false)
	}
	v.number("otlp.sample_per_mille", c.OTLP.SamplePerMille, 0, 1000)
	v.logins(c.Login)
	if c.Renewal != nil {
		v.renewal(*c.Renewal)
	}
	v.source("gateway.join", c.Gateway.Join)
	v.source("secrets.pepper", c.Secrets.Pepper)
	v.source("secrets.kek", c.Secrets.KEK)
	return v.errs
}

// proxies refuses networks that hold everybody: whoever is trusted may say that it
// is anybody.
func (v *validator) proxies(path string, networks Networks) {
	for i, p := range networks {
		if p.Bits() == 0 {
			v.fail(fmt.Sprintf("%s[%d]", path, i), p.String()+" trusts every client to say where it comes from", "name the networks that the proxies themselves are in")
		}
		if p.Addr().Is4In6() {
			v.fail(fmt.Sprintf("%s[%d]", path, i), p.String()+" is IPv4 written as IPv6", "write it as IPv4, for instance 10.0.0.0/8")
		}
	}
}

type namedListener struct {
	name string
	Listener
}

func (c Config) listeners() []namedListener {
	return []namedListener{
		{"gateway", c.Listen.Gateway},
		{"decide", c.Listen.Decide},
		{"authority", c.Listen.Authority},
		{"admin", c.Listen.Admin},
		{"metrics", c.Listen.Metrics},
	}
}

type validator struct {
	file string
	pos  *position
	errs Errors
}

// fail reports at the path, or at its nearest parent that the file names.
func (v *validator) fail(path, what, fix string) {
	e := Error{File: v.file, Path: path, What: what, Fix: fix}
	for p := path; v.pos != nil && p != ""; {
		if at, ok := v.pos.at[p]; ok {
			e.Line, e.Col = at[0], at[1]
			break
		}
		i := strings.LastIndexAny(p, ".[")
		if i < 0 {
			break
		}
		p = p[:i]
	}
	v.errs = append(v.errs, v.pos.fill(e))
}

func (v *validator) span(path string, d, low, high time.Duration) {
	if d < low || d > high {
		v.fail(path, d.String()+" is out of bounds", fmt.Sprintf("want %s to %s", low, high))
	}
}

func (v *validator) number(path string, n, low, high int) {
	if n < low || n > high {
		v.fail(path, strconv.Itoa(n)+" is out of bounds", fmt.Sprintf("want %d to %d", low, high))
	}
}

// url wants an absolute http(s) URL. An issuer has neither query nor fragment
// (RFC 8414 §2) nor, stricter, a trailing slash: comparison is exact.
func (v *validator) url(path, text string, issuer bool) {
	u, err := url.Parse(text)
	switch {
	case err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "":
		v.fail(path, fmt.Sprintf("%.80q is not a URL", text), "write for instance https://auth.example.com")
	case u.User != nil:
		v.fail(path, "a URL with a user or password in it", "secrets come from files or the environment")
	case issuer && (u.RawQuery != "" || u.Fragment != "" || strings.HasSuffix(text, "/")):
		v.fail(path, fmt.Sprintf("%.80q cannot be an issuer", text), "no query, fragment or trailing slash")
	case issuer && u.Scheme == "http" && !loopbackHost(u.Hostname()):
		v.fail(path, "an issuer other than on loopback must be https", "")
	}
}

func (v *validator) listener(path string, l Listener) {
	if l.TLS != nil {
		v.tls(path+".tls", *l.TLS)
	}
	if l.Off() {
		return
	}
	host, ok := v.hostPort(path+".address", l.Address)
	if !ok || l.TLS != nil || l.Insecure || loopbackHost(host) {
		return
	}
	v.fail(path+".address", fmt.Sprintf("%s is reachable from outside and has no TLS", l.Address),
		"add tls, or listen on 127.0.0.1, or say insecure: true when something in front ends TLS")
}

// hostPort wants host:port and returns the host.
func (v *validator) hostPort(path, address string) (host string, ok bool) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		v.fail(path, fmt.Sprintf("%.80q is not host:port", address), "write for instance 127.0.0.1:8080")
		return "", false
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n > 65535 {
		v.fail(path, fmt.Sprintf("%.20q is not a port", port), "want 0 to 65535")
		return "", false
	}
	return host, true
}

// bus makes its own certificates, so that it may listen anywhere; but gateways
// must be told an address that leads somewhere.
func (v *validator) bus(path string, l BusListener) {
	if l.Off() {
		return
	}
	if _, ok := v.hostPort(path+".address", l.Address); !ok {
		return
	}
	at := path + ".address"
	if l.Advertise != "" {
		at = path + ".advertise"
	}
	host, ok := v.hostPort(at, l.Reached())
	if ip := net.ParseIP(host); ok && (host == "" || ip != nil && ip.IsUnspecified()) {
		v.fail(at, fmt.Sprintf("gateways cannot connect to %.80q", l.Reached()), "name as listen.bus.advertise the host:port by which gateways reach this machine")
	}
}

func (v *validator) tls(path string, t TLS) {
	if t.Cert == "" || t.Key == "" {
		v.fail(path, "cert and key are both needed", "")
	}
	if t.RequireClient && t.ClientCA == "" && !t.SelfSigned {
		v.fail(path+".require_client", "without client_ca nobody could connect", "name client_ca")
	}
}

func (v *validator) logins(logins []Login) {
	seen := map[string]bool{}
	for i, l := range logins {
		at := fmt.Sprintf("login[%d]", i)
		if !mintmark.IsName(l.Name) || seen[l.Name] {
			v.fail(at+".name", fmt.Sprintf("%.70q is no name, or given twice", l.Name), "want 1 to 63 of A-Z a-z 0-9 . _ -, each once")
		}
		seen[l.Name] = true
		v.url(at+".issuer", l.Issuer, false)
		if l.ClientID == "" {
			v.fail(at+".client_id", "is empty", "")
		}
		if l.Secret.IsZero() {
			v.fail(at+".client_secret", "names no source", "give file or env")
		}
		v.source(at+".client_secret", l.Secret)
	}
}

func (v *validator) renewal(r Renewal) {
	v.url("renewal.url", r.URL, false)
	if r.Timeout != 0 {
		v.span("renewal.timeout", r.Timeout.D(), 100*time.Millisecond, 10*time.Second)
	}
	switch r.Outage {
	case "", "refuse", "allow":
	default:
		v.fail("renewal.outage", fmt.Sprintf("%.40q", r.Outage), "want refuse or allow")
	}
	v.source("renewal.secret", r.Secret)
}

func (v *validator) source(path string, s Source) {
	if s.File != "" && s.Env != "" {
		v.fail(path, "names both file and env", "keep one")
	}
}

func loopbackHost(host string) bool {
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}
