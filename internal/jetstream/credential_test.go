package jetstream

import (
	"testing"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/bus"
)

func TestTheFirstAttemptsToReconnectComeAtOnce(t *testing.T) {
	var sum time.Duration
	for n := 1; n <= 50; n++ {
		d := reconnectPause(n)
		if d <= 0 || d > lastPause {
			t.Fatalf("attempt %d after %s", n, d)
		}
		if n <= 4 {
			sum += d
		}
	}
	if sum > 300*time.Millisecond {
		t.Errorf("four attempts take %s", sum)
	}
	if d := reconnectPause(1000); d < lastPause/2 {
		t.Errorf("attempt 1000 after %s", d)
	}
}

func TestAHealedLinkIsUpAndSaysSo(t *testing.T) {
	s := open(t, Options{})
	ctl, east := control(t, s), gateway(t, s, "east")
	if _, err := ctl.Serve(bus.SubjectPull+"*", 4, echo); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		east.Cut()
		until(t, "cut", func() bool { return !east.Connected() })
		select {
		case <-east.Up():
		default:
		}
		east.Heal()
		select {
		case <-east.Up():
		case <-time.After(10 * time.Second):
			t.Fatal("nobody was told that the bus is back")
		}
		if _, err := request(t, east, bus.SubjectPull+"east", "x"); err != nil {
			t.Errorf("told that the bus is back: %v", err)
		}
	}
}

// However often a gateway connects, whoever holds its key is found and cut.
func TestExpelFindsEveryConnection(t *testing.T) {
	serverTLS, clientTLS := testTLS(t)
	seed, public, err := NewCredential()
	if err != nil {
		t.Fatal(err)
	}
	s := open(t, Options{Listen: "127.0.0.1:0", TLS: serverTLS, Member: func(k string) (mintmark.GatewayID, bool) { return "east", k == public }})
	dial := func() *Conn {
		k, err := OpenCredential(seed, mintmark.Secret{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		c, err := Dial(t.Context(), DialOptions{URL: "tls://" + s.Addr(), TLS: clientTLS, Gateway: "east", Credential: k})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		until(t, "connected", c.Connected)
		return c
	}
	first := dial()
	for range 80 {
		dial().Close()
	}
	second := dial()
	if n := len(s.auth.clients("east", "another key")); n != 0 {
		t.Errorf("%d connections of a key that nobody has", n)
	}
	for _, c := range []*Conn{first, second} {
		select {
		case <-c.Up(): // of its first connect
		default:
		}
	}
	s.Expel("east", public)
	for _, c := range []*Conn{first, second} {
		select {
		case <-c.Up(): // it was cut, and let in again: it is still a member
		case <-time.After(10 * time.Second):
			t.Error("a connection was not cut")
		}
	}
}
