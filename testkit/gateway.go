package testkit

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/mintmark/mintmark/internal/arrival"
	"github.com/mintmark/mintmark/internal/gateway"
	"github.com/mintmark/mintmark/internal/upstream"
	"github.com/mintmark/mintmark/internal/verifier"
)

// startGateway puts the product's gateway in front of the service. It reads the
// state that the authority writes, in the same process: there is no fleet, so a
// revocation is in force when it was made. Its clock is the machine's, as the
// service's is: it is shown tokens by Present.
func (i *Issuer) startGateway() error {
	var key [32]byte
	_, _ = rand.Read(key[:]) // never fails
	ups := upstream.New(upstream.Config{})
	g, err := gateway.New(gateway.Config{
		State: i.state, Upstreams: ups, Skew: -1,
		Verifier: verifier.New(verifier.Config{Key: key, Entries: 1 << 12, Bytes: 1 << 24}),
	})
	if err != nil {
		return fmt.Errorf("make the gateway: %w", err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listen for the gateway: %w", err)
	}
	i.gateway = "http://" + l.Addr().String()
	ctx, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	srv := arrival.NewServer(arrival.ServerConfig{Handler: g, Drain: 100 * time.Millisecond})
	wg.Go(func() { _ = srv.Run(ctx, l) }) // ends with Close
	wg.Go(func() { ups.Run(ctx) })
	i.cleanup(func() { stop(); wg.Wait() })
	return nil
}
