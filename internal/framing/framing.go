// Package framing answers: could two parsers read this HTTP/1 byte stream
// differently?
//
// It is pure: bytes in, yes or no out. A Stream belongs to one reader.
package framing

import (
	"bytes"
	"strconv"
	"strings"
)

// Stream follows an HTTP/1 byte stream just closely enough to see each head, and
// refuses heads that two parsers could frame differently, even where net/http
// would choose one reading (RFC 9112 §6.3, §11.2): Transfer-Encoding together
// with Content-Length, repeated Content-Length or Transfer-Encoding, anything
// but "chunked", line ends of a bare LF, folded lines, white space around a
// name, control characters; and chunk sizes that are not plain hexadecimal. It
// keeps a partial line between reads and nothing else.
//
// It must agree with net/http on where a message ends, or it would look for
// heads in bodies: it takes only what both read alike, and stops the connection
// at the first doubt.
type Stream struct {
	state  frameState
	line   []byte // a line begun in an earlier read
	left   int64  // bytes of a sized body or a chunk still to come
	head   headFacts
	broken bool
	h2c    bool
	begun  bool // a line was read
	lines  int  // of HTTP/2's preface still to come
}

type headFacts struct {
	first   bool // the request line was seen
	length  int64
	lengths int
	codings int
	old     bool // HTTP/1.0
}

type frameState uint8

const (
	inHead frameState = iota
	inBody
	inChunkSize
	inChunk
	inChunkEnd
	inTrailer
	inPreface
	inRaw // not ours to read: HTTP/2
)

const maxLine = 64 << 10

// New returns a stream at its beginning. h2c says that HTTP/2 by prior knowledge is
// spoken here.
func New(h2c bool) Stream { return Stream{h2c: h2c} }

// Broken reports whether the stream was refused.
func (f *Stream) Broken() bool { return f.broken }

// Raw reports whether the stream became another protocol's, of which nothing is known
// here.
func (f *Stream) Raw() bool { return f.state == inRaw }

// Feed looks at p and returns how many of its bytes may be passed on; fewer than
// all means that the stream is refused from there.
func (f *Stream) Feed(p []byte) int {
	for i := 0; i < len(p); {
		switch f.state {
		case inRaw:
			return len(p)
		case inBody, inChunk:
			n := min(f.left, int64(len(p)-i))
			i += int(n)
			if f.left -= n; f.left == 0 {
				if f.state == inBody {
					f.state = inHead
				} else {
					f.state = inChunkEnd
				}
			}
		default:
			nl := bytes.IndexByte(p[i:], '\n')
			if nl < 0 {
				f.line = append(f.line, p[i:]...)
				if len(f.line) > maxLine {
					f.broken = true
					return i
				}
				return len(p)
			}
			line := p[i : i+nl+1]
			if len(f.line) > 0 {
				f.line = append(f.line, line...)
				line = f.line
			}
			ok := len(line) >= 2 && line[len(line)-2] == '\r' && f.take(line[:len(line)-2])
			f.line = f.line[:0]
			if !ok {
				f.broken = true
				return i
			}
			i += nl + 1
		}
	}
	return len(p)
}

// take reads one line without its end; false refuses the stream.
func (f *Stream) take(line []byte) bool {
	first := !f.begun
	f.begun = true
	switch f.state {
	case inPreface:
		return f.preface(line)
	case inChunkSize:
		return f.chunkSize(line)
	case inChunkEnd:
		f.state = inChunkSize
		return len(line) == 0
	case inTrailer:
		if len(line) == 0 {
			f.state = inHead
			f.head = headFacts{}
			return true
		}
		return fieldLine(line)
	}
	if !f.head.first {
		if len(line) == 0 {
			return true // RFC 9112 §2.2: an empty line before a request is ignored
		}
		if string(line) == "PRI * HTTP/2.0" {
			// Where HTTP/2 is not spoken, what follows would go unseen; so it would after
			// another request, where net/http goes on with HTTP/1.
			f.state, f.lines = inPreface, len(prefaceRest)
			return f.h2c && first
		}
		f.head = headFacts{first: true, old: bytes.HasSuffix(line, []byte(" HTTP/1.0"))}
		return requestLine(line)
	}
	if len(line) > 0 {
		return fieldLine(line) && f.field(line)
	}
	h := f.head
	f.head = headFacts{}
	switch {
	case h.codings > 0 && (h.lengths > 0 || h.old): // RFC 9112 §6.1
		return false
	case h.codings > 0:
		f.state = inChunkSize
	case h.length > 0:
		f.state, f.left = inBody, h.length
	}
	return true
}

// prefaceRest is what follows the first line of HTTP/2's preface (RFC 9113 §3.4).
var prefaceRest = [...]string{"", "SM", ""}

// preface reads a line of HTTP/2's preface. net/http takes only the whole of it for
// HTTP/2.
func (f *Stream) preface(line []byte) bool {
	if string(line) != prefaceRest[len(prefaceRest)-f.lines] {
		return false
	}
	if f.lines--; f.lines == 0 {
		f.state = inRaw
	}
	return true
}

// field notes the fields that decide about framing.
func (f *Stream) field(line []byte) bool {
	name, value, _ := bytes.Cut(line, []byte{':'})
	switch len(name) {
	case 14:
		if equalFold(name, "content-length") {
			f.head.lengths++
			n, ok := decimal(bytes.Trim(value, " \t"))
			f.head.length = n
			return ok && f.head.lengths == 1
		}
	case 17:
		if equalFold(name, "transfer-encoding") {
			f.head.codings++
			return f.head.codings == 1 && equalFold(bytes.Trim(value, " \t"), "chunked")
		}
	}
	return true
}

func (f *Stream) chunkSize(line []byte) bool {
	// Extensions are refused: no client of an API needs them, and parsers differ
	// on them (RFC 9112 §7.1.1).
	if len(line) == 0 || len(line) > 15 {
		return false
	}
	var n int64
	for _, c := range line {
		switch {
		case c >= '0' && c <= '9':
			n = n<<4 | int64(c-'0')
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			n = n<<4 | int64(c|0x20-'a'+10)
		default:
			return false
		}
	}
	f.state, f.left = inChunk, n
	if n == 0 {
		f.state = inTrailer
	}
	return true
}

// requestLine wants two single spaces and no other white space or control.
func requestLine(line []byte) bool {
	spaces := 0
	for _, c := range line {
		if c < ' ' || c == 0x7f {
			return false
		}
		if c == ' ' {
			spaces++
		}
	}
	return spaces == 2 && (bytes.HasSuffix(line, []byte(" HTTP/1.1")) || bytes.HasSuffix(line, []byte(" HTTP/1.0")))
}

// fieldLine wants a token, a colon, and a value without controls.
func fieldLine(line []byte) bool {
	colon := bytes.IndexByte(line, ':')
	if colon <= 0 {
		return false
	}
	for _, c := range line[:colon] {
		if kinds[c]&ofName == 0 {
			return false
		}
	}
	for _, c := range line[colon+1:] {
		if kinds[c]&ofValue == 0 {
			return false
		}
	}
	return true
}

// What a byte may be part of: a field's name (a token, RFC 9110 §5.6.2) or its
// value.
const (
	ofName = 1 << iota
	ofValue
)

var kinds = func() (t [256]uint8) {
	for i := range t {
		c := byte(i)
		if c > ' ' && c < 0x7f && strings.IndexByte("\"(),/:;<=>?@[\\]{}", c) < 0 {
			t[i] |= ofName
		}
		if c == '\t' || c >= ' ' && c != 0x7f {
			t[i] |= ofValue
		}
	}
	return t
}()

func decimal(b []byte) (int64, bool) {
	if len(b) == 0 || len(b) > 18 {
		return 0, false
	}
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
	}
	n, err := strconv.ParseInt(string(b), 10, 64)
	return n, err == nil
}

func equalFold(b []byte, lower string) bool {
	if len(b) != len(lower) {
		return false
	}
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}
