package authority

import (
	"context"
	"time"

	"github.com/mintmark/mintmark/internal/epoch"
	"github.com/mintmark/mintmark/internal/health"
)

// Meter is told how subjects fare with services in a rollout; see exposure.Meter.
type Meter interface {
	// Subject notes that something happened to a subject (without one, the client)
	// at a service; bad are the metrics by which it fared badly, as bits by place.
	Subject(snap *epoch.Snapshot, s *epoch.ServiceEntry, subject string, bad uint32, now time.Time)
}

type noMeter struct{}

func (noMeter) Subject(*epoch.Snapshot, *epoch.ServiceEntry, string, uint32, time.Time) {}

// about is whom and what a request turned out to be about, as far as it came.
type about struct {
	snap    *epoch.Snapshot
	service *epoch.ServiceEntry // nil: not known, or none of the gateways'
	subject string
	reused  bool // a superseded refresh token
}

// concerns notes what a request is about.
func (r *tokenRequest) concerns(v view, service, subject string) {
	r.about.snap, r.about.service, r.about.subject = v.cur, v.cur.Table.Service(service), subject
}

// measure tells the meter how a request of the token endpoint went. What failed
// before its service was known says nothing about a release, and neither does what
// the client itself did wrong.
func (a *Authority) measure(ctx context.Context, req *tokenRequest, typ string, err error) {
	if ctx.Err() != nil {
		return // it may still be decided, for somebody who shares it
	}
	at := &req.about
	if at.service == nil {
		return
	}
	subject := at.subject
	if subject == "" {
		subject = string(req.client.ID)
	}
	place := health.PlaceIssuanceFailed
	if typ == GrantRefresh {
		place = health.PlaceRefreshFailed
	}
	var bad uint32
	if err != nil && telling(err) {
		bad = 1 << place
	}
	if at.reused {
		bad |= 1 << health.PlaceReused
	}
	a.d.Meter.Subject(at.snap, at.service, subject, bad, a.d.Now())
}

// telling reports whether a failure says something about the release.
func telling(err error) bool {
	switch asRefusal(err).Code {
	case "invalid_request", "invalid_client", "unauthorized_client", "authorization_pending", "slow_down",
		"invalid_dpop_proof", "use_dpop_nonce", "unsupported_grant_type":
		return false
	}
	return true
}
