package jetstream

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/bus"
)

func open(t testing.TB, o Options) *Server {
	t.Helper()
	o.Dir, o.Random = t.TempDir(), rand.Reader
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func control(t testing.TB, s *Server) *Conn {
	t.Helper()
	c, err := s.Control(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func gateway(t testing.TB, s *Server, id mintmark.GatewayID) *Conn {
	t.Helper()
	c, err := s.Gateway(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// until polls, because a subscription reaches the server some time after it was
// made.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

func request(t testing.TB, c *Conn, subject, body string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	b, err := c.Request(ctx, subject, []byte(body))
	return string(b), err
}

func echo(_ context.Context, subject string, data []byte) []byte {
	return append([]byte(subject+" "), data...)
}

func TestAGatewaySpeaksAndHearsOnlyForItself(t *testing.T) {
	s := open(t, Options{})
	ctl, east, west := control(t, s), gateway(t, s, "east"), gateway(t, s, "west")
	stop, err := ctl.Serve(bus.SubjectLease+"*", 4, echo)
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	until(t, "own lease request answered", func() bool {
		got, err := request(t, east, bus.SubjectLease+"east", "hi")
		return err == nil && got == "mm.v1.ctl.lease.east hi"
	})
	if got, err := request(t, east, bus.SubjectLease+"west", "hi"); !errors.Is(err, bus.ErrNoAnswer) {
		t.Errorf("east spoke for west: %q, %v", got, err)
	}

	var stolen atomic.Int64
	spy := func(context.Context, string, []byte) []byte { stolen.Add(1); return []byte("forged") }
	for _, subject := range []string{"mm.v1.gw.west.prepare", "mm.v1.gw.*.prepare", "mm.v1.ctl.>", "_INBOX_west.>", "_INBOX.>", ">", bus.SubjectLease + "*"} {
		if _, err := east.Subscribe(subject, spy); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := west.Serve("mm.v1.gw.west.prepare", 1, echo); err != nil {
		t.Fatal(err)
	}
	until(t, "control reaches west", func() bool {
		got, err := request(t, ctl, "mm.v1.gw.west.prepare", "p")
		return err == nil && strings.HasPrefix(got, "mm.v1.gw.west.prepare")
	})
	if _, err := request(t, west, bus.SubjectLease+"west", "hi"); err != nil {
		t.Errorf("west is not heard: %v", err)
	}
	// East may hear the state log only: everything above was refused.
	heard := make(chan string, 1)
	if _, err := east.Subscribe(bus.SubjectState, func(_ context.Context, _ string, b []byte) []byte {
		select {
		case heard <- string(b):
		default:
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	until(t, "state heard", func() bool {
		if err := ctl.Publish(t.Context(), bus.SubjectState, []byte("row")); err != nil {
			t.Fatal(err)
		}
		select {
		case got := <-heard:
			return got == "row"
		default:
			return false
		}
	})
	if n := stolen.Load(); n != 0 {
		t.Errorf("east overheard %d messages", n)
	}
	// Nor may a gateway pretend to be control.
	if err := east.Publish(t.Context(), bus.SubjectState, []byte("forged")); err != nil {
		t.Fatal(err)
	}
	if _, err := request(t, east, bus.SubjectLease+"east", "still there"); err != nil {
		t.Fatal(err)
	}
	select {
	case got := <-heard:
		if got == "forged" {
			t.Error("a gateway published a state row")
		}
	default:
	}
}

func TestCutAndHeal(t *testing.T) {
	s := open(t, Options{})
	ctl, east := control(t, s), gateway(t, s, "east")
	if _, err := ctl.Serve(bus.SubjectPull+"*", 4, echo); err != nil {
		t.Fatal(err)
	}
	answered := func() bool { _, err := request(t, east, bus.SubjectPull+"east", "x"); return err == nil }
	until(t, "answer before the cut", answered)
	east.Cut()
	until(t, "cut is felt", func() bool { return !east.Connected() })
	if answered() {
		t.Fatal("answered over a cut link")
	}
	east.Heal()
	until(t, "answer after healing", answered)
}

// A question whose connection breaks is over at once: its answer never comes.
func TestAQuestionEndsWithItsConnection(t *testing.T) {
	s := open(t, Options{})
	asked := make(chan struct{}, 1)
	stop, err := control(t, s).Subscribe(bus.SubjectTail+"*", func(context.Context, string, []byte) []byte {
		asked <- struct{}{}
		return nil // no answer
	})
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	east := gateway(t, s, "east")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	over := make(chan error, 1)
	go func() {
		_, err := east.Request(ctx, bus.SubjectTail+"east", []byte("{}"))
		over <- err
	}()
	<-asked
	begun := time.Now()
	east.Cut()
	if err := <-over; !errors.Is(err, bus.ErrNoAnswer) || time.Since(begun) > 10*time.Second {
		t.Errorf("over after %s: %v", time.Since(begun), err)
	}
}

func TestRecordsAreOfferedUntilTaken(t *testing.T) {
	s := open(t, Options{})
	ctl, east := control(t, s), gateway(t, s, "east")
	if err := ctl.EnsureRecords(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"boot/1", "boot/2", "boot/2", "boot/3"} {
		if err := east.PublishRecord(t.Context(), bus.SubjectRecords+"east", id, []byte(id)); err != nil {
			t.Fatal(err)
		}
	}
	if err := east.PublishRecord(t.Context(), bus.SubjectRecords+"west", "x", []byte("forged")); err == nil {
		t.Error("a gateway recorded for another one")
	}
	ctx, cancel := context.WithCancel(t.Context())
	var got []string
	failed := false
	err := ctl.ConsumeRecords(ctx, func(_ context.Context, _ string, b []byte) error {
		if string(b) == "boot/2" && !failed {
			failed = true
			return errors.New("the ledger is away")
		}
		got = append(got, string(b))
		if len(got) == 3 {
			cancel()
		}
		return nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("consume ended with %v", err)
	}
	if s := strings.Join(got, " "); !failed || s != "boot/1 boot/2 boot/3" {
		t.Errorf("took %q, failed once %v", s, failed)
	}
}

func TestSeparateGatewayOverTLS(t *testing.T) {
	serverTLS, clientTLS := testTLS(t)
	seed, public, err := NewCredential()
	if err != nil {
		t.Fatal(err)
	}
	var member atomic.Bool
	member.Store(true)
	s := open(t, Options{Listen: "127.0.0.1:0", TLS: serverTLS, Member: func(k string) (mintmark.GatewayID, bool) {
		return "east", k == public && member.Load()
	}})
	ctl := control(t, s)
	if _, err := ctl.Serve(bus.SubjectPull+"*", 4, echo); err != nil {
		t.Fatal(err)
	}
	dial := func(seed mintmark.Secret) *Conn {
		k, err := OpenCredential(seed, mintmark.Secret{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		c, err := Dial(t.Context(), DialOptions{URL: "tls://" + s.Addr(), TLS: clientTLS, Gateway: "east", Credential: k})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		return c
	}
	east := dial(seed)
	answered := func() bool { _, err := request(t, east, bus.SubjectPull+"east", "x"); return err == nil }
	until(t, "member is served", answered)

	other, _, err := NewCredential()
	if err != nil {
		t.Fatal(err)
	}
	stranger := dial(other)
	if _, err := request(t, stranger, bus.SubjectPull+"east", "x"); !errors.Is(err, bus.ErrNoAnswer) {
		t.Errorf("a stranger was served: %v", err)
	}
	member.Store(false)
	s.Expel("east", "")
	until(t, "expelled", func() bool { return !answered() && !east.Connected() })
}

func TestListenOnATakenPortSaysSo(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	serverTLS, _ := testTLS(t)
	_, err = Open(Options{Dir: t.TempDir(), Random: rand.Reader, Listen: l.Addr().String(), TLS: serverTLS})
	if !errors.Is(err, ErrListen) || !strings.Contains(err.Error(), l.Addr().String()) {
		t.Errorf("got %v", err)
	}
}

func testTLS(t *testing.T) (srv, client *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "bus"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, MinVersion: tls.VersionTLS13},
		&tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS13}
}
