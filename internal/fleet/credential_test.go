package fleet_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"math/big"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/boottime"
	"github.com/mintmark/mintmark/internal/bus"
	"github.com/mintmark/mintmark/internal/fleet"
	"github.com/mintmark/mintmark/internal/fleet/fleettest"
	"github.com/mintmark/mintmark/internal/follower"
	"github.com/mintmark/mintmark/internal/follower/followertest"
	"github.com/mintmark/mintmark/internal/jetstream"
	"github.com/mintmark/mintmark/internal/ledger"
)

// remote is control with one gateway that joined over TLS and has a credential.
type remote struct {
	t       *testing.T
	ledger  *fleettest.Ledger
	server  *jetstream.Server
	conn    *jetstream.Conn
	client  *tls.Config
	key     ed25519.PrivateKey
	fleet   atomic.Pointer[fleet.Fleet]
	stop    func()
	clock   atomic.Int64 // added to the monotonic clock
	wall    atomic.Int64 // added to the wall clock
	grace   time.Duration
	disk    disk
	store   followertest.Store
	refused atomic.Int64
}

// disk is the gateway's identity file.
type disk struct {
	mu        sync.Mutex
	use, next mintmark.Secret
}

func (d *disk) save(use, next mintmark.Secret) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.use, d.next = use, next
	return nil
}

func (d *disk) load() (use, next mintmark.Secret) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.use, d.next
}

func newRemote(t *testing.T, grace time.Duration) *remote {
	t.Helper()
	r := &remote{t: t, ledger: fleettest.New(), grace: grace}
	srv, client := busTLS(t)
	r.client = client
	var err error
	if _, r.key, err = ed25519.GenerateKey(rand.Reader); err != nil {
		t.Fatal(err)
	}
	r.server, err = jetstream.Open(jetstream.Options{
		Dir: t.TempDir(), Random: rand.Reader, Listen: "127.0.0.1:0", TLS: srv,
		Member: func(k string) (mintmark.GatewayID, bool) {
			f := r.fleet.Load()
			if f == nil {
				return "", false
			}
			return f.Member(k)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.server.Close)
	if r.conn, err = r.server.Control(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.conn.Close)
	r.startControl()
	t.Cleanup(func() { r.stop() })
	r.join()
	return r
}

func (r *remote) startControl() {
	r.t.Helper()
	f := fleet.New(fleet.Config{
		Ledger: r.ledger, Store: r.ledger, Bus: r.conn, Key: r.key, KeyID: "state-1", Random: rand.Reader, Lease: lease,
		Clock:           func() time.Duration { return boottime.Now() + time.Duration(r.clock.Load()) },
		Now:             func() time.Time { return time.Now().Add(time.Duration(r.wall.Load())) },
		CredentialGrace: r.grace, Expel: r.server.Expel,
	})
	if err := f.Open(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
	r.fleet.Store(f)
	r.stop = run(f.Run)
}

// join gives the gateway a credential of its own, by a token for its name.
func (r *remote) join() (public string) {
	r.t.Helper()
	f := r.fleet.Load()
	answer := f.JoinAnswer("tls://"+r.server.Addr(), "PEM")
	token, err := f.Invite(r.t.Context(), "east", time.Minute, answer, "user:test")
	if err != nil {
		r.t.Fatal(err)
	}
	seed, public, err := jetstream.NewCredential()
	if err != nil {
		r.t.Fatal(err)
	}
	if _, err := f.Join(r.t.Context(), bus.JoinRequest{V: 1, Token: token, Gateway: "east", NKey: public}, answer); err != nil {
		r.t.Fatal(err)
	}
	_ = r.disk.save(seed, mintmark.Secret{})
	return public
}

// open reads the disk, as a starting gateway does.
func (r *remote) open(save func(use, next mintmark.Secret) error) (*jetstream.Credential, *jetstream.Conn) {
	r.t.Helper()
	use, next := r.disk.load()
	k, err := jetstream.OpenCredential(use, next, save)
	if err != nil {
		r.t.Fatal(err)
	}
	c, err := jetstream.Dial(r.t.Context(), jetstream.DialOptions{
		URL: "tls://" + r.server.Addr(), TLS: r.client, Gateway: "east", Credential: k, Refused: func() { r.refused.Add(1) },
	})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(c.Close)
	return k, c
}

// start runs the gateway; what stops it kills it.
func (r *remote) start(k follower.Credential, b bus.Conn, up <-chan struct{}) (*follower.Follower, func()) {
	r.t.Helper()
	f := follower.New(follower.Config{
		Gateway: "east", Boot: "boot_1", Bus: b, Store: &r.store, Clock: boottime.Now, Random: rand.Reader, Lease: lease, Wait: lease,
		StateKey:   func(string) ed25519.PublicKey { return r.key.Public().(ed25519.PublicKey) },
		Credential: k, CredentialPause: 5 * time.Millisecond, Up: up,
	})
	if err := f.Open(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
	stop := run(f.Run)
	r.t.Cleanup(stop)
	return f, stop
}

// settled says that the gateway is leased, has one key only, and control knows that
// one and none of the others.
func (r *remote) settled(f *follower.Follower, before ...string) (ok bool, why string) {
	use, next := r.disk.load()
	if !next.IsZero() {
		return false, "two keys on disk"
	}
	public := publicOf(r.t, use)
	for _, old := range before {
		if old == public {
			return false, "not replaced"
		}
		if _, ok := r.fleet.Load().Member(old); ok {
			return false, "an old key is still accepted"
		}
	}
	if id, ok := r.fleet.Load().Member(public); !ok || id != "east" {
		return false, "control does not know the key on disk"
	}
	if !f.Freshness().Leased {
		return false, "no lease"
	}
	return true, ""
}

func (r *remote) until(what string, ok func() (bool, string)) {
	r.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(2 * time.Millisecond) {
		good, why := ok()
		if good {
			return
		}
		if time.Now().After(deadline) {
			r.t.Fatalf("waited in vain: %s: %s", what, why)
		}
	}
}

func publicOf(t *testing.T, seed mintmark.Secret) string {
	t.Helper()
	k, err := jetstream.OpenCredential(seed, mintmark.Secret{}, func(mintmark.Secret, mintmark.Secret) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	public, _, err := k.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return public
}

func busTLS(t *testing.T) (srv, client *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
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

func (r *remote) ends() time.Time { return r.fleet.Load().Gateways()[0].Credential }

// age lets time pass until a credential should be replaced, and no longer.
func (r *remote) age() { r.clock.Add(int64(max(0, time.Until(r.ends())-11*time.Hour))) }

func TestACredentialIsReplacedInTime(t *testing.T) {
	r := newRemote(t, 0)
	use, _ := r.disk.load()
	first := publicOf(t, use)
	// A thief has copied the gateway's folder and is connected too.
	_, thief := r.open(func(mintmark.Secret, mintmark.Secret) error { return nil })
	k, conn := r.open(r.disk.save)
	f, _ := r.start(k, conn, conn.Up())
	r.until("leased", func() (bool, string) { return r.settled(f) })
	if left := time.Until(r.ends()); left < 23*time.Hour || left > 24*time.Hour+time.Minute {
		t.Errorf("good for %s", left)
	}
	r.until("the thief is in", func() (bool, string) { return thief.Connected(), "" })
	r.clock.Add(int64(11 * time.Hour))
	r.until("leased again", func() (bool, string) { return r.settled(f) })
	if ok, _ := r.settled(f, first); ok {
		t.Fatal("replaced before half of its life was over")
	}
	r.clock.Add(int64(2 * time.Hour))
	r.until("replaced", func() (bool, string) { return r.settled(f, first) })
	r.until("a new life", func() (bool, string) { return time.Until(r.ends()) > 23*time.Hour, r.ends().String() })
	r.until("the thief is out", func() (bool, string) { return !thief.Connected() && r.refused.Load() > 0, "" })
	if r.fleet.Load().Gateways()[0].State != "live" {
		t.Errorf("%+v", r.fleet.Load().Gateways())
	}
}

// errDied is a process that ends at a step.
var errDied = errors.New("died")

// mortal dies at one moment of replacing a credential, counted over all of them:
// before and after whatever the gateway does on its disk and on the bus.
type mortal struct {
	*jetstream.Credential
	bus.Conn
	left atomic.Int64
	dead atomic.Bool
	die  func()
}

func (m *mortal) step() error {
	if m.dead.Load() {
		return errDied
	}
	if m.left.Add(-1) == 0 {
		m.dead.Store(true)
		m.die()
		return errDied
	}
	return nil
}

func (m *mortal) around(fn func() error) error {
	if err := m.step(); err != nil {
		return err
	}
	if err := fn(); err != nil {
		return err
	}
	return m.step()
}

func (m *mortal) Next(ctx context.Context) (use, next string, err error) {
	err = m.around(func() (err error) { use, next, err = m.Credential.Next(ctx); return err })
	return use, next, err
}

func (m *mortal) Switch(ctx context.Context, public string) error {
	return m.around(func() error { return m.Credential.Switch(ctx, public) })
}

func (m *mortal) Settle(ctx context.Context) error {
	return m.around(func() error { return m.Credential.Settle(ctx) })
}

func (m *mortal) Request(ctx context.Context, subject string, data []byte) (a []byte, err error) {
	if !strings.HasPrefix(subject, bus.SubjectCredential) {
		return m.Conn.Request(ctx, subject, data)
	}
	err = m.around(func() (err error) { a, err = m.Conn.Request(ctx, subject, data); return err })
	return a, err
}

// The gateway dies at every moment of replacing its credential, and control with
// it every other time: it comes back with a key that control knows, and ends with
// one key that control knows alone.
func TestACredentialSurvivesDeathAtEveryStep(t *testing.T) {
	r := newRemote(t, 0)
	for at := 1; ; at++ {
		k, conn := r.open(r.disk.save)
		f, stop := r.start(k, conn, conn.Up())
		r.until("a credential with a life before it", func() (bool, string) {
			ok, why := r.settled(f)
			return ok && time.Until(r.ends()) > 12*time.Hour, why
		})
		stop()
		use, _ := r.disk.load()
		first := publicOf(t, use)
		r.age()
		ctx, die := context.WithCancel(t.Context())
		m := &mortal{Credential: k, Conn: conn, die: die}
		m.left.Store(int64(at))
		f, stop = r.start(m, m, conn.Up())
		r.until("died or done", func() (bool, string) {
			if ctx.Err() != nil {
				return true, ""
			}
			return r.settled(f, first)
		})
		stop()
		conn.Close()
		die()
		if !m.dead.Load() {
			if at < 10 {
				t.Errorf("only %d moments to die at", at-1)
			}
			return
		}
		if at%2 == 0 {
			r.stop()
			r.startControl()
		}
		k, conn = r.open(r.disk.save)
		f, stop = r.start(k, conn, conn.Up())
		// What is begun is brought to its end, at the latest when the next is due.
		r.until("settled", func() (bool, string) {
			if _, next := r.disk.load(); !next.IsZero() && f.Freshness().Leased {
				r.age() // control had the step, or forgot how long it has been up
			}
			return r.settled(f, first)
		})
		stop()
		conn.Close()
	}
}

// A ledger that fails, in word or in deed, costs attempts and no more.
func TestACredentialSurvivesAFailingLedger(t *testing.T) {
	r := newRemote(t, 0)
	use, _ := r.disk.load()
	first := publicOf(t, use)
	var n atomic.Int64
	k, conn := r.open(r.disk.save)
	f, _ := r.start(k, conn, conn.Up())
	r.until("leased", func() (bool, string) { return r.settled(f) })
	failing := errors.New("no space left on device")
	r.ledger.Fail(func() (before, after error) {
		switch n.Add(1) % 3 {
		case 1:
			return failing, nil
		case 2:
			return nil, failing
		}
		return nil, nil
	})
	r.clock.Add(int64(13 * time.Hour))
	r.until("replaced", func() (bool, string) { return r.settled(f, first) })
	if n.Load() < 3 {
		t.Errorf("the ledger was asked %d times", n.Load())
	}
}

func TestACredentialEnds(t *testing.T) {
	for _, grace := range []time.Duration{0, 48 * time.Hour} {
		t.Run(grace.String(), func(t *testing.T) {
			r := newRemote(t, grace)
			use, _ := r.disk.load()
			first := publicOf(t, use)
			_, conn := r.open(r.disk.save)
			r.until("connected", func() (bool, string) { return conn.Connected(), "" })
			r.clock.Add(int64(25 * time.Hour))
			if grace > 0 {
				k, conn := r.open(r.disk.save)
				f, _ := r.start(k, conn, conn.Up())
				r.until("replaced within the grace", func() (bool, string) { return r.settled(f, first) })
				return
			}
			if _, ok := r.fleet.Load().Member(first); ok {
				t.Error("accepted after its end")
			}
			r.until("cut", func() (bool, string) { return !conn.Connected() && r.refused.Load() > 0, "" })
			// Only a new token helps; it is for the name, and ends what came before.
			second := r.join()
			k, conn := r.open(r.disk.save)
			f, _ := r.start(k, conn, conn.Up())
			r.until("joined again", func() (bool, string) { return r.settled(f) })
			if _, ok := r.fleet.Load().Member(second); !ok {
				t.Error("the new key is not accepted")
			}
		})
	}
}

// A jump of the wall clock neither ends nor prolongs a credential; a restart with a
// wrong one grants a lifetime at most.
func TestACredentialAndTheWallClock(t *testing.T) {
	const year = 365 * 24 * time.Hour
	r := newRemote(t, 0)
	use, _ := r.disk.load()
	first := publicOf(t, use)
	for _, jump := range []time.Duration{year, -year} {
		r.wall.Store(int64(jump))
		if _, ok := r.fleet.Load().Member(first); !ok {
			t.Errorf("a jump by %s ended it", jump)
		}
	}
	r.stop()
	r.startControl() // a year ago
	if _, ok := r.fleet.Load().Member(first); !ok {
		t.Error("ended by a restart in the past")
	}
	r.clock.Add(int64(24*time.Hour + time.Second))
	if _, ok := r.fleet.Load().Member(first); ok {
		t.Error("a restart in the past prolonged it")
	}
}

func TestARemovedGatewayIsCutAtOnce(t *testing.T) {
	r := newRemote(t, 48*time.Hour)
	use, _ := r.disk.load()
	k, conn := r.open(r.disk.save)
	f, _ := r.start(k, conn, conn.Up())
	r.until("leased", func() (bool, string) { return r.settled(f) })
	if err := r.fleet.Load().Remove(t.Context(), "east", "user:test"); err != nil {
		t.Fatal(err)
	}
	r.until("cut", func() (bool, string) { return !conn.Connected() && r.refused.Load() > 0, "" })
	if _, ok := r.fleet.Load().Member(publicOf(t, use)); ok {
		t.Error("its key is still accepted")
	}
	r.until("its lease runs out", func() (bool, string) { return !f.Freshness().Leased, "" })
}

// Who holds no key, or the wrong ones, replaces nothing.
func TestForgedCredentialRequests(t *testing.T) {
	r := newRemote(t, 0)
	use, _ := r.disk.load()
	mine, err := jetstream.OpenCredential(use, mintmark.Secret{}, r.disk.save)
	if err != nil {
		t.Fatal(err)
	}
	old, next, err := mine.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctl := r.fleet.Load()
	_, west, err := jetstream.NewCredential()
	if err != nil {
		t.Fatal(err)
	}
	if err := ctl.Admit(t.Context(), "west", west, ledger.Batch{}); err != nil {
		t.Fatal(err)
	}
	_, conn := r.open(r.disk.save)
	ask := func(q bus.CredentialRequest) bus.CredentialReply {
		data, err := bus.Encode(q)
		if err != nil {
			t.Fatal(err)
		}
		var answer []byte
		r.until("answered", func() (bool, string) {
			answer, err = conn.Request(t.Context(), bus.SubjectCredential+"east", data)
			return err == nil, ""
		})
		var a bus.CredentialReply
		if err := bus.Decode(answer, &a); err != nil {
			t.Fatal(err)
		}
		return a
	}
	request := func(old, next string, confirm bool) bus.CredentialRequest {
		q := bus.CredentialRequest{V: 1, Gateway: "east", Old: old, New: next, Confirm: confirm}
		q.OldSig, q.NewSig = sign(t, mine, old, &q), sign(t, mine, next, &q)
		return q
	}
	forged := map[string]bus.CredentialRequest{
		"unannounced":        request(old, next, true),
		"to itself":          request(old, old, false),
		"another's key":      request(old, west, false),
		"from another's key": request(west, next, false),
	}
	for name, change := range map[string]func(*bus.CredentialRequest){
		"no old signature":      func(q *bus.CredentialRequest) { q.OldSig = "" },
		"no new signature":      func(q *bus.CredentialRequest) { q.NewSig = "" },
		"signatures swapped":    func(q *bus.CredentialRequest) { q.OldSig, q.NewSig = q.NewSig, q.OldSig },
		"another gateway named": func(q *bus.CredentialRequest) { q.Gateway = "west" },
		"a step replayed":       func(q *bus.CredentialRequest) { q.Confirm = true },
		"not a key":             func(q *bus.CredentialRequest) { q.New = "U" + strings.Repeat("A", 55) },
	} {
		q := request(old, next, false)
		change(&q)
		forged[name] = q
	}
	for name, q := range forged {
		if a := ask(q); a.OK || a.Reason == "" {
			t.Errorf("%s: %+v", name, a)
		}
		if _, ok := ctl.Member(next); ok {
			t.Fatalf("%s: the next key is accepted", name)
		}
	}
	// Both steps, each twice.
	for _, confirm := range []bool{false, false, true, true} {
		if a := ask(request(old, next, confirm)); !a.OK {
			t.Fatalf("confirm %v: %+v", confirm, a)
		}
		if !confirm {
			continue
		}
		break // the connection was made with the old key: control has cut it
	}
	if _, ok := ctl.Member(old); ok {
		t.Error("the old key is still accepted")
	}
}

// sign signs a request by a key of a credential; empty when it has no such key.
func sign(t *testing.T, k *jetstream.Credential, public string, q *bus.CredentialRequest) string {
	t.Helper()
	sig, err := k.Sign(public, q.Message())
	if err != nil {
		return ""
	}
	return base64.RawURLEncoding.EncodeToString(sig)
}
