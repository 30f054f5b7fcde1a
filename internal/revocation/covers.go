package revocation

import (
	"errors"
	"fmt"
	"time"

	"github.com/mintmark/mintmark"
)

// Covers reports whether r takes back t: every condition of the selector holds
// and the token was issued within the cutoff. It is the one evaluation of a
// revocation in the program; every index is only a way to call it less often.
//
// A selector's window of issue time (IssuedFrom, IssuedTo) is what a person asked
// for; the cutoff is what it was resolved to at commit (see Resolve) and alone
// decides. Where no cutoff was resolved the window itself is compared with iat.
//
// A token that was exchanged from another one is covered by what covers that one,
// at any distance: every condition is then asked of the origin, with the origin's
// own scopes and its own place in time. So who takes back a token takes back what
// was made of it, though it be narrower, younger, or of another service.
//
// A token that does not say when it was issued is covered by every window: it
// cannot be shown to lie outside.
func Covers(r *mintmark.Revocation, t *mintmark.Token) bool {
	if covers(r, t) {
		return true
	}
	for i := range t.Via {
		if origin := t.Ancestor(i); covers(r, &origin) {
			return true
		}
	}
	return false
}

// covers is Covers without regard to where the token came from.
func covers(r *mintmark.Revocation, t *mintmark.Token) bool {
	s := &r.Selector
	switch {
	case s.Token != "" && s.Token != t.ID,
		s.Family != "" && s.Family != t.Family,
		s.Grant != "" && s.Grant != t.Grant,
		s.Subject != "" && s.Subject != t.Subject,
		s.Client != "" && s.Client != t.Client,
		s.Issuer != "" && s.Issuer != t.Issuer,
		s.Key != "" && s.Key != t.Mark.Key,
		s.Release != "" && s.Release != t.Mark.Release,
		s.Scope != "" && !t.HasScope(s.Scope),
		s.Audience != "" && !t.HasAudience(s.Audience):
		return false
	}
	if s.IsZero() {
		return false // no mistake revokes everything
	}
	c := r.Cutoff
	if c == (mintmark.Cutoff{}) {
		c = window(s)
	}
	return within(c, t)
}

// within compares a token's issue time with a cutoff, inclusive on both ends:
// our own tokens by issuance sequence number, others (and own ones that carry no
// number) by iat.
func within(c mintmark.Cutoff, t *mintmark.Token) bool {
	if t.Own() && t.Mark.Seq != 0 {
		return t.Mark.Seq >= c.FromSeq && (c.ToSeq == 0 || t.Mark.Seq <= c.ToSeq)
	}
	if t.IssuedAt == 0 {
		return true
	}
	return t.IssuedAt >= c.From && (c.To == 0 || t.IssuedAt <= c.To)
}

// window turns a selector's window into whole seconds, widened so that no token
// issued inside it is missed: iat is cut to the second below.
func window(s *mintmark.Selector) mintmark.Cutoff {
	var c mintmark.Cutoff
	if !s.IssuedFrom.IsZero() {
		c.From = s.IssuedFrom.Unix()
	}
	if !s.IssuedTo.IsZero() {
		c.To = ceil(s.IssuedTo)
	}
	return c
}

func ceil(t time.Time) int64 {
	if t.Nanosecond() != 0 {
		return t.Unix() + 1
	}
	return t.Unix()
}

// Until returns the cutoff of a fact committed at the given moment that spares
// what is issued afterwards: for own tokens up to issued, the issuance sequence
// number in force; for foreign ones up to the next whole second.
func Until(issued uint64, at time.Time) mintmark.Cutoff {
	return mintmark.Cutoff{ToSeq: issued, To: at.Unix() + 1}
}

// Resolve returns the cutoff of a selector's window. fromSeq is the first
// issuance sequence number at or after IssuedFrom, toSeq the last at or before
// IssuedTo, both from the ledger; they are ignored for ends that are not given.
// A window that ends before the first token is one that covers none of ours:
// pass toSeq 0 and it is bounded below every number.
func Resolve(s mintmark.Selector, fromSeq, toSeq uint64) mintmark.Cutoff {
	c := window(&s)
	if !s.IssuedFrom.IsZero() {
		c.FromSeq = fromSeq
	}
	if !s.IssuedTo.IsZero() {
		c.ToSeq = toSeq
		if toSeq == 0 {
			// 0 would mean unbounded. A reversed window covers nothing.
			c.FromSeq, c.ToSeq = ^uint64(0), 1
		}
	}
	return c
}

// ErrFact reports a revocation that cannot be put in force.
var ErrFact = errors.New("malformed revocation")

// Check reports whether a fact may be committed: it has an id, a known action and
// a selector that selects something.
func Check(r *mintmark.Revocation) error {
	switch {
	case r.ID == "":
		return fmt.Errorf("%w: no id", ErrFact)
	case r.Action != mintmark.ActionRevoke && r.Action != mintmark.ActionSuspend:
		return fmt.Errorf("%w %s: %v", ErrFact, r.ID, r.Action)
	}
	if err := r.Selector.Check(); err != nil {
		return fmt.Errorf("%w %s: %w", ErrFact, r.ID, err)
	}
	return nil
}
