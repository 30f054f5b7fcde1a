package mintmark

import (
	"errors"
	"fmt"
	"strings"
)

// ReleaseID names one version of a service: "service/name". The zero value is
// no release: a token without a mark.
type ReleaseID string

// ErrRelease reports a malformed release name.
var ErrRelease = errors.New("malformed release")

// NewReleaseID joins a service and a release name.
func NewReleaseID(service, name string) ReleaseID { return ReleaseID(service + "/" + name) }

// ParseReleaseID checks the form service/name; each half is 1 to 63 characters
// of [A-Za-z0-9._-].
func ParseReleaseID(s string) (ReleaseID, error) {
	service, name, ok := strings.Cut(s, "/")
	if !ok || !IsName(service) || !IsName(name) {
		return "", fmt.Errorf("%w %.140q: want service/name", ErrRelease, s)
	}
	return ReleaseID(s), nil
}

// Service returns the service half.
func (r ReleaseID) Service() string { s, _, _ := strings.Cut(string(r), "/"); return s }

// Name returns the name half.
func (r ReleaseID) Name() string { _, n, _ := strings.Cut(string(r), "/"); return n }

// IsName reports whether s can name a resource: 1 to 63 characters of
// [A-Za-z0-9._-], starting with a letter or digit.
func IsName(s string) bool {
	if s == "" || len(s) > 63 || s[0] == '.' || s[0] == '-' || s[0] == '_' {
		return false
	}
	for _, c := range []byte(s) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '.', c == '_', c == '-':
		default:
			return false
		}
	}
	return true
}

// Mark says under what a token was minted: by claim for our JWTs, by ledger for
// our opaque tokens and API keys, by rule for foreign issuers. The zero value is
// "unmarked".
type Mark struct {
	Release ReleaseID `json:"release,omitempty"`
	// Policy is the version of the release's mint policy; 0 for foreign tokens.
	Policy uint64 `json:"policy,omitempty"`
	// Key is the kid that signed; empty for opaque tokens.
	Key string `json:"kid,omitempty"`
	// Epoch is the epoch under which the authority minted; 0 for foreign tokens.
	Epoch uint64 `json:"epoch,omitempty"`
	// Seq is the ledger's issuance sequence number; 0 for foreign tokens, which
	// are compared by iat instead.
	Seq uint64 `json:"seq,omitempty"`
}
