package oauth

import (
	"net/netip"
	"net/url"
	"strings"
)

// CheckRedirectURI reports whether a URI may be registered: absolute, without
// fragment (RFC 6749 §3.1.2) and without user information; https, or http to a
// loopback address, or a private-use scheme that holds a dot (RFC 8252 §7.1).
func CheckRedirectURI(uri string) error {
	u, err := parseURI(uri)
	if err != nil {
		return err
	}
	switch {
	case u.Scheme == "https" && u.Host != "":
	case u.Scheme == "http" && loopback(u.Hostname()):
	case strings.Contains(u.Scheme, ".") && u.Host == "":
	default:
		return NewError(InvalidRequest, "redirect_uri must be https, http to a loopback address, or a private-use scheme with a dot")
	}
	return nil
}

func parseURI(uri string) (*url.URL, error) {
	for i := range len(uri) {
		if c := uri[i]; c <= 0x20 || c >= 0x7f || c == '\\' {
			return nil, NewError(InvalidRequest, "redirect_uri holds a character that no URI has")
		}
	}
	u, err := url.Parse(uri)
	if err != nil || u.Scheme == "" || u.Opaque != "" || u.User != nil || strings.Contains(uri, "#") || len(uri) > 2000 {
		return nil, NewError(InvalidRequest, "redirect_uri must be an absolute URI without fragment and user")
	}
	return u, nil
}

// loopback reports an address of RFC 8252 §7.3. The name localhost counts only
// in exact comparisons (§8.3 advises against it).
func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && (a == netip.AddrFrom4([4]byte{127, 0, 0, 1}) || a == netip.IPv6Loopback())
}

// MatchRedirectURI reports whether the presented URI is one of the registered:
// by simple string comparison (RFC 9700 §4.1.3), save that the port of a loopback
// IP literal may differ (RFC 8252 §7.3).
func MatchRedirectURI(presented string, registered []string) bool {
	for _, r := range registered {
		if r == presented {
			return true
		}
	}
	p, err := parseURI(presented)
	if err != nil || p.Scheme != "http" || !loopback(p.Hostname()) || p.Hostname() == "localhost" {
		return false
	}
	for _, r := range registered {
		u, err := parseURI(r)
		if err != nil || u.Scheme != "http" || u.Hostname() != p.Hostname() {
			continue
		}
		if portless(presented, p) == portless(r, u) {
			return true
		}
	}
	return false
}

// portless is the text with its authority replaced by the host alone: path and
// query stay byte for byte.
func portless(text string, u *url.URL) string {
	return strings.Replace(text, "//"+u.Host, "//"+u.Hostname(), 1)
}
