package admission

import (
	"slices"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/epoch"
)

// Decide answers a request. The first of these that applies is the answer; what a
// gateway can know for ever comes before what it can know only while it hears
// from control, so that a fenced route answers 503 to the latter, never 401:
//
//  1. no reading of the path, several credentials: invalid_request;
//     no route: no_route
//  2. public route: admitted, unless fenced
//  3. nothing presented: credentials_missing
//  4. verification refused: its code; a key or issuer that is unknown while the
//     route's state may be old is state_unknown
//  5. expired, not yet valid; binding invalid
//  6. control answered, or the token was minted, under a later state than the
//     pinned one: NeedCatchUp; beyond the head: token_malformed
//  7. revoked for good: token_revoked
//  8. route fenced: state_unknown
//  9. suspended: token_suspended
//  10. kind not taken here: policy_refused; issuer not accepted: issuer_unknown;
//     audience_mismatch; release taken back: release_retired
//  11. route demands a binding: binding_invalid; scope_insufficient;
//     authentication_insufficient
func Decide(r *Request) (v Verdict) {
	decide(r, &v)
	return v
}

// decide answers into v, which is zero.
func decide(r *Request, v *Verdict) {
	v.Route, v.RenewAfter = r.Route, -1
	if v.Route == nil {
		if v.Route = r.Snapshot.Table.Match(r.Method, r.Host, r.Path, r.Header); v.Route == nil {
			v.Code = mintmark.CodeNoRoute
			if !epoch.PathOK(r.Path) {
				v.Code = mintmark.CodeInvalidRequest
			}
			return
		}
	}
	if r.Scheme == SchemeSeveral && !v.Route.Public {
		v.Code = mintmark.CodeInvalidRequest
		return
	}
	v.Fenced = r.Fresh.Fenced(v.Route.Budget)
	if v.Route.Public {
		public(r, v)
		return
	}
	if r.Token == nil {
		unverified(r, v)
		return
	}
	if v.Code = intrinsic(r); v.Code != mintmark.CodeNone || behind(r, v) {
		return
	}
	if v.Code = revoked(r, v); v.Code != mintmark.CodeNone {
		return
	}
	if v.Code = policy(r, v); v.Code != mintmark.CodeNone {
		return
	}
	v.Allow = true
	hint(r, v)
}

// public admits without looking at a token. Where the request goes still depends
// on the state: a fenced gateway must not send it to a release taken back.
func public(r *Request, v *Verdict) {
	if v.Fenced {
		v.Code = mintmark.CodeStateUnknown
		return
	}
	s := v.Route.Service
	switch {
	case s.Split.Preview != nil && s.Previews(r.Host, r.Header):
		v.Release = s.Candidate
	case s.Candidate == nil || s.Split.Weight == 0:
		v.Release = s.Stable
	case r.Peer.IsValid():
		a := r.Peer.Unmap().As16()
		v.Release = s.ArmOf(s.CohortOf(a[:]))
	default:
		v.Release = s.Stable
	}
	v.Allow = true
}

// unverified answers when there is no verified token.
func unverified(r *Request, v *Verdict) {
	v.Code = r.Code
	switch r.Code {
	case mintmark.CodeNone:
		v.Code = mintmark.CodeCredentialsMissing
	case mintmark.CodeKeyUnknown, mintmark.CodeIssuerUnknown, mintmark.CodeStateUnknown:
		switch {
		case r.AsOf > r.Snapshot.Seq:
			v.Code, v.NeedCatchUp, v.NeedSeq = mintmark.CodeStateUnknown, true, r.AsOf
		case !r.Fresh.Leased: // a key that we have not heard of may be there by now
			v.Code = mintmark.CodeStateUnknown
		}
	}
}

// intrinsic judges what no state can change: time, and the token's own binding.
func intrinsic(r *Request) mintmark.Code {
	t, skew := r.Token, r.Skew
	if t.Kind == mintmark.KindForeign {
		if i := r.Snapshot.Table.Issuer(t.Issuer); i != nil {
			skew = time.Duration(i.SkewSeconds) * time.Second
		}
	}
	if t.Expires == 0 && t.Kind != mintmark.KindAPIKey {
		return mintmark.CodeMalformed
	}
	// Whole seconds decide as ExpiredAt does: exp has no fraction.
	past := r.Now.Unix()
	ahead := past
	if skew != 0 {
		past, ahead = r.Now.Add(-skew).Unix(), r.Now.Add(skew).Unix()
	}
	if t.Expires != 0 && past >= t.Expires {
		return mintmark.CodeExpired
	}
	if t.NotBefore > ahead {
		return mintmark.CodeNotYetValid
	}
	if t.Kind == mintmark.KindForeign && t.IssuedAt > ahead {
		return mintmark.CodeNotYetValid
	}
	return bound(r)
}

// bound checks that the proof that the token is bound to came with it (RFC 9449
// §7.1, RFC 8705 §3). A bound token presented as a bearer token is refused, and
// so is an unbound one with a proof: no downgrade in either direction.
func bound(r *Request) mintmark.Code {
	b := &r.Token.Binding
	if r.Scheme == SchemeDPoP {
		if r.ProofCode != mintmark.CodeNone {
			return r.ProofCode
		}
		if b.JKT == "" {
			return mintmark.CodeBinding
		}
	}
	if b.JKT != "" && (r.Scheme != SchemeDPoP || r.JKT != b.JKT) {
		return mintmark.CodeBinding
	}
	if b.X5T != "" && r.X5T != b.X5T {
		return mintmark.CodeBinding
	}
	return mintmark.CodeNone
}

// behind reports whether the token comes from a later state than the pinned one;
// v is the answer then.
func behind(r *Request, v *Verdict) bool {
	s := r.Snapshot
	if r.AsOf > s.Seq {
		v.Code, v.NeedCatchUp, v.NeedSeq = mintmark.CodeStateUnknown, true, r.AsOf
		return true
	}
	if !r.Token.Own() || r.Token.Mark.Epoch <= s.Epoch {
		return false
	}
	if r.Fresh.AtHead {
		v.Code = mintmark.CodeMalformed // no such epoch was ever committed
		return true
	}
	v.Code, v.NeedCatchUp, v.NeedEpoch = mintmark.CodeStateUnknown, true, r.Token.Mark.Epoch
	return true
}

// revoked judges by the revocations, and whether the route may judge at all by
// what can be taken back.
func revoked(r *Request, v *Verdict) mintmark.Code {
	fact := r.Memo.find(r.Snapshot.Revoked, r.Token)
	v.Revocation = fact
	switch {
	case fact != nil && fact.Action != mintmark.ActionSuspend:
		return mintmark.CodeRevoked
	case v.Fenced:
		return mintmark.CodeStateUnknown
	case fact != nil:
		return mintmark.CodeSuspended
	}
	return mintmark.CodeNone
}

// policy judges whether the service takes the token and the route is content with
// it, and chooses the release.
func policy(r *Request, v *Verdict) mintmark.Code {
	asked := serving(r, v.Route.Service)
	if p := r.Memo.pass(r, v.Route, asked); p != nil {
		v.Release, v.Fate = p.release, p.fate
		if code := binding(r, v); code != mintmark.CodeNone {
			return code
		}
		return authenticated(r, v)
	}
	if code := accepted(r, v, asked); code != mintmark.CodeNone {
		return code
	}
	if code := demands(r, v); code != mintmark.CodeNone {
		return code
	}
	r.Memo.passed(r, v, asked)
	return mintmark.CodeNone
}

// serving is the release for the subject's cohort, and the candidate for a preview
// of it; but a token that the candidate
// minted meets the candidate while there is one with traffic.
func serving(r *Request, s *epoch.ServiceEntry) *epoch.ReleaseEntry {
	t := r.Token
	if s.Candidate != nil && (s.Split.Weight > 0 || s.Split.Preview != nil) && t.Mark.Release == s.Candidate.ID {
		return s.Candidate
	}
	subject := t.Subject
	if subject == "" {
		subject = string(t.Client)
	}
	if s.Split.Preview != nil && (s.Previews(r.Host, r.Header) || s.PreviewsFor(string(t.Client), subject)) {
		return s.Candidate
	}
	return r.Memo.arm(s, subject)
}

// demands judges what the route asks beyond a valid token.
func demands(r *Request, v *Verdict) mintmark.Code {
	if code := binding(r, v); code != mintmark.CodeNone {
		return code
	}
	t, e := r.Token, v.Route
	for _, s := range e.Scopes {
		if !t.HasScope(s) {
			v.Scopes = e.Scopes
			return mintmark.CodeScope
		}
	}
	if len(e.ACR) > 0 && !slices.Contains(e.ACR, t.ACR) {
		v.ACR, v.MaxAge = e.ACR, e.MaxAge
		return mintmark.CodeAuthentication
	}
	return authenticated(r, v)
}

// binding judges whether the token is bound as the route demands.
func binding(r *Request, v *Verdict) mintmark.Code {
	e, b := v.Route, &r.Token.Binding
	if e.Bound != "" && (e.Bound == "any" && !b.Bound() || e.Bound == "dpop" && b.JKT == "" || e.Bound == "mtls" && b.X5T == "") {
		return mintmark.CodeBinding
	}
	return mintmark.CodeNone
}

// authenticated judges whether the subject authenticated recently enough (RFC 9470
// §4).
func authenticated(r *Request, v *Verdict) mintmark.Code {
	t, e := r.Token, v.Route
	if e.MaxAge > 0 && (t.AuthTime == 0 || r.Now.Unix()-t.AuthTime > e.MaxAge) {
		v.ACR, v.MaxAge = e.ACR, e.MaxAge
		return mintmark.CodeAuthentication
	}
	return mintmark.CodeNone
}

// hint says when to renew: after four fifths of the life, at once when the token
// lives on borrowed time.
func hint(r *Request, v *Verdict) {
	t := r.Token
	v.MustRenew = v.Fate.Renew
	if v.MustRenew {
		v.RenewAfter = 0
		return
	}
	if t.Expires == 0 || t.IssuedAt == 0 || t.Expires <= t.IssuedAt {
		return
	}
	v.RenewAfter = max(0, t.Expires-(t.Expires-t.IssuedAt)/5-r.Now.Unix())
}
