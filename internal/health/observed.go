package health

import (
	"net/netip"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/epoch"
)

// Observed is what became of one request at a gateway. All fields are borrowed for
// the call that takes it.
type Observed struct {
	// Snapshot that the request was decided by.
	Snapshot *epoch.Snapshot
	Route    *epoch.RouteEntry   // nil: nothing matched
	Served   *epoch.ReleaseEntry // nil: no release was chosen
	Token    *mintmark.Token     // nil: nobody was identified
	Peer     netip.Addr          // of the client
	Code     mintmark.Code       // why it was refused; empty when it was admitted
	Upstream int                 // status that the release answered; 0: it did not
	Status   int                 // status that the client got; 0: none
	Method   string              //
	Latency  time.Duration       // from arrival until the answer was relayed
	Cut      bool                // the answer or stream ended abruptly, not by the client
	Now      time.Time           //
}

// Key returns the key of the subject that the request counts for, under the
// service's salt: the token's subject, without one its client, on public routes
// the peer's address, as the cohort that served it was chosen. False when there is
// none of them.
func (o *Observed) Key(s *epoch.ServiceEntry) (uint64, bool) {
	switch who, address := o.Who(); {
	case who != "":
		return s.Key(who), true
	case address.IsValid():
		a := address.As16()
		return s.KeyOf(a[:]), true
	}
	return 0, false
}

// Who says for whom the request counts: a name, or else an address.
func (o *Observed) Who() (string, netip.Addr) {
	if t := o.Token; t != nil {
		if t.Subject != "" {
			return t.Subject, netip.Addr{}
		}
		return string(t.Client), netip.Addr{}
	}
	if o.Route != nil && o.Route.Public && o.Peer.IsValid() {
		return "", o.Peer.Unmap()
	}
	return "", netip.Addr{}
}

// Failures returns the metrics of the catalogue by which the request is bad, as
// bits by place. watch may be nil.
func (o *Observed) Failures(watch *epoch.Watch) (bad uint32) {
	if o.Code != mintmark.CodeNone {
		if p, ok := ClassOf(o.Code); ok {
			bad |= 1 << p
		}
	}
	switch {
	case o.Upstream >= 500:
		bad |= 1 << PlaceServerError
	case (o.Upstream == 401 || o.Upstream == 403) && o.Token != nil:
		bad |= 1 << PlaceUpstreamRefused
	}
	if o.Cut {
		bad |= 1 << PlaceCutOff
	}
	if watch != nil && o.Upstream != 0 && o.Upstream < 500 && o.Upstream != 101 {
		us := o.Latency.Microseconds()
		for i, limit := range watch.LatencyUS {
			if us >= limit {
				bad |= 1 << (PlaceLatencyP50 + Place(i))
			}
		}
	}
	return bad
}
