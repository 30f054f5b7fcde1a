package gateway

import (
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/forwarded"
	"github.com/mintmark/mintmark/internal/limit"
)

// limit turns an admitted decision into a refusal when its route's limit is
// reached.
func (dc *Decider) limit(d *Decision, now time.Time) {
	rl := d.Verdict.Route.RateLimit
	if rl == nil {
		return
	}
	who := ""
	if t := d.Token; t != nil {
		switch rl.By {
		case "token":
			who = "t" + string(t.ID)
		case "subject":
			if who = "s" + t.Subject; t.Subject == "" {
				who = "c" + string(t.Client)
			}
		case "client":
			who = "c" + string(t.Client)
		}
	}
	if who == "" {
		who = "a" + forwarded.Place(d.Query.Peer)
	}
	if wait := dc.limits.Take(limit.Key{Route: d.Verdict.Route.ID, Who: who}, rl.PerMinute, rl.Burst, now); wait > 0 {
		d.Verdict.Allow, d.Verdict.Code = false, mintmark.CodeRateLimited
		d.RetryAfter = wait
	}
}
