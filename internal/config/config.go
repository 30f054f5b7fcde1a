// Package config answers how a process of Mintmark is to run: where its data
// lies, where it listens, with which certificates and secrets.
//
// The file is mintmark.yaml. It is read strictly: unknown and repeated keys,
// wrong types and values out of bounds are all collected, each with its line and
// column and how to mend it, and any of them refuses the whole file. Environment
// variables MINTMARK_<PATH> override single scalars (listen.admin.address is
// MINTMARK_LISTEN_ADMIN_ADDRESS). What gateways decide by is not here: that is
// applied as resources and travels in epochs.
//
// A Config is a plain value; nothing here starts anything or keeps state.
package config

import (
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/mintmark/mintmark"
)

// Duration is a time.Duration that reads and writes as text ("3s").
type Duration time.Duration

// D returns the duration as the standard type.
func (d Duration) D() time.Duration { return time.Duration(d) }

// String returns Go's text form.
func (d Duration) String() string { return time.Duration(d).String() }

// MarshalText implements encoding.TextMarshaler.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	if err != nil {
		return fmt.Errorf("%.40q is not a duration: write for instance 500ms, 3s or 5m", b)
	}
	*d = Duration(v)
	return nil
}

// Config is the whole of mintmark.yaml.
type Config struct {
	Data      string    `json:"data,omitempty" jsonschema:"Directory of everything durable; all there is to back up beside the secrets. Default ./mintmark-data."`
	Issuer    string    `json:"issuer,omitempty" jsonschema:"Issuer identifier of the authority (RFC 8414 §2): the URL under which clients reach it, without a trailing slash."`
	Listen    Listen    `json:"listen,omitzero" jsonschema:"Where each part listens."`
	Control   Control   `json:"control,omitzero" jsonschema:"How control leads its gateways."`
	Admin     Admin     `json:"admin,omitzero" jsonschema:"How the admin API is called."`
	Authority Authority `json:"authority,omitzero" jsonschema:"The authority's surroundings."`
	Gateway   Gateway   `json:"gateway,omitzero" jsonschema:"This process as a gateway apart from control."`
	Log       Log       `json:"log,omitzero" jsonschema:"The log on standard error."`
	OTLP      OTLP      `json:"otlp,omitzero" jsonschema:"Traces by OTLP over HTTP; off without an endpoint."`
	Login     []Login   `json:"login,omitempty" jsonschema:"Upstream OpenID providers that users may log in with."`
	Renewal   *Renewal  `json:"renewal,omitempty" jsonschema:"Callout that re-validates the user at each refresh; none when absent."`
	Egress    Egress    `json:"egress,omitzero" jsonschema:"Which addresses control may call (key sets, introspection, login providers, hooks)."`
	Secrets   Secrets   `json:"secrets,omitzero" jsonschema:"Where the secrets come from that must not lie beside the data they protect."`
	Apply     []string  `json:"apply,omitempty" jsonschema:"Resource files applied once, when the data directory is new."`
	origin    *position // where each value was read, for Validate's messages
}

// Listen says where each part listens.
type Listen struct {
	Gateway   Listener    `json:"gateway,omitzero" jsonschema:"Traffic through the gateway. Default 127.0.0.1:8080."`
	Decide    Listener    `json:"decide,omitzero" jsonschema:"Answers for other gateways (forward-auth, auth_request); reachable by them alone. Off when empty."`
	Authority Listener    `json:"authority,omitzero" jsonschema:"OAuth and OpenID endpoints. Default 127.0.0.1:8081."`
	Admin     Listener    `json:"admin,omitzero" jsonschema:"Admin API. Default 127.0.0.1:8082."`
	Metrics   Listener    `json:"metrics,omitzero" jsonschema:"/metrics, /livez and /readyz. Default 127.0.0.1:8083."`
	Bus       BusListener `json:"bus,omitzero" jsonschema:"Bus for gateways in other processes. Off when empty; always TLS, by an authority of its own."`
}

// BusListener is where the bus listens and where gateways find it.
type BusListener struct {
	Address   string `json:"address,omitempty" jsonschema:"host:port; - switches the listener off."`
	Advertise string `json:"advertise,omitempty" jsonschema:"host:port that gateways are told to connect to when they join, and that the bus's certificate is also good for. Default: address."`
}

// Off reports whether the bus is switched off.
func (l BusListener) Off() bool { return l.Address == "" || l.Address == "-" }

// Reached returns the host:port that gateways connect to.
func (l BusListener) Reached() string {
	if l.Advertise != "" {
		return l.Advertise
	}
	return l.Address
}

// Listener is one address with its TLS.
type Listener struct {
	Address  string `json:"address,omitempty" jsonschema:"host:port; - switches the listener off."`
	TLS      *TLS   `json:"tls,omitempty" jsonschema:"Certificate to serve with."`
	Insecure bool   `json:"insecure,omitempty" jsonschema:"Allow an address other than loopback without TLS, because something in front ends TLS."`
}

// Off reports whether the listener is switched off.
func (l Listener) Off() bool { return l.Address == "" || l.Address == "-" }

// TLS names PEM files; they are read again when they change.
type TLS struct {
	Cert     string `json:"cert" jsonschema:"PEM file of the certificate chain, leaf first."`
	Key      string `json:"key" jsonschema:"PEM file of the private key."`
	ClientCA string `json:"client_ca,omitempty" jsonschema:"PEM file of authorities for client certificates; when given, clients may present one (mutual TLS)."`
	// RequireClient refuses handshakes without a client certificate.
	RequireClient bool `json:"require_client,omitempty" jsonschema:"Refuse clients without a certificate of client_ca."`
	SelfSigned    bool `json:"self_signed,omitempty" jsonschema:"Take client certificates of no authority as well, for clients that are known by the certificate itself (self_signed_tls_client_auth)."`
}

// Control is how control leads its gateways.
type Control struct {
	Lease       Duration   `json:"lease,omitempty" jsonschema:"Lease of a gateway, 500ms to 1m: the longest that a strict route decides without hearing from control. Default 3s."`
	Prometheus  Prometheus `json:"prometheus,omitzero" jsonschema:"Prometheus server that rollouts with metrics of their own ask for counts."`
	WaitTimeout Duration   `json:"wait_timeout,omitempty" jsonschema:"Longest that revoke and rollback wait for gateways before they answer pending. Default 30s."`
	Credential  Duration   `json:"gateway_credential,omitempty" jsonschema:"How long a gateway's own bus credential is good, 10m to 8760h; a gateway replaces it when half of that is over. Default 24h."`
	Grace       Duration   `json:"gateway_grace,omitempty" jsonschema:"How much longer an ended credential is accepted of a gateway that was away, to 8760h. Default 0: it has to join again."`
}

// Prometheus is where counts are asked for.
type Prometheus struct {
	URL    string `json:"url,omitempty" jsonschema:"URL below which Prometheus's HTTP API is served, such as https://prometheus.example/; a private address must be listed in egress.allow."`
	Bearer Source `json:"bearer,omitzero" jsonschema:"Token to send with each query, if one is wanted."`
}

// Gateway is this process as a gateway apart from control.
type Gateway struct {
	Name      string   `json:"name,omitempty" jsonschema:"Name of this gateway: 1 to 63 of a-z, 0-9 and -, starting with a letter."`
	Control   string   `json:"control,omitempty" jsonschema:"URL of control's admin API, to join by."`
	ControlCA string   `json:"control_ca,omitempty" jsonschema:"PEM file of the authority that control's certificate must come from; the system's roots when absent."`
	Bus       string   `json:"bus,omitempty" jsonschema:"host:port to dial for the bus instead of the one that control gave at joining; the certificate must be for the latter all the same."`
	Join      Source   `json:"join,omitzero" jsonschema:"Where the one-time join token comes from."`
	Cache     int      `json:"cache,omitempty" jsonschema:"Verified tokens kept in memory, 1,000 to 10,000,000. Default 200,000."`
	Spool     int      `json:"spool_mb,omitempty" jsonschema:"Bound in MiB of the queue of records not yet acknowledged, 1 to 65,536. Default 256."`
	Trusted   Networks `json:"trusted_proxies,omitempty" jsonschema:"Networks of proxies in front of the gateway and of those that ask the decision endpoint: what they say in X-Forwarded-For, X-Forwarded-Proto and Forwarded about the client's address and scheme is believed. Nobody is when empty."`
}

// Admin is how the admin API is called.
type Admin struct {
	URL string `json:"url,omitempty" jsonschema:"URL, without a path, by which callers reach the admin API; DPoP proofs must name it. Default: made of listen.admin, where that is an address of one host."`
}

// AdminURLs returns the URLs that callers know the admin API by, the usual one
// first; none when nothing tells.
func (c Config) AdminURLs() []string {
	if c.Admin.URL != "" {
		return []string{c.Admin.URL}
	}
	host, port, err := net.SplitHostPort(c.Listen.Admin.Address)
	ip, _ := netip.ParseAddr(host)
	if err != nil || host == "" || ip.IsUnspecified() {
		return nil
	}
	hosts := []string{host}
	if loopbackHost(host) {
		hosts = append(hosts, "localhost", "127.0.0.1", "::1")
	}
	scheme := "http://"
	if c.Listen.Admin.TLS != nil {
		scheme = "https://"
	}
	urls := make([]string, len(hosts))
	for i, h := range hosts {
		urls[i] = scheme + net.JoinHostPort(h, port)
	}
	return urls
}

// Authority is the authority's surroundings.
type Authority struct {
	Trusted Networks `json:"trusted_proxies,omitempty" jsonschema:"Networks of proxies in front of the authority: what they say in X-Forwarded-For and Forwarded about the client's address is believed when attempts are counted. Nobody is when empty."`
}

// Networks is a list of networks.
type Networks []netip.Prefix

// Log is the log.
type Log struct {
	Level  string `json:"level,omitempty" jsonschema:"debug, info, warn or error. Default info."`
	Access bool   `json:"access,omitempty" jsonschema:"Log every request, without credentials."`
}

// OTLP is where traces go.
type OTLP struct {
	Endpoint string `json:"endpoint,omitempty" jsonschema:"URL of an OTLP/HTTP collector, for instance http://127.0.0.1:4318."`
	// Per mille, because nothing here is a float.
	SamplePerMille int `json:"sample_per_mille,omitempty" jsonschema:"Share of new traces that is kept, 0 to 1000. Default 10."`
}

// Login is an upstream OpenID provider.
type Login struct {
	Name     string   `json:"name" jsonschema:"Name shown on the login page."`
	Issuer   string   `json:"issuer" jsonschema:"Issuer URL."`
	ClientID string   `json:"client_id" jsonschema:"Our client_id there."`
	Secret   Source   `json:"client_secret" jsonschema:"Where our client_secret there comes from."`
	Scopes   []string `json:"scopes,omitempty" jsonschema:"Scopes asked for beside openid."`
}

// Renewal is the callout made at each refresh.
type Renewal struct {
	URL     string   `json:"url" jsonschema:"Called by POST with subject, client and grant."`
	Timeout Duration `json:"timeout,omitempty" jsonschema:"Longest wait, 100ms to 10s. Default 2s."`
	Outage  string   `json:"outage,omitempty" jsonschema:"When the callout fails: refuse (503, default) or allow (keep the old claims)."`
	Secret  Source   `json:"secret,omitzero" jsonschema:"Where the bearer secret sent along comes from."`
}

// Egress bounds outgoing calls.
type Egress struct {
	Allow Networks `json:"allow,omitempty" jsonschema:"Private or loopback networks that may be called all the same."`
}

// Secrets says where the secrets come from.
type Secrets struct {
	Pepper Source `json:"pepper,omitzero" jsonschema:"Key for the hashes of opaque tokens and API keys, 32 bytes as base64 or hex. Default: secrets/pepper in the data directory."`
	KEK    Source `json:"kek,omitzero" jsonschema:"Key that wraps signing keys and sealed fields, 32 bytes as base64 or hex. Default: secrets/kek in the data directory."`
	Files  string `json:"files,omitempty" jsonschema:"Directory of the secrets that resources may name (introspect.secret_file); they can name no other file. Default: secrets/files in the data directory."`
}

// Default returns the configuration of an empty file: everything on loopback.
func Default() Config {
	return Config{
		Data:   "mintmark-data",
		Issuer: "http://127.0.0.1:8081",
		Listen: Listen{
			Gateway:   Listener{Address: "127.0.0.1:8080"},
			Authority: Listener{Address: "127.0.0.1:8081"},
			Admin:     Listener{Address: "127.0.0.1:8082"},
			Metrics:   Listener{Address: "127.0.0.1:8083"},
		},
		Control: Control{Lease: Duration(3 * time.Second), WaitTimeout: Duration(30 * time.Second), Credential: Duration(24 * time.Hour)},
		Gateway: Gateway{Cache: 200_000, Spool: 256},
		Log:     Log{Level: "info"},
		OTLP:    OTLP{SamplePerMille: 10},
	}
}

// GatewayID returns the gateway's name as its identifier.
func (c Config) GatewayID() mintmark.GatewayID { return mintmark.GatewayID(c.Gateway.Name) }
