package authority

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/epoch"
)

// Built-in services: the admin API, and userinfo for clients that ask for
// identity only. They need no policy document and no gateway.
const (
	adminService    = "mintmark-admin"
	identityService = "mintmark-identity"
	adminRelease    = mintmark.ReleaseID(adminService + "/builtin")
)

// AdminScopes are the scopes of the admin API, weakest first.
func AdminScopes() []string {
	return []string{"admin:gate", "admin:pipeline", "admin:viewer", "admin:operator", "admin:security", "admin:admin"}
}

// claimRoles is the claim of a user that names the roles that may be had at the
// admin API: to sign in at an administrative client gives none.
const claimRoles = "mintmark_roles"

// roleScopes keeps the admin scopes of a user's roles. Without a user (another
// issuer's subject, say) there are none.
func roleScopes(scopes []string, user map[string]json.RawMessage) []string {
	var roles []string
	if json.Unmarshal(user[claimRoles], &roles) != nil {
		roles = nil
	}
	return slices.DeleteFunc(scopes, func(s string) bool {
		role, ok := strings.CutPrefix(s, "admin:")
		return !ok || !slices.Contains(roles, role)
	})
}

// view is the state that one decision is made against. Revocations and cohorts are
// the current ones; the shape that is minted is one that every leased gateway has
// accepted.
type view struct {
	cur, settled *epoch.Snapshot
	// host and header are of the request that asks for a token; empty and nil for
	// none. They matter to previews only.
	host   string
	header func(string) string
}

// asked is the view of a token request, which may ask for a preview of a candidate
// by a header, a cookie or the host that the rollout names.
func (v view) asked(req *tokenRequest) view {
	v.host, v.header = req.host, req.header
	return v
}

func (a *Authority) view() (view, error) {
	cur := a.d.State.Current()
	if cur == nil || cur.Table == nil || cur.Revoked == nil {
		return view{}, ErrNotReady
	}
	settled := a.d.State.Settled()
	if settled == nil || settled.Table == nil {
		settled = cur
	}
	return view{cur: cur, settled: settled}, nil
}

// standing is the one judgement of a token of ours, by everything but its own
// value and binding: expiry, key, revocations, and what became of its release.
// Stored states (superseded, and what a revocation without a rule did) are the
// caller's row's, see standingRow.
func (v view) standing(t *mintmark.Token, now time.Time) mintmark.Code {
	if t.ExpiredAt(now, 0) {
		return mintmark.CodeExpired
	}
	if t.NotBefore != 0 && now.Unix() < t.NotBefore {
		return mintmark.CodeNotYetValid
	}
	return v.covered(t, now)
}

// covered is standing but for time: a refresh token's predecessor is asked about
// after its own end.
func (v view) covered(t *mintmark.Token, now time.Time) mintmark.Code {
	if code := v.revoked(t); code != mintmark.CodeNone {
		return code
	}
	fate := v.cur.Table.DisposeByArm(t, now.Unix())
	if fate.Disposition == mintmark.Revoke && (t.Kind != mintmark.KindRefresh || !shapeClasses[fate.Class]) {
		return mintmark.CodeReleaseRetired
	}
	return mintmark.CodeNone
}

// shapeClasses are the reasons to refuse a token that lie in its shape alone. A
// refresh token has none: whatever release minted it, what is minted from it has
// the shape of the release that stays.
var shapeClasses = map[string]bool{epoch.ClassUnmapped: true, "none": true}

// revoked is what the revocations in force alone say: all that can be said of a
// token about to be minted, whose release was chosen a moment ago.
func (v view) revoked(t *mintmark.Token) mintmark.Code {
	fact := v.cur.Revoked.Find(t)
	switch {
	case fact == nil:
		return mintmark.CodeNone
	case fact.Action == mintmark.ActionSuspend:
		return mintmark.CodeSuspended
	}
	return mintmark.CodeRevoked
}

// standingRow is standing for a token that the ledger knows.
func (v view) standingRow(t *mintmark.Token, state mintmark.TokenState, now time.Time) mintmark.Code {
	switch state {
	case mintmark.StateIssued, mintmark.StateActive:
		return v.standing(t, now)
	case mintmark.StateSuspended:
		return mintmark.CodeSuspended
	case mintmark.StateExpired:
		return mintmark.CodeExpired
	case mintmark.StateSuperseded:
		return mintmark.CodeSuperseded
	}
	return mintmark.CodeRevoked
}

// mintOf returns the mint policy of a release as settled, else as current; nil
// when it is unknown.
func (v view) mintOf(release mintmark.ReleaseID) *epoch.Mint {
	for _, s := range []*epoch.Snapshot{v.settled, v.cur} {
		if r := s.Table.Release(release); r != nil {
			return &r.Mint
		}
	}
	return nil
}

// target decides which service a token is for and which release's policy mints
// it. cohort is the subject, or the client for a token of its own.
func (a *Authority) target(v view, c *Client, targets []string, cohort string, identity bool) (target, error) {
	var audience string
	switch {
	case len(targets) == 1:
		audience = targets[0]
	case len(targets) > 1:
		return target{}, refuse("invalid_target", "ask for one resource at a time")
	case len(c.Audiences) > 0:
		audience = c.Audiences[0]
	case identity:
		audience = a.cfg.Issuer
	default:
		if s := v.cur.Table.Services(); len(s) == 1 && len(s[0].Audience) > 0 {
			audience = s[0].Audience[0]
		} else {
			return target{}, refuse("invalid_target", "say which resource the token is for")
		}
	}
	if audience == a.AdminAudience() || audience == a.cfg.Issuer {
		return a.builtin(c, audience)
	}
	s := v.cur.Table.ServiceForAudience(audience)
	if s == nil {
		if s = v.cur.Table.Service(audience); s == nil || len(s.Audience) == 0 {
			return target{}, refuse("invalid_target", "the resource is not known here")
		}
		audience = s.Audience[0] // asked for by the service's name
	}
	if !c.mayAsk(audience) && !c.mayAsk(s.Name) {
		return target{}, refuse("invalid_target", "the resource is not allowed to this client")
	}
	return v.under(s, c.ID, cohort), nil
}

// under picks the release and its policy. A candidate that not every leased
// gateway knows yet mints nothing: its cohort goes on with the stable release
// (accept before mint). A release that was taken back is no longer anybody's arm
// in the current table, so it stops minting at its row.
func (v view) under(s *epoch.ServiceEntry, client mintmark.ClientID, cohort string) target {
	arm := s.Arm(cohort)
	if s.Split.Preview != nil && (s.Previews(v.host, v.header) || s.PreviewsFor(string(client), cohort)) {
		arm = s.Candidate
	}
	for _, r := range []*epoch.ReleaseEntry{arm, s.Stable} {
		if r == nil {
			continue
		}
		if known := v.settled.Table.Release(r.ID); known != nil {
			return target{s.Name, r.ID, &known.Mint, v.settled.Epoch, s.Stable.Mint.Audience, &about{snap: v.cur, service: s}}
		}
	}
	// The service itself is new: nothing minted for it is in anybody's hands yet.
	return target{s.Name, s.Stable.ID, &s.Stable.Mint, v.cur.Epoch, s.Stable.Mint.Audience, &about{snap: v.cur, service: s}}
}

// builtin returns the target of a built-in service. The admin API must be named
// among the client's audiences: it is nobody's default.
func (a *Authority) builtin(c *Client, audience string) (target, error) {
	m := &epoch.Mint{
		Policy: "builtin", Version: 1, Format: "jwt", Alg: a.cfg.Algs[0], Audience: []string{audience},
		AccessSeconds: 900, RefreshSeconds: 12 * 3600, GraceSeconds: 30,
	}
	name := identityService
	if audience == a.AdminAudience() {
		if !slices.Contains(c.Audiences, audience) {
			return target{}, refuse("invalid_target", "the resource is not allowed to this client")
		}
		name, m.Scopes = adminService, AdminScopes()
	}
	return target{name, mintmark.NewReleaseID(name, "builtin"), m, 0, m.Audience, nil}, nil
}
