package gateway

import (
	"encoding/base64"
	"encoding/json"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/epoch"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/web"
)

// claims are a token's claims as the serving release reads them.
type claims struct {
	members map[string]json.RawMessage
}

// readClaims takes the token's facts and further claims, through a map of shapes
// when there is one: renamed first, then dropped, then filled with defaults.
func readClaims(t *mintmark.Token, m *epoch.ShapeMap) claims {
	c := claims{members: map[string]json.RawMessage{}}
	if len(t.Claims) > 0 {
		// The verifier has read them strictly already; what is not an object
		// yields no claims.
		if json.Unmarshal(t.Claims, &c.members) != nil || c.members == nil {
			c.members = map[string]json.RawMessage{}
		}
	}
	c.put("sub", t.Subject)
	c.put("iss", t.Issuer)
	c.put("client_id", string(t.Client))
	c.put("scope", identity.Joined(t.Scopes))
	c.put("acr", t.ACR)
	if m == nil {
		return c
	}
	moved := make(map[string]json.RawMessage, len(m.Rename))
	for from, to := range m.Rename {
		if v, ok := c.members[from]; ok {
			moved[to] = v
			delete(c.members, from)
		}
	}
	for name, v := range moved {
		c.members[name] = v
	}
	for _, name := range m.Drop {
		delete(c.members, name)
	}
	for name, v := range m.Default {
		if _, ok := c.members[name]; !ok {
			c.members[name] = v
		}
	}
	return c
}

func (c claims) put(name, value string) {
	if value == "" {
		return
	}
	if b, err := json.Marshal(value); err == nil {
		c.members[name] = b
	}
}

// header returns a claim as a header's value: a string's characters, else the
// JSON text; "" when it is absent.
func (c claims) header(name string) string {
	raw, ok := c.members[name]
	if !ok {
		return ""
	}
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return web.SafeValue(s)
	}
	return web.SafeValue(string(raw))
}

// encoded returns all claims as base64url JSON.
func (c claims) encoded() string {
	b, err := json.Marshal(c.members)
	if err != nil {
		return ""
	}
	return base64.RawURLEncoding.EncodeToString(b)
}
