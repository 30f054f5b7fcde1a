package authority

import (
	"encoding/json"
	"maps"
	"strings"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/jose"
)

// markClaim is the member "mintmark" of our access tokens.
type markClaim struct {
	Release mintmark.ReleaseID `json:"release,omitempty"`
	Policy  uint64             `json:"policy,omitempty"`
	Epoch   uint64             `json:"epoch,omitempty"`
	Seq     uint64             `json:"seq,omitempty"`
	Grant   mintmark.GrantID   `json:"grt,omitempty"`
	Family  mintmark.FamilyID  `json:"fam,omitempty"`
	Via     string             `json:"via,omitempty"`
	Origins []map[string]any   `json:"ori,omitempty"`
	// Internal is of what stands in behind a gateway: gateways refuse it.
	Internal bool `json:"int,omitempty"`
}

// accessClaims is the payload of an access token (RFC 9068 §2.2).
func accessClaims(t *mintmark.Token, extra map[string]json.RawMessage) map[string]any {
	m := make(map[string]any, 14+len(extra))
	for k, v := range maps.All(extra) {
		m[k] = v
	}
	m["iss"], m["sub"], m["client_id"] = t.Issuer, t.Subject, t.Client
	m["jti"], m["iat"], m["exp"] = t.ID, t.IssuedAt, t.Expires
	mark := markClaim{
		Release: t.Mark.Release, Policy: t.Mark.Policy, Epoch: t.Mark.Epoch, Seq: t.Mark.Seq, Grant: t.Grant, Family: t.Family,
		Origins: jose.Line(t), Internal: t.Kind == mintmark.KindInternal,
	}
	for i, id := range t.Via {
		if i > 0 {
			mark.Via += " "
		}
		mark.Via += string(id)
	}
	m["mintmark"] = mark
	if len(t.Audience) == 1 {
		m["aud"] = t.Audience[0]
	} else {
		m["aud"] = t.Audience
	}
	if len(t.Scopes) > 0 {
		m["scope"] = strings.Join(t.Scopes, " ")
	}
	if t.AuthTime != 0 {
		m["auth_time"] = t.AuthTime
	}
	if t.ACR != "" {
		m["acr"] = t.ACR
	}
	if t.Binding.Bound() {
		m["cnf"] = t.Binding
	}
	if t.Actor != "" {
		m["act"] = map[string]string{"sub": t.Actor}
	}
	return m
}
