// Package storetest is the suite that every SQL engine of the ledger passes: it
// answers whether an engine keeps the ledger's contract. It holds no engine.
package storetest

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/auditlog"
	"github.com/mintmark/mintmark/internal/epoch"
	"github.com/mintmark/mintmark/internal/ledger"
	"github.com/mintmark/mintmark/internal/projection"
)

// Store is an engine with all its reads.
type Store interface {
	ledger.Engine
	ledger.Evidence
	TokenByID(ctx context.Context, id mintmark.TokenID) (ledger.TokenRow, error)
	TokenByHandle(ctx context.Context, handle []byte) (ledger.TokenRow, error)
	Tokens(ctx context.Context, f ledger.TokenFilter) ([]ledger.TokenRow, error)
	CountLive(ctx context.Context, sel mintmark.Selector, cut mintmark.Cutoff, now time.Time) (int64, error)
	Reach(ctx context.Context, sel mintmark.Selector, cut mintmark.Cutoff, now time.Time) ([]ledger.Reached, error)
	Listed(ctx context.Context, release mintmark.ReleaseID, from, to int64, after mintmark.TokenID, limit int) ([]ledger.TokenRow, error)
	LiveBy(ctx context.Context, dimension string, now time.Time) (map[string]int64, error)
	SeqWindow(ctx context.Context, from, to time.Time) (first, last uint64, err error)
	Family(ctx context.Context, id mintmark.FamilyID) (ledger.FamilyRow, error)
	Grant(ctx context.Context, id mintmark.GrantID) (ledger.GrantRow, error)
	FamiliesOfGrant(ctx context.Context, id mintmark.GrantID) ([]mintmark.FamilyID, error)
	TokensOfFamily(ctx context.Context, id mintmark.FamilyID) ([]mintmark.TokenID, error)
	Document(ctx context.Context, kind, id string) (ledger.Document, error)
	DocumentByRef(ctx context.Context, kind, ref string) (ledger.Document, error)
	Documents(ctx context.Context, kind, after string, limit int) ([]ledger.Document, error)
	Events(ctx context.Context, stream string, after uint64, limit int) ([]mintmark.Event, error)
	EventsOf(ctx context.Context, dimension, value string, after uint64, limit int) ([]mintmark.Event, error)
	StateRows(ctx context.Context, from uint64, limit int) ([]ledger.StateRow, error)
	StateHead(ctx context.Context) (seq uint64, hash [32]byte, term uint64, err error)
	ActiveRevocations(ctx context.Context, after ledger.ActiveRevocation, limit int) ([]ledger.ActiveRevocation, error)
	UsageOf(ctx context.Context, id mintmark.TokenID) (ledger.TokenUsage, []ledger.RouteUsage, error)
	UsageHours(ctx context.Context, from, to int64) ([]ledger.HourUsage, error)
	Due(ctx context.Context, now time.Time) (bool, error)
	QueryNames() []string
	Explain(ctx context.Context, name string) ([]string, error)
	Close() error
}

// Open makes an engine in a directory, or opens the one that is there.
type Open func(tb testing.TB, dir string) Store

// Run runs the suite.
func Run(t *testing.T, open Open) {
	for _, c := range []struct {
		name string
		run  func(*testing.T, Open)
	}{
		{"Append", testAppend},
		{"Refusals", testRefusals},
		{"Once", testOnce},
		{"Documents", testDocuments},
		{"Rotation", testRotation},
		{"Ended", testEnded},
		{"StateLog", testStateLog},
		{"Usage", testUsage},
		{"Selectors", testSelectors},
		{"Reach", testReach},
		{"Listed", testListed},
		{"Purge", testPurge},
		{"Failures", testFailures},
		{"Plans", testPlans},
		{"Restart", testRestart},
		{"Group", testGroup},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(t, open) })
	}
}

// Origin names the audit log in tests.
const Origin = "mintmark.test/ledger"

// Bench is a ledger on an engine, running until the test ends.
type Bench struct {
	*ledger.Ledger
	Store Store
	// Clock is the wall clock in Unix milliseconds, set by the test.
	Clock atomic.Int64
	// Fail is asked before each step, when set.
	Fail  atomic.Pointer[func(step string) error]
	key   ed25519.PrivateKey
	state ed25519.PrivateKey
	stop  func()
	ids   atomic.Uint64
}

// auditKey and stateKey are fixed, so that a store can be opened again.
var (
	auditKey = ed25519.NewKeyFromSeed([]byte("audit log key of the test suite."))
	stateKey = ed25519.NewKeyFromSeed([]byte("state log key of the test suite."))
)

// Start runs a ledger on the store. It is stopped, and the store closed, at the
// end of the test or by Stop.
func Start(tb testing.TB, store Store) *Bench {
	tb.Helper()
	b := &Bench{Store: store, key: auditKey, state: stateKey}
	b.Clock.Store(1_800_000_000_000)
	signer, err := auditlog.NewSigner(Origin, b.key)
	if err != nil {
		tb.Fatal(err)
	}
	b.Ledger = ledger.New(ledger.Config{
		Engine: store, Fold: projection.Fold, Sign: signer.Checkpoint, Random: rand.Reader,
		Now: func() time.Time { return time.UnixMilli(b.Clock.Load()) },
		Fail: func(step string) error {
			if f := b.Fail.Load(); f != nil {
				return (*f)(step)
			}
			return nil
		},
	})
	if err := b.Open(context.Background()); err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = b.Run(ctx) }()
	stopped := false
	b.stop = func() {
		if !stopped {
			stopped = true
			cancel()
			<-done
			if err := store.Close(); err != nil {
				tb.Error(err)
			}
		}
	}
	tb.Cleanup(b.stop)
	return b
}

// Stop ends the ledger and closes the store.
func (b *Bench) Stop() { b.stop() }

// Now is the bench's clock.
func (b *Bench) Now() time.Time { return time.UnixMilli(b.Clock.Load()).UTC() }

// Checks are what Verify holds this bench's store against.
func (b *Bench) Checks(tb testing.TB) ledger.Checks {
	tb.Helper()
	v, err := auditlog.NewVerifier(Origin, b.key.Public().(ed25519.PublicKey))
	if err != nil {
		tb.Fatal(err)
	}
	pub := b.state.Public().(ed25519.PublicKey)
	return ledger.Checks{
		Fold: projection.Fold, Checkpoint: v.Open, Now: b.Now(),
		Row: func(s epoch.SignedRow) (epoch.Row, error) {
			return epoch.VerifyRow(s, func(string) ed25519.PublicKey { return pub })
		},
	}
}

// Verify fails the test unless the store proves itself.
func (b *Bench) Verify(tb testing.TB) *ledger.Report {
	tb.Helper()
	r, err := ledger.Verify(context.Background(), b.Store, b.Checks(tb))
	if err != nil {
		tb.Fatal(err)
	}
	for _, p := range r.Problems {
		tb.Errorf("verify: %s", p)
	}
	return r
}

// Must appends and fails the test on error.
func (b *Bench) Must(tb testing.TB, batch ledger.Batch) ledger.Committed {
	tb.Helper()
	c, err := b.Append(context.Background(), batch)
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// Token returns a plausible token, and the event that issues it.
func (b *Bench) Token(change func(*mintmark.TokenIssued)) (mintmark.TokenID, mintmark.Event) {
	var r [10]byte
	n := b.ids.Add(1)
	for i := range 8 {
		r[i] = byte(n >> (56 - 8*i))
	}
	r[8] = byte(b.Clock.Load())
	id := mintmark.TokenID(mintmark.NewID(mintmark.PrefixToken, b.Now(), r))
	d := mintmark.TokenIssued{Token: mintmark.Token{
		ID: id, Kind: mintmark.KindAccessJWT, Issuer: "https://auth.example", Subject: fmt.Sprintf("user-%d", n%1000), Client: "web",
		Scopes: []string{"orders:read", "orders:write"}, Audience: []string{"https://orders.example"},
		Mark:     mintmark.Mark{Release: "orders/v1", Policy: 1, Key: "k1", Epoch: 1, Seq: b.Reserve()},
		IssuedAt: b.Now().Unix(), Expires: b.Now().Unix() + 600,
	}}
	if change != nil {
		change(&d)
	}
	return id, Event("token/"+string(id), mintmark.EventTokenIssued, d, func(e *mintmark.Event) {
		e.Token, e.Subject, e.Client, e.Release = id, d.Token.Subject, d.Token.Client, d.Token.Mark.Release
	})
}

// Event builds an event.
func Event(stream string, typ mintmark.EventType, data any, change ...func(*mintmark.Event)) mintmark.Event {
	raw, err := json.Marshal(data)
	if err != nil {
		panic(err)
	}
	e := mintmark.Event{Stream: stream, Type: typ, Actor: "system:test", Data: raw}
	for _, c := range change {
		c(&e)
	}
	return e
}

// Row returns a Batch.Row that signs what change makes of an empty row.
func (b *Bench) Row(change func(*epoch.Row)) func(uint64, [32]byte, uint64) ([]byte, []byte, error) {
	return func(seq uint64, prev [32]byte, issued uint64) ([]byte, []byte, error) {
		r := epoch.Row{Seq: seq, Term: 1, Prev: prev, At: b.Clock.Load(), Issued: issued, KeyID: "s1"}
		if change != nil {
			change(&r)
		}
		s, err := epoch.SignRow(r, b.state)
		return s.Body, s.Signature, err
	}
}
