package jose

import (
	"errors"

	"github.com/mintmark/mintmark"
)

// Errors by class; every error of this package is one of them by errors.Is.
var (
	ErrMalformed = errors.New("jose: malformed")
	ErrTooLarge  = errors.New("jose: larger than allowed")
	ErrAlgorithm = errors.New("jose: algorithm not allowed for the key")
	ErrSignature = errors.New("jose: signature does not verify")
	ErrKey       = errors.New("jose: unusable key")
)

// refusal is an error made once: refusing a bad token costs no allocation.
type refusal struct {
	class error
	text  string
}

func (r *refusal) Error() string { return r.class.Error() + ": " + r.text }
func (r *refusal) Unwrap() error { return r.class }

func malformed(text string) error { return &refusal{ErrMalformed, text} }

// Code returns what a refusal tells the client for an error of this package;
// an error that it does not know is a malformed token.
func Code(err error) mintmark.Code {
	switch {
	case err == nil:
		return mintmark.CodeNone
	case errors.Is(err, ErrSignature), errors.Is(err, ErrAlgorithm):
		return mintmark.CodeSignature
	case errors.Is(err, ErrKey):
		return mintmark.CodeKeyUnknown
	}
	return mintmark.CodeMalformed
}
