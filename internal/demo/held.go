package demo

import (
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"
	"time"
)

// held is a token in a client's hands, with what the client can tell of it.
type held struct {
	access  string
	refresh string
	scopes  []string
	minted  string // release in the mark, "" when opaque
	aud     []string
	expires time.Time
	renew   time.Time // when to renew: 60 to 80 % of its life, spread by client
}

// Harm is what makes a token harmful, in the demo's story.
const (
	harmScope    = "orders.admin"
	harmAudience = "https://payroll.example"
	// newAudience is of the shape that only the candidate knows.
	newAudience = "https://orders-v2.example"
)

// harmful reports whether the client was handed more than it should have, or what
// the stable release can't take.
func (h *held) harmful() bool {
	return slices.Contains(h.scopes, harmScope) || slices.Contains(h.aud, harmAudience) || slices.Contains(h.aud, newAudience)
}

// look reads a JWT's payload without verifying it: the client's own view.
func (h *held) look() {
	parts := strings.Split(h.access, ".")
	if len(parts) != 3 {
		return
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return
	}
	var c struct {
		Aud   any    `json:"aud"`
		Scope string `json:"scope"`
		Mark  struct {
			Release string `json:"release"`
		} `json:"mintmark"`
	}
	if json.Unmarshal(raw, &c) != nil {
		return
	}
	h.minted = c.Mark.Release
	if c.Scope != "" {
		h.scopes = strings.Fields(c.Scope)
	}
	switch a := c.Aud.(type) {
	case string:
		h.aud = []string{a}
	case []any:
		for _, v := range a {
			if s, ok := v.(string); ok {
				h.aud = append(h.aud, s)
			}
		}
	}
}
