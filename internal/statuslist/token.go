package statuslist

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/mintmark/mintmark/internal/jose"
)

// Names on the wire (draft §5.1, §8.1).
const (
	Type      = "statuslist+jwt"
	MediaType = "application/statuslist+jwt"
)

// MaxToken bounds a Status List Token in bytes: an array of MaxArray/2 that does
// not compress at all.
const MaxToken = 2 << 20

// Token is what a Status List Token says. Times are Unix seconds.
type Token struct {
	Issuer   string // iss; may be empty, the draft does not ask for it
	Subject  string // the list's own URI
	IssuedAt int64
	Expires  int64 // 0: says nothing
	TTL      int64 // seconds that it may be kept; 0: says nothing
	List     *List

	notBefore int64
}

// Payload returns the claims to be signed under the typ Type.
func (t *Token) Payload() ([]byte, error) {
	return json.Marshal(struct {
		Issuer   string `json:"iss,omitempty"`
		Subject  string `json:"sub"`
		IssuedAt int64  `json:"iat"`
		Expires  int64  `json:"exp,omitempty"`
		TTL      int64  `json:"ttl,omitempty"`
		List     any    `json:"status_list"`
	}{t.Issuer, t.Subject, t.IssuedAt, t.Expires, t.TTL, struct {
		Bits int    `json:"bits"`
		LST  string `json:"lst"`
	}{t.List.Bits(), t.List.Encode()}})
}

// Errors of a Status List Token that is one, and must not be believed.
var (
	ErrSignature = errors.New("statuslist: signed by nobody who may")
	ErrSubject   = errors.New("statuslist: of another list")
	ErrTime      = errors.New("statuslist: not valid now")
)

// Check is what a Status List Token must be.
type Check struct {
	// Subject is the URI that it was asked for by.
	Subject string
	// Issuer, when not empty, must be its iss if it names one.
	Issuer string
	// Key returns the key of a kid, or nil. It pins the algorithm (RFC 8725 §3.1).
	Key func(kid string) *jose.Key
	// Now is in Unix seconds, Skew what clocks may differ by.
	Now, Skew int64
	// Limit bounds the array in bytes; 0 is MaxArray.
	Limit int
}

// Parse reads a Status List Token and makes every check of the draft's §8.3: typ,
// algorithm and signature, sub, exp, iat, ttl. Nothing is unpacked before the
// signature is right.
func Parse(text []byte, c Check) (*Token, error) {
	if len(text) > MaxToken {
		return nil, fmt.Errorf("%w: %d bytes", ErrTooLarge, len(text))
	}
	j, err := jose.ParseLong(text, MaxToken)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if j.Header.Type != Type {
		return nil, fmt.Errorf("%w: typ %.40q: want %s", ErrMalformed, j.Header.Type, Type)
	}
	key := c.Key(j.Header.KeyID)
	if key == nil {
		return nil, fmt.Errorf("%w: kid %.60q is not known", ErrSignature, j.Header.KeyID)
	}
	if err := key.Check(&j); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSignature, err)
	}
	t, list, err := claims(j.Payload)
	if err != nil {
		return nil, err
	}
	switch {
	case t.Subject != c.Subject:
		return nil, fmt.Errorf("%w: %.200q, not %.200q", ErrSubject, t.Subject, c.Subject)
	case c.Issuer != "" && t.Issuer != "" && t.Issuer != c.Issuer:
		return nil, fmt.Errorf("%w: of issuer %.200q", ErrSubject, t.Issuer)
	case t.Expires != 0 && t.Expires <= c.Now-c.Skew:
		return nil, fmt.Errorf("%w: expired at %d", ErrTime, t.Expires)
	case t.notBefore > c.Now+c.Skew:
		return nil, fmt.Errorf("%w: not before %d", ErrTime, t.notBefore)
	case t.IssuedAt > c.Now+c.Skew:
		return nil, fmt.Errorf("%w: issued in the future, at %d", ErrTime, t.IssuedAt)
	}
	t.List, err = readList(list, c.Limit)
	return t, err
}

// claims reads a payload but for the list itself.
func claims(payload string) (*Token, jose.Value, error) {
	t := &Token{}
	var list jose.Value
	var iat, bad bool
	s := jose.Scan(payload)
	for s.Next() {
		v := s.Value()
		ok := true
		switch s.Name() {
		case "iss":
			t.Issuer, ok = v.Str()
		case "sub":
			t.Subject, ok = v.Str()
		case "iat":
			t.IssuedAt, _, ok = v.Date()
			iat = ok
		case "exp":
			t.Expires, _, ok = v.Date()
			ok = ok && t.Expires > 0
		case "nbf":
			t.notBefore, _, ok = v.Date()
		case "ttl":
			t.TTL, _, ok = v.Date()
			ok = ok && t.TTL > 0 // draft §5.1: a positive number
		case "status_list":
			list = v
			ok = v.Kind() == jose.Object
		}
		bad = bad || !ok
	}
	switch {
	case s.Err() != nil:
		return nil, list, fmt.Errorf("%w: %w", ErrMalformed, s.Err())
	case bad || !iat || t.Subject == "" || list.Kind() != jose.Object:
		return nil, list, fmt.Errorf("%w: sub, iat and status_list are required, and of their types", ErrMalformed)
	}
	return t, list, nil
}

func readList(v jose.Value, limit int) (*List, error) {
	b, _ := member(v, "bits")
	bits, ok := b.Uint()
	if !ok || bits > 8 {
		return nil, fmt.Errorf("%w: bits: want 1, 2, 4 or 8", ErrMalformed)
	}
	l, _ := member(v, "lst")
	lst, ok := l.Str()
	if !ok {
		return nil, fmt.Errorf("%w: no string lst", ErrMalformed)
	}
	return Decode(int(bits), lst, limit)
}
