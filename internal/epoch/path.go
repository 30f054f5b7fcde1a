package epoch

// PathOK reports whether a request's path, as sent and without the query, has one
// reading only. A path is matched byte for byte and the same bytes go upstream,
// so anything that two programs might read differently is refused, never
// repaired:
//
//   - it starts with "/" and has no empty segment ("//") but a trailing one;
//   - no segment is "." or "..";
//   - no backslash, semicolon, control, space or byte above 0x7e;
//   - "%" is followed by two hex digits, and never encodes an unreserved
//     character (RFC 3986 §6.2.2.2: "%2e", "%61"), a slash, a backslash, a
//     semicolon or a control.
func PathOK(path string) bool {
	if path == "" || path[0] != '/' || len(path) > 8192 {
		return false
	}
	start := 1 // of the segment
	for i := 1; i < len(path); i++ {
		switch c := path[i]; {
		case pathByte[c] == plain:
		case c == '/':
			if i == start || dots(path[start:i]) {
				return false
			}
			start = i + 1
		case c == '%':
			if i+2 >= len(path) || !escapeOK(path[i+1], path[i+2]) {
				return false
			}
			i += 2
		default:
			return false
		}
	}
	return !dots(path[start:])
}

func dots(segment string) bool { return segment == "." || segment == ".." }

func escapeOK(hi, lo byte) bool {
	h, l := hexDigit[hi], hexDigit[lo]
	if h > 15 || l > 15 {
		return false
	}
	switch c := h<<4 | l; {
	case c < 0x20, c == 0x7f, c == '/', c == '\\', c == ';':
		return false
	case unreserved(c):
		return false
	}
	return true
}

func unreserved(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '.' || c == '_' || c == '~'
}

const plain = 1

// pathByte marks the bytes that stand for themselves in a path.
var pathByte = func() (t [256]uint8) {
	for c := 0x21; c <= 0x7e; c++ {
		t[c] = plain
	}
	for _, c := range []byte(`/%\;?#`) {
		t[c] = 0
	}
	return t
}()

var hexDigit = func() (t [256]uint8) {
	for i := range t {
		t[i] = 0xff
	}
	for i, c := range []byte("0123456789abcdef") {
		t[c] = uint8(i)
	}
	for i, c := range []byte("ABCDEF") {
		t[c] = uint8(i + 10)
	}
	return t
}()
