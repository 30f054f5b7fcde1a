package mintmark

import (
	"fmt"
	"time"
)

// Staleness is how long a gateway may go on deciding for a route without hearing
// from control. The zero value is strict. It applies to what a gateway cannot
// know alone; past it the route answers 503, never 401.
type Staleness struct {
	// Budget is the time allowed; 0 means strict (the lease), negative means
	// static (for ever: listed in receipts and excepted from the guarantee).
	Budget time.Duration
}

// Strict follows the lease.
var Strict = Staleness{0}

// Static never fences.
var Static = Staleness{-1}

// DefaultStaleness is what a route gets that names none.
const DefaultStaleness = 30 * time.Second

// MaxStaleness bounds a finite budget.
const MaxStaleness = 24 * time.Hour

// IsStatic reports whether the budget is infinite.
func (s Staleness) IsStatic() bool { return s.Budget < 0 }

// IsStrict reports whether the budget is the lease.
func (s Staleness) IsStrict() bool { return s.Budget == 0 }

// String returns strict, static or a duration.
func (s Staleness) String() string {
	switch {
	case s.IsStrict():
		return "strict"
	case s.IsStatic():
		return "static"
	}
	return s.Budget.String()
}

// MarshalText implements encoding.TextMarshaler.
func (s Staleness) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText accepts strict, static, or a Go duration from 1s to 24h.
func (s *Staleness) UnmarshalText(b []byte) error {
	switch string(b) {
	case "strict":
		*s = Strict
		return nil
	case "static":
		*s = Static
		return nil
	}
	d, err := time.ParseDuration(string(b))
	if err != nil || d < time.Second || d > MaxStaleness {
		return fmt.Errorf("staleness %.40q: want strict, static, or a duration from 1s to 24h", b)
	}
	s.Budget = d
	return nil
}
