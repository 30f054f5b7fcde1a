package epoch

import (
	"cmp"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/mintmark/mintmark"
)

// router finds a request's route: by host, then along a tree of path segments.
type router struct {
	exact map[string]*node // by host
	wild  map[string]*node // by what follows "*."
	any   *node
}

// node is a place in the tree after some segments.
type node struct {
	literals []literal
	index    map[string]*node // of literals; nil while they are few
	param    *node
	exact    []*RouteEntry // patterns that end here, most specific first
	prefix   []*RouteEntry // patterns that go on with "/*"
}

// literal is a segment that stands for itself.
type literal struct {
	segment string
	node    *node
}

// few is how many literals are found faster one by one than in a map.
const few = 8

// asked is what a route is asked beside the host and the path.
type asked struct {
	method string
	bit    uint16 // of the method
	header func(string) string
}

// match returns the most specific route; see Route for the order.
func (r *router) match(method, host, path string, header func(string) string) *RouteEntry {
	if !PathOK(path) {
		return nil
	}
	a := asked{method, methodBit(method), header}
	if len(r.exact) > 0 || len(r.wild) > 0 {
		if e := r.byHost(&a, host, path[1:]); e != nil {
			return e
		}
	}
	if r.any == nil {
		return nil
	}
	return r.any.find(&a, path[1:])
}

// byHost looks among the routes of the host's own patterns.
func (r *router) byHost(a *asked, host, rest string) *RouteEntry {
	var room [256]byte
	name, ok := lowerHost(room[:0], host)
	if !ok {
		return nil
	}
	if n := r.exact[string(name)]; n != nil {
		if e := n.find(a, rest); e != nil {
			return e
		}
	}
	for i := 0; len(r.wild) > 0 && i < len(name); i++ {
		if name[i] != '.' {
			continue
		}
		if n := r.wild[string(name[i+1:])]; n != nil {
			if e := n.find(a, rest); e != nil {
				return e
			}
		}
	}
	return nil
}

// lowerHost appends the host without port and trailing dot, in lower case; false
// when it is longer than a name may be.
func lowerHost(room []byte, host string) ([]byte, bool) {
	if i := strings.LastIndexByte(host, ':'); i >= 0 && strings.IndexByte(host[i:], ']') < 0 {
		host = host[:i]
	}
	host = strings.TrimSuffix(host, ".")
	if len(host) > cap(room) {
		return nil, false
	}
	for i := range len(host) {
		c := host[i]
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		room = append(room, c)
	}
	return room, true
}

// find walks the tree: at each segment a literal before {name}, {name} before
// "/*". Its work is bounded by the tree, not by the path.
func (n *node) find(a *asked, rest string) *RouteEntry {
	end := 0 // segments are short: strings.Cut would cost more
	for end < len(rest) && rest[end] != '/' {
		end++
	}
	segment, tail, more := rest[:end], "", end < len(rest)
	if more {
		tail = rest[end+1:]
	}
	if child := n.child(segment); child != nil {
		if e := child.step(a, tail, more); e != nil {
			return e
		}
	}
	if n.param != nil && segment != "" {
		if e := n.param.step(a, tail, more); e != nil {
			return e
		}
	}
	return pick(n.prefix, a)
}

// child returns the literal that a segment means. A server decodes what it gets,
// so that to it /things%3Adelete is /things:delete: a route that guards the one
// must meet the other.
func (n *node) child(segment string) *node {
	if c := n.named(segment); c != nil || len(n.literals) == 0 || strings.IndexByte(segment, '%') < 0 {
		return c
	}
	decoded, err := url.PathUnescape(segment)
	if err != nil {
		return nil
	}
	return n.named(decoded)
}

func (n *node) named(segment string) *node {
	if n.index != nil {
		return n.index[segment]
	}
	for i := range n.literals {
		if n.literals[i].segment == segment {
			return n.literals[i].node
		}
	}
	return nil
}

func (n *node) step(a *asked, tail string, more bool) *RouteEntry {
	if more {
		return n.find(a, tail)
	}
	return pick(n.exact, a)
}

func pick(routes []*RouteEntry, a *asked) *RouteEntry {
	for _, e := range routes {
		if e.serves(a) && e.wanted(a.header) {
			return e
		}
	}
	return nil
}

// otherMethod is the bit that all methods share which have none of their own.
const otherMethod = 1 << 15

func methodBit(method string) uint16 {
	switch method {
	case "GET":
		return 1 << 0
	case "HEAD":
		return 1 << 1
	case "POST":
		return 1 << 2
	case "PUT":
		return 1 << 3
	case "PATCH":
		return 1 << 4
	case "DELETE":
		return 1 << 5
	case "OPTIONS":
		return 1 << 6
	}
	return otherMethod
}

// methodBits is a bit per method that a route names; none, and all are set.
func methodBits(methods []string) (b uint16) {
	if len(methods) == 0 {
		return ^uint16(0)
	}
	for _, m := range methods {
		b |= methodBit(m)
	}
	return b
}

func (e *RouteEntry) serves(a *asked) bool {
	return e.methods&a.bit != 0 && (a.bit != otherMethod || len(e.Methods) == 0 || slices.Contains(e.Methods, a.method))
}

func (e *RouteEntry) wanted(header func(string) string) bool {
	for _, h := range e.headers {
		if header == nil || header(h.name) != h.value {
			return false
		}
	}
	return true
}

// add puts a route into the tree of a host pattern ("" is any); the error names
// the route that it can't be told from.
func (r *router) add(host string, e *RouteEntry) error {
	var root *node
	switch suffix, wild := strings.CutPrefix(host, "*."); {
	case host == "":
		if r.any == nil {
			r.any = &node{}
		}
		root = r.any
	case wild:
		root = at(&r.wild, suffix)
	default:
		root = at(&r.exact, host)
	}
	n, list := root, (*[]*RouteEntry)(nil)
	segments := strings.Split(e.Path[1:], "/")
	for i, s := range segments {
		if i == len(segments)-1 && s == "*" {
			list = &n.prefix
			break
		}
		if strings.HasPrefix(s, "{") {
			if n.param == nil {
				n.param = &node{}
			}
			n = n.param
		} else {
			n = n.literal(s)
		}
	}
	if list == nil {
		list = &n.exact
	}
	for _, o := range *list {
		if o != e && ambiguous(o, e) {
			return fmt.Errorf("cannot be told from %s: same path, and a request may meet both", o.ID)
		}
	}
	*list = append(*list, e)
	slices.SortStableFunc(*list, func(a, b *RouteEntry) int {
		return cmp.Or(cmp.Compare(min(len(b.Methods), 1), min(len(a.Methods), 1)), cmp.Compare(len(b.headers), len(a.headers)))
	})
	return nil
}

// literal returns the node under a literal segment; a new one when there is none.
func (n *node) literal(segment string) *node {
	if c := n.named(segment); c != nil {
		return c
	}
	c := &node{}
	n.literals = append(n.literals, literal{segment, c})
	if len(n.literals) > few {
		if n.index == nil {
			n.index = map[string]*node{}
			for _, l := range n.literals {
				n.index[l.segment] = l.node
			}
		}
		n.index[segment] = c
	}
	return c
}

func at(m *map[string]*node, key string) *node {
	if *m == nil {
		*m = map[string]*node{}
	}
	if (*m)[key] == nil {
		(*m)[key] = &node{}
	}
	return (*m)[key]
}

// ambiguous reports whether two routes of one path rank alike and one request may
// meet both.
func ambiguous(a, b *RouteEntry) bool {
	if (len(a.Methods) == 0) != (len(b.Methods) == 0) || len(a.headers) != len(b.headers) {
		return false
	}
	if len(a.Methods) > 0 && !slices.ContainsFunc(a.Methods, func(m string) bool { return slices.Contains(b.Methods, m) }) {
		return false
	}
	for name, v := range a.Headers {
		if w, both := b.Headers[name]; both && v != w {
			return false
		}
	}
	return true
}

// headerWant is one condition on a header.
type headerWant struct{ name, value string }

// checkPattern reports what is wrong with a route's path.
func checkPattern(p string) error {
	if p == "" || p[0] != '/' {
		return fmt.Errorf("%.80q: want a path that starts with /", p)
	}
	segments := strings.Split(p[1:], "/")
	for i, s := range segments {
		last := i == len(segments)-1
		switch {
		case s == "*" && last:
		case strings.HasPrefix(s, "{"):
			if !strings.HasSuffix(s, "}") || !mintmark.IsName(s[1:len(s)-1]) {
				return fmt.Errorf("%.80q: segment %.40q: want {name}", p, s)
			}
		case strings.ContainsAny(s, "{}*%"):
			return fmt.Errorf("%.80q: segment %.40q: {name} and * stand for whole segments, * only as the last, and %% is not allowed: use {name}", p, s)
		case s == "" && !last, dots(s), !PathOK("/" + s):
			return fmt.Errorf("%.80q: segment %.40q would never be matched: see the rule for paths", p, s)
		}
	}
	return nil
}
