package gateway

import (
	"net/http"
	"strings"

	"github.com/mintmark/mintmark/internal/epoch"
)

// unpreview takes off what asked for a preview: whoever holds its value reaches the
// candidate, and upstreams log what they get.
func (e *edit) unpreview(p *epoch.Preview) {
	if p.Header != "" {
		e.del(http.CanonicalHeaderKey(p.Header))
	}
	fields := e.h["Cookie"]
	if p.Cookie == "" || len(fields) == 0 {
		return
	}
	var kept []string
	for _, f := range fields {
		for pair := range strings.SplitSeq(f, ";") {
			pair = strings.TrimSpace(pair)
			if name, _, _ := strings.Cut(pair, "="); name != p.Cookie && pair != "" {
				kept = append(kept, pair)
			}
		}
	}
	if len(kept) == 0 {
		e.del("Cookie")
		return
	}
	e.set("Cookie", strings.Join(kept, "; "))
}
