package jose

import (
	"slices"
	"strings"

	"github.com/mintmark/mintmark"
)

// The member "ori" of ClaimMark tells of the tokens that "via" names, in the same
// order. Each is an object of what differs from the token that was made of it: most
// of a line has the same subject, grant and family, and a token travels with every
// request. New members may be added; a verifier passes over those it does not know.
const (
	memberRelease  = "rel"
	memberKey      = "kid"
	memberSeq      = "seq"
	memberClient   = "cid"
	memberSubject  = "sub"
	memberGrant    = "grt"
	memberFamily   = "fam"
	memberScope    = "scp" // separated by spaces
	memberAudience = "aud" // an array
	memberIssuer   = "iss" // only of a token of another issuer
	memberIssued   = "iat" // likewise
)

// Line is the claim "ori" of t: nil when t was not exchanged from anything.
func Line(t *mintmark.Token) []map[string]any {
	var out []map[string]any
	near := mintmark.OriginOf(t)
	for i := range t.Origins {
		o := &t.Origins[i]
		m := map[string]any{}
		differ := func(name string, was, is any) {
			if was != is {
				m[name] = is
			}
		}
		differ(memberRelease, near.Mark.Release, o.Mark.Release)
		differ(memberKey, near.Mark.Key, o.Mark.Key)
		differ(memberSeq, near.Mark.Seq, o.Mark.Seq)
		differ(memberClient, near.Client, o.Client)
		differ(memberSubject, near.Subject, o.Subject)
		differ(memberGrant, near.Grant, o.Grant)
		differ(memberFamily, near.Family, o.Family)
		differ(memberScope, strings.Join(near.Scopes, " "), strings.Join(o.Scopes, " "))
		differ(memberIssuer, near.Issuer, o.Issuer)
		differ(memberIssued, near.IssuedAt, o.IssuedAt)
		if !slices.Equal(near.Audience, o.Audience) {
			m[memberAudience] = append([]string{}, o.Audience...)
		}
		out = append(out, m)
		near = *o
	}
	return out
}

// origin is one object of the claim, and which of its members it has.
type origin struct {
	mintmark.Origin
	said uint16
}

// Bits of origin.said.
const (
	saidRelease = 1 << iota
	saidKey
	saidSeq
	saidClient
	saidSubject
	saidGrant
	saidFamily
	saidScope
	saidAudience
	saidIssuer
	saidIssued
)

// parseLine reads the claim. What is said twice in one object is refused by the
// scanner, as everywhere.
func parseLine(v Value) ([]origin, error) {
	if v.Kind() != Array {
		return nil, errClaimType
	}
	var out []origin
	for e := range v.Elements {
		if len(out) == mintmark.MaxVia {
			return nil, errClaimMany
		}
		if e.Kind() != Object {
			return nil, errClaimType
		}
		var o origin
		for s := e.Members(); s.Next(); {
			if err := o.read(s.Name(), s.Value()); err != nil {
				return nil, err
			}
		}
		out = append(out, o)
	}
	return out, nil
}

func (o *origin) read(name string, v Value) error {
	var r reader
	switch name {
	case memberRelease:
		o.said |= saidRelease
		r.text((*string)(&o.Mark.Release), v)
	case memberKey:
		o.said |= saidKey
		r.text(&o.Mark.Key, v)
	case memberSeq:
		o.said |= saidSeq
		r.number(&o.Mark.Seq, v)
	case memberClient:
		o.said |= saidClient
		r.text((*string)(&o.Client), v)
	case memberSubject:
		o.said |= saidSubject
		r.text(&o.Subject, v)
	case memberGrant:
		o.said |= saidGrant
		r.text((*string)(&o.Grant), v)
	case memberFamily:
		o.said |= saidFamily
		r.text((*string)(&o.Family), v)
	case memberScope:
		o.said |= saidScope
		o.Scopes, _, r.err = lists(v, Value{}, nil)
	case memberAudience:
		o.said |= saidAudience
		_, o.Audience, r.err = lists(Value{}, v, nil)
	case memberIssuer:
		o.said |= saidIssuer
		r.text(&o.Issuer, v)
	case memberIssued:
		o.said |= saidIssued
		var seconds uint64
		r.number(&seconds, v)
		o.IssuedAt = int64(min(seconds, maxDate))
	}
	return r.err
}

// origins completes what was left out with what the nearer token says.
func origins(t *mintmark.Token, line []origin) []mintmark.Origin {
	out := make([]mintmark.Origin, len(line))
	near := mintmark.OriginOf(t)
	for i := range line {
		o, s := near, &line[i]
		take(s.said&saidRelease, &o.Mark.Release, s.Mark.Release)
		take(s.said&saidKey, &o.Mark.Key, s.Mark.Key)
		take(s.said&saidSeq, &o.Mark.Seq, s.Mark.Seq)
		take(s.said&saidClient, &o.Client, s.Client)
		take(s.said&saidSubject, &o.Subject, s.Subject)
		take(s.said&saidGrant, &o.Grant, s.Grant)
		take(s.said&saidFamily, &o.Family, s.Family)
		take(s.said&saidScope, &o.Scopes, s.Scopes)
		take(s.said&saidAudience, &o.Audience, s.Audience)
		take(s.said&saidIssuer, &o.Issuer, s.Issuer)
		take(s.said&saidIssued, &o.IssuedAt, s.IssuedAt)
		out[i], near = o, o
	}
	return out
}

func take[T any](said uint16, into *T, value T) {
	if said != 0 {
		*into = value
	}
}
