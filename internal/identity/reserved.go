package identity

import "strings"

// reserved says, by normal name, which request fields only the gateway may send:
// identity, the client's address and first line as others spell them, and overrides
// that would make the upstream see another request than was decided.
var reserved = map[string]bool{
	"forwarded": true, "x-real-ip": true, "x-client-ip": true, "x-cluster-client-ip": true,
	"true-client-ip": true, "cf-connecting-ip": true,
	"remote-user": true, "x-remote-user": true, "x-user": true, "x-user-id": true, "x-userinfo": true,
	"x-api-key": true, "dpop": true, "proxy-authorization": true, "x-original-url": true,
	"x-original-uri": true, "x-original-method": true, "x-rewrite-url": true,
	"x-http-method": true, "x-http-method-override": true, "x-method-override": true,
	"x-client-cert": true, "x-client-dn": true, "x-arr-clientcert": true,
	"client-ip": true, "x-originating-ip": true, "x-remote-ip": true, "x-remote-addr": true, "remote-addr": true,
	"fastly-client-ip": true, "x-azure-clientip": true, "x-envoy-external-address": true,
	"x-original-host": true, "x-original-forwarded-for": true, "x-envoy-original-path": true,
}

// reservedPrefixes are the families of which every member is reserved.
// Client-Cert and Client-Cert-Chain are RFC 9440's.
var reservedPrefixes = []string{
	"mintmark-", "x-mintmark-", "x-forwarded-", "x-auth-", "x-authenticated-", "x-jwt-", "client-cert", "ssl-client-", "x-ssl-client-",
}

// Normal returns the name as careless upstreams see it: CGI and WSGI turn - into
// _, and case does not matter.
func Normal(name string) string {
	for i := range len(name) {
		if c := name[i]; c == '_' || c >= 'A' && c <= 'Z' {
			return strings.Map(func(r rune) rune {
				switch {
				case r == '_':
					return '-'
				case r >= 'A' && r <= 'Z':
					return r + 'a' - 'A'
				}
				return r
			}, name)
		}
	}
	return name
}

// Reserved reports whether a request header of this name, in any spelling, is
// only for the gateway to send.
func Reserved(name string) bool {
	// Nearly every request has names that are canonical and harmless: decide them
	// by the first letter, without allocating.
	if len(name) < 4 {
		return false
	}
	switch name[0] | 0x20 {
	case 'm', 'x', 'f', 'r', 'd', 'p', 't', 'c', 's':
	default:
		return false
	}
	var buf [40]byte
	if len(name) > len(buf) {
		return reservedName(Normal(name))
	}
	for i := range len(name) {
		c := name[i]
		switch {
		case c == '_':
			c = '-'
		case c >= 'A' && c <= 'Z':
			c += 'a' - 'A'
		}
		buf[i] = c
	}
	low := buf[:len(name)]
	for _, p := range reservedPrefixes {
		if len(low) >= len(p) && string(low[:len(p)]) == p {
			return true
		}
	}
	return string(low) == "x-auth" || reserved[string(low)]
}

func reservedName(low string) bool {
	for _, p := range reservedPrefixes {
		if strings.HasPrefix(low, p) {
			return true
		}
	}
	return low == "x-auth" || reserved[low]
}

// Ours reports whether a response header is only for the gateway to send.
func Ours(name string) bool {
	if len(name) < 9 || name[0]|0x20 != 'm' {
		return false
	}
	return strings.HasPrefix(Normal(name), "mintmark-")
}
