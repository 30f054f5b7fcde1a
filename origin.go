package mintmark

// Origin is what a token that another one was exchanged from was minted under: the
// facts by which revocations select. It is immutable once built.
//
// Its JSON form is kept in the ledger. Fields may be added, each optional; none
// changes its meaning.
type Origin struct {
	// Issuer and IssuedAt (Unix seconds) are of a token of another issuer; empty
	// and 0 for our own, which the sequence number in Mark tells the order of.
	Issuer   string   `json:"iss,omitempty"`
	IssuedAt int64    `json:"iat,omitempty"`
	Subject  string   `json:"sub,omitempty"`
	Client   ClientID `json:"client_id,omitempty"`
	Grant    GrantID  `json:"grant,omitempty"`
	Family   FamilyID `json:"family,omitempty"`
	Scopes   []string `json:"scopes,omitempty"`   // sorted, no duplicates
	Audience []string `json:"audience,omitempty"` // sorted, no duplicates
	// Mark is without policy version and epoch: nothing selects by them.
	Mark Mark `json:"mark"`
}

// OriginOf is what t's descendants remember of it.
func OriginOf(t *Token) Origin {
	o := Origin{
		Subject: t.Subject, Client: t.Client, Grant: t.Grant, Family: t.Family, Scopes: t.Scopes, Audience: t.Audience,
		Mark: Mark{Release: t.Mark.Release, Key: t.Mark.Key, Seq: t.Mark.Seq},
	}
	if !t.Own() {
		o.Issuer, o.IssuedAt = t.Issuer, t.IssuedAt
	}
	return o
}

// Descend returns the line of a token that is made of t: Via and Origins. It is
// one longer than t's own, and the caller sees to it that MaxVia is not passed.
func Descend(t *Token) ([]TokenID, []Origin) {
	via := append([]TokenID{t.ID}, t.Via...)
	origins := append([]Origin{OriginOf(t)}, t.Origins...)
	return via, origins
}

// Ancestor is the token Via[i], as far as revocations are concerned. Of an origin
// that t knows by its id alone (it was minted before Origins were kept) nothing is
// known but what t itself says.
func (t *Token) Ancestor(i int) Token {
	if i >= len(t.Origins) {
		a := *t
		a.ID, a.Via, a.Origins = t.Via[i], nil, nil
		return a
	}
	o := &t.Origins[i]
	a := Token{
		ID: t.Via[i], Kind: t.Kind, Issuer: t.Issuer, IssuedAt: t.IssuedAt, Subject: o.Subject, Client: o.Client, Grant: o.Grant,
		Family: o.Family, Scopes: o.Scopes, Audience: o.Audience, Mark: o.Mark,
	}
	if o.Issuer != "" {
		a.Kind, a.Issuer, a.IssuedAt = KindForeign, o.Issuer, o.IssuedAt
	}
	return a
}
