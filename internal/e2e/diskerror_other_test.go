//go:build linux && !amd64

package e2e

import (
	"errors"

	"golang.org/x/sys/unix"
)

// Other machines' registers have other names; no test there makes a call fail.
func skipCall(int) error               { return errors.ErrUnsupported }
func answerCall(int, unix.Errno) error { return errors.ErrUnsupported }
