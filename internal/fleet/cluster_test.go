package fleet_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/boottime"
	"github.com/mintmark/mintmark/internal/bus"
	"github.com/mintmark/mintmark/internal/epoch"
	"github.com/mintmark/mintmark/internal/fleet"
	"github.com/mintmark/mintmark/internal/fleet/fleettest"
	"github.com/mintmark/mintmark/internal/follower"
	"github.com/mintmark/mintmark/internal/follower/followertest"
	"github.com/mintmark/mintmark/internal/jetstream"
	"github.com/mintmark/mintmark/internal/ledger"
	"github.com/mintmark/mintmark/internal/receipt"
)

// lease is long enough that a busy machine does not fence a healthy gateway.
const lease = time.Second

// cluster is one control plane and its gateways on a real bus.
type cluster struct {
	t      testing.TB
	server *jetstream.Server
	ledger *fleettest.Ledger
	key    ed25519.PrivateKey
	conn   *jetstream.Conn
	fleet  *fleet.Fleet
	stop   func()
	gates  map[mintmark.GatewayID]*gate
}

type gate struct {
	*follower.Follower
	store *followertest.Store
	conn  *jetstream.Conn
	stop  func()
	cuts  int
}

func newCluster(t testing.TB, gateways ...mintmark.GatewayID) *cluster {
	t.Helper()
	s, err := jetstream.Open(jetstream.Options{Dir: t.TempDir(), Random: rand.Reader})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{t: t, server: s, ledger: fleettest.New(), key: key, gates: map[mintmark.GatewayID]*gate{}}
	c.startControl()
	t.Cleanup(func() { c.stop() })
	for _, id := range gateways {
		if err := c.fleet.Admit(t.Context(), id, "", ledger.Batch{}); err != nil {
			t.Fatal(err)
		}
		g := &gate{store: &followertest.Store{}}
		if g.conn, err = s.Gateway(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(g.conn.Close)
		c.gates[id] = g
		c.startGateway(id)
		t.Cleanup(func() { g.stop() })
	}
	for id := range c.gates {
		c.until("first lease of "+string(id), func() bool { return c.gates[id].Freshness().Leased })
	}
	return c
}

func (c *cluster) openControl(l *fleettest.Ledger) (*fleet.Fleet, error) {
	f := fleet.New(fleet.Config{
		Ledger: l, Store: l, Bus: c.conn, Key: c.key, KeyID: "state-1", Clock: boottime.Now, Now: time.Now,
		Random: rand.Reader, Lease: lease, PrepareWait: lease,
	})
	return f, f.Open(c.t.Context())
}

func (c *cluster) startControl() {
	c.t.Helper()
	var err error
	if c.conn, err = c.server.Control(c.t.Context()); err != nil {
		c.t.Fatal(err)
	}
	if c.fleet, err = c.openControl(c.ledger); err != nil {
		c.t.Fatal(err)
	}
	f, conn := c.fleet, c.conn
	stop := run(f.Run)
	c.stop = sync.OnceFunc(func() { stop(); conn.Close() })
}

func (c *cluster) startGateway(id mintmark.GatewayID) {
	c.t.Helper()
	g := c.gates[id]
	g.Follower = follower.New(follower.Config{
		Gateway: id, Boot: mintmark.BootID("boot_" + fmt.Sprint(time.Now().UnixNano())), Bus: g.conn, Store: g.store,
		StateKey: c.stateKey, Clock: boottime.Now, Random: rand.Reader,
		Cut: func(*epoch.Snapshot) int { g.cuts++; return 2 }, Lease: lease, Wait: lease,
	})
	if err := g.Open(c.t.Context()); err != nil {
		c.t.Fatal(err)
	}
	g.stop = run(g.Run)
}

func (c *cluster) stateKey(kid string) ed25519.PublicKey {
	if kid != "state-1" {
		return nil
	}
	return c.key.Public().(ed25519.PublicKey)
}

// run starts fn and returns what stops it and waits.
func run(fn func(context.Context) error) func() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = fn(ctx) }()
	return sync.OnceFunc(func() { cancel(); <-done })
}

func (c *cluster) until(what string, ok func() bool) {
	c.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			c.t.Fatalf("waited in vain: %s", what)
		}
	}
}

func (c *cluster) commit(change fleet.Change) fleet.Result {
	c.t.Helper()
	r, err := c.fleet.Commit(c.t.Context(), change)
	if err != nil {
		c.t.Fatal(err)
	}
	return r
}

func (c *cluster) wait(id mintmark.ReceiptID, limit time.Duration) mintmark.Receipt {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), limit)
	defer cancel()
	r, err := c.fleet.Wait(ctx, id)
	if err != nil {
		c.t.Fatal(err)
	}
	if err := c.verify(r); err != nil {
		c.t.Error(err)
	}
	return r
}

// verify proves a receipt as whoever exports it would.
func (c *cluster) verify(r mintmark.Receipt) error {
	c.t.Helper()
	text, err := json.Marshal(r)
	if err != nil {
		c.t.Fatal(err)
	}
	_, err = receipt.Verify(text, receipt.Keys{r.KeyID: c.fleet.StateKey(r.KeyID)})
	return err
}

func revoke(subject string) fleet.Change {
	return fleet.Change{
		Kind: "revoke", Actor: "user:test", Reason: "test", Receipt: &fleet.ReceiptRequest{},
		Revocations: []mintmark.Revocation{{Selector: mintmark.Selector{Subject: subject}}},
	}
}

func service(t testing.TB, name string, staleness mintmark.Staleness) map[epoch.PartName][]byte {
	t.Helper()
	body, _, err := epoch.Encode(&epoch.Service{
		Name: name, Audience: []string{name}, OwnIssuer: true,
		Routes: []epoch.Route{{Name: "all", Path: "/" + name + "/*", Staleness: staleness}},
		Releases: []epoch.Release{{
			Name: "v1", Upstreams: []epoch.Upstream{{URL: "http://127.0.0.1:9"}},
			Mint: epoch.Mint{Policy: "p", Version: 1, Format: "jwt", Alg: "ES256", Audience: []string{name}, Scopes: []string{"read"}, AccessSeconds: 60},
		}},
		Split: epoch.Split{Stable: "v1"},
	})
	if err != nil {
		t.Fatal(err)
	}
	return map[epoch.PartName][]byte{epoch.ServicePartName(name): body}
}

func refuses(s *epoch.Snapshot, subject string) bool {
	return s.Revoked.Find(&mintmark.Token{ID: "tok_x", Kind: mintmark.KindAccessJWT, Subject: subject}) != nil
}

func reach(r mintmark.Receipt) map[mintmark.GatewayID]mintmark.Reach {
	out := map[mintmark.GatewayID]mintmark.Reach{}
	for _, g := range r.Gateways {
		out[g.Gateway] = g.Reach
	}
	return out
}

func TestRevocationIsEffectiveOnEveryGateway(t *testing.T) {
	c := newCluster(t, "east", "west", "north")
	r := c.commit(revoke("alice"))
	got := c.wait(r.Receipt, 10*time.Second)
	if got.Outcome != mintmark.OutcomeEffective || len(got.Gateways) != 3 {
		t.Fatalf("outcome %s, %+v", got.Outcome, got.Gateways)
	}
	for id, g := range c.gates {
		s := g.Current()
		if !refuses(s, "alice") || refuses(s, "bob") || s.Seq != got.Seq {
			t.Errorf("%s: seq %d, alice refused %v, bob refused %v", id, s.Seq, refuses(s, "alice"), refuses(s, "bob"))
		}
		if g.cuts == 0 {
			t.Errorf("%s acknowledged without cutting streams", id)
		}
	}
	if got.RowHash == "" || got.Revocations[0].Cutoff.ToSeq == 0 || got.Gateways[0].StreamsCut != 2 {
		t.Errorf("receipt lacks the row's facts: %+v", got)
	}
	forged := got
	forged.Outcome = mintmark.OutcomeByLease
	if !errors.Is(c.verify(forged), receipt.ErrForged) {
		t.Error("an altered receipt verifies")
	}
	c.commit(fleet.Change{Kind: "restore", Restores: []mintmark.RevocationID{got.Revocations[0].ID}})
	c.until("restored everywhere", func() bool {
		return !refuses(c.gates["east"].Current(), "alice") && !refuses(c.gates["west"].Current(), "alice")
	})
}

func TestRevokeReturnsWithTheRowApplied(t *testing.T) {
	c := newCluster(t, "east", "west")
	facts := func(subject string) []mintmark.Revocation {
		return []mintmark.Revocation{{Action: mintmark.ActionRevoke, Selector: mintmark.Selector{Subject: subject}, Reason: "signed out"}}
	}
	for i := range 20 {
		subject := string(rune('a' + i))
		if _, err := c.fleet.Revoke(t.Context(), facts(subject), ledger.Batch{}); err != nil {
			t.Fatal(err)
		}
		if !refuses(c.gates["east"].Current(), subject) || !refuses(c.gates["west"].Current(), subject) {
			t.Fatalf("revocation %d returned before the gateways that answer had it", i)
		}
	}
	c.gates["west"].conn.Cut()
	begin := time.Now()
	if _, err := c.fleet.Revoke(t.Context(), facts("z"), ledger.Batch{}); err != nil {
		t.Fatalf("a silent gateway failed a durable revocation: %v", err)
	}
	if d := time.Since(begin); d > 3*time.Second {
		t.Errorf("waited %v for a silent gateway", d)
	}
}

func TestAPartitionedGatewayIsFencedAndCatchesUp(t *testing.T) {
	c := newCluster(t, "east", "west", "north")
	c.commit(fleet.Change{Kind: "apply", Parts: service(t, "orders", mintmark.Strict)})
	c.until("epoch 1", func() bool { return c.fleet.Settled().Epoch == 1 })
	c.gates["west"].conn.Cut()
	r := c.commit(revoke("alice"))
	pending := c.wait(r.Receipt, time.Millisecond)
	if pending.Outcome != mintmark.OutcomePending {
		t.Fatalf("outcome %s while west may hold a lease", pending.Outcome)
	}
	begin := time.Now()
	got := c.wait(r.Receipt, 10*time.Second)
	if got.Outcome != mintmark.OutcomeByLease || reach(got)["west"] != mintmark.ReachFenced || reach(got)["east"] != mintmark.ReachApplied {
		t.Fatalf("outcome %s, %+v", got.Outcome, got.Gateways)
	}
	if d, bound := time.Since(begin), lease*12/10+time.Second; d > bound {
		t.Errorf("fenced after %v, want within %v", d, bound)
	}
	if f := c.gates["west"].Freshness(); f.Leased || !f.Fenced(mintmark.Strict) || f.Fenced(mintmark.Static) {
		t.Errorf("west says %+v after control said it is fenced", f)
	}
	if err := c.gates["west"].CatchUp(t.Context(), 0); !errors.Is(err, follower.ErrBehind) {
		t.Errorf("catch up over a cut link: %v", err)
	}
	c.gates["west"].conn.Heal()
	c.until("west catches up", func() bool { return refuses(c.gates["west"].Current(), "alice") && c.gates["west"].Freshness().Leased })
	again := c.wait(c.commit(revoke("bob")).Receipt, 10*time.Second)
	if again.Outcome != mintmark.OutcomeEffective {
		t.Errorf("after healing: %s, %+v", again.Outcome, again.Gateways)
	}
}

func TestStaticRoutesAreExceptedAndListed(t *testing.T) {
	c := newCluster(t, "east", "west")
	c.commit(fleet.Change{Kind: "apply", Parts: service(t, "orders", mintmark.Static)})
	c.until("epoch 1", func() bool { return c.fleet.Settled().Epoch == 1 })
	c.gates["west"].conn.Cut()
	got := c.wait(c.commit(revoke("alice")).Receipt, 10*time.Second)
	if got.Outcome != mintmark.OutcomeStatic || reach(got)["west"] != mintmark.ReachStatic {
		t.Fatalf("outcome %s, %+v", got.Outcome, got.Gateways)
	}
	for _, g := range got.Gateways {
		if g.Gateway == "west" && (len(g.Static) != 1 || g.Static[0] != "orders/all") {
			t.Errorf("static routes %v", g.Static)
		}
	}
}

func TestALongerBudgetIsWaitedFor(t *testing.T) {
	c := newCluster(t, "east", "west")
	c.commit(fleet.Change{Kind: "apply", Parts: service(t, "orders", mintmark.Staleness{Budget: 2 * time.Second})})
	c.until("epoch 1", func() bool { return c.fleet.Settled().Epoch == 1 })
	c.gates["west"].conn.Cut()
	begin := time.Now()
	got := c.wait(c.commit(revoke("alice")).Receipt, 10*time.Second)
	if got.Outcome != mintmark.OutcomeByLease || time.Since(begin) < 1500*time.Millisecond {
		t.Errorf("outcome %s after %v: a budget of 2 s can't be over", got.Outcome, time.Since(begin))
	}
	if f := c.gates["west"].Freshness(); !f.Fenced(mintmark.Staleness{Budget: 2 * time.Second}) {
		t.Errorf("west is not fenced: %+v", f)
	}
}

func TestStateSurvivesRestarts(t *testing.T) {
	c := newCluster(t, "east", "west")
	c.commit(fleet.Change{Kind: "apply", Parts: service(t, "orders", mintmark.Strict)})
	c.wait(c.commit(revoke("alice")).Receipt, 10*time.Second)
	before := c.gates["west"].Current()

	// The gateway, while control is away: as before, and fenced.
	c.gates["west"].stop()
	c.stop()
	c.startGateway("west")
	after := c.gates["west"].Current()
	if after.Seq != before.Seq || after.Epoch != 1 || after.Term != before.Term || !refuses(after, "alice") || after.Table.Service("orders") == nil {
		t.Errorf("came back with %+v, was %+v", after, before)
	}
	if f := c.gates["west"].Freshness(); !f.Fenced(mintmark.Staleness{Budget: time.Hour}) || f.Leased {
		t.Errorf("budgets not spent at start: %+v", f)
	}

	// Control: a new term, the same state.
	c.startControl()
	s := c.fleet.Current()
	if s.Term != before.Term+1 || s.Epoch != 1 || !refuses(s, "alice") {
		t.Errorf("control came back with %+v", s)
	}
	c.until("both follow the new term", func() bool {
		return c.gates["east"].Current().Term == s.Term && c.gates["west"].Current().Term == s.Term && c.gates["west"].Freshness().Leased
	})
	if got := c.wait(c.commit(revoke("bob")).Receipt, 10*time.Second); got.Outcome != mintmark.OutcomeEffective {
		t.Errorf("%s %+v", got.Outcome, got.Gateways)
	}
}

func TestARestartedControlWaitsForLeasesItNeverGave(t *testing.T) {
	c := newCluster(t, "east")
	c.gates["east"].conn.Cut()
	c.stop()
	c.startControl()
	r := c.commit(revoke("alice"))
	if got := c.wait(r.Receipt, lease/2); got.Outcome != mintmark.OutcomePending {
		t.Fatalf("%s: the last control process may have answered east just now", got.Outcome)
	}
	if got := c.wait(r.Receipt, 10*time.Second); got.Outcome != mintmark.OutcomeByLease {
		t.Fatalf("%s %+v", got.Outcome, got.Gateways)
	}
}

func TestAPendingReceiptIsCompletedByItself(t *testing.T) {
	c := newCluster(t, "east")
	c.gates["east"].conn.Cut()
	r := c.commit(revoke("alice"))
	c.stop()
	c.startControl()
	c.until("receipt completed", func() bool {
		got, err := c.fleet.Receipt(t.Context(), r.Receipt)
		return err == nil && got.Outcome == mintmark.OutcomeByLease
	})
}

func TestAnOldBackupDoesNotLead(t *testing.T) {
	c := newCluster(t, "east")
	backup := c.ledger.Copy()
	c.wait(c.commit(revoke("alice")).Receipt, 10*time.Second)
	c.wait(c.commit(revoke("bob")).Receipt, 10*time.Second)
	c.stop()
	c.ledger = backup
	c.startControl()
	c.until("alarm", func() bool {
		_, err := c.fleet.Commit(t.Context(), revoke("carol"))
		return errors.Is(err, fleet.ErrBehind)
	})
	if s := c.gates["east"].Current(); !refuses(s, "alice") || !refuses(s, "bob") {
		t.Error("the gateway went back")
	}
}

func TestAnEpochThatDoesNotCompileIsNotCommitted(t *testing.T) {
	c := newCluster(t, "east")
	before := c.fleet.Current().Seq
	_, err := c.fleet.Commit(t.Context(), fleet.Change{Kind: "apply", Parts: map[epoch.PartName][]byte{"service/x": []byte(`{"name":"x"}`)}})
	if !errors.Is(err, fleet.ErrPart) || c.fleet.Current().Seq != before {
		t.Errorf("%v at %d, was at %d", err, c.fleet.Current().Seq, before)
	}
}

func TestAnUnknownOutcomeIsFoundOut(t *testing.T) {
	c := newCluster(t, "east")
	c.ledger.Fail(func() (error, error) { return nil, ledger.ErrUnavailable })
	if _, err := c.fleet.Commit(t.Context(), revoke("alice")); !errors.Is(err, fleet.ErrUnknown) {
		t.Fatalf("got %v", err)
	}
	c.ledger.Fail(func() (error, error) { return ledger.ErrUnavailable, nil })
	if _, err := c.fleet.Commit(t.Context(), revoke("bob")); !errors.Is(err, ledger.ErrUnavailable) {
		t.Fatalf("got %v", err)
	}
	c.ledger.Fail(nil)
	c.commit(revoke("carol"))
	c.until("what happened is in force, what did not is not", func() bool {
		s := c.gates["east"].Current()
		return refuses(s, "alice") && !refuses(s, "bob") && refuses(s, "carol")
	})
}

func TestForgedAndRepeatedRowsChangeNothing(t *testing.T) {
	c := newCluster(t, "east")
	c.wait(c.commit(revoke("alice")).Receipt, 10*time.Second)
	g := c.gates["east"]
	before := g.Current()
	rows, err := c.ledger.StateRows(t.Context(), 1, 10)
	if err != nil {
		t.Fatal(err)
	}
	_, stranger, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	forged, err := epoch.SignRow(epoch.Row{
		Seq: before.Seq + 1, Term: before.Term, Prev: before.RowHash, KeyID: "state-1",
		Revocations: []mintmark.Revocation{{ID: "rev_x", Action: mintmark.ActionRevoke, Selector: mintmark.Selector{Subject: "everybody"}}},
	}, stranger)
	if err != nil {
		t.Fatal(err)
	}
	torn := epoch.SignedRow{Body: rows[1].Body[:len(rows[1].Body)-1], Signature: rows[1].Signature}
	for _, row := range []epoch.SignedRow{forged, torn, {}, {Body: rows[0].Body, Signature: rows[0].Signature}, {Body: rows[1].Body, Signature: rows[1].Signature}} {
		data, err := bus.Encode(bus.StateMessage{V: 1, Row: row})
		if err != nil {
			t.Fatal(err)
		}
		if err := c.conn.Publish(t.Context(), bus.SubjectState, data); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.conn.Publish(t.Context(), bus.SubjectState, []byte("<html>")); err != nil {
		t.Fatal(err)
	}
	c.wait(c.commit(revoke("bob")).Receipt, 10*time.Second)
	if s := g.Current(); s.Seq != before.Seq+1 || refuses(s, "everybody") || !refuses(s, "alice") || !refuses(s, "bob") {
		t.Errorf("at %d after %d, everybody refused %v", s.Seq, before.Seq, refuses(s, "everybody"))
	}
}

func TestARowIsNotAcknowledgedBeforeItIsDurable(t *testing.T) {
	c := newCluster(t, "east")
	g := c.gates["east"]
	g.store.Fail(errors.New("no space left on device"))
	r := c.commit(revoke("alice"))
	if got := c.wait(r.Receipt, lease/4); got.Outcome != mintmark.OutcomePending {
		t.Errorf("%s while the gateway could not persist", got.Outcome)
	}
	if g.Current().Seq >= r.RowSeq {
		t.Error("in force without being durable")
	}
	g.store.Fail(nil)
	c.until("applied", func() bool { return refuses(g.Current(), "alice") && g.store.Applied().Seq == r.RowSeq })
}

func TestAStagedInverseNeedsNoPartAtCommit(t *testing.T) {
	c := newCluster(t, "east", "west")
	c.commit(fleet.Change{Kind: "apply", Parts: service(t, "orders", mintmark.Strict)})
	inverse := service(t, "orders", mintmark.Staleness{Budget: 5 * time.Second})
	if _, err := c.fleet.Stage(t.Context(), "rol_1", inverse); err != nil {
		t.Fatal(err)
	}
	// A commit elsewhere rebases it.
	c.commit(fleet.Change{Kind: "apply", Parts: service(t, "users", mintmark.Strict)})
	got := c.commit(fleet.Change{Kind: "rollback", Parts: inverse, Receipt: &fleet.ReceiptRequest{}})
	if r := c.wait(got.Receipt, 10*time.Second); r.Outcome != mintmark.OutcomeEffective || r.Epoch != 3 {
		t.Errorf("%s at epoch %d, %+v", r.Outcome, r.Epoch, r.Gateways)
	}
	for id, g := range c.gates {
		s := g.Current()
		if s.Epoch != 3 || s.Table.Service("users") == nil || s.Table.Routes()[0].Budget == mintmark.Strict && s.Table.Routes()[1].Budget == mintmark.Strict {
			t.Errorf("%s: epoch %d", id, s.Epoch)
		}
	}
}

func TestALeavingGatewayIsNotWaitedFor(t *testing.T) {
	c := newCluster(t, "east", "west")
	c.gates["west"].stop()
	c.until("goodbye heard", func() bool { return c.fleet.Gateways()[1].State == "left" })
	if got := c.wait(c.commit(revoke("alice")).Receipt, lease/2); got.Outcome != mintmark.OutcomeEffective || len(got.Gateways) != 1 {
		t.Errorf("%s %+v", got.Outcome, got.Gateways)
	}
}

func TestANewGatewayStartsFromASnapshot(t *testing.T) {
	c := newCluster(t)
	c.commit(fleet.Change{Kind: "apply", Parts: service(t, "orders", mintmark.Strict)})
	for i := range 2500 {
		change := revoke(fmt.Sprintf("subject-%d", i))
		change.Receipt = nil
		c.commit(change)
	}
	var err error
	g := &gate{store: &followertest.Store{}}
	if err := c.fleet.Admit(t.Context(), "late", "", ledger.Batch{}); err != nil {
		t.Fatal(err)
	}
	if g.conn, err = c.server.Gateway(t.Context(), "late"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.conn.Close)
	c.gates["late"] = g
	c.startGateway("late")
	t.Cleanup(func() { g.stop() })
	c.until("leased", func() bool { return g.Freshness().Leased })
	if s := g.Current(); s.Revoked.Len() != 2500 || s.Epoch != 1 || !refuses(s, "subject-2499") || s.Seq != c.fleet.Current().Seq {
		t.Errorf("%d facts, epoch %d, seq %d", s.Revoked.Len(), s.Epoch, s.Seq)
	}
}

func TestJoin(t *testing.T) {
	c := newCluster(t)
	answer := c.fleet.JoinAnswer("tls://bus:4222", "PEM")
	token, err := c.fleet.Invite(t.Context(), "", time.Minute, answer, "user:test")
	if err != nil {
		t.Fatal(err)
	}
	_, nkey, err := jetstream.NewCredential()
	if err != nil {
		t.Fatal(err)
	}
	q := bus.JoinRequest{V: 1, Token: token, Gateway: "east", NKey: nkey}
	got, err := c.fleet.Join(t.Context(), q, answer)
	if err != nil {
		t.Fatal(err)
	}
	if err := bus.CheckJoinReply(token, got); err != nil {
		t.Error(err)
	}
	got.CA = "another"
	if err := bus.CheckJoinReply(token, got); !errors.Is(err, bus.ErrJoin) {
		t.Errorf("an answer from somebody else was believed: %v", err)
	}
	if id, ok := c.fleet.Member(nkey); !ok || id != "east" {
		t.Errorf("member is %q, %v", id, ok)
	}
	q.Gateway = "west"
	if _, err := c.fleet.Join(t.Context(), q, answer); !errors.Is(err, fleet.ErrJoin) {
		t.Errorf("token used twice: %v", err)
	}
	second, err := c.fleet.Invite(t.Context(), "west", time.Minute, answer, "user:test")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.fleet.Join(t.Context(), bus.JoinRequest{V: 1, Token: second, Gateway: "west", NKey: nkey}, answer); !errors.Is(err, fleet.ErrJoin) {
		t.Errorf("one key for two names: %v", err)
	}
	if id, _ := c.fleet.Member(nkey); id != "east" {
		t.Errorf("the key is now of %q", id)
	}
	if err := c.fleet.Remove(t.Context(), "east", "user:test"); err != nil {
		t.Fatal(err)
	}
	if _, ok := c.fleet.Member(nkey); ok {
		t.Error("credential outlives the membership")
	}
}
