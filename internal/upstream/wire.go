package upstream

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/textproto"
	"os"
	"sync/atomic"
	"syscall"
	"time"
)

// maxHead bounds a response's status line and fields, and its trailers.
const maxHead = 256 << 10

// wire is one HTTP/1.1 connection to a server, used by one exchange at a time.
type wire struct {
	t     *target
	nc    net.Conn
	raw   syscall.RawConn
	br    *bufio.Reader
	bw    *bufio.Writer
	tp    textproto.Reader
	since time.Time // when it became idle

	// headLeft is how many bytes of a head may still be read; negative: any.
	// Owned by the reading goroutine.
	headLeft int64
	// got says that a byte of the answer was read. Owned by the reader.
	got    bool
	closed atomic.Bool

	peekErr error // result of peek
	peek    func(fd uintptr) bool
}

func newWire(t *target, nc net.Conn) *wire {
	w := &wire{t: t, nc: nc}
	w.br = bufio.NewReaderSize(w, 4096)
	w.bw = bufio.NewWriterSize(nc, 4096)
	w.tp.R = w.br
	if sc, ok := nc.(syscall.Conn); ok {
		w.raw, _ = sc.SyscallConn()
	}
	w.peek = func(fd uintptr) bool { w.peekErr = peekQuiet(fd); return true }
	return w
}

// Read implements io.Reader for the buffered reader, counting heads.
func (w *wire) Read(p []byte) (int, error) {
	if w.headLeft == 0 {
		return 0, fmt.Errorf("%w: head is longer than %d bytes", ErrResponse, maxHead)
	}
	if w.headLeft > 0 && int64(len(p)) > w.headLeft {
		p = p[:w.headLeft]
	}
	n, err := w.nc.Read(p)
	if w.headLeft > 0 {
		w.headLeft -= int64(n)
	}
	if n > 0 {
		w.got = true
	}
	return n, err
}

// quiet reports whether an idle connection is open and has nothing to say. Bytes
// that nobody asked for would become the next client's answer.
func (w *wire) quiet() bool {
	if w.br.Buffered() > 0 {
		return false
	}
	if w.raw == nil {
		return true
	}
	return w.raw.Read(w.peek) == nil && w.peekErr == nil
}

func (w *wire) close() {
	if w.closed.CompareAndSwap(false, true) {
		w.nc.Close()
	}
}

// roundTrip performs one exchange up to the answer's head. On error the
// connection is closed; otherwise the body's end decides.
func (w *wire) roundTrip(req *http.Request, o *Options) (*http.Response, error) {
	timeout := o.timeout()
	end := leash{cord: o.Cord}
	if err := end.tie(req, w); err != nil {
		w.t.putIdle(w)
		return nil, err
	}
	if err := o.pass(); err != nil {
		// Nothing was sent: the connection is as good as before.
		if end.untie() {
			w.t.putIdle(w)
		}
		return nil, err
	}
	w.got = false
	w.nc.SetDeadline(time.Now().Add(timeout))
	if err := writeHead(w.bw, req, o.Extra); err != nil {
		w.close()
		return nil, w.classify(req, end, err)
	}
	var up *upload
	if req.Body == nil || req.Body == http.NoBody {
		if err := w.bw.Flush(); err != nil {
			w.close()
			return nil, w.classify(req, end, err)
		}
		if o.Streaming {
			w.nc.SetReadDeadline(time.Time{})
		}
	} else {
		up = startUpload(w, req, o, timeout)
	}
	resp, err := w.readHead(req, o)
	if err != nil {
		w.close()
		if uerr := up.failure(); uerr != nil {
			end.untie()
			return nil, uerr
		}
		return nil, w.classify(req, end, err)
	}
	if resp.StatusCode == http.StatusSwitchingProtocols {
		w.nc.SetDeadline(time.Time{})
		resp.Body = &tunnel{w: w, end: end}
		return resp, nil
	}
	w.body(req, resp, o, timeout, end, up)
	return resp, nil
}

// leash is what ends an exchange early: the caller's cord, else its context.
type leash struct {
	cord *Cord
	stop func() bool // of the context; nil with a cord
}

// tie makes the leash end the exchange on w; the error says why it may not begin.
func (l *leash) tie(req *http.Request, w *wire) error {
	if l.cord != nil {
		return l.cord.hold(w)
	}
	l.stop = context.AfterFunc(req.Context(), w.close)
	return nil
}

// untie reports whether the connection was left alone, and will be.
func (l *leash) untie() bool {
	if l.cord != nil {
		return l.cord.let()
	}
	return l.stop()
}

// classify ends the leash and turns an error into a failure, with the caller's words.
func (w *wire) classify(req *http.Request, end leash, err error) error {
	end.untie()
	if cause := over(req, end.cord); cause != nil {
		return cause
	}
	if errors.Is(err, ErrResponse) || errors.Is(err, errRequestHead) {
		return err
	}
	var proto textproto.ProtocolError
	if errors.As(err, &proto) {
		return fmt.Errorf("%w: %w", ErrResponse, err)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("%w", ErrTimeout)
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return &failure{err: fmt.Errorf("exchange with upstream: %w", err), connection: true, stale: !w.got}
}

// tunnel is the body of a 101 answer: the connection itself.
type tunnel struct {
	w    *wire
	end  leash
	done atomic.Bool
}

func (t *tunnel) Read(p []byte) (int, error)  { t.w.headLeft = -1; return t.w.br.Read(p) }
func (t *tunnel) Write(p []byte) (int, error) { return t.w.nc.Write(p) }

func (t *tunnel) CloseWrite() error {
	if c, ok := t.w.nc.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return nil
}

func (t *tunnel) Close() error {
	if t.done.CompareAndSwap(false, true) {
		t.end.untie()
		t.w.close()
		t.w.t.release()
	}
	return nil
}
