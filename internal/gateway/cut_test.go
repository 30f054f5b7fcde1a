package gateway

import (
	"bufio"
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/arrival"
)

// pipes is a listener whose connections buffer nothing: a client that does not read
// blocks every write at once.
type pipes struct {
	net.Listener
	conns chan net.Conn
}

func (l *pipes) Accept() (net.Conn, error) {
	c, ok := <-l.conns
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}

func (l *pipes) Close() error { return nil }

// A client that reads nothing must not hold up the cut of its tunnel, nor with it the
// acknowledgement: TLS says goodbye before it closes, and waits to be heard.
func TestCutIsNotHeldUpByItsClient(t *testing.T) {
	joined := make(chan struct{})
	up := server(t, func(w http.ResponseWriter, r *http.Request) {
		c, buf, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		buf.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: mine\r\n\r\n")
		buf.Flush()
		buf.ReadByte()
		close(joined)
		buf.ReadByte() // until the gateway closes
	})
	r := newRig(t, service(up))
	donor := httptest.NewUnstartedServer(nil)
	donor.StartTLS()
	cert := donor.TLS.Certificates
	donor.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0") // for its address
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	p := &pipes{Listener: l, conns: make(chan net.Conn, 1)}
	srv := arrival.NewServer(arrival.ServerConfig{Handler: r.gateway, TLS: &tls.Config{Certificates: cert}, Drain: time.Millisecond})
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { srv.Run(ctx, p) })
	defer wg.Wait()
	defer close(p.conns)
	defer stop()

	client, served := net.Pipe()
	defer client.Close()
	p.conns <- served
	c := tls.Client(client, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}})
	req := r.request(http.MethodGet, "/chat", "good")
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", "mine")
	go req.Write(c)
	resp, err := http.ReadResponse(bufio.NewReader(c), req)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("%v %v", resp, err)
	}
	if _, err := c.Write([]byte{1}); err != nil {
		t.Fatal(err)
	}
	<-joined
	snap := r.state.Current()
	snap.Revoked.Apply(mintmark.Revocation{ID: "rev_1", Action: mintmark.ActionRevoke, Selector: mintmark.Selector{Subject: "alice"}})
	cut := make(chan int, 1)
	go func() { cut <- r.gateway.Cut(snap) }()
	select {
	case n := <-cut:
		if n != 1 {
			t.Errorf("%d cut, want 1", n)
		}
	case <-time.After(3 * time.Second): // TLS waits for 5
		t.Error("the client holds up the cut")
		<-cut
	}
	eventually(t, "the tunnel ends", func() bool { return r.gateway.Open() == 0 })
}
