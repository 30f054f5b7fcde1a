package oauth

import (
	"errors"
	"time"

	"github.com/mintmark/mintmark/internal/jose"
)

// ErrAssertion: a JWT assertion does not hold (RFC 7523 §3).
var ErrAssertion = errors.New("oauth: assertion refused")

// ClientAssertionType is the client_assertion_type of RFC 7523 §2.2.
const ClientAssertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

const (
	maxAssertionAge = time.Hour
	maxAssertionID  = 256
)

// Assertion is a JWT assertion, read and not yet believed.
type Assertion struct {
	Claims  jose.Claims
	compact jose.Compact
}

// ParseAssertion reads an assertion, so that its issuer's keys can be found.
func ParseAssertion(text string) (Assertion, error) {
	c, err := jose.Parse([]byte(text))
	if err != nil {
		return Assertion{}, ErrAssertion
	}
	claims, err := jose.ParseClaims(c.Payload, jose.Names{})
	if err != nil || claims.Issuer == "" || claims.Subject == "" {
		return Assertion{}, ErrAssertion
	}
	return Assertion{claims, c}, nil
}

// AssertionCheck is what an assertion is held against.
type AssertionCheck struct {
	// Keys are the issuer's. With a kid in the assertion only that key is tried.
	Keys []*jose.Key
	// Audience are the values that name us: the issuer identifier, and the
	// endpoint's URL for those who still send it.
	Audience []string
	Now      time.Time
	Skew     time.Duration
	// Client demands iss = sub, for client authentication (RFC 7523 §3).
	Client bool
}

// Check verifies the assertion. It must have exactly one audience, which is us:
// with several, another server could replay it here. exp may be an hour away at
// the most, and jti must be there: the caller keeps it single until exp.
func (a *Assertion) Check(want AssertionCheck) error {
	c := &a.Claims
	now := want.Now
	exp, nbf, iat := time.Unix(c.Expires, 0), time.Unix(c.NotBefore, 0), time.Unix(c.IssuedAt, 0)
	switch {
	case want.Client && c.Issuer != c.Subject,
		c.ID == "" || len(c.ID) > maxAssertionID,
		len(c.Audience) != 1 || !contains(want.Audience, c.Audience[0]),
		c.Expires == 0 || !now.Add(-want.Skew).Before(exp),
		exp.Sub(now) > maxAssertionAge+want.Skew,
		c.NotBefore != 0 && now.Add(want.Skew).Before(nbf),
		c.IssuedAt != 0 && now.Add(want.Skew).Before(iat),
		// An access token of ours is no assertion (RFC 8725 §3.11).
		a.compact.Header.Type == "at+jwt" || a.compact.Header.Type == "dpop+jwt":
		return ErrAssertion
	}
	for _, k := range want.Keys {
		if kid := a.compact.Header.KeyID; kid != "" && kid != k.ID() {
			continue
		}
		if k.Check(&a.compact) == nil {
			return nil
		}
	}
	return ErrAssertion
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}
