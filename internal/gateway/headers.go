package gateway

import (
	"net/http"
	"strings"

	"github.com/mintmark/mintmark/internal/identity"
)

// hopByHop reports whether a field, by canonical name, belongs to one connection
// (RFC 9110 §7.6.1).
func hopByHop(name string) bool {
	switch name {
	case "Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authenticate", "Proxy-Authorization",
		"Te", "Trailer", "Transfer-Encoding", "Upgrade":
		return true
	}
	return false
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
	for name := range e.h {
		if hopByHop(name) || identity.Reserved(name) || len(extra) > 0 && extra[identity.Normal(name)] {
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
