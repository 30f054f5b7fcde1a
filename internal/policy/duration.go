package policy

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Duration is a length of time as resources write it: a Go duration (90s, 1h30m)
// or whole days (30d). Zero means left out.
type Duration time.Duration

// MaxDuration is the longest that may be written.
const MaxDuration = Duration(10 * 366 * 24 * time.Hour)

// ParseDuration reads the text form: positive, whole milliseconds, bounded.
func ParseDuration(s string) (Duration, error) {
	bad := fmt.Errorf("%.40q is not a length of time: want one like 90s, 15m, 12h or 30d", s)
	if n, ok := strings.CutSuffix(s, "d"); ok {
		days, err := strconv.ParseUint(n, 10, 16)
		if err != nil || days == 0 || Duration(days)*Duration(24*time.Hour) > MaxDuration {
			return 0, bad
		}
		return Duration(days) * Duration(24*time.Hour), nil
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < time.Millisecond || Duration(d) > MaxDuration || d%time.Millisecond != 0 {
		return 0, bad
	}
	return Duration(d), nil
}

// String returns the text form: days when whole.
func (d Duration) String() string {
	const day = Duration(24 * time.Hour)
	if d > 0 && d%day == 0 {
		return strconv.FormatInt(int64(d/day), 10) + "d"
	}
	s := time.Duration(d).String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// MarshalText implements encoding.TextMarshaler.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Duration) UnmarshalText(b []byte) (err error) {
	*d, err = ParseDuration(string(b))
	return err
}

// Seconds returns whole seconds, rounded up: a lifetime never becomes 0.
func (d Duration) Seconds() int64 {
	return int64((time.Duration(d) + time.Second - 1) / time.Second)
}

// Milliseconds returns whole milliseconds.
func (d Duration) Milliseconds() int64 { return time.Duration(d).Milliseconds() }
