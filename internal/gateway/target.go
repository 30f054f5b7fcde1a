package gateway

import (
	"net/http"
	"strings"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/epoch"
)

// rewrite applies a path transformation to the path as it was sent.
func rewrite(path string, tr *epoch.Transform) string {
	if p := tr.StripPrefix; p != "" && strings.HasPrefix(path, p) {
		if rest := path[len(p):]; rest == "" || rest[0] == '/' || strings.HasSuffix(p, "/") {
			path = rest
		}
		if path == "" || path[0] != '/' {
			path = "/" + path
		}
	}
	if tr.AddPrefix != "" {
		path = strings.TrimSuffix(tr.AddPrefix, "/") + path
	}
	return path
}

// target returns the request's path as it was sent, without the query; false for
// forms of the request target that have no path, or whose path net/http reads
// differently from how it was sent, and for what HTTP/1 has no place for in a first
// line: HTTP/2 does, and it would look like a failure of the server's.
func target(r *http.Request) (string, bool) {
	if r.Method == http.MethodConnect || r.URL.Opaque != "" || r.Host == "" || !visible(r.Method) || !visible(r.Host) || !visible(r.URL.RawQuery) {
		return "", false
	}
	raw := r.RequestURI
	if raw == "" || raw[0] != '/' {
		// Absolute form (RFC 9112 §3.2.2): net/http has taken the host from it.
		raw = r.URL.EscapedPath()
		if raw == "" || raw[0] != '/' {
			return "", false
		}
	} else if q := strings.IndexByte(raw, '?'); q >= 0 {
		raw = raw[:q]
	}
	return raw, strings.IndexByte(raw, '#') < 0
}

// visible reports whether s has neither spaces nor control characters.
func visible(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] == 0x7f {
			return false
		}
	}
	return true
}

func isGRPC(h http.Header) bool {
	ct := h["Content-Type"]
	return len(ct) == 1 && strings.HasPrefix(ct[0], "application/grpc")
}

func canonical(name string) string { return http.CanonicalHeaderKey(name) }

func releaseID(s *epoch.ServiceEntry, i int) mintmark.ReleaseID {
	return mintmark.NewReleaseID(s.Name, s.Releases[i].Name)
}
