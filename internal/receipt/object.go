package receipt

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"
)

// maxDepth bounds how deep values nest; a receipt needs six.
const maxDepth = 32

// object reads one JSON object, strictly: no duplicate members, no bad UTF-8,
// nothing after its end. Numbers keep their text. Errors are ErrFormat, and
// ErrTruncated where the text ends early.
func object(text []byte) (map[string]any, error) {
	if !utf8.Valid(text) {
		return nil, fmt.Errorf("%w: not UTF-8", ErrFormat)
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	v, err := value(d, 0)
	if err != nil {
		return nil, err
	}
	members, ok := v.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("%w: not a JSON object", ErrFormat)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%w: text after the end", ErrFormat)
	}
	return members, nil
}

func value(d *json.Decoder, depth int) (any, error) {
	t, err := token(d)
	if err != nil {
		return nil, err
	}
	open, ok := t.(json.Delim)
	if !ok {
		return t, nil
	}
	if depth == maxDepth {
		return nil, fmt.Errorf("%w: nested deeper than %d", ErrFormat, maxDepth)
	}
	if open == '[' {
		list := []any{}
		for d.More() {
			v, err := value(d, depth+1)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		_, err := token(d)
		return list, err
	}
	members := map[string]any{}
	for d.More() {
		t, err := token(d)
		if err != nil {
			return nil, err
		}
		name, ok := t.(string)
		if !ok {
			return nil, fmt.Errorf("%w: a member's name is no string", ErrFormat)
		}
		if _, twice := members[name]; twice {
			return nil, fmt.Errorf("%w: member %.80q given twice", ErrFormat, name)
		}
		if members[name], err = value(d, depth+1); err != nil {
			return nil, err
		}
	}
	_, err = token(d)
	return members, err
}

func token(d *json.Decoder) (json.Token, error) {
	t, err := d.Token()
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return nil, fmt.Errorf("%w: the JSON ends early", ErrTruncated)
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	return t, nil
}
