package gateway

import (
	"net/http"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/health"
)

// Meter is told what became of each request that was decided, after its answer; see
// exposure.Meter. It must not keep o.
type Meter interface {
	Observe(o *health.Observed)
}

// outcome is what an exchange came to, for the Meter.
type outcome struct {
	seen     health.Observed // handed to the Meter: part of the exchange, so that it costs no allocation
	code     mintmark.Code   // of the refusal
	upstream int             // status that the release answered
	took     time.Duration   // until it did
	cut      bool            // the answer broke off, and not by the client

	// Of a service with a shadow rollout: for which side the request counts, and its
	// copy until that is sent.
	arm    arm
	copied *shadowCopy
}

// answered notes the release's answer.
func (x *exchange) answered(status int) {
	if x.g.cfg.Meter != nil {
		x.met.upstream, x.met.took = status, x.g.cfg.Now().Sub(x.start)
	}
}

// observe tells the Meter. What no route took it is not told of: it concerns no
// service.
func (x *exchange) observe() {
	d, m := &x.d, &x.met
	if d.Snapshot == nil || d.Verdict.Route == nil || m.arm != armStable && d.Verdict.Route.Service.Split.Mirror != nil {
		return // or it counts for neither side, or its copy does
	}
	tunnelCut := m.upstream == http.StatusSwitchingProtocols && x.status != http.StatusSwitchingProtocols
	m.seen = health.Observed{
		Snapshot: d.Snapshot, Route: d.Verdict.Route, Served: d.Verdict.Release, Token: d.Token, Peer: x.facts.Peer,
		Code: m.code, Upstream: m.upstream, Status: x.status, Method: x.r.Method, Latency: m.took,
		Cut: tunnelCut || m.cut && x.r.Context().Err() == nil, Now: x.start,
	}
	x.g.cfg.Meter.Observe(&m.seen)
}
