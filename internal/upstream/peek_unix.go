//go:build unix

package upstream

import (
	"errors"
	"io"
	"syscall"
)

var errUnasked = errors.New("upstream sent bytes that nobody asked for")

// peekQuiet returns nil when the socket is open and has no bytes waiting.
func peekQuiet(fd uintptr) error {
	var b [1]byte
	n, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	switch {
	case n > 0:
		return errUnasked
	case err == syscall.EAGAIN || err == syscall.EWOULDBLOCK || err == syscall.EINTR:
		return nil
	case err != nil:
		return err
	}
	return io.EOF
}
