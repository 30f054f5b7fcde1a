package bus

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// ErrMessage reports a message that could not be read or is too large.
var ErrMessage = errors.New("bus: malformed message")

// Version is the "v" of every message written by this program.
const Version = 1

// Encode returns a message's JSON. Nested canonical bodies keep their bytes: they
// are named by hash, so that the escaping of <, > and & which encoding/json adds
// by default would make them strangers.
func Encode(message any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(message); err != nil {
		return nil, fmt.Errorf("encode bus message: %w", err)
	}
	out := bytes.TrimSuffix(b.Bytes(), []byte{'\n'})
	if len(out) > MaxMessage {
		return nil, fmt.Errorf("%w: %d bytes, the limit is %d", ErrMessage, len(out), MaxMessage)
	}
	return out, nil
}

// Decode reads one message into m, which must be a pointer to a message type. A
// message of another major version, with trailing bytes, or above MaxMessage is
// refused; unknown members are ignored.
func Decode(data []byte, m any) error {
	if len(data) > MaxMessage {
		return fmt.Errorf("%w: %d bytes, the limit is %d", ErrMessage, len(data), MaxMessage)
	}
	var version struct {
		V int `json:"v"`
	}
	if err := json.Unmarshal(data, &version); err != nil {
		return fmt.Errorf("%w: %w", ErrMessage, err)
	}
	if version.V != Version {
		return fmt.Errorf("%w: version %d, want %d", ErrMessage, version.V, Version)
	}
	d := json.NewDecoder(bytes.NewReader(data))
	if err := d.Decode(m); err != nil {
		return fmt.Errorf("%w: %w", ErrMessage, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: bytes after the message", ErrMessage)
	}
	return nil
}
