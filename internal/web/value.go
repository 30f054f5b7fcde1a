package web

// SafeValue returns s as it may stand in a header: printable ASCII as it is, all
// else and the percent sign percent-encoded, so that no subject or claim can end
// a field or smuggle in another (and the encoding can be undone).
func SafeValue(s string) string {
	ok := true
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '%' {
			ok = false
			break
		}
	}
	if ok && (s == "" || s[0] != ' ' && s[len(s)-1] != ' ') {
		return s
	}
	const hex = "0123456789ABCDEF"
	b := make([]byte, 0, len(s)+16)
	for i := range len(s) {
		c := s[i]
		edge := c == ' ' && (i == 0 || i == len(s)-1)
		if c < ' ' || c > '~' || c == '%' || edge {
			b = append(b, '%', hex[c>>4], hex[c&15])
			continue
		}
		b = append(b, c)
	}
	return string(b)
}
