package mintmark

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"io"
	"log/slog"
)

// Secret is a value that must not be printed: it formats, marshals and logs as
// REDACTED. The zero value is the empty secret. Reveal is the one way out, so
// that its uses can be found.
type Secret struct{ value string }

// Redacted is what a Secret prints as.
const Redacted = "REDACTED"

// NewSecret wraps value.
func NewSecret(value string) Secret { return Secret{value} }

// Reveal returns the wrapped value.
func (s Secret) Reveal() string { return s.value }

// IsZero reports whether the secret is empty.
func (s Secret) IsZero() bool { return s.value == "" }

// Equal compares in time that depends on neither content nor length.
func (s Secret) Equal(other string) bool {
	a, b := sha256.Sum256([]byte(s.value)), sha256.Sum256([]byte(other))
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1
}

// Format implements fmt.Formatter: every verb prints the same, also those that
// would go round String, like %d.
func (Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, Redacted) }

// String implements fmt.Stringer.
func (Secret) String() string { return Redacted }

// MarshalText implements encoding.TextMarshaler.
func (Secret) MarshalText() ([]byte, error) { return []byte(Redacted), nil }

// UnmarshalText implements encoding.TextUnmarshaler: secrets may be read from
// files and environment, never written back.
func (s *Secret) UnmarshalText(b []byte) error { s.value = string(b); return nil }

// LogValue implements slog.LogValuer.
func (Secret) LogValue() slog.Value { return slog.StringValue(Redacted) }
