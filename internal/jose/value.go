package jose

import (
	"math"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// Kind is what a JSON value is.
type Kind uint8

// Kinds of value; the zero Kind is no value.
const (
	None Kind = iota
	Null
	Bool
	Number
	String
	Array
	Object
)

// Value is one JSON value, a view of the text that was scanned.
type Value struct {
	kind    Kind
	escaped bool
	raw     string
}

// Kind returns what the value is.
func (v Value) Kind() Kind { return v.kind }

// Raw returns the value's text.
func (v Value) Raw() string { return v.raw }

// Str returns a string's characters; false for other kinds. It allocates only
// when the text has escapes.
func (v Value) Str() (string, bool) {
	if v.kind != String {
		return "", false
	}
	inner := v.raw[1 : len(v.raw)-1]
	if v.escaped {
		inner = unescape(inner)
	}
	return inner, true
}

// Bool returns a boolean; the second result is false for other kinds.
func (v Value) Bool() (value, ok bool) { return v.raw == "true", v.kind == Bool }

// Uint returns an integer without sign, fraction and exponent below 2^64.
func (v Value) Uint() (uint64, bool) {
	if v.kind != Number {
		return 0, false
	}
	n, err := strconv.ParseUint(v.raw, 10, 64)
	return n, err == nil
}

// maxDate is the last NumericDate read: beyond it a float64 loses seconds.
const maxDate = 1 << 53

// Date returns a NumericDate (RFC 7519 §2) in whole seconds, rounded down, and
// whether it had a fraction. Negative and absurd values are not ok.
func (v Value) Date() (seconds int64, fraction, ok bool) {
	if v.kind != Number {
		return 0, false, false
	}
	if n, err := strconv.ParseInt(v.raw, 10, 64); err == nil {
		return n, false, n >= 0 && n <= maxDate
	}
	f, err := strconv.ParseFloat(v.raw, 64)
	if err != nil || f < 0 || f > maxDate {
		return 0, false, false
	}
	whole := math.Floor(f)
	return int64(whole), whole != f, true
}

// Members starts a walk over an object's members; of another kind, one that ends
// with an error.
func (v Value) Members() Scanner { return Scan(v.raw) }

// Elements calls yield with each element of an array until it returns false. The
// text was checked when the value was scanned.
func (v Value) Elements(yield func(Value) bool) {
	if v.kind != Array {
		return
	}
	s := Scan(v.raw)
	s.pos = 1
	for begun := false; ; begun = true {
		more, err := s.comma(']', begun)
		if err != nil || !more {
			return
		}
		e, err := s.any(1)
		if err != nil || !yield(e) {
			return
		}
	}
}

// str reads a string, checking every character.
func (s *Scanner) str() (Value, error) {
	start := s.pos
	s.pos++
	escaped := false
	for s.pos < len(s.text) {
		switch c := s.text[s.pos]; {
		case c == '"':
			s.pos++
			return Value{kind: String, escaped: escaped, raw: s.text[start:s.pos]}, nil
		case c < 0x20:
			return Value{}, errString
		case c == '\\':
			escaped = true
			if !s.escape() {
				return Value{}, errString
			}
		case c < utf8.RuneSelf:
			s.pos++
		default:
			r, n := utf8.DecodeRuneInString(s.text[s.pos:])
			if r == utf8.RuneError && n <= 1 {
				return Value{}, errString
			}
			s.pos += n
		}
	}
	return Value{}, errString
}

// escape steps over one escape; a surrogate must be half of a pair.
func (s *Scanner) escape() bool {
	if s.pos+1 >= len(s.text) {
		return false
	}
	switch s.text[s.pos+1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		s.pos += 2
		return true
	case 'u':
	default:
		return false
	}
	r, ok := hex4(s.text[s.pos:])
	if !ok {
		return false
	}
	s.pos += 6
	if !utf16.IsSurrogate(r) {
		return true
	}
	low, ok := hex4(s.text[s.pos:])
	if !ok || utf16.DecodeRune(r, low) == utf8.RuneError {
		return false
	}
	s.pos += 6
	return true
}

// hex4 reads \uXXXX at the start of t.
func hex4(t string) (rune, bool) {
	if len(t) < 6 || t[0] != '\\' || t[1] != 'u' {
		return 0, false
	}
	var r rune
	for _, c := range []byte(t[2:6]) {
		switch {
		case c >= '0' && c <= '9':
			r = r<<4 | rune(c-'0')
		case c >= 'a' && c <= 'f':
			r = r<<4 | rune(c-'a'+10)
		case c >= 'A' && c <= 'F':
			r = r<<4 | rune(c-'A'+10)
		default:
			return 0, false
		}
	}
	return r, true
}

// unescape resolves escapes that were checked before.
func unescape(t string) string {
	var b strings.Builder
	b.Grow(len(t))
	for i := 0; i < len(t); {
		if t[i] != '\\' {
			b.WriteByte(t[i])
			i++
			continue
		}
		if t[i+1] != 'u' {
			b.WriteByte(unescapeByte(t[i+1]))
			i += 2
			continue
		}
		r, _ := hex4(t[i:])
		i += 6
		if utf16.IsSurrogate(r) {
			low, _ := hex4(t[i:])
			r = utf16.DecodeRune(r, low)
			i += 6
		}
		b.WriteRune(r)
	}
	return b.String()
}

func unescapeByte(c byte) byte {
	switch c {
	case 'b':
		return '\b'
	case 'f':
		return '\f'
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	}
	return c
}

// number steps over a number by the grammar of RFC 8259 §6.
func (s *Scanner) number() error {
	if s.peek() == '-' {
		s.pos++
	}
	if s.peek() == '0' {
		s.pos++
	} else if !s.digits() {
		return errNumber
	}
	if s.peek() == '.' {
		s.pos++
		if !s.digits() {
			return errNumber
		}
	}
	if c := s.peek(); c == 'e' || c == 'E' {
		s.pos++
		if c = s.peek(); c == '+' || c == '-' {
			s.pos++
		}
		if !s.digits() {
			return errNumber
		}
	}
	return nil
}

func (s *Scanner) digits() bool {
	start := s.pos
	for s.peek() >= '0' && s.peek() <= '9' {
		s.pos++
	}
	return s.pos > start
}
