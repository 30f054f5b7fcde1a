package mintmark

import "fmt"

// Disposition is what becomes of a token of a release that was taken back. The
// order is by strength: a stronger one wins where several rules apply.
type Disposition uint8

// Dispositions. The numbers are on the wire: never reuse one.
const (
	Keep    Disposition = 0 // accepted as it is
	Map     Disposition = 1 // accepted, claims mapped at the gateway
	Reissue Disposition = 2 // accepted, replaced at refresh or behind the gateway
	Revoke  Disposition = 3 // refused
)

var dispositionNames = [...]string{"keep", "map", "reissue", "revoke"}

// String returns the disposition's name.
func (d Disposition) String() string {
	if int(d) < len(dispositionNames) {
		return dispositionNames[d]
	}
	return fmt.Sprintf("disposition(%d)", uint8(d))
}

// MarshalText implements encoding.TextMarshaler.
func (d Disposition) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Disposition) UnmarshalText(b []byte) error {
	for i, n := range dispositionNames {
		if n == string(b) {
			*d = Disposition(i)
			return nil
		}
	}
	return fmt.Errorf("unknown disposition %.40q: want keep, map, reissue or revoke", b)
}
