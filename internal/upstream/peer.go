package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"
)

// peer is one connection of net/http, HTTP/1.1 or HTTP/2 as the server chose.
type peer struct {
	cc   *http.ClientConn
	used time.Time // guarded by target.mu
}

// reserve returns a connection with a free slot, dialling when there is none.
func (t *target) reserve(ctx context.Context) (*http.ClientConn, error) {
	now := time.Now()
	t.mu.Lock()
	for i := len(t.peers) - 1; i >= 0; i-- {
		p := t.peers[i]
		if p.cc.Err() == nil && p.cc.Reserve() == nil {
			p.used = now
			t.mu.Unlock()
			return p.cc, nil
		}
	}
	t.mu.Unlock()
	dctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	scheme := t.scheme
	if scheme == "h2c" {
		scheme = "http"
	}
	cc, err := t.set.transport(t.scheme).NewClientConn(dctx, scheme, t.addr)
	if err != nil {
		return nil, err
	}
	if err := cc.Reserve(); err != nil {
		cc.Close()
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed || len(t.peers) >= maxIdle {
		cc.Release()
		cc.Close()
		return nil, ErrBusy
	}
	t.peers = append(t.peers, &peer{cc: cc, used: now})
	return cc, nil
}

func (t *target) peerExchange(req *http.Request, o *Options) (*http.Response, error) {
	cc, err := t.reserve(req.Context())
	if err != nil {
		if errors.Is(err, ErrBusy) {
			return nil, err
		}
		return nil, t.peerFailure(req, o, fmt.Errorf("connect to upstream: %w", err))
	}
	if err := o.pass(); err != nil {
		cc.Release()
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(req.Context())
	out := req.WithContext(ctx)
	// With its values: a server may answer before net/http has written all of them,
	// and then the caller does with them what it likes.
	out.Header = req.Header.Clone()
	if out.Header == nil {
		out.Header = http.Header{}
	}
	if _, named := out.Header["User-Agent"]; !named {
		out.Header["User-Agent"] = nil // else net/http would name itself
	}
	for _, f := range o.Extra {
		out.Header[f.Name] = []string{f.Value}
	}
	timeout := o.timeout()
	if o.Streaming {
		timeout = 0
	}
	o.Cord.cancels(cancel)
	b := &peerBody{t: t, cancel: cancel, cord: o.Cord, timeout: timeout}
	if timeout > 0 {
		b.timer = time.AfterFunc(timeout, func() { cancel(ErrTimeout) })
	}
	body := peerRequest(out, o, b)
	resp, err := cc.RoundTrip(out)
	if err != nil {
		b.stopTimer()
		o.Cord.cancels(nil)
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		cancel(nil)
		if errors.Is(err, ErrTimeout) {
			return nil, ErrTimeout
		}
		if broken := body.failure(); broken != nil && over(req, o.Cord) == nil {
			return nil, broken
		}
		return nil, t.peerFailure(req, o, fmt.Errorf("exchange with upstream: %w", err))
	}
	if resp.StatusCode == http.StatusSwitchingProtocols {
		b.stopTimer()
		rw, ok := resp.Body.(io.ReadWriteCloser)
		if !ok {
			resp.Body.Close()
			o.Cord.cancels(nil)
			cancel(nil)
			return nil, fmt.Errorf("%w: 101 without a connection", ErrResponse)
		}
		resp.Body = &peerTunnel{ReadWriteCloser: rw, b: b}
		return resp, nil
	}
	if isEventStream(resp.Header) {
		b.stopTimer()
		b.timeout = 0
	}
	b.ReadCloser = resp.Body
	resp.Body = b
	return resp, nil
}

func (t *target) peerFailure(req *http.Request, o *Options, err error) error {
	if cause := over(req, o.Cord); cause != nil {
		return cause
	}
	return &failure{err: err, connection: true}
}

// peerBody bounds silence and ends the exchange's accounts once.
type peerBody struct {
	io.ReadCloser
	t       *target
	cancel  context.CancelCauseFunc
	cord    *Cord
	timeout time.Duration
	timer   *time.Timer
	once    sync.Once
}

func (b *peerBody) stopTimer() {
	if b.timer != nil {
		b.timer.Stop()
	}
}

func (b *peerBody) touch() {
	if b.timer != nil && b.timeout > 0 {
		b.timer.Reset(b.timeout)
	}
}

func (b *peerBody) Read(p []byte) (int, error) {
	b.touch()
	return b.ReadCloser.Read(p)
}

func (b *peerBody) end() {
	b.once.Do(func() {
		b.stopTimer()
		b.cord.cancels(nil)
		b.cancel(nil)
		b.t.release()
	})
}

func (b *peerBody) Close() error {
	err := b.ReadCloser.Close()
	b.end()
	return err
}

type peerTunnel struct {
	io.ReadWriteCloser
	b *peerBody
}

func (t *peerTunnel) Close() error {
	err := t.ReadWriteCloser.Close()
	t.b.end()
	return err
}
