package mintmark

import (
	"encoding/base32"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Identifiers are a short prefix, an underscore and 26 characters that encode
// 48 bits of Unix milliseconds followed by 80 random bits, so that they sort by
// the time they were made: the ledger's indexes stay append-mostly.
type (
	// TokenID identifies a token, never by its value: the jti of a JWT of ours
	// ("tok_…"), or "fgn_" and a keyed hash for a token of a foreign issuer.
	TokenID string
	// FamilyID identifies a line of rotated refresh tokens ("fam_…").
	FamilyID string
	// GrantID identifies what a subject allowed a client ("grt_…").
	GrantID string
	// ClientID is an OAuth client_id (RFC 6749 §2.2): chosen by the operator or
	// made by registration ("cli_…").
	ClientID string
	// RevocationID identifies one revocation fact ("rev_…").
	RevocationID string
	// RolloutID identifies one rollout ("rol_…").
	RolloutID string
	// ReceiptID identifies one receipt ("rcp_…").
	ReceiptID string
	// GatewayID names a gateway: chosen by the operator at join, 1 to 63
	// characters of [a-z0-9-], starting with a letter.
	GatewayID string
	// BootID identifies one run of a gateway process ("boot_…").
	BootID string
)

// Prefixes of made identifiers.
const (
	PrefixToken      = "tok"
	PrefixForeign    = "fgn"
	PrefixFamily     = "fam"
	PrefixGrant      = "grt"
	PrefixClient     = "cli"
	PrefixRevocation = "rev"
	PrefixRollout    = "rol"
	PrefixReceipt    = "rcp"
	PrefixBoot       = "boot"
)

var idEncoding = base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding)

// ErrID reports a malformed identifier.
var ErrID = errors.New("malformed identifier")

// NewID returns prefix_ followed by the time-ordered encoding of t (millisecond
// grain) and random. Two calls in one millisecond order by random.
func NewID(prefix string, t time.Time, random [10]byte) string {
	var b [16]byte
	ms := uint64(t.UnixMilli())
	for i := range 6 {
		b[i] = byte(ms >> (8 * (5 - i)))
	}
	copy(b[6:], random[:])
	out := make([]byte, len(prefix)+1+26)
	n := copy(out, prefix)
	out[n] = '_'
	idEncoding.Encode(out[n+1:], b[:])
	return string(out)
}

// IDTime returns the millisecond at which a made identifier was made.
func IDTime(id string) (time.Time, error) {
	_, body, ok := strings.Cut(id, "_")
	if !ok || len(body) != 26 {
		return time.Time{}, fmt.Errorf("%w: %.40q", ErrID, id)
	}
	b, err := idEncoding.DecodeString(body)
	if err != nil {
		return time.Time{}, fmt.Errorf("%w: %.40q", ErrID, id)
	}
	var ms uint64
	for i := range 6 {
		ms = ms<<8 | uint64(b[i])
	}
	return time.UnixMilli(int64(ms)).UTC(), nil
}

// CheckGatewayID reports whether a gateway name keeps to its form.
func CheckGatewayID(id GatewayID) error {
	if id == "" || len(id) > 63 || id[0] < 'a' || id[0] > 'z' {
		return fmt.Errorf("%w: gateway name %.70q: want 1 to 63 characters of a-z, 0-9 and -, starting with a letter", ErrID, string(id))
	}
	for _, c := range []byte(id) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return fmt.Errorf("%w: gateway name %.70q: want only a-z, 0-9 and -", ErrID, string(id))
		}
	}
	return nil
}
