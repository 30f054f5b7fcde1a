package authority

import (
	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/health"
	"github.com/mintmark/mintmark/internal/rollout"
)

// shadow judges a token that a candidate mints by the stable release too: whether a
// rollback would have to take it back, because of a scope or an audience that the
// stable release could not have minted, or because it could not be read, or because
// no route of the service would take it (rollout.ShadowOf). One such
// token is enough to fail a candidate. It is judged before it is durable: what is
// wrong is the release's policy, whatever becomes of this token.
func (a *Authority) shadow(t target, tok *mintmark.Token) {
	if t.judged == nil || tok.Kind == mintmark.KindInternal {
		return
	}
	s := t.judged.service
	if s.Candidate == nil || s.Split.Rollout == "" || t.release != s.Candidate.ID {
		return
	}
	if rollout.ShadowOf(s, tok).Stranded {
		a.d.Meter.Subject(t.judged.snap, s, tok.Subject, 1<<health.PlaceStranded, a.d.Now())
	}
}
