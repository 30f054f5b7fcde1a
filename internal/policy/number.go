package policy

import (
	"fmt"
	"strconv"
	"strings"
)

// Decimal is a number with up to six decimals, in millionths. It is written
// plainly (0.01) or in quotes.
type Decimal int64

// ParseDecimal reads the text form.
func ParseDecimal(s string) (Decimal, error) {
	bad := fmt.Errorf("%.40q is not a number: want one like 0.01 or 2, with up to six decimals", s)
	whole, frac, dot := strings.Cut(s, ".")
	if whole == "" || len(whole) > 9 || dot && (frac == "" || len(frac) > 6) {
		return 0, bad
	}
	n, err := strconv.ParseUint(whole+(frac + "000000")[:6], 10, 63)
	if err != nil {
		return 0, bad
	}
	return Decimal(n), nil
}

// String returns the shortest text form.
func (d Decimal) String() string {
	s := strconv.FormatInt(int64(d/1e6), 10)
	if f := d % 1e6; f != 0 {
		s += strings.TrimRight(fmt.Sprintf(".%06d", f), "0")
	}
	return s
}

// Float returns the number.
func (d Decimal) Float() float64 { return float64(d) / 1e6 }

// MarshalText implements encoding.TextMarshaler.
func (d Decimal) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Decimal) UnmarshalText(b []byte) (err error) {
	*d, err = ParseDecimal(string(b))
	return err
}

// Percent is a share in basis points, written as a percentage with up to two
// decimals: 5, 0.25 or 5%.
type Percent int

// UnmarshalText implements encoding.TextUnmarshaler.
func (p *Percent) UnmarshalText(b []byte) error {
	d, err := ParseDecimal(strings.TrimSuffix(string(b), "%"))
	if err != nil || d%1e4 != 0 || d > 100e6 {
		return fmt.Errorf("%.40q is not a share: want a percentage from 0 to 100 with up to two decimals, such as 5 or 0.25", b)
	}
	*p = Percent(d / 1e4)
	return nil
}

// String returns the percentage, without the sign.
func (p Percent) String() string { return Decimal(int64(p) * 1e4).String() }

// MarshalText implements encoding.TextMarshaler.
func (p Percent) MarshalText() ([]byte, error) { return []byte(p.String()), nil }
