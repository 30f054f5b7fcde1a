package web

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"time"
)

// Errors of outgoing calls.
var (
	// ErrForbiddenAddress: the name resolves to an address that may not be called.
	ErrForbiddenAddress = errors.New("egress: address not allowed")
	// ErrTooLarge: the answer is larger than the caller's bound.
	ErrTooLarge = errors.New("egress: answer too large")
	// ErrRedirect: the answer is a redirect, which is never followed.
	ErrRedirect = errors.New("egress: redirect refused")
)

// EgressConfig bounds outgoing calls.
type EgressConfig struct {
	// Allow lists networks that may be called although they are private.
	Allow []netip.Prefix
	// Timeout bounds a whole call; 0 is 5 s.
	Timeout time.Duration
	// MaxBody bounds an answer after decompression, in bytes; 0 is 1 MiB.
	MaxBody int64
	// Resolve turns a host into addresses; nil asks the system.
	Resolve func(ctx context.Context, host string) ([]netip.Addr, error)
}

// Egress is the one client for calls to addresses that others chose: key sets,
// introspection, login providers, hooks. It resolves first and then connects to
// the very address it checked, so that a name cannot change its mind in between;
// private, loopback, link-local (metadata services) and otherwise special
// addresses are refused unless listed; redirects are not followed; time, size and
// decompressed size are bounded. Safe for concurrent use.
type Egress struct {
	config EgressConfig
	client *http.Client
}

// NewEgress returns the client; it makes no connection yet.
func NewEgress(c EgressConfig) *Egress {
	if c.Timeout == 0 {
		c.Timeout = 5 * time.Second
	}
	if c.MaxBody == 0 {
		c.MaxBody = 1 << 20
	}
	if c.Resolve == nil {
		c.Resolve = func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		}
	}
	e := &Egress{config: c}
	transport := &http.Transport{
		Proxy:                  nil, // a proxy would resolve for itself
		DialContext:            e.dial,
		ForceAttemptHTTP2:      true,
		TLSHandshakeTimeout:    c.Timeout,
		ResponseHeaderTimeout:  c.Timeout,
		MaxResponseHeaderBytes: 64 << 10,
		MaxIdleConnsPerHost:    2,
		MaxConnsPerHost:        8,
		IdleConnTimeout:        30 * time.Second,
		DisableCompression:     true, // done in Do, with a bound
	}
	e.client = &http.Client{
		Transport: transport,
		Timeout:   c.Timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse
		},
	}
	return e
}

// Answer is a whole answer, read and bounded.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// Do sends r and reads the answer whole. Only http and https without user
// information are called. A status of 3xx other than 304 is ErrRedirect.
func (e *Egress) Do(ctx context.Context, r *http.Request) (Answer, error) {
	if err := checkURL(r.URL); err != nil {
		return Answer{}, err
	}
	r = r.Clone(ctx)
	r.Header.Set("Accept-Encoding", "gzip")
	res, err := e.client.Do(r)
	if err != nil {
		return Answer{}, fmt.Errorf("call %s: %w", r.URL.Host, err)
	}
	defer res.Body.Close()
	if res.StatusCode >= 300 && res.StatusCode < 400 && res.StatusCode != http.StatusNotModified {
		return Answer{}, fmt.Errorf("call %s: %w", r.URL.Host, ErrRedirect)
	}
	body, err := e.read(res)
	if err != nil {
		return Answer{}, fmt.Errorf("call %s: %w", r.URL.Host, err)
	}
	return Answer{Status: res.StatusCode, Header: res.Header, Body: body}, nil
}

// Get fetches a URL.
func (e *Egress) Get(ctx context.Context, rawURL string) (Answer, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, rawURL, nil)
	if err != nil {
		return Answer{}, fmt.Errorf("make request: %w", err)
	}
	return e.Do(ctx, r)
}

// RoundTrip implements http.RoundTripper with the same bounds, for libraries that
// want a client of their own.
func (e *Egress) RoundTrip(r *http.Request) (*http.Response, error) {
	a, err := e.Do(r.Context(), r)
	if err != nil {
		return nil, err
	}
	return answerResponse(a, r), nil
}

func checkURL(u *url.URL) error {
	if (u.Scheme != "https" && u.Scheme != "http") || u.Host == "" || u.User != nil {
		return fmt.Errorf("egress: %.80q is not a plain http or https URL", u.Redacted())
	}
	return nil
}

// read bounds both the bytes received and the bytes after decompression.
func (e *Egress) read(res *http.Response) ([]byte, error) {
	var from io.Reader = io.LimitReader(res.Body, e.config.MaxBody+1)
	switch res.Header.Get("Content-Encoding") {
	case "", "identity":
	case "gzip":
		z, err := gzip.NewReader(from)
		if err != nil {
			return nil, fmt.Errorf("egress: bad gzip: %w", err)
		}
		defer z.Close()
		from = io.LimitReader(z, e.config.MaxBody+1)
	default:
		return nil, fmt.Errorf("egress: encoding %.40q was not asked for", res.Header.Get("Content-Encoding"))
	}
	b, err := io.ReadAll(from)
	if err != nil {
		return nil, fmt.Errorf("egress: read answer: %w", err)
	}
	if int64(len(b)) > e.config.MaxBody {
		return nil, ErrTooLarge
	}
	res.Header.Del("Content-Encoding")
	res.Header.Del("Content-Length")
	return b, nil
}

// dial resolves, refuses forbidden addresses, and connects to what it checked.
// One forbidden address among several refuses the name: half a rebinding is one.
func (e *Egress) dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("egress: %w", err)
	}
	var addrs []netip.Addr
	if ip, err := netip.ParseAddr(host); err == nil {
		addrs = []netip.Addr{ip}
	} else if addrs, err = e.config.Resolve(ctx, host); err != nil {
		return nil, fmt.Errorf("egress: resolve: %w", err)
	}
	for _, a := range addrs {
		if !e.Allowed(a) {
			return nil, fmt.Errorf("%w: %s is %s", ErrForbiddenAddress, host, a)
		}
	}
	last := fmt.Errorf("egress: %s has no address", host)
	for _, a := range addrs {
		var d net.Dialer
		conn, err := d.DialContext(ctx, network, net.JoinHostPort(a.Unmap().String(), port))
		if err == nil {
			return conn, nil
		}
		last = err
	}
	return nil, last
}

// special are networks that are neither private nor public in net/netip's sense,
// and that no partner's endpoint lives in (RFC 6890 and its successors). The two
// translation prefixes could carry any IPv4 address.
var special = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),
	netip.MustParsePrefix("100.64.0.0/10"),
	netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("192.0.2.0/24"),
	netip.MustParsePrefix("198.18.0.0/15"),
	netip.MustParsePrefix("198.51.100.0/24"),
	netip.MustParsePrefix("203.0.113.0/24"),
	netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("64:ff9b::/96"),
	netip.MustParsePrefix("64:ff9b:1::/48"),
	netip.MustParsePrefix("100::/64"),
	netip.MustParsePrefix("2001::/23"),
	netip.MustParsePrefix("2001:db8::/32"),
	netip.MustParsePrefix("2002::/16"),
	netip.MustParsePrefix("fec0::/10"),
}

// Allowed reports whether an address may be called.
func (e *Egress) Allowed(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	for _, p := range e.config.Allow {
		if p.Contains(a) {
			return true
		}
	}
	if !a.IsGlobalUnicast() || a.IsPrivate() {
		return false
	}
	for _, p := range special {
		if p.Contains(a) {
			return false
		}
	}
	return true
}
