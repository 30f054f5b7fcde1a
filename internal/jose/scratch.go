package jose

import "encoding/json"

// Scratch is memory to parse tokens in without allocating. What its methods return
// is a view of it, valid until the next Parse: whoever keeps a part copies it. The
// zero value is ready; one goroutine at a time.
type Scratch struct {
	text    []byte
	further []byte
	words   []string
}

// Parse is the function Parse.
func (s *Scratch) Parse(token []byte) (Compact, error) { return parse(token, false, s) }

// Claims is ParseClaims; a second call takes the place of the first one's lists.
func (s *Scratch) Claims(payload string, names Names) (Claims, error) {
	return parseClaims(payload, names, s)
}

// Further is Claims.Further.
func (s *Scratch) Further(c *Claims, names Names) json.RawMessage {
	if c.further == 0 {
		return nil
	}
	s.further = c.appendFurther(s.further[:0], names)
	return s.further
}

func (s *Scratch) room(n int) []byte {
	if cap(s.text) < n {
		s.text = make([]byte, max(n, 1024))
	}
	return s.text[:cap(s.text)]
}

func (s *Scratch) list(n int) []string {
	if cap(s.words) < n {
		s.words = make([]string, 0, max(n, 16))
	}
	return s.words[:0]
}
