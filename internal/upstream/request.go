package upstream

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// errRequestHead reports a request that must not be written as it is.
var errRequestHead = errors.New("upstream: request cannot be written")

// writeHead prints the request line and fields. Framing fields come from the
// request's length alone, never from its header: what the client said about
// framing was used up when its body was parsed (RFC 9112 §6.1).
func writeHead(bw *bufio.Writer, req *http.Request, extra []Field) error {
	target := req.URL.RequestURI()
	if !plain(req.Method) || !plain(target) || !plain(req.Host) {
		bw.Reset(nil)
		return fmt.Errorf("%w: control character or space in its first line", errRequestHead)
	}
	bw.WriteString(req.Method)
	bw.WriteByte(' ')
	bw.WriteString(target)
	bw.WriteString(" HTTP/1.1\r\nHost: ")
	bw.WriteString(req.Host)
	bw.WriteString("\r\n")
	for name, values := range req.Header {
		switch name {
		case "Host", "Content-Length", "Transfer-Encoding", "Trailer", "Te", "Expect", "Keep-Alive", "Proxy-Connection":
			continue
		}
		for _, v := range values {
			if !writeField(bw, name, v) {
				return fmt.Errorf("%w: field %.40q", errRequestHead, name)
			}
		}
	}
	for i := range extra {
		if !writeField(bw, extra[i].Name, extra[i].Value) {
			return fmt.Errorf("%w: field %.40q", errRequestHead, extra[i].Name)
		}
	}
	switch {
	case req.Body == nil || req.Body == http.NoBody:
		if req.Method == http.MethodPost || req.Method == http.MethodPut || req.Method == http.MethodPatch {
			bw.WriteString("Content-Length: 0\r\n")
		}
	case req.ContentLength >= 0:
		var b [20]byte
		bw.WriteString("Content-Length: ")
		bw.Write(strconv.AppendInt(b[:0], req.ContentLength, 10))
		bw.WriteString("\r\n")
	default:
		bw.WriteString("Transfer-Encoding: chunked\r\n")
		if err := announce(bw, req.Trailer); err != nil {
			return err
		}
	}
	_, err := bw.WriteString("\r\n")
	return err
}

// announce names the trailers to come (RFC 9110 §6.6.2).
func announce(bw *bufio.Writer, trailer http.Header) error {
	if len(trailer) == 0 {
		return nil
	}
	bw.WriteString("Trailer: ")
	sep := ""
	for name := range trailer {
		if !fieldName(name) {
			return fmt.Errorf("%w: trailer %.40q", errRequestHead, name)
		}
		bw.WriteString(sep)
		bw.WriteString(name)
		sep = ", "
	}
	_, err := bw.WriteString("\r\n")
	return err
}

func writeField(bw *bufio.Writer, name, value string) bool {
	if !fieldValue(value) || name == "" {
		return false
	}
	bw.WriteString(name)
	bw.WriteString(": ")
	bw.WriteString(value)
	bw.WriteString("\r\n")
	return true
}

// plain reports whether s may stand in a request line.
func plain(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] == 0x7f {
			return false
		}
	}
	return s != ""
}

// fieldValue reports whether s may stand as a field's value (RFC 9110 §5.5).
func fieldValue(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

// upload sends a request's body while the answer is awaited: a server may answer
// before it has read all.
type upload struct {
	done chan struct{} // closed when the goroutine has ended
	ok   atomic.Bool   // the whole body was sent
	// broken is the client's failure; set before the connection is closed for it,
	// so that whoever sees that knows why.
	broken atomic.Pointer[error]
}

var buffers = sync.Pool{New: func() any { b := make([]byte, 32<<10); return &b }}

func startUpload(w *wire, req *http.Request, o *Options, timeout time.Duration) *upload {
	u := &upload{done: make(chan struct{})}
	body, length, trailers := req.Body, req.ContentLength, o.Trailers
	go func() {
		defer close(u.done)
		var err error
		if length >= 0 {
			err = u.sized(w, body, length, timeout)
		} else {
			err = u.chunked(w, body, trailers, timeout)
		}
		if err == nil {
			u.ok.Store(true)
			return
		}
		if errors.Is(err, ErrRequestBody) {
			// The server must not take a broken-off body for a whole one: the
			// missing end and the closed connection say so.
			u.broken.Store(&err)
			w.close()
		}
	}()
	return u
}

// failure returns what went wrong on the client's side, if anything.
func (u *upload) failure() error {
	if u == nil {
		return nil
	}
	if err := u.broken.Load(); err != nil {
		return *err
	}
	return nil
}

// sent reports whether the whole body has left, or there was none. A server's
// answer may be here before the last write has returned: that is waited for,
// briefly.
func (u *upload) sent() bool {
	if u == nil || u.ok.Load() {
		return true
	}
	t := time.NewTimer(2 * time.Millisecond)
	defer t.Stop()
	select {
	case <-u.done:
	case <-t.C:
	}
	return u.ok.Load()
}

func (u *upload) sized(w *wire, body io.Reader, left int64, timeout time.Duration) error {
	bp := buffers.Get().(*[]byte)
	defer buffers.Put(bp)
	if err := w.bw.Flush(); err != nil {
		return err
	}
	for left > 0 {
		n, err := body.Read((*bp)[:min(int64(len(*bp)), left)])
		if n > 0 {
			w.nc.SetDeadline(time.Now().Add(timeout))
			if _, werr := w.nc.Write((*bp)[:n]); werr != nil {
				return werr
			}
			left -= int64(n)
		}
		if err != nil && left > 0 {
			return bodyError(err)
		}
	}
	return nil
}

func (u *upload) chunked(w *wire, body io.Reader, trailers func() http.Header, timeout time.Duration) error {
	bp := buffers.Get().(*[]byte)
	defer buffers.Put(bp)
	if err := w.bw.Flush(); err != nil {
		return err
	}
	for {
		n, err := body.Read(*bp)
		if n > 0 {
			w.nc.SetDeadline(time.Now().Add(timeout))
			var b [20]byte
			w.bw.Write(strconv.AppendInt(b[:0], int64(n), 16))
			w.bw.WriteString("\r\n")
			w.bw.Write((*bp)[:n])
			w.bw.WriteString("\r\n")
			if werr := w.bw.Flush(); werr != nil {
				return werr
			}
		}
		if err == io.EOF {
			return finishChunked(w.bw, trailers)
		}
		if err != nil {
			return bodyError(err)
		}
	}
}

// finishChunked writes the last chunk and the trailers. One that cannot be written as
// it is breaks the body off, so that it is not taken for whole.
func finishChunked(bw *bufio.Writer, trailers func() http.Header) error {
	bw.WriteString("0\r\n")
	if trailers != nil {
		for name, values := range trailers() {
			for _, v := range values {
				if !fieldName(name) || !writeField(bw, name, v) {
					return fmt.Errorf("%w: trailer %.40q", ErrRequestBody, name)
				}
			}
		}
	}
	bw.WriteString("\r\n")
	return bw.Flush()
}

func bodyError(err error) error {
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("%w: client too slow", ErrRequestBody)
	}
	return fmt.Errorf("%w: %w", ErrRequestBody, err)
}
