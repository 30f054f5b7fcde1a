package statuslist

import (
	"bytes"
	"compress/zlib"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
)

// Status is a Status Type (draft §7.1).
type Status uint8

// Status types that we give. The draft keeps 0x03 and 0x0C to 0x0F for
// applications and the others for later: whoever meets one does not know it.
const (
	Valid     Status = 0
	Invalid   Status = 1 // for good
	Suspended Status = 2
)

// String returns the registered name, or the number.
func (s Status) String() string {
	switch s {
	case Valid:
		return "VALID"
	case Invalid:
		return "INVALID"
	case Suspended:
		return "SUSPENDED"
	}
	return fmt.Sprintf("0x%02X", uint8(s))
}

// Errors of this package; each other error wraps one of them.
var (
	// ErrMalformed: it is no status list, or no reference to one.
	ErrMalformed = errors.New("statuslist: malformed")
	// ErrTooLarge: the text, or the array that it unpacks to, is larger than asked
	// for.
	ErrTooLarge = errors.New("statuslist: larger than allowed")
	// ErrIndex: the list has no such place (draft §8.3: the token is refused).
	ErrIndex = errors.New("statuslist: index out of range")
)

// MaxArray bounds the array of a list, in bytes: 2^23 statuses of two bits.
const MaxArray = 2 << 20

// List is an array of statuses. The zero List has none. It is not safe for
// concurrent use while Set is called.
type List struct {
	bits  uint8
	array []byte
}

// New returns a list with room for n statuses of 1, 2, 4 or 8 bits, all Valid.
func New(bits, n int) (*List, error) {
	if !bitsOK(bits) {
		return nil, fmt.Errorf("%w: %d bits: want 1, 2, 4 or 8", ErrMalformed, bits)
	}
	if n < 0 || n > MaxArray*8/bits {
		return nil, fmt.Errorf("%w: %d statuses of %d bits", ErrTooLarge, n, bits)
	}
	return &List{bits: uint8(bits), array: make([]byte, (n*bits+7)/8)}, nil
}

func bitsOK(bits int) bool { return bits == 1 || bits == 2 || bits == 4 || bits == 8 }

// Bits is how many bits a status has.
func (l *List) Bits() int { return int(l.bits) }

// Len is how many statuses there are room for: whole bytes are filled.
func (l *List) Len() int {
	if l.bits == 0 {
		return 0
	}
	return len(l.array) * 8 / int(l.bits)
}

// at is the byte and the shift of a status: the lowest bits come first (draft §4.1).
func (l *List) at(i int) (byteAt int, shift uint) {
	per := 8 / int(l.bits)
	return i / per, uint(i%per) * uint(l.bits)
}

func (l *List) mask() byte { return byte(1<<l.bits - 1) }

// Set writes a status; ErrIndex outside, ErrMalformed when it needs more bits.
func (l *List) Set(i int, s Status) error {
	if i < 0 || i >= l.Len() {
		return fmt.Errorf("%w: %d of %d", ErrIndex, i, l.Len())
	}
	if byte(s)&^l.mask() != 0 {
		return fmt.Errorf("%w: status %s does not fit into %d bits", ErrMalformed, s, l.bits)
	}
	at, shift := l.at(i)
	l.array[at] = l.array[at]&^(l.mask()<<shift) | byte(s)<<shift
	return nil
}

// Get reads a status; ErrIndex outside.
func (l *List) Get(i uint64) (Status, error) {
	if i >= uint64(l.Len()) {
		return 0, fmt.Errorf("%w: %d of %d", ErrIndex, i, l.Len())
	}
	at, shift := l.at(int(i))
	return Status(l.array[at] >> shift & l.mask()), nil
}

// Encode returns the member "lst": the array in zlib's format (RFC 1950), highest
// compression, base64url without padding.
func (l *List) Encode() string {
	var b bytes.Buffer
	z, err := zlib.NewWriterLevel(&b, zlib.BestCompression)
	if err == nil {
		_, err = z.Write(l.array)
	}
	if err == nil {
		err = z.Close()
	}
	if err != nil {
		panic("statuslist: compress in memory: " + err.Error()) // a constant level, a Buffer: cannot fail
	}
	return base64.RawURLEncoding.EncodeToString(b.Bytes())
}

// Decode reads bits and lst. The array may have limit bytes (0: MaxArray): what
// unpacks to more is ErrTooLarge, after as many bytes and not after all of them.
// Padding, spare bits, a wrong checksum and bytes after the end are ErrMalformed.
func Decode(bits int, lst string, limit int) (*List, error) {
	if limit <= 0 || limit > MaxArray {
		limit = MaxArray
	}
	if !bitsOK(bits) {
		return nil, fmt.Errorf("%w: %d bits: want 1, 2, 4 or 8", ErrMalformed, bits)
	}
	// What can't be compressed grows by five bytes a block of 16 KiB and a header:
	// a longer text has no honest reason.
	if base64.RawURLEncoding.DecodedLen(len(lst)) > limit+limit/1024+64 {
		return nil, fmt.Errorf("%w: lst of %d characters", ErrTooLarge, len(lst))
	}
	packed, err := base64.RawURLEncoding.Strict().DecodeString(lst)
	if err != nil || bytes.ContainsAny([]byte(lst), "\r\n") {
		return nil, fmt.Errorf("%w: lst is not base64url", ErrMalformed)
	}
	from := bytes.NewReader(packed)
	z, err := zlib.NewReader(from)
	if err != nil {
		return nil, fmt.Errorf("%w: lst is not zlib: %w", ErrMalformed, err)
	}
	array, err := io.ReadAll(io.LimitReader(z, int64(limit)+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: lst does not unpack: %w", ErrMalformed, err)
	case len(array) > limit:
		return nil, fmt.Errorf("%w: lst unpacks to more than %d bytes", ErrTooLarge, limit)
	case from.Len() > 0:
		return nil, fmt.Errorf("%w: lst goes on after its end", ErrMalformed)
	}
	return &List{bits: uint8(bits), array: array}, nil
}
