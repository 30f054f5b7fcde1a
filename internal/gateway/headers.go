package gateway

import (
	"net/http"
	"strings"
)

// Headers that the gateway sets. Mintmark-Epoch is the fence: an upstream that
// remembers the highest it saw refuses what comes with a lower one.
const (
	HeaderTokenID    = "Mintmark-Token-Id"
	HeaderSubject    = "Mintmark-Subject"
	HeaderClient     = "Mintmark-Client"
	HeaderScopes     = "Mintmark-Scopes"
	HeaderRelease    = "Mintmark-Release"
	HeaderEpoch      = "Mintmark-Epoch"
	HeaderExpires    = "Mintmark-Expires"
	HeaderActor      = "Mintmark-Actor"
	HeaderClaims     = "Mintmark-Claims"
	HeaderRenewAfter = "Mintmark-Renew-After"
	HeaderMustRenew  = "Mintmark-Must-Renew"
)

// reserved says, by normalised name, which request headers only the gateway may
// send: identity, the client's address and first line as others spell them, and
// overrides that would make the upstream see another request than was decided.
var reserved = map[string]bool{
	"forwarded": true, "x-real-ip": true, "x-client-ip": true, "x-cluster-client-ip": true,
	"true-client-ip": true, "cf-connecting-ip": true,
	"remote-user": true, "x-remote-user": true, "x-user": true, "x-user-id": true, "x-userinfo": true,
	"x-api-key": true, "dpop": true, "proxy-authorization": true, "x-original-url": true,
	"x-original-uri": true, "x-original-method": true, "x-rewrite-url": true,
	"x-http-method": true, "x-http-method-override": true, "x-method-override": true,
	"x-client-cert": true, "ssl-client-cert": true, "x-ssl-client-cert": true,
}

// reservedPrefixes are the families of which every member is reserved.
var reservedPrefixes = []string{"mintmark-", "x-mintmark-", "x-forwarded-", "x-auth-", "x-authenticated-", "x-jwt-"}

// hopByHop are the fields of one connection (RFC 9110 §7.6.1), by canonical name.
var hopByHop = [...]string{
	"Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authenticate", "Proxy-Authorization",
	"Te", "Trailer", "Transfer-Encoding", "Upgrade",
}

// normal returns the name as careless upstreams see it: CGI and WSGI turn - into
// _, and case does not matter.
func normal(name string) string {
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
		return reservedName(normal(name))
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

// ours reports whether a response header is only for the gateway to send.
func ours(name string) bool {
	if len(name) < 9 || name[0]|0x20 != 'm' {
		return false
	}
	return strings.HasPrefix(normal(name), "mintmark-")
}

// edit changes a header in place and can take its changes back: the header of a
// request is the very map that net/http made, never a copy.
type edit struct {
	h    http.Header
	undo []undone
	// vals backs the one-element slices of what was set.
	vals [32]string
	n    int
}

type undone struct {
	name   string
	values []string // nil: it was absent
}

func (e *edit) set(name, value string) {
	e.undo = append(e.undo, undone{name, e.h[name]})
	if e.n < len(e.vals) {
		e.vals[e.n] = value
		e.h[name] = e.vals[e.n : e.n+1 : e.n+1]
		e.n++
		return
	}
	e.h[name] = []string{value}
}

func (e *edit) del(name string) {
	if v, ok := e.h[name]; ok {
		e.undo = append(e.undo, undone{name, v})
		delete(e.h, name)
	}
}

// rewind takes every change back, newest first.
func (e *edit) rewind() {
	for i := len(e.undo) - 1; i >= 0; i-- {
		if u := e.undo[i]; u.values == nil {
			delete(e.h, u.name)
		} else {
			e.h[u.name] = u.values
		}
	}
	e.undo = e.undo[:0]
	e.n = 0
}

func (e *edit) reset() {
	clear(e.undo)
	clear(e.vals[:e.n])
	e.h, e.undo, e.n = nil, e.undo[:0], 0
}

// strip removes what must not pass from the client: fields of this connection,
// fields that Connection names, everything reserved, and what extra (by
// normalised name) reserves for this service's claims. It comes before injection,
// so that no Connection option can remove what we set.
func (e *edit) strip(extra map[string]bool) {
	if c := e.h["Connection"]; len(c) > 0 {
		e.dropNamed(c)
	}
	for _, name := range hopByHop {
		e.del(name)
	}
	for name := range e.h {
		if Reserved(name) || len(extra) > 0 && extra[normal(name)] {
			e.del(name)
		}
	}
}

// dropNamed removes the fields that a Connection field's values name.
func (e *edit) dropNamed(connection []string) {
	for _, line := range connection {
		for name := range strings.SplitSeq(line, ",") {
			if name = strings.TrimSpace(name); name != "" {
				e.del(http.CanonicalHeaderKey(name))
			}
		}
	}
}
