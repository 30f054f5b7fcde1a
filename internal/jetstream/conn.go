package jetstream

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/bus"
)

// Conn is a client of the bus.
type Conn struct {
	nc       *nats.Conn
	js       jetstream.JetStream
	link     *link
	ctx      context.Context // ends at Close; handlers get it
	cancel   context.CancelFunc
	maxStore int64
	up       chan struct{}
}

var (
	_ bus.Conn    = (*Conn)(nil)
	_ bus.Records = (*Conn)(nil)
)

// DialOptions say how a separate gateway reaches the bus.
type DialOptions struct {
	URL        string      // tls://host:port
	TLS        *tls.Config // trusts the bus's authority only
	Gateway    mintmark.GatewayID
	Credential *Credential
	// Refused is called when control refuses every key of the credential, now and
	// then again while it goes on doing so: it has ended, or the gateway was removed.
	// It must neither block nor use the connection. Nil is not called.
	Refused func()
}

// Dial returns a gateway's connection. It returns at once whether or not the bus
// answers, and keeps trying: a gateway must start while control is away.
func Dial(ctx context.Context, o DialOptions) (*Conn, error) {
	if o.TLS == nil || o.Credential == nil {
		return nil, errors.New("jetstream: dialling needs TLS and a credential")
	}
	return connect(ctx, connectOptions{url: o.URL, tls: o.TLS, credential: o.Credential, refused: o.Refused, gateway: o.Gateway})
}

type connectOptions struct {
	provider       nats.InProcessConnProvider // nil: over TCP
	user, password string
	url            string
	tls            *tls.Config
	credential     *Credential
	refused        func()
	gateway        mintmark.GatewayID
	maxStore       int64
}

// Pauses between attempts to connect: the first come at once, so that a healed
// partition is over soon; the last are those of a control plane that is away.
const (
	firstPause = 20 * time.Millisecond
	lastPause  = 2 * time.Second
)

// reconnectPause is how long to wait before the n-th attempt, from 1. Half of it is
// left to chance: gateways that lost control together do not come back together.
func reconnectPause(n int) time.Duration {
	d := lastPause
	if shift := max(n, 1) - 1; shift < 10 {
		d = min(firstPause<<shift, lastPause)
	}
	return d/2 + rand.N(d/2)
}

func connect(ctx context.Context, o connectOptions) (*Conn, error) {
	l := newLink(o.provider)
	up := make(chan struct{}, 1)
	online := func(*nats.Conn) {
		if o.credential != nil {
			o.credential.connected()
		}
		select {
		case up <- struct{}{}:
		default: // not yet taken
		}
	}
	opts := []nats.Option{
		nats.CustomInboxPrefix(inboxPrefix(o.gateway)),
		nats.MaxReconnects(-1),
		nats.CustomReconnectDelay(reconnectPause),
		nats.RetryOnFailedConnect(true),
		nats.ReconnectBufSize(-1), // what can't be sent now fails now
		nats.PingInterval(2 * time.Second),
		nats.MaxPingsOutstanding(2),
		nats.Timeout(5 * time.Second),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}),
		nats.IgnoreAuthErrorAbort(), // a member may be admitted again
		nats.DisconnectErrHandler(func(*nats.Conn, error) {
			l.broke()
			if o.credential != nil {
				o.credential.lost()
			}
		}),
		nats.ConnectHandler(online),
		nats.ReconnectHandler(online),
	}
	if o.credential != nil {
		o.credential.told(o.refused)
	}
	url := "nats://inside"
	if o.provider != nil {
		opts = append(opts, nats.InProcessServer(l), nats.UserInfo(o.user, o.password))
	} else {
		opts = append(opts, nats.SetCustomDialer(l), nats.Secure(o.tls),
			nats.UserInfoHandler(o.credential.try), nats.UserJWT(o.credential.trying, o.credential.prove))
		url = o.url
	}
	nc, err := nats.Connect(url, opts...)
	if err != nil {
		return nil, fmt.Errorf("connect to the bus at %s: %w", url, err)
	}
	js, err := jetstream.New(nc)
	if err != nil {
		nc.Close()
		return nil, fmt.Errorf("connect to the bus at %s: %w", url, err)
	}
	if o.credential != nil {
		o.credential.via(nc.ForceReconnect)
	}
	c := &Conn{nc: nc, js: js, link: l, maxStore: o.maxStore, up: up}
	c.ctx, c.cancel = context.WithCancel(context.WithoutCancel(ctx))
	return c, nil
}

// Close ends the connection. Handlers in progress see their context end.
func (c *Conn) Close() {
	c.cancel()
	c.nc.Close()
}

// Up receives after each connect: what was missed meanwhile can be asked for. One
// receiver.
func (c *Conn) Up() <-chan struct{} { return c.up }

// Connected reports whether the bus is reached at present.
func (c *Conn) Connected() bool { return c.nc.IsConnected() }

// Publish implements bus.Conn.
func (c *Conn) Publish(_ context.Context, subject string, data []byte) error {
	return sendError(subject, c.nc.Publish(subject, data))
}

// Request implements bus.Conn.
func (c *Conn) Request(ctx context.Context, subject string, data []byte) ([]byte, error) {
	// The answer to what was sent over a connection that broke never comes: say so
	// now, not when the caller's patience ends.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(c.link.life(), cancel)()
	m, err := c.nc.RequestWithContext(ctx, subject, data)
	if err != nil {
		return nil, sendError(subject, err)
	}
	return m.Data, nil
}

// sendError maps the client's errors to the bus's: whatever kept an answer away,
// the caller knows nothing more than that there was none.
func sendError(subject string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, nats.ErrConnectionClosed):
		return fmt.Errorf("send to %s: %w", subject, bus.ErrClosed)
	}
	return fmt.Errorf("send to %s: %w: %w", subject, bus.ErrNoAnswer, err)
}

// Subscribe implements bus.Conn.
func (c *Conn) Subscribe(subject string, handle bus.Handler) (func(), error) {
	// The lock is what lets stop wait for a call in progress.
	var (
		mu      sync.Mutex
		stopped bool
	)
	sub, err := c.nc.Subscribe(subject, func(m *nats.Msg) {
		mu.Lock()
		defer mu.Unlock()
		if stopped {
			return
		}
		respond(m, handle(c.ctx, m.Subject, m.Data))
	})
	if err != nil {
		return nil, fmt.Errorf("subscribe to %s: %w", subject, err)
	}
	return func() {
		_ = sub.Unsubscribe() // fails only when the connection is gone already
		mu.Lock()
		stopped = true
		mu.Unlock()
	}, nil
}

// Serve implements bus.Conn.
func (c *Conn) Serve(subject string, workers int, handle bus.Handler) (func(), error) {
	var calls sync.WaitGroup
	var mu sync.Mutex
	stopped := false // guarded by mu: no call begins once its end is waited for
	slots := make(chan struct{}, max(workers, 1))
	sub, err := c.nc.Subscribe(subject, func(m *nats.Msg) {
		select {
		case slots <- struct{}{}:
		case <-c.ctx.Done():
			return
		}
		mu.Lock()
		defer mu.Unlock()
		if stopped {
			<-slots
			return
		}
		calls.Go(func() {
			defer func() { <-slots }()
			respond(m, handle(c.ctx, m.Subject, m.Data))
		})
	})
	if err != nil {
		return nil, fmt.Errorf("serve %s: %w", subject, err)
	}
	return func() {
		_ = sub.Unsubscribe()
		mu.Lock()
		stopped = true
		mu.Unlock()
		calls.Wait()
	}, nil
}

// respond answers when asked; a lost answer is the asker's time-out.
func respond(m *nats.Msg, reply []byte) {
	if reply != nil && m.Reply != "" {
		_ = m.Respond(reply)
	}
}
