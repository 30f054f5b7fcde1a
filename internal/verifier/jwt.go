package verifier

import (
	"context"
	"strings"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/bus"
	"github.com/mintmark/mintmark/internal/epoch"
	"github.com/mintmark/mintmark/internal/jose"
)

// jwt verifies a compact JWS: iss and kid choose among the keys of the epoch
// (RFC 8725 §3.8), the key pins the algorithm.
func (v *Verifier) jwt(ctx context.Context, snap *epoch.Snapshot, d digest, value []byte, now time.Time, out *Verified) mintmark.Code {
	c, err := out.parse.Parse(value)
	if err != nil {
		return jose.Code(err)
	}
	claims, err := out.parse.Claims(c.Payload, jose.Names{})
	if err != nil {
		return jose.Code(err)
	}
	if err := claims.Complete(); err != nil {
		return jose.Code(err)
	}
	if claims.Issuer == snap.Table.Authority() {
		return v.own(snap, d, &c, &claims, now, out)
	}
	i := snap.Table.Issuer(claims.Issuer)
	if i == nil {
		return mintmark.CodeIssuerUnknown
	}
	if !i.Believed(now.Unix()) {
		return mintmark.CodeStateUnknown
	}
	return v.foreign(ctx, snap, i, d, &c, now, out)
}

// own verifies a JWT of our authority (RFC 9068 §4).
func (v *Verifier) own(snap *epoch.Snapshot, d digest, c *jose.Compact, claims *jose.Claims, now time.Time, out *Verified) mintmark.Code {
	k := snap.Table.OwnKey(c.Header.KeyID)
	if k == nil {
		return mintmark.CodeKeyUnknown
	}
	// typ keeps id_tokens and other JWTs of ours from passing as access tokens;
	// so does the key's use.
	if c.Header.Type != "at+jwt" || !k.Allows("access") {
		return mintmark.CodeMalformed
	}
	if err := k.JOSE.Check(c); err != nil {
		return jose.Code(err)
	}
	// An internal token has lost the binding of the one that it stands in for: what
	// a server got must not come back through a gateway.
	if claims.ID == "" || claims.Mark.Release == "" || claims.Internal {
		return mintmark.CodeMalformed
	}
	t := &out.Token
	claims.Fill(t, mintmark.KindAccessJWT, k.ID)
	t.Claims = out.parse.Further(claims, jose.Names{})
	v.remember(d, t, byOwnKey, k.Tag(), snap.Table, 0, now, out)
	return mintmark.CodeNone
}

// foreign verifies another issuer's JWT and marks it by rule.
func (v *Verifier) foreign(ctx context.Context, snap *epoch.Snapshot, i *epoch.IssuerEntry, d digest, c *jose.Compact, now time.Time, out *Verified) mintmark.Code {
	if !i.TypeOK(c.Header.Type) {
		return mintmark.CodeMalformed
	}
	k := i.Key(c.Header.KeyID)
	if k == nil {
		// Control may fetch the key; once we have applied what it answers the
		// caller verifies again.
		reply, err := v.pull.key(ctx, bus.KeyRequest{V: 1, Issuer: i.Name, KeyID: strings.Clone(c.Header.KeyID)}, now)
		if err != nil {
			return mintmark.CodeStateUnknown
		}
		out.AsOf = reply.AsOf
		return mintmark.CodeKeyUnknown
	}
	if err := k.JOSE.Check(c); err != nil {
		return jose.Code(err)
	}
	claims, err := out.parse.Claims(c.Payload, i.Names())
	if err != nil {
		return jose.Code(err)
	}
	t := &out.Token
	claims.Fill(t, mintmark.KindForeign, k.ID)
	identity := claims.ID
	if identity == "" {
		identity = "payload\n" + c.Payload // verified, and has one spelling
	}
	t.ID = epoch.ForeignID(i.Issuer.Issuer, identity)
	t.Mark.Release = epoch.MarkFor(i.Marks, c.Header.KeyID, func(name string) string {
		value, _ := claims.Lookup(name)
		s, _ := value.Str()
		return s
	}, t.IssuedAt)
	t.Claims = out.parse.Further(&claims, i.Names())
	until := int64(0)
	if i.StatusList {
		var code mintmark.Code
		if until, code = v.status(ctx, i, &claims, now); code != mintmark.CodeNone {
			return code
		}
	}
	v.remember(d, t, byIssuer, i.Tag(), snap.Table, until, now, out)
	out.First = true
	return mintmark.CodeNone
}
