package upstream

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/textproto"
	"strconv"
	"strings"
	"time"
)

// maxInformational bounds the 1xx answers before the final one.
const maxInformational = 8

// readHead reads answers up to the final one's head and leaves its body framed
// in resp.ContentLength (-1 with Uncompressed unset: until close or chunked).
func (w *wire) readHead(req *http.Request, o *Options) (*http.Response, error) {
	for range maxInformational + 1 {
		w.headLeft = maxHead
		resp, err := w.oneHead(req)
		w.headLeft = -1
		if err != nil {
			return nil, err
		}
		switch {
		case resp.StatusCode == http.StatusSwitchingProtocols:
			if req.Header.Get("Upgrade") == "" {
				return nil, fmt.Errorf("%w: 101 that nobody asked for", ErrResponse)
			}
			return resp, nil
		case resp.StatusCode >= 200:
			return resp, nil
		case resp.StatusCode != http.StatusContinue && o.Informational != nil:
			o.Informational(resp.StatusCode, resp.Header)
		}
	}
	return nil, fmt.Errorf("%w: more than %d informational answers", ErrResponse, maxInformational)
}

func (w *wire) oneHead(req *http.Request) (*http.Response, error) {
	line, err := w.tp.ReadLine()
	if err != nil {
		return nil, err
	}
	resp := &http.Response{Request: req, ProtoMajor: 1}
	if err := parseStatus(line, resp); err != nil {
		return nil, err
	}
	h, err := w.tp.ReadMIMEHeader()
	if err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	resp.Header = http.Header(h)
	return resp, frame(resp, req.Method)
}

// parseStatus reads "HTTP/1.x NNN reason".
func parseStatus(line string, resp *http.Response) error {
	if len(line) < 12 || line[:7] != "HTTP/1." || line[7] != '0' && line[7] != '1' || line[8] != ' ' {
		return fmt.Errorf("%w: status line", ErrResponse)
	}
	resp.ProtoMinor = int(line[7] - '0')
	code := 0
	for _, c := range []byte(line[9:12]) {
		if c < '0' || c > '9' {
			return fmt.Errorf("%w: status code", ErrResponse)
		}
		code = code*10 + int(c-'0')
	}
	if code < 100 || code > 599 || len(line) > 12 && line[12] != ' ' {
		return fmt.Errorf("%w: status code", ErrResponse)
	}
	resp.StatusCode = code
	return nil
}

// frame decides where the answer's body ends (RFC 9112 §6.3), refusing whatever
// two parsers could read differently. It sets ContentLength, TransferEncoding
// and Close, and removes the fields that belong to this connection.
func frame(resp *http.Response, method string) error {
	h := resp.Header
	for name, values := range h {
		if !fieldName(name) {
			return fmt.Errorf("%w: field name %.40q", ErrResponse, name)
		}
		for _, v := range values {
			if !fieldValue(v) {
				return fmt.Errorf("%w: control character in field %.40q", ErrResponse, name)
			}
		}
	}
	resp.Close = resp.ProtoMinor == 0 || hasToken(h["Connection"], "close")
	te, cl := h["Transfer-Encoding"], h["Content-Length"]
	if len(te) > 0 && (len(cl) > 0 || resp.ProtoMinor == 0) {
		return fmt.Errorf("%w: both Transfer-Encoding and Content-Length, or in HTTP/1.0", ErrResponse)
	}
	length := int64(-1)
	switch {
	case len(cl) > 1:
		return fmt.Errorf("%w: Content-Length is repeated", ErrResponse)
	case len(cl) == 1:
		n, err := strconv.ParseUint(cl[0], 10, 63)
		if err != nil || cl[0][0] == '+' {
			return fmt.Errorf("%w: Content-Length", ErrResponse)
		}
		length = int64(n)
	case len(te) > 0:
		if len(te) != 1 || !strings.EqualFold(te[0], "chunked") {
			return fmt.Errorf("%w: Transfer-Encoding", ErrResponse)
		}
		resp.TransferEncoding = te
		delete(h, "Transfer-Encoding")
	}
	if !hasBody(resp.StatusCode, method) {
		if resp.StatusCode < 200 || resp.StatusCode == http.StatusNoContent {
			if length > 0 || resp.TransferEncoding != nil {
				return fmt.Errorf("%w: status %d with a body", ErrResponse, resp.StatusCode)
			}
		}
		resp.TransferEncoding = nil
		resp.ContentLength = 0
		return nil
	}
	resp.ContentLength = length
	if length < 0 && resp.TransferEncoding == nil {
		resp.Close = true // delimited by close
	}
	return nil
}

// fieldName reports whether s is a token (RFC 9110 §5.1).
func fieldName(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || strings.IndexByte("\"(),/:;<=>?@[\\]{}", c) >= 0 {
			return false
		}
	}
	return s != ""
}

func hasBody(code int, method string) bool {
	return method != http.MethodHead && code >= 200 && code != http.StatusNoContent && code != http.StatusNotModified
}

// hasToken reports whether a comma-separated list field has the token.
func hasToken(values []string, token string) bool {
	for _, v := range values {
		for part := range strings.SplitSeq(v, ",") {
			if strings.EqualFold(textproto.TrimString(part), token) {
				return true
			}
		}
	}
	return false
}

// body gives resp its body, which returns the connection to the pool at its end.
func (w *wire) body(req *http.Request, resp *http.Response, o *Options, timeout time.Duration, end leash, up *upload) {
	b := &wireBody{w: w, resp: resp, end: end, up: up, timeout: timeout}
	if o.Streaming || isEventStream(resp.Header) {
		b.timeout = 0
	}
	resp.Body = b
	switch {
	case resp.ContentLength == 0 || !hasBody(resp.StatusCode, req.Method):
		b.finish(true)
	case resp.TransferEncoding != nil:
		b.chunks = httputil.NewChunkedReader(w.br)
	case resp.ContentLength > 0:
		b.left = resp.ContentLength
	}
	if b.timeout == 0 && !b.done {
		w.nc.SetReadDeadline(time.Time{})
	}
}

func isEventStream(h http.Header) bool {
	ct := h["Content-Type"]
	return len(ct) > 0 && len(ct[0]) >= 17 && strings.EqualFold(ct[0][:17], "text/event-stream")
}

// wireBody reads an answer's body. Not for concurrent use, as any body.
type wireBody struct {
	w       *wire
	resp    *http.Response
	end     leash
	up      *upload
	timeout time.Duration
	chunks  io.Reader // chunked, else nil
	left    int64     // of a sized body
	done    bool
	err     error // what Read says after done; nil is io.EOF
}

func (b *wireBody) Read(p []byte) (int, error) {
	if b.done {
		if b.err != nil {
			return 0, b.err
		}
		return 0, io.EOF
	}
	if len(p) == 0 {
		return 0, nil
	}
	if b.timeout > 0 && b.w.br.Buffered() == 0 {
		b.w.nc.SetReadDeadline(time.Now().Add(b.timeout))
	}
	n, err := b.read(p)
	if err == nil {
		return n, nil
	}
	if err == io.EOF {
		b.finish(true)
		return n, io.EOF
	}
	b.err = b.w.classify(b.resp.Request, b.end, err)
	b.finish(false)
	return n, b.err
}

// read returns io.EOF only at the body's proper end.
func (b *wireBody) read(p []byte) (int, error) {
	switch {
	case b.chunks != nil:
		n, err := b.chunks.Read(p)
		if err == io.EOF {
			if terr := b.trailers(); terr != nil {
				return n, terr
			}
		}
		return n, err
	case b.resp.ContentLength > 0:
		n, err := b.w.br.Read(p[:min(int64(len(p)), b.left)])
		b.left -= int64(n)
		if b.left == 0 {
			return n, io.EOF
		}
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return n, err
	}
	return b.w.br.Read(p)
}

func (b *wireBody) trailers() error {
	b.w.headLeft = maxHead
	h, err := b.w.tp.ReadMIMEHeader()
	b.w.headLeft = -1
	if err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return err
	}
	for name, values := range h {
		switch name {
		case "Content-Length", "Transfer-Encoding", "Host", "Trailer":
			return fmt.Errorf("%w: field %s in trailers", ErrResponse, name)
		}
		for _, v := range values {
			if !fieldValue(v) {
				return fmt.Errorf("%w: control character in trailers", ErrResponse)
			}
		}
	}
	if len(h) > 0 {
		b.resp.Trailer = http.Header(h)
	}
	return nil
}

// Close implements io.Closer; a body that was not read to its end costs the
// connection.
func (b *wireBody) Close() error {
	if !b.done {
		b.err = http.ErrBodyReadAfterClose
		b.finish(false)
	}
	return nil
}

func (b *wireBody) finish(clean bool) {
	b.done = true
	alive := b.end.untie()
	// Bytes after the end, or an upload that the server did not wait for, would
	// be read as the next exchange's.
	if clean && alive && !b.resp.Close && b.up.sent() && b.w.br.Buffered() == 0 && !b.w.closed.Load() {
		b.w.t.putIdle(b.w)
	} else {
		b.w.close()
	}
	b.w.t.release()
}
