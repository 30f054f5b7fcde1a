package jose

import (
	"bytes"
	"strings"
	"unsafe"
)

// Sizes, in bytes.
const (
	// MaxToken is the default cap on a compact token.
	MaxToken = 16 << 10
	// maxHeader caps the decoded header.
	maxHeader = 8 << 10
)

var (
	errTokenSize  = &refusal{ErrTooLarge, "token"}
	errHeaderSize = &refusal{ErrTooLarge, "header"}
	errParts      = malformed("not three parts joined by dots")
	errAlg        = malformed("alg missing or not a string")
	errCrit       = malformed("critical header parameters are not understood here")
	errHeaderKey  = malformed("header carries or points at a key")
	errHeaderText = malformed("header parameter is not plain text")
)

// Header is what a JOSE header may say to us (RFC 7515 §4.1).
type Header struct {
	// Alg is what the token claims; the key decides.
	Alg   Algorithm
	KeyID string
	// Type is typ in lower case without "application/" (RFC 7515 §4.1.9).
	Type string
	// JWK is the text of the embedded key of a proof; "" elsewhere.
	JWK string
}

// Compact is a compact JWS, split and its header read. Nothing in it is verified.
type Compact struct {
	Header Header
	// Payload is the decoded payload, which may be empty.
	Payload string
	// signed and signature are views of the token's bytes: the token must not be
	// changed while the Compact is in use.
	signed    []byte
	signature []byte
}

// Parse splits a compact JWS of at most MaxToken bytes and reads its header.
// Nothing is verified: see Key.Verify. The token's bytes are kept, not copied.
func Parse(token []byte) (Compact, error) { return parse(token, false, nil) }

// ParseLong is Parse for a text of up to limit bytes, where a token that long is
// expected: a status list.
func ParseLong(token []byte, limit int) (Compact, error) {
	if len(token) > limit {
		return Compact{}, errTokenSize
	}
	return split(token, false, nil)
}

// ParseProof is Parse for a text whose header must carry its own key: a DPoP
// proof (RFC 9449 §4.2), and nothing else.
func ParseProof(token []byte) (Compact, error) { return parse(token, true, nil) }

func parse(token []byte, proof bool, scratch *Scratch) (c Compact, err error) {
	if len(token) > MaxToken {
		return c, errTokenSize
	}
	return split(token, proof, scratch)
}

// split reads a text whose length was judged.
func split(token []byte, proof bool, scratch *Scratch) (c Compact, err error) {
	first := bytes.IndexByte(token, '.')
	last := bytes.LastIndexByte(token, '.')
	if first <= 0 || last == first || bytes.IndexByte(token[first+1:last], '.') >= 0 {
		return c, errParts
	}
	c.signed, c.signature = token[:last], token[last+1:]
	header, payload := token[:first], token[first+1:last]
	if strict.DecodedLen(len(header)) > maxHeader {
		return c, errHeaderSize
	}
	// Header and payload are decoded side by side, to become one string.
	n := strict.DecodedLen(len(header)) + strict.DecodedLen(len(payload))
	var room [2048]byte
	buf := room[:]
	if scratch != nil {
		buf = scratch.room(n)
	} else if n > len(buf) {
		buf = make([]byte, n)
	}
	h, err := decodeInto(buf, header)
	if err != nil {
		return c, err
	}
	p, err := decodeInto(buf[h:], payload)
	if err != nil {
		return c, err
	}
	var text string
	if scratch != nil {
		text = unsafe.String(unsafe.SliceData(scratch.text), h+p) // not buf: room would go to the heap
	} else {
		text = string(buf[:h+p])
	}
	c.Payload = text[h:]
	c.Header, err = readHeader(text[:h], proof)
	return c, err
}

func readHeader(text string, proof bool) (h Header, err error) {
	s := Scan(text)
	for s.Next() {
		v := s.Value()
		switch s.Name() {
		case "alg":
			name, ok := v.Str()
			if !ok {
				return h, errAlg
			}
			h.Alg = ParseAlgorithm(name)
			if h.Alg == Unknown {
				err = errAlgorithm
			}
		case "kid":
			if h.KeyID, err = plain(v, err); h.KeyID == "" && err == nil {
				err = errHeaderText
			}
		case "typ":
			h.Type, err = plain(v, err)
			h.Type = MediaType(h.Type)
		case "cty":
			_, err = plain(v, err)
		case "crit", "b64":
			return h, errCrit
		case "jwk":
			if !proof || v.Kind() != Object {
				return h, errHeaderKey
			}
			h.JWK = v.Raw()
		case "jku", "x5u", "x5c":
			return h, errHeaderKey
		}
	}
	if s.Err() != nil {
		return h, s.Err()
	}
	if err == nil && h.Alg == Unknown {
		err = errAlg
	}
	if err == nil && proof && h.JWK == "" {
		err = errHeaderKey
	}
	return h, err
}

// plain returns a string without control characters, keeping an earlier error.
func plain(v Value, earlier error) (string, error) {
	text, ok := v.Str()
	if earlier == nil && (!ok || hasControl(text)) {
		earlier = errHeaderText
	}
	return text, earlier
}

func hasControl(s string) bool {
	for i := range len(s) {
		if s[i] < 0x20 || s[i] == 0x7f {
			return true
		}
	}
	return false
}

// MediaType returns a typ in the form to compare: lower case, without the prefix
// "application/" when no other slash follows (RFC 7515 §4.1.9).
func MediaType(typ string) string {
	typ = strings.ToLower(typ)
	if rest, ok := strings.CutPrefix(typ, "application/"); ok && !strings.Contains(rest, "/") {
		return rest
	}
	return typ
}
