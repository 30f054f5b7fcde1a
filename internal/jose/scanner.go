package jose

// MaxDepth bounds how deep arrays and objects may nest.
const MaxDepth = 32

// linear is how many member names are compared one by one before a map takes
// over: tokens have fewer, and an array costs no allocation.
const linear = 32

var (
	errSyntax    = malformed("not JSON")
	errDepth     = malformed("JSON nested too deep")
	errDuplicate = malformed("duplicate member name")
	errString    = malformed("bad string: invalid UTF-8, escape, surrogate or control character")
	errNumber    = malformed("bad number")
	errTrailing  = malformed("text after the JSON value")
	errNotObject = malformed("not a JSON object")
)

// Scanner walks the members of one JSON object. The zero value is not usable:
// start with Scan. Members are seen before the rest of the text is checked:
// believe nothing until Next has returned false and Err is nil.
type Scanner struct {
	text  string
	pos   int
	open  bool // inside the top-level object
	begun bool // a member was read
	done  bool // the end was reached
	name  string
	value Value
	err   error
	top   frame
	// names holds the names seen so far in all open objects; n is in use.
	names [linear]string
	n     int
}

// frame is one open object: where its names start, or their set once many.
type frame struct {
	base int
	seen map[string]struct{}
}

// Scan starts a walk over the object that text is.
func Scan(text string) Scanner { return Scanner{text: text} }

// Valid reports whether text is exactly one JSON value in our strict reading.
func Valid(text string) error {
	s := Scan(text)
	s.space()
	if _, err := s.any(0); err != nil {
		return err
	}
	s.space()
	if s.pos != len(s.text) {
		return errTrailing
	}
	return nil
}

// Next reads the next member; false at the end of the text or at an error.
func (s *Scanner) Next() bool {
	if s.err != nil || s.done {
		return false
	}
	if !s.open {
		s.space()
		if s.peek() != '{' {
			s.err = errNotObject
			return false
		}
		s.pos++
		s.open = true
	}
	more, err := s.comma('}', s.begun)
	if err != nil || !more {
		s.finish(err)
		return false
	}
	if s.name, s.err = s.member(&s.top); s.err != nil {
		return false
	}
	s.value, s.err = s.any(1)
	s.begun = true
	return s.err == nil
}

// Name returns the name of the member that Next read.
func (s *Scanner) Name() string { return s.name }

// Value returns its value.
func (s *Scanner) Value() Value { return s.value }

// Err returns why the walk ended early; nil when the whole text was well-formed.
func (s *Scanner) Err() error { return s.err }

func (s *Scanner) finish(err error) {
	if s.err = err; err != nil {
		return
	}
	s.space()
	if s.pos != len(s.text) {
		s.err = errTrailing
		return
	}
	s.done = true
}

// comma steps over what separates members or elements; false at the closing
// byte, which it consumes.
func (s *Scanner) comma(closing byte, begun bool) (bool, error) {
	s.space()
	switch c := s.peek(); {
	case c == closing:
		s.pos++
		return false, nil
	case !begun:
		return true, nil
	case c == ',':
		s.pos++
		s.space()
		return true, nil
	}
	return false, errSyntax
}

// member reads a name and its colon, and refuses a name seen before in the
// object.
func (s *Scanner) member(f *frame) (string, error) {
	if s.peek() != '"' {
		return "", errSyntax
	}
	v, err := s.str()
	if err != nil {
		return "", err
	}
	name, _ := v.Str()
	if !s.enter(f, name) {
		return "", errDuplicate
	}
	s.space()
	if s.peek() != ':' {
		return "", errSyntax
	}
	s.pos++
	s.space()
	return name, nil
}

func (s *Scanner) enter(f *frame, name string) bool {
	if f.seen == nil {
		for _, n := range s.names[f.base:s.n] {
			if n == name {
				return false
			}
		}
		if s.n < linear {
			s.names[s.n] = name
			s.n++
			return true
		}
		f.seen = make(map[string]struct{}, 2*linear)
		for _, n := range s.names[f.base:s.n] {
			f.seen[n] = struct{}{}
		}
	}
	if _, dup := f.seen[name]; dup {
		return false
	}
	f.seen[name] = struct{}{}
	return true
}

// any reads one value; depth counts the objects and arrays around it.
func (s *Scanner) any(depth int) (Value, error) {
	start := s.pos
	switch c := s.peek(); {
	case c == '"':
		return s.str()
	case c == '{':
		err := s.object(depth + 1)
		return Value{kind: Object, raw: s.text[start:s.pos]}, err
	case c == '[':
		err := s.array(depth + 1)
		return Value{kind: Array, raw: s.text[start:s.pos]}, err
	case c == '-' || c >= '0' && c <= '9':
		err := s.number()
		return Value{kind: Number, raw: s.text[start:s.pos]}, err
	case s.word("true"), s.word("false"):
		return Value{kind: Bool, raw: s.text[start:s.pos]}, nil
	case s.word("null"):
		return Value{kind: Null, raw: s.text[start:s.pos]}, nil
	}
	return Value{}, errSyntax
}

func (s *Scanner) object(depth int) error {
	if depth > MaxDepth {
		return errDepth
	}
	s.pos++
	f := frame{base: s.n}
	for begun := false; ; begun = true {
		more, err := s.comma('}', begun)
		if err != nil {
			return err
		}
		if !more {
			s.n = f.base
			return nil
		}
		if _, err = s.member(&f); err != nil {
			return err
		}
		if _, err = s.any(depth); err != nil {
			return err
		}
	}
}

func (s *Scanner) array(depth int) error {
	if depth > MaxDepth {
		return errDepth
	}
	s.pos++
	for begun := false; ; begun = true {
		more, err := s.comma(']', begun)
		if err != nil || !more {
			return err
		}
		if _, err = s.any(depth); err != nil {
			return err
		}
	}
}

func (s *Scanner) space() {
	for s.pos < len(s.text) {
		switch s.text[s.pos] {
		case ' ', '\t', '\n', '\r':
			s.pos++
		default:
			return
		}
	}
}

// peek returns the next byte, 0 at the end: NUL starts nothing in JSON.
func (s *Scanner) peek() byte {
	if s.pos < len(s.text) {
		return s.text[s.pos]
	}
	return 0
}

func (s *Scanner) word(w string) bool {
	if len(s.text)-s.pos < len(w) || s.text[s.pos:s.pos+len(w)] != w {
		return false
	}
	s.pos += len(w)
	return true
}
