// Package loopback answers: which ports of this machine may a process that we are
// about to start listen on? The demo, the benchmark's rig and the tests start
// whole processes, which must be told their addresses before they run.
package loopback

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// The range lies below what kernels give to outgoing connections (32768 and up on
// Linux): a process that is down for a moment must find its own port again, and no
// passing connection may have taken it.
const lowest, highest = 12_000, 32_000

// Ports are ports of 127.0.0.1 set aside by this process. Close gives them back;
// so does the end of the process.
type Ports struct {
	Numbers []int

	locks []*os.File
}

// Reserve sets n ports aside: nobody listens on them now, and until Close no other
// caller of Reserve on this machine is given them, in this process or another.
// A program that doesn't ask here may still take one.
func Reserve(n int) (*Ports, error) {
	// A folder for each user: one user's locks can't be opened by another.
	dir := filepath.Join(os.TempDir(), "mintmark-ports-"+strconv.Itoa(os.Getuid()))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("set ports aside: %w", err)
	}
	p := &Ports{}
	last := errors.New("all are taken")
	for range 200 * n {
		if len(p.Numbers) == n {
			return p, nil
		}
		port := lowest + rand.IntN(highest-lowest)
		lock, err := take(dir, port)
		if err != nil {
			last = err
			continue
		}
		p.locks, p.Numbers = append(p.locks, lock), append(p.Numbers, port)
	}
	if len(p.Numbers) == n {
		return p, nil
	}
	p.Close()
	return nil, fmt.Errorf("find a free port between %d and %d: %w", lowest, highest, last)
}

// Close gives the ports back.
func (p *Ports) Close() {
	for _, l := range p.locks {
		_ = l.Close() // the lock goes with the descriptor
	}
	p.locks = nil
}

// take locks a port's file and sees that nobody listens. The file stays: removing
// it would let two hold "the" lock on two files of one name.
func take(dir string, port int) (*os.File, error) {
	lock, err := os.OpenFile(filepath.Join(dir, strconv.Itoa(port)), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = lock.Close()
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port))
	if err != nil {
		_ = lock.Close()
		return nil, err
	}
	return lock, l.Close()
}
